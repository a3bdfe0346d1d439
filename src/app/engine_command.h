// SPDX-License-Identifier: Apache-2.0
// What the command lines of the engine share: `weir engine`, `weir config ... engine`, `weir token
// engine`, and the program name rstream-engine-ce, whose words are its own (spec section 2.1).
#ifndef WEIR_APP_ENGINE_COMMAND_H
#define WEIR_APP_ENGINE_COMMAND_H

#include <stdbool.h>

#include "engine/config/config.h"

#define ENGINE_CE_NAME "rstream-engine-ce"

// Where the configuration is: file, or when that is NULL what RSTREAM_ENGINE_CONFIG names, or
// variables alone.
struct engine_config_source engine_command_source(const char *file);
// Each returns the exit code.
int engine_command_check(const char *file);
int engine_command_print(const char *file);
int engine_command_ce(int argc, char **argv);

#endif
