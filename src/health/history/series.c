// SPDX-License-Identifier: Apache-2.0
// 1. The buckets of a ring are in the order of their times; one that is older than the newest (the
//    clock was set back) is counted in the newest.
// 2. A ring grows only while it has not turned, so that growing keeps the order.
#include "health/history/series.h"

#include <string.h>

#include "base/mem.h"

#define SIZE_FIRST 16

static const struct {
    uint32_t seconds;
    size_t max;
} steps[SERIES_STEP_COUNT] = {
    [STEP_FIVE_MINUTES] = {300, 288}, // a day
    [STEP_HOUR] = {3600, 720},        // thirty days
};

uint32_t series_step_s(enum series_step step)
{
    return steps[step].seconds;
}

// ---- Rings

static void *ring_at(const struct series_ring *ring, size_t item_size, size_t index)
{
    if (index >= ring->count) {
        return NULL;
    }
    return (char *)ring->items + (ring->next + ring->size - 1 - index) % ring->size * item_size;
}

static void ring_grow(struct series_ring *ring, size_t item_size, size_t max)
{
    size_t size = ring->size == 0 ? SIZE_FIRST : 2 * ring->size;
    size = size > max ? max : size;
    void *items = size == ring->size ? NULL : mem_realloc(ring->items, size * item_size);
    if (items != NULL) {
        ring->items = items;
        ring->size = size;
        ring->next = ring->count;
    }
}

static void ring_push(struct series_ring *ring, size_t item_size, size_t max, const void *item)
{
    if (ring->count == ring->size && (ring->size == 0 || ring->next % ring->size == 0)) {
        ring_grow(ring, item_size, max);
    }
    if (ring->size == 0) {
        return;
    }
    ring->next %= ring->size;
    memcpy((char *)ring->items + ring->next++ * item_size, item, item_size);
    ring->count += ring->count < ring->size;
}

// ---- Series

void series_fini(struct series *series)
{
    mem_free(series->results.items);
    for (unsigned step = 0; step < SERIES_STEP_COUNT; step++) {
        mem_free(series->buckets[step].items);
    }
    *series = (struct series){0};
}

static struct series_bucket *newest_bucket(struct series *series, enum series_step step)
{
    return ring_at(&series->buckets[step], sizeof(struct series_bucket), 0);
}

void series_restore(
    struct series *series, enum series_step step, const struct series_bucket *bucket)
{
    struct series_bucket *newest = newest_bucket(series, step);
    if (newest == NULL || bucket->start_s > newest->start_s) {
        ring_push(&series->buckets[step], sizeof *bucket, steps[step].max, bucket);
    }
}

// Unhealthy > degraded > unknown > healthy.
static unsigned gravity(unsigned status)
{
    static const unsigned gravities[HEALTH_STATUS_COUNT] = {
        [HEALTH_HEALTHY] = 0, [HEALTH_UNKNOWN] = 1, [HEALTH_DEGRADED] = 2, [HEALTH_UNHEALTHY] = 3};
    return gravities[status];
}

enum health_status series_worse(enum health_status a, enum health_status b)
{
    return gravity(b) > gravity(a) ? b : a;
}

static void count(struct series_bucket *bucket, const struct series_result *result, bool passed)
{
    float ms = (float)result->latency_us / 1000;
    bool first = bucket->checks == 0;
    bucket->checks++;
    bucket->failures += !passed;
    if (passed) {
        bucket->sum_ms += ms;
        bucket->max_ms = ms > bucket->max_ms ? ms : bucket->max_ms;
    }
    if (first || gravity(result->status) > gravity(bucket->worst)) {
        bucket->worst = result->status;
    }
}

void series_add(struct series *series, const struct series_result *result, bool passed)
{
    ring_push(&series->results, sizeof *result, SERIES_RESULTS_MAX, result);
    for (unsigned step = 0; step < SERIES_STEP_COUNT; step++) {
        struct series_bucket fresh = {
            .start_s = result->wall_s - result->wall_s % steps[step].seconds};
        series_restore(series, step, &fresh);
        struct series_bucket *bucket = newest_bucket(series, step);
        if (bucket != NULL) {
            count(bucket, result, passed);
        }
    }
}

const struct series_result *series_newest(const struct series *series, size_t index)
{
    return ring_at(&series->results, sizeof(struct series_result), index);
}

const struct series_bucket *series_bucket(
    const struct series *series, enum series_step step, size_t index)
{
    return ring_at(&series->buckets[step], sizeof(struct series_bucket), index);
}
