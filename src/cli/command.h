// SPDX-License-Identifier: Apache-2.0
// Commands as tables. What a command line may hold is written down once, in the rows of its
// command: reading it, --help, the manual pages, the completions of shells and the suggestions for
// unknown words all come from there.
#ifndef WEIR_CLI_COMMAND_H
#define WEIR_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/result.h"

// Rows of tables leave out what they do not need.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// Exit codes (sysexits.h), where a specification names none.
enum exit_code {
    EXIT_FINE = 0,
    EXIT_FAILED = 1, // the relay's specification: any startup error
    EXIT_USAGE = 64,
    EXIT_DATA = 65,
    EXIT_NO_INPUT = 66,
    EXIT_UNAVAILABLE = 69,
    EXIT_OUTPUT = 74, // what was to be said could not be written
    EXIT_REFUSED = 77,
    EXIT_CONFIG = 78,
};

enum option_flag {
    OPTION_REPEATABLE = 1, // may be given again; see struct option_repeats
    OPTION_NEGATABLE = 2,  // a switch that "--no-NAME" sets to "0"
    OPTION_PATH = 4,       // the argument is a file: shells complete it
    OPTION_SECRET = 8,     // the argument is moved out of sight of ps
};

struct option_row {
    const char *name;     // "--workers"
    const char *argument; // "N"; "[=N]": only behind '=', "" without; NULL: a switch
    const char *meaning;
    const char *alias;   // "-w", another way to say it; NULL: none
    const char *choices; // "table|json": anything else is refused; NULL: anything goes
    const char *group;   // heading in the help; NULL: "options"
    unsigned flags;      // enum option_flag
};

// A line somebody could type, without "weir ". A test runs each of them.
struct command_example {
    const char *line;
    const char *meaning;
};

struct command {
    const char *name; // with those above it: "token engine"; "" is the program itself
    const char *summary;
    const char *usage;                // behind "weir NAME"
    const struct option_row *options; // ended by a row without a name; --help is always there
    // NULL: there is nothing to do without one of the children.
    int (*run)(const struct command *command, int argc, char **argv);
    void (*print_more)(void);              // behind the options of --help; NULL: nothing
    const struct command *const *children; // ended by NULL; NULL: none
    const char *other_names;               // "ls|l"; NULL: none
    // "bash|zsh": what a first argument may be, for completions; in parentheses behind it what the
    // next one may be: "check(relay,engine)|version". NULL: none
    const char *words;
    const char *about; // paragraphs of the manual, between empty lines; NULL: the summary
    const struct command_example *examples; // ended by a row without a line; NULL: none
};

// How the program was called, for everything that is printed: "weir", unless it was set.
const char *command_program(void);
void command_set_program(const char *name);

// ---- Reading

// What repeatable options were given, in the order of the command line.
#define OPTION_REPEATS_MAX 128
struct option_repeats {
    size_t count;
    struct {
        int option; // index of the row
        const char *value;
    } items[OPTION_REPEATS_MAX];
};

// Reads options and positional arguments. values[i] gets the argument of options[i] (the last one
// that was given), "1" for a switch ("0": negated), or stays as it is; positionals go to the front
// of argv, their number to *ret_count. "--" ends the options. Returns false after printing what is
// wrong, or the help (*ret_exit says which).
bool command_parse(const struct command *command, int argc, char **argv, const char **values,
    int *ret_count, int *ret_exit);
// The same for a command with repeatable options.
bool command_parse_repeats(const struct command *command, int argc, char **argv,
    const char **values, struct option_repeats *repeats, int *ret_count, int *ret_exit);

// The same for a command that knows how many words it takes; one more is complained of.
struct command_line {
    const char **values;
    struct option_repeats *repeats; // NULL: it has no repeatable options
    int count_max;
    const char *allowed; // what the words may be, for the complaint; NULL: nothing to say
    int count;           // set
};
bool command_read(
    const struct command *command, int argc, char **argv, struct command_line *line, int *ret_exit);

// The child that a word names, or NULL.
const struct command *command_child(const struct command *command, const char *word);
// Hands over to the child that the first word names, however deep, or to the command itself.
int command_dispatch(const struct command *command, int argc, char **argv);
// The last word of its name.
const char *command_word(const struct command *command);

// ---- Saying

void command_print_help(const struct command *command);
// "weir NAME: text" and a line end, to standard error.
void command_complain(const struct command *command, const char *format, ...) WEIR_PRINTF(2, 3);

// Warnings and errors go to standard error; false when there are errors, or they are lost.
struct conf_problems;
bool command_print_problems(struct conf_problems *problems);

#endif
