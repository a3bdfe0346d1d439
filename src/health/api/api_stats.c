// SPDX-License-Identifier: Apache-2.0
#include "health/api/api_stats.h"

#include "base/time.h"

#define MINUTE_NS (60 * NS_PER_S)
#define OTHER 0

const unsigned api_statuses[API_STATUS_COUNT] = {101, 200, 202, 204, 302, 304, 400, 401, 403, 404,
    405, 408, 409, 411, 413, 421, 422, 429, 431, 500, 501, 503, OTHER};

const double api_bounds[API_BUCKET_COUNT] = {0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1, 10};

static size_t status_index(unsigned status)
{
    size_t i = 0;
    while (i + 1 < API_STATUS_COUNT && api_statuses[i] != status) {
        i++;
    }
    return i;
}

static size_t bucket_index(double seconds)
{
    size_t i = 0;
    while (i < API_BUCKET_COUNT && seconds > api_bounds[i]) {
        i++;
    }
    return i;
}

void api_stats_add(struct api_stats *stats, size_t row, bool head, unsigned status,
    uint64_t duration_ns, uint64_t now_ns)
{
    struct api_row_stats *of_row = &stats->rows[row];
    double seconds = (double)duration_ns / (double)NS_PER_S;
    uint64_t minute = now_ns / MINUTE_NS;
    size_t slot = minute % API_MINUTES;
    of_row->statuses[head][status_index(status)]++;
    of_row->durations[bucket_index(seconds)]++;
    of_row->seconds += seconds;
    if (stats->minutes[slot].minute != minute) {
        stats->minutes[slot].minute = minute;
        stats->minutes[slot].requests = stats->minutes[slot].errors = 0;
    }
    stats->minutes[slot].requests++;
    stats->minutes[slot].errors += status >= 500;
}

double api_stats_error_rate(const struct api_stats *stats, uint64_t now_ns)
{
    uint64_t minute = now_ns / MINUTE_NS;
    double requests = 0;
    double errors = 0;
    for (size_t i = 0; i < API_MINUTES; i++) {
        if (minute - stats->minutes[i].minute < API_MINUTES) {
            requests += stats->minutes[i].requests;
            errors += stats->minutes[i].errors;
        }
    }
    return requests > 0 ? errors / requests : 0;
}
