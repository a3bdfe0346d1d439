// SPDX-License-Identifier: Apache-2.0
// What was: buckets of a service over a range, and its newest results (spec sections 4.3, 8).
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define LIMIT_MAX 100

struct range {
    const char *name;
    uint32_t seconds;
    enum series_step step; // the coarsest that shows it well
};

static const struct range ranges[] = {
    {"1h", 3600, STEP_FIVE_MINUTES},
    {"6h", 6 * 3600, STEP_FIVE_MINUTES},
    {"24h", 24 * 3600, STEP_FIVE_MINUTES},
    {"7d", 7 * 86400, STEP_HOUR},
    {"30d", 30 * 86400, STEP_HOUR},
};

// Another step than the range's own: "5m" or "1h", or in seconds. False after a 422.
static bool read_step(struct api_request *request, struct range *range)
{
    char text[16];
    api_text(request, "step", text, sizeof text);
    if (strcmp(text, "5m") == 0 || strcmp(text, "300") == 0) {
        range->step = STEP_FIVE_MINUTES;
    } else if (strcmp(text, "1h") == 0 || strcmp(text, "3600") == 0) {
        range->step = STEP_HOUR;
    } else if (text[0] != '\0') {
        api_answer_parameter(request, "step", "Input should be 5m or 1h");
        return false;
    }
    return true;
}

// NULL after a 422.
static const struct range *read_range(struct api_request *request)
{
    char text[16];
    api_text(request, "range", text, sizeof text);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (strcmp(text[0] == '\0' ? "24h" : text, ranges[i].name) == 0) {
            return &ranges[i];
        }
    }
    api_answer_parameter(request, "range", "Input should be 1h, 6h, 24h, 7d or 30d");
    return NULL;
}

// ---- Newest results

void api_write_results(const struct health *health, const struct target *target,
    struct json_writer *writer, const char *key, size_t max)
{
    const struct series *series = history_series(&health->history, target);
    jsonw_array_begin(writer, key);
    for (size_t i = 0; series != NULL && i < max; i++) {
        const struct series_result *result = series_newest(series, i);
        if (result == NULL) {
            break;
        }
        jsonw_object_begin(writer, NULL);
        view_write_time(writer, "time", (uint64_t)result->wall_s * 1000 + result->wall_ms);
        jsonw_bool(writer, "ok", check_outcome_passed(result->outcome));
        jsonw_double(writer, "latency_ms", (double)result->latency_us / 1000);
        jsonw_u64(writer, "code", result->code);
        jsonw_text(writer, "status", health_status_name(result->status));
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

void api_diagnostics_history(struct api_request *request)
{
    struct health *health = request->health;
    const struct target *target = monitor_find(
        &health->monitor, slice_str(request->path.text[0]), slice_str(request->path.text[1]));
    const struct series *series = target == NULL ? NULL : history_series(&health->history, target);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    int64_t limit;
    if (!api_number(request, "limit", 50, &limit)) {
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_array_begin(&writer, NULL);
    for (int64_t i = 0; series != NULL && i < limit && i < LIMIT_MAX; i++) {
        const struct series_result *result = series_newest(series, (size_t)i);
        if (result == NULL) {
            break;
        }
        bool passed = check_outcome_passed(result->outcome);
        uint64_t wall_ms = (uint64_t)result->wall_s * 1000 + result->wall_ms;
        char id[32];
        snprintf(id, sizeof id, "%llu", (unsigned long long)wall_ms);
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "id", id);
        jsonw_text(&writer, "service", target->service->name);
        jsonw_text(&writer, "machine", target->service->machine->name);
        view_write_time(&writer, "timestamp", wall_ms);
        jsonw_u64(&writer, "health_score", passed ? 100 : 0);
        jsonw_u64(&writer, "problems_found", !passed);
        jsonw_u64(&writer, "problems_resolved", 0);
        jsonw_double(&writer, "duration_seconds", (double)result->latency_us / 1e6);
        jsonw_object_end(&writer);
    }
    jsonw_array_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- Buckets

static int compare_latency(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a;
    uint32_t second = *(const uint32_t *)b;
    return first < second ? -1 : first > second;
}

// Of the bucket's passes; negative when not all of its results are kept one by one.
static double p95_ms(
    const struct series *series, const struct series_bucket *bucket, uint32_t seconds)
{
    uint32_t latencies[SERIES_RESULTS_MAX];
    const struct series_result *result;
    size_t count = 0;
    uint32_t seen = 0;
    for (size_t i = 0; (result = series_newest(series, i)) != NULL; i++) {
        if (result->wall_s < bucket->start_s) {
            break;
        }
        if (result->wall_s - bucket->start_s < seconds) {
            seen++;
            if (check_outcome_passed(result->outcome)) {
                latencies[count++] = result->latency_us;
            }
        }
    }
    if (count == 0 || seen < bucket->checks) {
        return VIEW_NONE;
    }
    qsort(latencies, count, sizeof latencies[0], compare_latency);
    return (double)latencies[(count * 95 + 99) / 100 - 1] / 1000;
}

static void put_ms(struct json_writer *writer, const char *key, double ms)
{
    if (ms < 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_double(writer, key, (double)(int64_t)(ms * 1000 + 0.5) / 1000);
    }
}

static void write_bucket(struct json_writer *writer, const struct series *series,
    const struct series_bucket *bucket, uint32_t seconds)
{
    uint32_t passes = bucket->checks - bucket->failures;
    jsonw_object_begin(writer, NULL);
    view_write_time(writer, "t", (uint64_t)bucket->start_s * 1000);
    jsonw_u64(writer, "checks", bucket->checks);
    jsonw_u64(writer, "failures", bucket->failures);
    put_ms(writer, "avg_ms", passes == 0 ? VIEW_NONE : (double)bucket->sum_ms / passes);
    put_ms(writer, "p95_ms", p95_ms(series, bucket, seconds));
    put_ms(writer, "max_ms", passes == 0 ? VIEW_NONE : (double)bucket->max_ms);
    jsonw_text(writer, "state", health_status_name(bucket->worst));
    jsonw_object_end(writer);
}

static void write_buckets(struct json_writer *writer, const struct series *series,
    const struct range *range, uint32_t since_s)
{
    size_t count = 0;
    const struct series_bucket *bucket;
    while (series != NULL && (bucket = series_bucket(series, range->step, count)) != NULL &&
           bucket->start_s + series_step_s(range->step) > since_s) {
        count++;
    }
    jsonw_array_begin(writer, "buckets");
    while (count > 0) {
        write_bucket(writer, series, series_bucket(series, range->step, --count),
            series_step_s(range->step));
    }
    jsonw_array_end(writer);
}

void api_history(struct api_request *request)
{
    struct health *health = request->health;
    char machine[API_PART_SIZE];
    api_text(request, "machine", machine, sizeof machine);
    const struct range *asked = read_range(request);
    struct range range = asked == NULL ? (struct range){NULL} : *asked;
    if (asked == NULL || !read_step(request, &range)) {
        return;
    }
    const struct target *target =
        monitor_find(&health->monitor, slice_str(request->path.text[0]), slice_str(machine));
    if (target == NULL) {
        api_answer_error(request, 404, "Service not found");
        return;
    }
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    uint32_t now_s = (uint32_t)(sys_wall_ms() / 1000);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", target->service->name);
    jsonw_text(&writer, "machine", target->service->machine->name);
    jsonw_text(&writer, "range", range.name);
    jsonw_u64(&writer, "step", series_step_s(range.step));
    write_buckets(&writer, history_series(&health->history, target), &range, now_s - range.seconds);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- What the page draws beside every service

#define STRIP_RESULTS 60
#define STRIP_CELLS 48 // half hours of a day
#define CELL_S 1800
#define STRIPS_MAX 100
#define STRIPS_TEXT_MAX 16384

static void write_latencies(struct json_writer *writer, const struct series *series)
{
    const struct series_result *newest[STRIP_RESULTS];
    size_t count = 0;
    while (series != NULL && count < STRIP_RESULTS &&
           (newest[count] = series_newest(series, count)) != NULL) {
        count++;
    }
    jsonw_array_begin(writer, "latency_ms");
    while (count > 0) {
        const struct series_result *result = newest[--count];
        put_ms(writer, NULL,
            check_outcome_passed(result->outcome) ? (double)result->latency_us / 1000 : VIEW_NONE);
    }
    jsonw_array_end(writer);
}

// The worst that was seen in each half hour; '-': nothing was.
static void write_day(struct json_writer *writer, const struct series *series, uint32_t now_s)
{
    static const char letters[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = '?',
        [HEALTH_UNHEALTHY] = 'u',
        [HEALTH_DEGRADED] = 'd',
        [HEALTH_HEALTHY] = 'h',
    };
    char day[STRIP_CELLS + 1];
    enum health_status worst[STRIP_CELLS];
    const struct series_bucket *bucket;
    uint32_t last_cell = now_s / CELL_S;
    memset(day, '-', STRIP_CELLS);
    day[STRIP_CELLS] = '\0';
    for (size_t i = 0;
         series != NULL && (bucket = series_bucket(series, STEP_FIVE_MINUTES, i)) != NULL; i++) {
        uint32_t back = last_cell - bucket->start_s / CELL_S;
        if (back >= STRIP_CELLS) {
            break;
        }
        size_t cell = STRIP_CELLS - 1 - back;
        bool first = day[cell] == '-';
        worst[cell] = first ? bucket->worst : series_worse(worst[cell], bucket->worst);
        day[cell] = letters[worst[cell]];
    }
    jsonw_text(writer, "day", day);
}

// "service@machine", of which the machine's name has no '@'.
static const struct target *target_of(struct health *health, struct slice text)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.at[i - 1] == '@') {
            return monitor_find(
                &health->monitor, slice_of(text.at, i - 1), slice_skip(text, i));
        }
    }
    return NULL;
}

void api_strips(struct api_request *request)
{
    struct health *health = request->health;
    char of[STRIPS_TEXT_MAX];
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    uint32_t now_s = (uint32_t)(sys_wall_ms() / 1000);
    api_text(request, "of", of, sizeof of);
    struct slice rest = slice_str(of);
    struct slice name;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "strips");
    for (size_t i = 0; i < STRIPS_MAX && rest.len > 0 && slice_split(&rest, ',', &name); i++) {
        const struct target *target = target_of(health, name);
        if (target != NULL) {
            const struct series *series = history_series(&health->history, target);
            jsonw_object_begin(&writer, NULL);
            jsonw_text(&writer, "service", target->service->name);
            jsonw_text(&writer, "machine", target->service->machine->name);
            write_latencies(&writer, series);
            write_day(&writer, series, now_s);
            jsonw_object_end(&writer);
        }
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}
