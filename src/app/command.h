// SPDX-License-Identifier: Apache-2.0
// The commands of the binary, and what they share.
#ifndef WEIR_APP_COMMAND_H
#define WEIR_APP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

// Exit codes (sysexits.h), where a specification names none.
enum exit_code {
    EXIT_FINE = 0,
    EXIT_FAILED = 1, // the relay's specification: any startup error
    EXIT_USAGE = 64,
    EXIT_DATA = 65,
    EXIT_NO_INPUT = 66,
    EXIT_UNAVAILABLE = 69,
    EXIT_REFUSED = 77,
    EXIT_CONFIG = 78,
};

struct option_row {
    const char *name;     // "--workers"
    const char *argument; // "N"; "[=N]": only behind '=', "" without; NULL: a switch
    const char *meaning;
};

struct command {
    const char *name;
    const char *summary;
    const char *usage; // behind "weir NAME"
    const struct option_row *options; // ended by a row without a name; --help is always there
    int (*run)(const struct command *command, int argc, char **argv);
    void (*print_more)(void); // behind the options of --help; NULL: nothing
};

extern const struct command command_relay;
extern const struct command command_demo;
extern const struct command command_up;
extern const struct command command_token;
extern const struct command command_config;
extern const struct command command_health;
extern const struct command command_engine;
extern const struct command command_token_engine; // "token engine"

// Warnings and errors go to standard error; false when there are errors, or they are lost.
struct conf_problems;
bool command_print_problems(struct conf_problems *problems);

void command_print_help(const struct command *command);

// Reads options and positional arguments. values[i] gets the argument of options[i], "1" for a
// switch, or stays as it is; positionals go to the front of argv, their number to *ret_count.
// "--" ends the options. Returns false after printing what is wrong, or the help (*ret_exit says which).
bool command_parse(const struct command *command, int argc, char **argv, const char **values,
    int *ret_count, int *ret_exit);

#endif
