// SPDX-License-Identifier: Apache-2.0
// What is kept of one service's results: the newest ones each, and sums over five minutes for a day
// and over an hour for thirty days (spec section 8). Bounded; grows as it is needed. Pure.
#ifndef WEIR_HEALTH_SERIES_H
#define WEIR_HEALTH_SERIES_H

#include <stddef.h>

#include "base/result.h"
#include "health/state.h"

#define SERIES_RESULTS_MAX 1024

enum series_step { STEP_FIVE_MINUTES, STEP_HOUR };
#define SERIES_STEP_COUNT 2
// Seconds of a bucket.
uint32_t series_step_s(enum series_step step);

struct series_result {
    uint32_t wall_s;
    uint32_t latency_us;
    uint16_t wall_ms; // the rest of the time
    uint16_t code;
    uint8_t outcome; // enum check_outcome
    uint8_t status;  // enum health_status, after it
};

struct series_bucket {
    uint32_t start_s; // since 1970, a multiple of its step
    uint32_t checks;
    uint32_t failures;
    float sum_ms; // of passes
    float max_ms;
    uint8_t worst; // enum health_status that was seen, the worst by its order in rollups
};

// A ring that grows to a bound.
struct series_ring {
    void *items; // owned
    size_t size;
    size_t count;
    size_t next;
};

struct series {
    struct series_ring results;
    struct series_ring buckets[SERIES_STEP_COUNT];
};

// The worse of two, by its order in rollups.
enum health_status series_worse(enum health_status a, enum health_status b);

void series_fini(struct series *series);
// Without memory the oldest goes earlier, or the result is not kept at all.
void series_add(struct series *series, const struct series_result *result, bool passed);
// A bucket as it was stored; to be called from the oldest on.
void series_restore(
    struct series *series, enum series_step step, const struct series_bucket *bucket);
// The index-th newest, from 0; NULL past the oldest.
const struct series_result *series_newest(const struct series *series, size_t index);
const struct series_bucket *series_bucket(
    const struct series *series, enum series_step step, size_t index);

#endif
