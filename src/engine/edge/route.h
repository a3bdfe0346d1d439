// SPDX-License-Identifier: Apache-2.0
// Whom a request is for, by its authority (spec section 6.2). No I/O.
#ifndef WEIR_ENGINE_ROUTE_H
#define WEIR_ENGINE_ROUTE_H

#include "base/hostname.h"
#include "base/slice.h"

enum route {
    ROUTE_BAD,     // no host at all
    ROUTE_API,     // the engine's own name
    ROUTE_TUNNEL,  // one label in front of ".t." and the engine's name
    ROUTE_OUTSIDE, // no name of ours
};

// engine_host is lower case and without a trailing dot. host gets the name that was asked for, in
// the form that directory_by_host wants; of no meaning for ROUTE_BAD.
enum route route_of(
    struct slice authority, struct slice engine_host, char host[HOSTNAME_SIZE], size_t *ret_len);

#endif
