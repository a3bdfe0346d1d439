// SPDX-License-Identifier: Apache-2.0
// weir help and weir completion: what the tables say, for people, man(1) and shells.
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/manual.h"
#include "sys/file.h"

#define PAGE_BYTES_MAX (1024 * 1024)
#define PATH_SIZE 4096

static const struct command *tree;

void command_set_root(const struct command *root)
{
    tree = root;
}

const struct command *command_root(void)
{
    return tree;
}

// ---- help

enum { HELP_MAN, HELP_MAN_DIR, HELP_COUNT };

static const struct option_row help_options[] = {
    [HELP_MAN] = {"--man", NULL, "the manual page, for: man -l -"},
    [HELP_MAN_DIR] = {"--man-dir", "DIR", "write all manual pages there", .flags = OPTION_PATH},
    [HELP_COUNT] = {NULL},
};

static int print(struct buf *out)
{
    const char *text = buf_text(out);
    bool ok = text != NULL && !out->failed && fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    buf_reset(out);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

static bool write_pages(const struct command *self, const struct command *command, const char *dir)
{
    char name[MANUAL_NAME_SIZE];
    char path[PATH_SIZE];
    struct buf page = BUF_INIT(PAGE_BYTES_MAX);
    manual_name(command, name);
    manual_write(tree, command, &page);
    int len = snprintf(path, sizeof path, "%s/%s.1", dir, name);
    enum weir_result result = page.failed ? WEIR_MEMORY : WEIR_TOO_LARGE;
    if (!page.failed && len > 0 && (size_t)len < sizeof path) {
        result = sys_file_write_private(path, buf_slice(&page));
    }
    buf_reset(&page);
    if (result != WEIR_OK) {
        command_complain(self, "%s cannot be written: %s", path, weir_result_text(result));
        return false;
    }
    bool ok = true;
    for (const struct command *const *child = command->children;
         ok && child != NULL && *child != NULL; child++) {
        ok = write_pages(self, *child, dir); // the depth is that of our tables
    }
    return ok;
}

static int run_help(const struct command *command, int argc, char **argv)
{
    const char *values[HELP_COUNT] = {NULL};
    const struct command *subject = tree;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    for (int i = 0; i < count; i++) {
        subject = command_child(subject, argv[i]);
        if (subject == NULL) {
            command_complain(
                command, "there is no command \"%s\"; see %s help", argv[i], command_program());
            return EXIT_USAGE;
        }
    }
    if (values[HELP_MAN_DIR] != NULL) {
        return write_pages(command, subject, values[HELP_MAN_DIR]) ? EXIT_FINE : EXIT_FAILED;
    }
    if (values[HELP_MAN] == NULL) {
        command_print_help(subject);
        return EXIT_FINE;
    }
    struct buf page = BUF_INIT(PAGE_BYTES_MAX);
    manual_write(tree, subject, &page);
    return print(&page);
}

static const struct command_example help_examples[] = {
    {"help context create", "the same as weir context create --help"},
    {"help --man events", "the manual page, as installed"},
    {NULL},
};

const struct command command_help = {
    .name = "help",
    .summary = "Tell about a command, or write its manual page",
    .usage = "[COMMAND...]",
    .options = help_options,
    .run = run_help,
    .examples = help_examples,
};

// ---- completion

static const struct option_row completion_options[] = {{NULL}};

static int run_completion(const struct command *command, int argc, char **argv)
{
    const char *values[1];
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    struct buf script = BUF_INIT(PAGE_BYTES_MAX);
    if (count == 1 && completion_write(tree, argv[0], &script)) {
        return print(&script);
    }
    command_complain(command, "allowed: bash, zsh, fish");
    return EXIT_USAGE;
}

static const struct command_example completion_examples[] = {
    {"completion bash", "for ~/.bashrc: source <(weir completion bash)"},
    {"completion zsh", "as _weir in a directory of fpath"},
    {"completion fish", "as ~/.config/fish/completions/weir.fish"},
    {NULL},
};

const struct command command_completion = {
    .name = "completion",
    .summary = "Print a script that completes command lines in a shell",
    .usage = "bash|zsh|fish",
    .options = completion_options,
    .run = run_completion,
    .words = "bash|zsh|fish",
    .examples = completion_examples,
};
