// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_RESOLVE_H
#define WEIR_SYS_RESOLVE_H

#include <stddef.h>

#include "base/ip.h"
#include "base/result.h"

#define SYS_RESOLVE_MAX 8

// Asks the system's resolver, which may take many seconds: never on a worker's thread. Names below
// localhost are localhost (RFC 6761 section 6.3). Addresses come in the order to try them. WEIR_NOT_FOUND: there is no such name; WEIR_UNREACHABLE: nobody
// could say.
enum weir_result sys_resolve(
    const char *name, struct ip ret_ips[SYS_RESOLVE_MAX], size_t *ret_count) WEIR_MUST_CHECK;

#endif
