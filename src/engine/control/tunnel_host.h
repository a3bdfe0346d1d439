// SPDX-License-Identifier: Apache-2.0
// Names of published tunnels: exactly one label under t.<engine host> (spec sections 1.3, 5.4).
#ifndef WEIR_ENGINE_TUNNEL_HOST_H
#define WEIR_ENGINE_TUNNEL_HOST_H

#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"
#include "engine/control/tunnel.h"

// The hostname a request gets: a label; the whole name; or the name that the reference command line
// makes up beside the zone, which is moved into it. WEIR_INVALID: none of these. WEIR_TOO_LARGE:
// the engine's host leaves no room. host is lower case.
enum weir_result tunnel_host_assign(
    struct slice asked, struct slice host, char ret_name[TUNNEL_HOST_SIZE]) WEIR_MUST_CHECK;
// "r", eight hexadecimal digits of random, and the zone.
enum weir_result tunnel_host_generate(
    uint32_t random, struct slice host, char ret_name[TUNNEL_HOST_SIZE]) WEIR_MUST_CHECK;
// Letters, digits and hyphens, 1 to 63, no hyphen at the ends; an xn-- label is valid Punycode
// (RFC 3492) of something that is not ASCII.
bool tunnel_host_label_valid(struct slice label);

#endif
