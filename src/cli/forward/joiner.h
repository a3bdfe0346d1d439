// SPDX-License-Identifier: Apache-2.0
// nc without a tunnel: standard input and output, or whoever connects to a local port, joined with
// another place over TCP or a Unix socket.
#ifndef WEIR_CLI_JOINER_H
#define WEIR_CLI_JOINER_H

#include "cli/forward/target.h"

struct joiner_options {
    const char *target;
    const struct sys_address *listen; // NULL: standard input and output
};

// Returns the exit code: of standard input and output 0 when both directions have ended.
int joiner_run(const struct joiner_options *options);

#endif
