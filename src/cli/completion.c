// SPDX-License-Identifier: Apache-2.0
// Scripts for shells. All three have one list: a line for each command, with its words, options and
// what options take. bash and zsh walk it at each TAB; fish gets it as `complete` calls.
#include <stdio.h>
#include <string.h>

#include "cli/manual.h"

#define WORDS_BYTES_MAX 65536

typedef void visit_fn(const struct command *command, struct buf *out);

static void walk(const struct command *command, visit_fn *visit, struct buf *out)
{
    visit(command, out);
    for (const struct command *const *child = command->children; child != NULL && *child != NULL;
         child++) {
        walk(*child, visit, out); // the depth is that of our tables
    }
}

// ---- What stands in single quotes of a shell

static void write_quoted(const char *text, struct buf *out)
{
    buf_append_byte(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            buf_append_str(out, "'\\''");
        } else {
            buf_append_byte(out, *text);
        }
    }
    buf_append_byte(out, '\'');
}

static void write_choices(const char *choices, struct buf *out)
{
    for (; *choices != '\0'; choices++) {
        buf_append_byte(out, *choices == '|' ? ' ' : *choices);
    }
}

// A word of a command, and what may follow it.
struct word {
    struct slice text;
    struct slice more; // between commas; empty: nothing
};

static bool next_word(struct slice *rest, struct word *ret_word)
{
    struct slice part;
    if (rest->len == 0 || !slice_split(rest, '|', &part)) {
        return false;
    }
    *ret_word = (struct word){.text = part};
    if (slice_split(&part, '(', &ret_word->text) && part.len > 0) {
        ret_word->more = slice_of(part.at, part.len - 1); // without ')'
    }
    return true;
}

static void write_more(struct slice more, struct buf *out)
{
    struct slice one;
    while (more.len > 0 && slice_split(&more, ',', &one)) {
        buf_printf(out, "%.*s ", SLICE_ARG(one));
    }
}

// ---- bash and zsh

// What may follow a command: the commands below it, and its words.
static void write_words(const struct command *command, struct buf *out)
{
    for (const struct command *const *child = command->children; child != NULL && *child != NULL;
         child++) {
        buf_printf(out, "%s ", command_word(*child));
    }
    struct slice rest = slice_str(command->words);
    struct word word;
    while (next_word(&rest, &word)) {
        buf_printf(out, "%.*s ", SLICE_ARG(word.text));
    }
}

static void write_option_words(const struct command *command, struct buf *out)
{
    for (const struct option_row *row = command->options; row != NULL && row->name != NULL; row++) {
        bool behind_equals = row->argument != NULL && row->argument[0] == '[';
        buf_printf(out, "%s ", row->name);
        if (behind_equals) {
            buf_printf(out, "%s= ", row->name);
        }
        if (row->alias != NULL) {
            buf_printf(out, "%s ", row->alias);
        }
        if ((row->flags & OPTION_NEGATABLE) != 0) {
            buf_printf(out, "--no-%s ", row->name + 2);
        }
    }
    buf_append_str(out, "--help");
}

// What may come behind a word that is no command.
static void write_after_case(const struct command *command, struct buf *out)
{
    struct slice rest = slice_str(command->words);
    struct word word;
    while (next_word(&rest, &word)) {
        if (word.more.len > 0) {
            buf_printf(out, "    '%s %.*s') words='", command->name, SLICE_ARG(word.text));
            write_more(word.more, out);
            buf_append_str(out, "' ;;\n");
        }
    }
}

static void write_words_case(const struct command *command, struct buf *out)
{
    buf_append_str(out, "    ");
    write_quoted(command->name, out);
    buf_append_str(out, ") words='");
    write_words(command, out);
    buf_append_str(out, "' ;;\n");
    write_after_case(command, out);
}

static void write_options_case(const struct command *command, struct buf *out)
{
    buf_append_str(out, "    ");
    write_quoted(command->name, out);
    buf_append_str(out, ") options='");
    write_option_words(command, out);
    buf_append_str(out, "' ;;\n");
}

// What an option with an argument takes: "file", or words.
static void write_argument_case(const struct command *command, struct buf *out)
{
    for (const struct option_row *row = command->options; row != NULL && row->name != NULL; row++) {
        if (row->argument == NULL || row->argument[0] == '[') {
            continue;
        }
        buf_printf(out, "    '%s %s'", command->name, row->name);
        if (row->alias != NULL) {
            buf_printf(out, " | '%s %s'", command->name, row->alias);
        }
        buf_append_str(out, ") takes='");
        if (row->choices != NULL) {
            write_choices(row->choices, out);
        } else {
            buf_append_str(out, (row->flags & OPTION_PATH) != 0 ? "@file" : "@any");
        }
        buf_append_str(out, "' ;;\n");
    }
}

static void write_names_case(const struct command *command, struct buf *out)
{
    if (command->name[0] == '\0') {
        return;
    }
    size_t parent_len = (size_t)(command_word(command) - command->name);
    buf_printf(out, "    '%s'", command->name);
    struct slice rest = slice_str(command->other_names);
    struct slice other;
    while (rest.len > 0 && slice_split(&rest, '|', &other)) {
        buf_printf(out, " | '%.*s%.*s'", (int)parent_len, command->name, SLICE_ARG(other));
    }
    buf_append_str(out, ") found=");
    write_quoted(command->name, out);
    buf_append_str(out, " ;;\n");
}

static void write_shared(const struct command *root, struct buf *out)
{
    const char *name = command_program();
    buf_printf(out,
        "# Which command the words so far name, and what it takes. What follows help is a way of\n"
        "# its own; after: words that are no commands.\n"
        "_%s_look() {\n  local word found='' before='' path='' after='' helps=''\n"
        "  command=''\n  for word in \"$@\"; do\n"
        "    _%s_takes \"$command $before\"\n    before=$word\n"
        "    [ -n \"$takes\" ] && continue\n"
        "    case $word in -*) continue ;; esac\n    found=''\n"
        "    [ -z \"$after\" ] && case \"${path:+$path }$word\" in\n",
        name, name);
    walk(root, write_names_case, out);
    buf_append_str(out, "    esac\n"
                        "    if [ -z \"$found\" ]; then\n"
                        "      after=\"${after:+$after }$word\"\n      continue\n    fi\n"
                        "    path=$found\n    [ -z \"$helps\" ] && command=$found\n"
                        "    [ \"$found\" = help ] && helps=1 && path=''\n  done\n"
                        "  words=''\n  case \"$path${after:+ $after}\" in\n");
    walk(root, write_words_case, out);
    buf_append_str(out, "  esac\n  case $command in\n");
    walk(root, write_options_case, out);
    buf_printf(out, "  esac\n}\n_%s_takes() {\n  takes=''\n  case $1 in\n", name);
    walk(root, write_argument_case, out);
    buf_append_str(out, "  esac\n}\n");
}

static void write_bash(const struct command *root, struct buf *out)
{
    const char *name = command_program();
    buf_printf(out, "# bash completion for %s; generated by: %s completion bash\n", name, name);
    write_shared(root, out);
    buf_printf(out,
        "_%s() {\n"
        "  local command words options takes current=${COMP_WORDS[COMP_CWORD]}\n"
        "  local before=${COMP_WORDS[COMP_CWORD - 1]}\n"
        "  _%s_look \"${COMP_WORDS[@]:1:COMP_CWORD - 1}\"\n"
        "  _%s_takes \"$command $before\"\n"
        "  COMPREPLY=()\n"
        "  case $takes in\n"
        "    @file) mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n"
        "    @any) return ;;\n"
        "    ?*) mapfile -t COMPREPLY < <(compgen -W \"$takes\" -- \"$current\"); return ;;\n"
        "  esac\n"
        "  case $current in\n"
        "    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\") ;;\n"
        "    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
        "  esac\n"
        "}\ncomplete -o filenames -F _%s %s\n",
        name, name, name, name, name);
}

static void write_zsh(const struct command *root, struct buf *out)
{
    const char *name = command_program();
    buf_printf(out, "#compdef %s\n# zsh completion for %s; generated by: %s completion zsh\n", name,
        name, name);
    write_shared(root, out);
    buf_printf(out,
        "_%s() {\n"
        "  local command words_of options takes current=${words[CURRENT]}\n"
        "  local before=${words[CURRENT-1]}\n"
        "  local -a before_words=(${words[2,CURRENT-1]})\n"
        "  () { local words; _%s_look \"$@\"; words_of=$words; } $before_words\n"
        "  _%s_takes \"$command $before\"\n"
        "  case $takes in\n"
        "    @file) _files; return ;;\n"
        "    @any) return ;;\n"
        "    ?*) compadd -- ${=takes}; return ;;\n"
        "  esac\n"
        "  case $current in\n"
        "    -*) compadd -- ${=options} ;;\n"
        "    *) compadd -- ${=words_of} ;;\n"
        "  esac\n"
        "}\n"
        "if [ \"$funcstack[1]\" = _%s ]; then _%s \"$@\"; else compdef _%s %s; fi\n",
        name, name, name, name, name, name, name);
}

// ---- fish

// kind: of "words" the place says where they may stand, of "options" the command.
static void write_condition_at(const char *kind, const char *name, struct slice more, struct buf *out)
{
    buf_printf(out, "complete -c %s -n \"__%s_is %s '%s%s", command_program(), command_program(),
        kind, name, more.len > 0 ? " " : "");
    buf_append_slice(out, more);
    buf_append_str(out, "'\" ");
}

static void write_condition(const struct command *command, struct buf *out)
{
    write_condition_at("options", command->name, (struct slice){0}, out);
}

static void write_fish_option(
    const struct command *command, const struct option_row *row, struct buf *out)
{
    write_condition(command, out);
    buf_printf(
        out, "%s %s", row->name[1] == '-' ? "-l" : "-s", row->name + (row->name[1] == '-' ? 2 : 1));
    if (row->alias != NULL) {
        buf_printf(out, " %s %s", row->alias[1] == '-' ? "-l" : "-s",
            row->alias + (row->alias[1] == '-' ? 2 : 1));
    }
    if (row->argument != NULL && row->argument[0] != '[') {
        buf_append_str(
            out, row->choices == NULL && (row->flags & OPTION_PATH) != 0 ? " -r -F" : " -x");
    }
    if (row->choices != NULL) {
        buf_append_str(out, " -a '");
        write_choices(row->choices, out);
        buf_append_byte(out, '\'');
    }
    buf_append_str(out, " -d ");
    write_quoted(row->meaning, out);
    buf_append_byte(out, '\n');
    if ((row->flags & OPTION_NEGATABLE) != 0) {
        write_condition(command, out);
        buf_printf(out, "-l no-%s\n", row->name + 2);
    }
}

static void write_fish_words(const struct command *command, struct buf *out)
{
    for (const struct command *const *child = command->children; child != NULL && *child != NULL;
         child++) {
        write_condition_at("words", command->name, (struct slice){0}, out);
        buf_printf(out, "-f -a %s -d ", command_word(*child));
        write_quoted((*child)->summary, out);
        buf_append_byte(out, '\n');
    }
    struct slice rest = slice_str(command->words);
    struct word word;
    while (next_word(&rest, &word)) {
        write_condition_at("words", command->name, (struct slice){0}, out);
        buf_printf(out, "-f -a '%.*s'\n", SLICE_ARG(word.text));
        if (word.more.len > 0) {
            write_condition_at("words", command->name, word.text, out);
            buf_append_str(out, "-f -a '");
            write_more(word.more, out);
            buf_append_str(out, "'\n");
        }
    }
}

static void write_fish_command(const struct command *command, struct buf *out)
{
    write_fish_words(command, out);
    for (const struct option_row *row = command->options; row != NULL && row->name != NULL; row++) {
        write_fish_option(command, row, out);
    }
    write_condition(command, out);
    buf_append_str(out, "-l help -d 'print a summary'\n");
}

static void write_fish_case(const struct command *command, struct buf *out)
{
    if (command->name[0] == '\0') {
        return;
    }
    size_t parent_len = (size_t)(command_word(command) - command->name);
    buf_printf(out, "      case '%s'", command->name);
    struct slice rest = slice_str(command->other_names);
    struct slice other;
    while (rest.len > 0 && slice_split(&rest, '|', &other)) {
        buf_printf(out, " '%.*s%.*s'", (int)parent_len, command->name, SLICE_ARG(other));
    }
    buf_append_str(out, "\n        set found ");
    write_quoted(command->name, out);
    buf_append_byte(out, '\n');
}

static void write_fish_valued(const struct command *command, struct buf *out)
{
    for (const struct option_row *row = command->options; row != NULL && row->name != NULL; row++) {
        if (row->argument != NULL && row->argument[0] != '[') {
            buf_printf(out, " %s %s", row->name, row->alias == NULL ? "" : row->alias);
        }
    }
}

static void write_fish(const struct command *root, struct buf *out)
{
    const char *name = command_program();
    buf_printf(out,
        "# fish completion for %s; generated by: %s completion fish\n"
        "function __%s_is\n  set -l command ''\n  set -l path ''\n  set -l after ''\n"
        "  set -l before ''\n  set -l helps ''\n  set -l valued",
        name, name, name);
    walk(root, write_fish_valued, out);
    buf_append_str(out, "\n  for word in (commandline -opc)[2..-1]\n"
                        "    set -l is_value (contains -- \"$before\" $valued; echo $status)\n"
                        "    set before $word\n"
                        "    if test $is_value = 0; or string match -q -- '-*' $word\n"
                        "      continue\n    end\n    set -l found ''\n"
                        "    switch (string trim \"$path$after $word\")\n");
    walk(root, write_fish_case, out);
    buf_printf(out,
        "    end\n    if test -z \"$found\"\n      set after \"$after $word\"\n      continue\n"
        "    end\n    set path $found\n    test -z \"$helps\"; and set command $found\n"
        "    if test $found = help\n      set helps 1\n      set path ''\n    end\n  end\n"
        "  if test $argv[1] = words\n    test \"$path$after\" = \"$argv[2]\"\n  else\n"
        "    test \"$command\" = \"$argv[2]\"\n  end\nend\ncomplete -c %s -f\n",
        name);
    walk(root, write_fish_command, out);
}

bool completion_write(const struct command *root, const char *shell, struct buf *out)
{
    static const struct {
        const char *name;
        void (*write)(const struct command *root, struct buf *out);
    } shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].write(root, out);
            return true;
        }
    }
    return false;
}
