// SPDX-License-Identifier: Apache-2.0
// How the API was used: requests by route, method and status, and how long they took. Pure data on
// the monitor's worker.
#ifndef WEIR_HEALTH_API_STATS_H
#define WEIR_HEALTH_API_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    API_ROW_COUNT = 0
#define API_ROUTE(method, path, access, handler, summary) +1
#include "health/api/api_routes.def"
#undef API_ROUTE
};

#define API_STATUS_COUNT 23
#define API_BUCKET_COUNT 8
#define API_MINUTES 5

// The last one is that of all others.
extern const unsigned api_statuses[API_STATUS_COUNT];
// Seconds.
extern const double api_bounds[API_BUCKET_COUNT];

// Of one route; HEAD is counted beside GET.
struct api_row_stats {
    uint64_t statuses[2][API_STATUS_COUNT]; // by `head`
    uint64_t durations[API_BUCKET_COUNT + 1];
    double seconds;
};

struct api_stats {
    struct api_row_stats rows[API_ROW_COUNT + 1]; // the last one: requests for no route
    struct {
        uint64_t minute; // since the clock's start
        unsigned requests;
        unsigned errors; // 500 and above
    } minutes[API_MINUTES];
};

void api_stats_add(struct api_stats *stats, size_t row, bool head, unsigned status,
    uint64_t duration_ns, uint64_t now_ns);
// The share of the last minutes' requests that ended with 500 or above; 0 of none.
double api_stats_error_rate(const struct api_stats *stats, uint64_t now_ns);

#endif
