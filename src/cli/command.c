// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/nearest.h"

#define WORDS_MAX 128 // that a suggestion is looked for in
#define WORD_SIZE 64
#define SECRETS_SIZE 32768 // of one command line

static const char *program = "weir";

const char *command_program(void)
{
    return program;
}

void command_set_program(const char *name)
{
    program = name;
}

// ---- Saying

bool command_print_problems(struct conf_problems *problems)
{
    const char *warnings = buf_text(&problems->warnings);
    const char *errors = buf_text(&problems->errors);
    fputs(warnings == NULL ? "weir: out of memory\n" : warnings, stderr);
    fputs(errors != NULL ? errors : warnings != NULL ? "weir: out of memory\n" : "", stderr);
    return warnings != NULL && errors != NULL && problems->errors.len == 0;
}

void command_complain(const struct command *command, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s%s%s: ", program, command->name[0] == '\0' ? "" : " ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

// "there is no ... "TEXT"; did you mean NEAREST? see weir NAME --help"
static void complain_of(
    const struct command *command, const char *what, struct slice text, const char *nearest)
{
    command_complain(command, "%s \"%.*s\";%s%s%s see %s%s%s --help", what, SLICE_ARG(text),
        nearest == NULL ? "" : " did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?", program, command->name[0] == '\0' ? "" : " ", command->name);
}

static bool refuse(const struct command *command, const char *what, struct slice text)
{
    complain_of(command, what, text, NULL);
    return false;
}

// ---- Options

struct reading {
    const struct command *command;
    int argc;
    char **argv;
    int at;
    const char **values;
    struct option_repeats *repeats; // NULL: the command has none
};

static bool is_switch(const struct option_row *row)
{
    return row->argument == NULL;
}

// "--no-NAME" of a row "--NAME".
static bool is_negation(const struct option_row *row, struct slice text)
{
    return (row->flags & OPTION_NEGATABLE) != 0 && slice_starts_with(text, SLICE("--no-")) &&
           slice_eq(slice_skip(text, 5), slice_str(row->name + 2));
}

static int find_option(const struct command *command, struct slice text, bool *ret_negated)
{
    *ret_negated = false;
    for (int i = 0; command->options != NULL && command->options[i].name != NULL; i++) {
        const struct option_row *row = &command->options[i];
        bool named = slice_eq(slice_str(row->name), text) ||
                     (row->alias != NULL && slice_eq(slice_str(row->alias), text));
        *ret_negated = !named && is_negation(row, text);
        if (named || *ret_negated) {
            return i;
        }
    }
    return -1;
}

static bool refuse_unknown(const struct command *command, struct slice text)
{
    const char *known[WORDS_MAX];
    char negated[WORDS_MAX / 4][WORD_SIZE];
    size_t count = 0;
    size_t negated_count = 0;
    for (const struct option_row *row = command->options;
         row != NULL && row->name != NULL && count + 1 < WORDS_MAX; row++) {
        known[count++] = row->name;
        if ((row->flags & OPTION_NEGATABLE) != 0 && negated_count < WORDS_MAX / 4) {
            snprintf(negated[negated_count], WORD_SIZE, "--no-%s", row->name + 2);
            known[count++] = negated[negated_count++];
        }
    }
    known[count] = "--help";
    complain_of(command, "there is no option", text, conf_nearest(text, known, count + 1));
    return false;
}

static bool is_choice(const char *choices, const char *value)
{
    struct slice rest = slice_str(choices);
    struct slice word;
    while (slice_split(&rest, '|', &word)) {
        if (slice_eq(word, slice_str(value))) {
            return true;
        }
    }
    return false;
}

// Moves a secret to memory of ours and covers it on the command line, which every user may read.
// What does not fit stays where it is.
static const char *hide(const char *value)
{
    static char kept[SECRETS_SIZE];
    static size_t used;
    size_t len = strlen(value);
    if (len >= sizeof kept - used) {
        return value;
    }
    char *copy = memcpy(kept + used, value, len + 1);
    used += len + 1;
    memset((char *)(uintptr_t)value, '*', len); // argv's text is the program's to change
    return copy;
}

static bool give(struct reading *reading, int index, const char *value)
{
    const struct option_row *row = &reading->command->options[index];
    if (row->choices != NULL && !is_choice(row->choices, value)) {
        command_complain(reading->command, "%s \"%s\" is not usable; allowed: %s", row->name, value,
            row->choices);
        return false;
    }
    if ((row->flags & OPTION_SECRET) != 0) {
        value = hide(value);
    }
    reading->values[index] = value;
    if ((row->flags & OPTION_REPEATABLE) == 0) {
        return true;
    }
    struct option_repeats *repeats = reading->repeats;
    if (repeats->count == OPTION_REPEATS_MAX) {
        command_complain(reading->command, "%s: at most %d such options are taken", row->name,
            OPTION_REPEATS_MAX);
        return false;
    }
    repeats->items[repeats->count].option = index;
    repeats->items[repeats->count++].value = value;
    return true;
}

// "--switch", "--no-switch", "--switch=false".
static bool take_switch(struct reading *reading, int index, bool negated, const char *equals)
{
    const struct option_row *row = &reading->command->options[index];
    bool negatable = (row->flags & OPTION_NEGATABLE) != 0 && !negated;
    if (equals == NULL) {
        return give(reading, index, negated ? "0" : "1");
    }
    if (negatable && (strcmp(equals, "=true") == 0 || strcmp(equals, "=false") == 0)) {
        return give(reading, index, equals[1] == 't' ? "1" : "0");
    }
    return refuse(reading->command, "no value belongs to", slice_str(reading->argv[reading->at]));
}

// Takes the option at argv[at], and its argument from behind it or behind '='.
static bool take_option(struct reading *reading)
{
    const char *text = reading->argv[reading->at];
    const char *equals = strchr(text, '=');
    size_t len = equals == NULL ? strlen(text) : (size_t)(equals - text);
    bool negated;
    int index = find_option(reading->command, slice_of(text, len), &negated);
    if (index < 0) {
        return refuse_unknown(reading->command, slice_of(text, len));
    }
    const struct option_row *row = &reading->command->options[index];
    if (is_switch(row)) {
        return take_switch(reading, index, negated, equals);
    }
    if (equals != NULL) {
        return give(reading, index, equals + 1);
    }
    if (row->argument[0] == '[') {
        return give(reading, index, "");
    }
    if (reading->at + 1 >= reading->argc) {
        return refuse(reading->command, "a value is missing behind", slice_str(text));
    }
    return give(reading, index, reading->argv[++reading->at]);
}

static bool is_help(const struct command *command, const char *text)
{
    bool negated;
    return strcmp(text, "--help") == 0 ||
           (strcmp(text, "-h") == 0 && find_option(command, SLICE("-h"), &negated) < 0);
}

bool command_parse_repeats(const struct command *command, int argc, char **argv,
    const char **values, struct option_repeats *repeats, int *ret_count, int *ret_exit)
{
    struct reading reading = {command, argc, argv, 0, values, repeats};
    int count = 0;
    for (; reading.at < argc; reading.at++) {
        char *text = argv[reading.at];
        if (strcmp(text, "--") == 0) {
            while (++reading.at < argc) {
                argv[count++] = argv[reading.at];
            }
            break;
        }
        if (is_help(command, text)) {
            command_print_help(command);
            *ret_exit = EXIT_FINE;
            return false;
        }
        if (text[0] != '-' || text[1] == '\0') {
            argv[count++] = text;
            continue;
        }
        if (!take_option(&reading)) {
            *ret_exit = EXIT_USAGE;
            return false;
        }
    }
    *ret_count = count;
    return true;
}

bool command_read(
    const struct command *command, int argc, char **argv, struct command_line *line, int *ret_exit)
{
    if (!command_parse_repeats(
            command, argc, argv, line->values, line->repeats, &line->count, ret_exit)) {
        return false;
    }
    if (line->count > line->count_max) {
        command_complain(command, "\"%s\" is not understood%s%s", argv[line->count_max],
            line->allowed == NULL ? "" : "; allowed: ", line->allowed == NULL ? "" : line->allowed);
        *ret_exit = EXIT_USAGE;
        return false;
    }
    return true;
}

bool command_parse(const struct command *command, int argc, char **argv, const char **values,
    int *ret_count, int *ret_exit)
{
    struct option_repeats repeats = {0};
    return command_parse_repeats(command, argc, argv, values, &repeats, ret_count, ret_exit);
}

// ---- Commands

const char *command_word(const struct command *command)
{
    const char *blank = strrchr(command->name, ' ');
    return blank == NULL ? command->name : blank + 1;
}

const struct command *command_child(const struct command *command, const char *word)
{
    for (const struct command *const *child = command->children; child != NULL && *child != NULL;
         child++) {
        if (strcmp(word, command_word(*child)) == 0 ||
            ((*child)->other_names != NULL && is_choice((*child)->other_names, word))) {
            return *child;
        }
    }
    return NULL;
}

static int refuse_word(const struct command *command, const char *word)
{
    const char *known[WORDS_MAX];
    size_t count = 0;
    for (const struct command *const *child = command->children; *child != NULL; child++) {
        known[count++] = command_word(*child);
    }
    complain_of(command, "there is no command", slice_str(word),
        conf_nearest(slice_str(word), known, count));
    return EXIT_USAGE;
}

int command_dispatch(const struct command *command, int argc, char **argv)
{
    const struct command *child = argc == 0 ? NULL : command_child(command, argv[0]);
    if (child != NULL) {
        return command_dispatch(child, argc - 1, argv + 1);
    }
    if (command->run != NULL) {
        return command->run(command, argc, argv);
    }
    if (argc > 0 && !is_help(command, argv[0])) {
        return argv[0][0] == '-' ? (refuse_unknown(command, slice_str(argv[0])), EXIT_USAGE)
                                 : refuse_word(command, argv[0]);
    }
    command_print_help(command);
    return argc == 0 ? EXIT_USAGE : EXIT_FINE;
}
