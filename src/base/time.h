// SPDX-License-Identifier: Apache-2.0
// Time inside weir is monotonic nanoseconds in a uint64_t; wall clock is milliseconds since 1970
// and is only shown, signed or compared with what others say.
#ifndef WEIR_BASE_TIME_H
#define WEIR_BASE_TIME_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define TIME_NEVER UINT64_MAX

static inline uint64_t time_from_ms(uint64_t ms)
{
    return ms * NS_PER_MS;
}

#define TIME_ISO_SIZE 32
// "2026-11-21T01:28:06.456Z" of wall-clock milliseconds; "" behind the year 9999.
void time_to_iso(uint64_t wall_ms, char text[TIME_ISO_SIZE]);
// Reads "2026-11-21T01:28:06.456Z" and what ISO 8601 allows beside it: a blank for the T, no
// fraction, no seconds, no time at all, an offset "+01:00" or "+0100" for the Z; without a zone it
// is UTC. WEIR_MALFORMED for anything else, and for years before 1970.
enum weir_result time_from_iso(struct slice text, uint64_t *ret_wall_ms) WEIR_MUST_CHECK;

#endif
