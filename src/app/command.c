// SPDX-License-Identifier: Apache-2.0
#include "app/command.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf.h"

bool command_print_problems(struct conf_problems *problems)
{
    const char *warnings = buf_text(&problems->warnings);
    const char *errors = buf_text(&problems->errors);
    fputs(warnings == NULL ? "weir: out of memory\n" : warnings, stderr);
    fputs(errors == NULL ? "" : errors, stderr);
    return warnings != NULL && errors != NULL && problems->errors.len == 0;
}

void command_print_help(const struct command *command)
{
    printf("weir %s%s%s\n\n%s\n\noptions:\n", command->name, command->usage[0] == '\0' ? "" : " ",
        command->usage, command->summary);
    for (const struct option_row *row = command->options; row->name != NULL; row++) {
        char left[64];
        bool optional = row->argument != NULL && row->argument[0] == '[';
        snprintf(left, sizeof left, "%s%s%s", row->name,
            row->argument == NULL || optional ? "" : " ",
            row->argument == NULL ? "" : row->argument);
        printf("  %-28s %s\n", left, row->meaning);
    }
    printf("  %-28s %s\n", "--help", "this text");
    if (command->print_more != NULL) {
        command->print_more();
    }
}

static int find_option(const struct command *command, const char *text, size_t len)
{
    for (int i = 0; command->options[i].name != NULL; i++) {
        const char *name = command->options[i].name;
        if (strlen(name) == len && memcmp(name, text, len) == 0) {
            return i;
        }
    }
    return -1;
}

static bool refuse(const struct command *command, const char *what, const char *text)
{
    fprintf(stderr, "weir %s: %s \"%s\"; see weir %s --help\n", command->name, what, text,
        command->name);
    return false;
}

// Takes the option at argv[*at], and its argument from behind it or behind '='.
static bool take_option(
    const struct command *command, int argc, char **argv, int *at, const char **values)
{
    const char *text = argv[*at];
    const char *equals = strchr(text, '=');
    size_t len = equals == NULL ? strlen(text) : (size_t)(equals - text);
    int index = find_option(command, text, len);
    if (index < 0) {
        return refuse(command, "there is no option", text);
    }
    const char *argument = command->options[index].argument;
    if (argument == NULL) {
        values[index] = "1";
        return equals == NULL || refuse(command, "no value belongs to", text);
    }
    if (equals != NULL) {
        values[index] = equals + 1;
        return true;
    }
    if (argument[0] == '[') {
        values[index] = "";
        return true;
    }
    if (*at + 1 >= argc) {
        return refuse(command, "a value is missing behind", text);
    }
    values[index] = argv[++*at];
    return true;
}

bool command_parse(const struct command *command, int argc, char **argv, const char **values,
    int *ret_count, int *ret_exit)
{
    int count = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc) {
                argv[count++] = argv[i];
            }
            break;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            command_print_help(command);
            *ret_exit = EXIT_FINE;
            return false;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[count++] = argv[i];
            continue;
        }
        if (!take_option(command, argc, argv, &i, values)) {
            *ret_exit = EXIT_USAGE;
            return false;
        }
    }
    *ret_count = count;
    return true;
}
