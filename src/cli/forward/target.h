// SPDX-License-Identifier: Apache-2.0
// A local service, or another place to connect to: "HOST:PORT", "PORT" of localhost, "unix:/PATH".
#ifndef WEIR_CLI_TARGET_H
#define WEIR_CLI_TARGET_H

#include "agent/reach.h"

#define TARGET_HOST_SIZE 256

struct target {
    char host[TARGET_HOST_SIZE]; // without brackets; or the path
    uint16_t port;
    bool is_path;
};

// False: it is none, or too long.
bool target_parse(const char *text, struct target *ret_target);
// what: for texts. target and what are borrowed until done. NULL without memory.
struct reach *target_reach(struct worker *worker, const struct target *target,
    const struct reach_options *options) WEIR_MUST_CHECK;

#endif
