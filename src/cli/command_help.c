// SPDX-License-Identifier: Apache-2.0
// The text of --help.
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#define LEFT_SIZE 96
#define LEFT_WIDTH 28

static const char *blank_before(const char *text)
{
    return text == NULL || text[0] == '\0' ? "" : " ";
}

static void print_row(const char *left, const char *meaning, const char *choices)
{
    // A long left side stands on a line of its own.
    bool fits = strlen(left) <= LEFT_WIDTH;
    printf("  %-*s%s", LEFT_WIDTH, left, fits ? " " : "\n");
    printf("%*s%s", fits ? 0 : LEFT_WIDTH + 3, "", meaning);
    if (choices != NULL) {
        printf("; one of %s", choices);
    }
    putchar('\n');
}

static void print_option(const struct option_row *row)
{
    char left[LEFT_SIZE];
    const char *name = row->name;
    bool negatable = (row->flags & OPTION_NEGATABLE) != 0;
    bool optional = row->argument != NULL && row->argument[0] == '[';
    snprintf(left, sizeof left, "%s%s%s%s%s%s", row->alias == NULL ? "" : row->alias,
        row->alias == NULL ? "" : ", ", negatable ? "--[no-]" : "", negatable ? name + 2 : name,
        optional ? "" : blank_before(row->argument), row->argument == NULL ? "" : row->argument);
    print_row(left, row->meaning, row->choices);
}

static bool same_group(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void print_group(const struct option_row *rows, const char *group)
{
    for (const struct option_row *row = rows; row != NULL && row->name != NULL; row++) {
        if (same_group(row->group, group)) {
            print_option(row);
        }
    }
}

static void print_options(const struct command *command)
{
    printf("\noptions:\n");
    print_group(command->options, NULL);
    print_row("--help", "this text", NULL);
    const struct option_row *rows = command->options;
    for (const struct option_row *row = rows; row != NULL && row->name != NULL; row++) {
        bool first = row->group != NULL;
        for (const struct option_row *other = rows; other < row; other++) {
            first = first && !same_group(row->group, other->group);
        }
        if (first) {
            printf("\n%s:\n", row->group);
            print_group(rows, row->group);
        }
    }
}

static void print_children(const struct command *command)
{
    printf("\ncommands:\n");
    for (const struct command *const *child = command->children; *child != NULL; child++) {
        print_row(command_word(*child), (*child)->summary, NULL);
    }
}

static void print_examples(const struct command *command)
{
    printf("\nexamples:\n");
    for (const struct command_example *row = command->examples; row->line != NULL; row++) {
        printf("  %s %s\n      %s\n", command_program(), row->line, row->meaning);
    }
}

void command_print_help(const struct command *command)
{
    printf("%s%s%s%s%s\n\n%s\n", command_program(), blank_before(command->name), command->name,
        blank_before(command->usage), command->usage == NULL ? "" : command->usage,
        command->summary);
    if (command->children != NULL) {
        print_children(command);
    }
    if (command->options != NULL) {
        print_options(command);
    }
    if (command->examples != NULL) {
        print_examples(command);
    }
    if (command->print_more != NULL) {
        command->print_more();
    }
    if (command->children != NULL) {
        printf("\n%s%s%s COMMAND --help tells more\n", command_program(),
            blank_before(command->name), command->name);
    }
}
