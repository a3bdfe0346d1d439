// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next attempt: not at all for the first, then a random part of a bound
// that doubles, all of it unless said otherwise ("full jitter"), so that a thousand agents of one
// engine do not come back at once (spec section 12).
#ifndef WEIR_AGENT_BACKOFF_H
#define WEIR_AGENT_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint32_t min_ms; // bound of the first wait
    uint32_t max_ms;
    uint32_t attempts; // that failed in a row
    uint32_t jitter;   // percent of a wait that are random, downward; 0: 100
};

// After one more failure; random is any number. Milliseconds.
static inline uint32_t backoff_next(struct backoff *backoff, uint32_t random)
{
    uint32_t failed = backoff->attempts++;
    uint64_t bound = failed == 0 ? 0 : (uint64_t)backoff->min_ms << (failed < 32 ? failed - 1 : 31);
    bound = bound < backoff->max_ms ? bound : backoff->max_ms;
    uint64_t part = backoff->jitter == 0 ? bound : bound * backoff->jitter / 100;
    return (uint32_t)(bound - part + random % (part + 1));
}

#endif
