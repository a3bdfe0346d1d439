// SPDX-License-Identifier: Apache-2.0
// How a server confines itself (docs/operations.md, "The sandbox"): who it becomes when root starts
// it, and what it may do once its parts listen.
#ifndef WEIR_APP_SANDBOX_H
#define WEIR_APP_SANDBOX_H

#include "app/parts/process.h"

// Rows for the options of a command that runs a server.
#define SANDBOX_ROW_USER                                                                           \
    {                                                                                              \
        "--user", "NAME", "who it becomes when root starts it; weir, if there is one (WEIR_USER)", \
            .group = "what it may do"                                                              \
    }
#define SANDBOX_ROW_OFF                                                                            \
    {                                                                                              \
        "--no-sandbox", NULL, "do not confine the process (WEIR_SANDBOX=off; or on, require)",     \
            .group = "what it may do"                                                              \
    }

// First of all, with the arguments of the two options (NULL: not given): from here on files are
// touched as the user that the process will be, and HOME is that user's. Says on standard error
// what is wrong and returns the exit code.
int sandbox_begin(const char *user, const char *off);
// Makes the directory where the process keeps something, when it is not there and the user could
// not make it, and sees that the user may write there. False after saying what to do.
bool sandbox_own_directory(const char *path);
// Allows what a part reads again later: the files that rows of its configuration name.
void sandbox_reach_paths(
    const struct conf_row *rows, size_t count, const void *config, struct sys_landlock *landlock);
// Before anything is opened: makes room for the programs of parts that start some.
enum weir_result sandbox_prepare(struct part *const *parts, size_t count) WEIR_MUST_CHECK;
// When the parts listen, and before anything is served: closes the sandbox, and logs what holds.
// WEIR_PERMISSION after saying on standard error what was required and cannot be had.
enum weir_result sandbox_enter(struct part *const *parts, size_t count) WEIR_MUST_CHECK;

#endif
