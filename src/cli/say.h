// SPDX-License-Identifier: Apache-2.0
// What a command that goes on tells on standard error, beside its output: in words, or as JSON
// lines for a collector; from a level on (--log-level, --log-format, -v).
#ifndef WEIR_CLI_SAY_H
#define WEIR_CLI_SAY_H

#include "cli/command.h"

enum say_level { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR, SAY_NONE };

// From the options of a profile (see profile.h). Before: everything from SAY_INFO on, in words.
void say_set(const char *level, const char *format, bool verbose);
// Somebody asked for more than usual.
bool say_is_verbose(void);
// One line; what of it others made is made plain.
void say(const struct command *command, enum say_level level, const char *format, ...)
    WEIR_PRINTF(3, 4);

#endif
