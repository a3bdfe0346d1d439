// SPDX-License-Identifier: Apache-2.0
// The private counterpart of forwarding: streams to a tunnel by name or id (spec engine, section
// 4.12), for standard input and output, or for whoever connects to a local port.
#ifndef WEIR_CLI_DIALER_H
#define WEIR_CLI_DIALER_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/context/profile.h"
#include "sys/socket.h"

struct dialer_options {
    const struct profile *profile;
    const char *target;
    const struct sys_address *listen; // NULL: standard input and output
    uint32_t timeout_ms;
};

// Returns the exit code: of standard input and output 0 when both directions have ended.
int dialer_run(const struct dialer_options *options);

// "[ADDR:]PORT" of a listener; without an address it is 127.0.0.1.
bool dialer_parse_listen(const char *text, struct sys_address *ret_address);
// "rstrm://NAME" or "rstrm:NAME"; NULL: it is none.
const char *dialer_endpoint_name(const char *text);

#endif
