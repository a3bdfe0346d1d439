// SPDX-License-Identifier: Apache-2.0
// A private tunnel whose streams are the standard input and output of programs (nc -e, nc -c).
#ifndef WEIR_CLI_PROGRAM_SERVER_H
#define WEIR_CLI_PROGRAM_SERVER_H

#include "cli/context/profile.h"

struct program_server_options {
    const struct profile *profile;
    const char *name;        // of the tunnel
    const char *const *argv; // ended by NULL
};

// Until it is interrupted. Returns the exit code.
int program_server_run(const struct program_server_options *options);

#endif
