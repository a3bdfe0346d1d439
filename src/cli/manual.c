// SPDX-License-Identifier: Apache-2.0
#include "cli/manual.h"

#include <stdio.h>
#include <string.h>

void manual_name(const struct command *command, char name[MANUAL_NAME_SIZE])
{
    snprintf(name, MANUAL_NAME_SIZE, "%s%s%s", command_program(),
        command->name[0] == '\0' ? "" : "-", command->name);
    for (char *at = name; *at != '\0'; at++) {
        *at = (char)(*at == ' ' ? '-' : *at);
    }
}

// Text that man(7) takes as it is: no line of it may be a request, and minus signs stay minus
// signs.
static void write_text(const char *text, struct buf *out)
{
    if (*text == '.' || *text == '\'') {
        buf_append_str(out, "\\&");
    }
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            buf_append_str(out, "\\e");
        } else if (*text == '-') {
            buf_append_str(out, "\\-");
        } else if (*text == '\n' && text[1] == '\n') {
            buf_append_str(out, "\n.PP\n");
            text++;
        } else {
            buf_append_byte(out, *text);
        }
    }
}

static void write_line(const char *before, const char *text, const char *behind, struct buf *out)
{
    buf_append_str(out, before);
    write_text(text, out);
    buf_append_str(out, behind);
}

static void write_option(const struct option_row *row, struct buf *out)
{
    buf_append_str(out, ".TP\n");
    if (row->alias != NULL) {
        write_line("\\fB", row->alias, "\\fR, ", out);
    }
    if ((row->flags & OPTION_NEGATABLE) != 0) {
        write_line("\\fB", row->name, "\\fR, ", out);
        write_line("\\fB\\-\\-no\\-", row->name + 2, "\\fR\n", out);
    } else {
        write_line("\\fB", row->name, "\\fR", out);
        bool behind_equals = row->argument != NULL && row->argument[0] == '[';
        write_line(row->argument == NULL || behind_equals ? "" : " ",
            row->argument == NULL ? "" : row->argument, "\n", out);
    }
    write_line("", row->meaning, "", out);
    if (row->choices != NULL) {
        write_line("; one of ", row->choices, "", out);
    }
    buf_append_str(out, (row->flags & OPTION_REPEATABLE) != 0 ? "; may be given again.\n" : ".\n");
}

static bool same_group(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void write_options(const struct command *command, struct buf *out)
{
    const struct option_row *rows = command->options;
    buf_append_str(out, ".SH OPTIONS\n");
    const char *group = NULL;
    for (const struct option_row *row = rows; row->name != NULL; row++) {
        if (row->group == NULL) {
            write_option(row, out);
        }
    }
    buf_append_str(out, ".TP\n\\fB\\-\\-help\\fR\nPrint a summary.\n");
    for (const struct option_row *row = rows; row->name != NULL; row++) {
        if (row->group != NULL && !same_group(row->group, group)) {
            write_line(".SS ", row->group, "\n", out);
            group = row->group;
        }
        if (row->group != NULL) {
            write_option(row, out);
        }
    }
}

static void write_children(const struct command *command, struct buf *out)
{
    buf_append_str(out, ".SH COMMANDS\n");
    for (const struct command *const *child = command->children; *child != NULL; child++) {
        char name[MANUAL_NAME_SIZE];
        manual_name(*child, name);
        write_line(".TP\n\\fB", command_word(*child), "\\fR\n", out);
        write_line("", (*child)->summary, ".\nSee ", out);
        write_line("\\fB", name, "\\fR(1).\n", out);
    }
}

static void write_examples(const struct command *command, struct buf *out)
{
    buf_append_str(out, ".SH EXAMPLES\n");
    for (const struct command_example *row = command->examples; row->line != NULL; row++) {
        write_line(row == command->examples ? "" : ".PP\n", row->meaning, ":\n.PP\n.nf\n    ", out);
        write_line("", command_program(), " ", out);
        write_line("", row->line, "\n.fi\n", out);
    }
}

void manual_write(const struct command *root, const struct command *command, struct buf *out)
{
    char name[MANUAL_NAME_SIZE];
    manual_name(command, name);
    buf_printf(out, ".TH \"%s\" 1 \"\" \"weir " WEIR_VERSION "\" \"weir\"\n.SH NAME\n", name);
    write_line("", name, " \\- ", out);
    write_line("", command->summary, "\n.SH SYNOPSIS\n.nf\n", out);
    write_line("\\fB", command_program(), command->name[0] == '\0' ? "" : " ", out);
    write_line("", command->name, "\\fR ", out);
    write_line("", command->usage == NULL ? "" : command->usage, "\n.fi\n.SH DESCRIPTION\n", out);
    write_line("", command->about == NULL ? command->summary : command->about,
        command->about == NULL ? ".\n" : "\n", out);
    if (command->children != NULL) {
        write_children(command, out);
    }
    if (command->options != NULL) {
        write_options(command, out);
    }
    if (command->examples != NULL) {
        write_examples(command, out);
    }
    buf_append_str(out,
        ".SH EXIT STATUS\n0 when all went well; 64 usage, 65 bad data, 69 the peer is not "
        "available, 74 what was to be said could not be written, 77 refused, 78 configuration, 1 "
        "anything else. Under the name rstream: 0 or "
        "1.\n");
    if (command != root) {
        buf_append_str(out, ".SH SEE ALSO\n");
        manual_name(root, name);
        write_line("\\fB", name, "\\fR(1)\n", out);
    }
}
