// SPDX-License-Identifier: Apache-2.0
// The engine's rows: clients and tunnels as its events tell them, those events, and numbers of its
// metrics. What a row of a tunnel or a client holds are words that the engine passes on from
// agents.
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/health.h"
#include "health/page/page_row.h"
#include "proto/prometheus_read.h"

#define EVENTS_SHOWN 200
#define LABEL_SIZE 512
#define QUANTILE 0.95

// ---- Objects of events (spec engine, section 8.5)

static const char *const client_fields[] = {"agent", "version", "os", "arch"};
static const char *const tunnel_fields[] = {
    "client_id", "name", "type", "protocol", "hostname", "host", "creation_date"};

static void write_fields(
    struct page_print *row, const json_t *object, const char *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_object_get(object, fields[i]));
        if (text != NULL) {
            page_row_text(row, fields[i], text);
        }
    }
}

static void set_client(struct page *page, const json_t *client)
{
    struct page_print row;
    page_row_begin(&row);
    write_fields(&row, client, client_fields, sizeof client_fields / sizeof client_fields[0]);
    page_row_end(page, PAGE_CLIENTS, slice_str(page_json_text(client, "id")), &row);
}

static void set_tunnel(struct page *page, const json_t *tunnel)
{
    const json_t *publish = json_object_get(tunnel, "publish");
    struct page_print row;
    page_row_begin(&row);
    write_fields(&row, tunnel, tunnel_fields, sizeof tunnel_fields / sizeof tunnel_fields[0]);
    jsonw_bool(&row.json, "publish", !json_is_false(publish));
    page_row_end(page, PAGE_TUNNELS, slice_str(page_json_text(tunnel, "id")), &row);
}

static void set_all(struct page *page, enum page_table table, const json_t *objects,
    void (*set)(struct page *page, const json_t *object))
{
    size_t index;
    json_t *object;
    page_renew_begin(&page->tables, table);
    json_array_foreach(objects, index, object)
    {
        set(page, object);
    }
    page_renew_end(&page->tables, table);
}

// ---- Events

static const char *first_filled(const json_t *object, const char *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = page_json_text(object, fields[i]);
        if (text[0] != '\0') {
            return text;
        }
    }
    return "";
}

// What is told of one object at a time.
struct story {
    const char *key;
    const char *time;
    const char *kind;
    bool tunnel;
};

static void log_story(struct page *page, const json_t *object, const struct story *story)
{
    static const char *const names[] = {"host", "hostname", "name", "agent", "id"};
    char words[PAGE_WORDS_MAX];
    struct page_print row;
    if (story->tunnel) {
        bool private = json_is_false(json_object_get(object, "publish"));
        snprintf(words, sizeof words, "%s of client %s",
            private ? "private" : page_json_text(object, "protocol"),
            page_json_text(object, "client_id"));
    } else {
        snprintf(words, sizeof words, "%s %s %s, client %s", page_json_text(object, "version"),
            page_json_text(object, "os"), page_json_text(object, "arch"),
            page_json_text(object, "id"));
    }
    page_row_begin(&row);
    page_row_text(&row, "time", story->time);
    page_row_text(&row, "kind", story->kind);
    page_row_text(&row, "level", "info");
    page_row_text(&row, "what", first_filled(object, names, sizeof names / sizeof names[0]));
    page_row_text(&row, "words", words);
    page_row_end(page, PAGE_ENGINE_LOG, slice_str(story->key), &row);
    page_trim(&page->tables, PAGE_ENGINE_LOG, EVENTS_SHOWN);
}

// An engine keeps no events, but tells when the tunnels that are there were opened. The event
// itself, if it was heard, is the same row.
static void log_opened(struct page *page, const json_t *tunnel)
{
    char key[PAGE_KEY_MAX];
    snprintf(key, sizeof key, "opened %s", page_json_text(tunnel, "id"));
    log_story(page, tunnel,
        &(struct story){.key = key,
            .time = page_json_text(tunnel, "creation_date"),
            .kind = "tunnel.created",
            .tunnel = true});
}

static void meet_tunnel(struct page *page, const json_t *tunnel)
{
    set_tunnel(page, tunnel);
    log_opened(page, tunnel);
}

static void take_event(struct page *page, const json_t *event, struct slice type)
{
    const json_t *object = json_object_get(event, "object");
    bool tunnel = slice_starts_with(type, SLICE("tunnel."));
    if (!tunnel && !slice_starts_with(type, SLICE("client."))) {
        return; // of a newer engine
    }
    if (slice_ends_with(type, SLICE(".deleted"))) {
        page_unset(&page->tables, tunnel ? PAGE_TUNNELS : PAGE_CLIENTS,
            slice_str(page_json_text(object, "id")));
    } else if (tunnel) {
        set_tunnel(page, object);
    } else {
        set_client(page, object);
    }
    if (slice_eq(type, SLICE("tunnel.created"))) {
        log_opened(page, object);
        return;
    }
    log_story(page, object,
        &(struct story){.key = page_json_text(event, "id"),
            .time = page_json_text(event, "created_at"),
            .kind = page_json_text(event, "type"),
            .tunnel = tunnel});
}

bool page_engine_event(struct page *page, struct slice json)
{
    json_error_t error;
    json_t *event = json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES, &error);
    const json_t *object = json_object_get(event, "object");
    struct slice type = slice_str(page_json_text(event, "type"));
    bool good = json_is_object(object);
    if (good && slice_eq(type, SLICE("state.initial"))) {
        set_all(page, PAGE_CLIENTS, json_object_get(object, "clients"), set_client);
        set_all(page, PAGE_TUNNELS, json_object_get(object, "tunnels"), meet_tunnel);
    } else if (good) {
        take_event(page, event, type);
    }
    json_decref(event);
    page_touch(page);
    return good;
}

// ---- Numbers

struct engine_numbers {
    double streams;
    double requests;
    double to_agent;
    double from_agent;
    double cert_not_after; // 0: not told
    struct page_bucket buckets[PAGE_BUCKETS_MAX];
    size_t bucket_count;
};

// Of single tunnels, which an engine tells where metrics.tunnel_labels lets it.
static void take_streams(
    struct page *page, const struct prometheus_sample *sample, enum page_table table)
{
    char label[LABEL_SIZE];
    if (prometheus_read_label(sample, SLICE("tunnel"), label, sizeof label)) {
        page_row_alone(page, table, slice_str(label), sample->value);
    }
}

static void take_bytes(const struct prometheus_sample *sample, struct engine_numbers *numbers)
{
    char direction[32];
    if (!prometheus_read_label(sample, SLICE("direction"), direction, sizeof direction)) {
        return;
    }
    if (strcmp(direction, "to_agent") == 0) {
        numbers->to_agent += sample->value;
    } else if (strcmp(direction, "from_agent") == 0) {
        numbers->from_agent += sample->value;
    }
}

static void take_bucket(const struct prometheus_sample *sample, struct engine_numbers *numbers)
{
    char bound[32];
    if (numbers->bucket_count < PAGE_BUCKETS_MAX &&
        prometheus_read_label(sample, SLICE("le"), bound, sizeof bound)) {
        numbers->buckets[numbers->bucket_count++] =
            (struct page_bucket){strtod(bound, NULL), sample->value};
    }
}

static void take_number(
    struct page *page, const struct prometheus_sample *sample, struct engine_numbers *numbers)
{
    struct slice name = sample->name;
    if (slice_eq(name, SLICE("weir_engine_tunnel_streams_active"))) {
        take_streams(page, sample, PAGE_STREAMS_LIVE);
    } else if (slice_eq(name, SLICE("weir_engine_tunnel_streams_total"))) {
        take_streams(page, sample, PAGE_STREAMS);
    } else if (slice_eq(name, SLICE("weir_engine_streams_active"))) {
        numbers->streams += sample->value;
    } else if (slice_eq(name, SLICE("weir_engine_http_requests_total"))) {
        numbers->requests += sample->value;
    } else if (slice_eq(name, SLICE("weir_engine_cert_not_after_timestamp_seconds"))) {
        numbers->cert_not_after = sample->value;
    } else if (slice_eq(name, SLICE("weir_engine_stream_bytes_total"))) {
        take_bytes(sample, numbers);
    } else if (slice_eq(name, SLICE("weir_engine_http_request_duration_seconds_bucket"))) {
        take_bucket(sample, numbers);
    }
}

// The bound of the bucket that holds QUANTILE of what came since the last look, in milliseconds;
// negative: nothing came.
static double quantile_ms(const struct page_engine *before, const struct engine_numbers *now)
{
    double total = 0;
    bool comparable = before->bucket_count == now->bucket_count;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; comparable && i < now->bucket_count; i++) {
            double count = now->buckets[i].count - before->buckets[i].count;
            if (pass == 0) {
                total = count > total ? count : total; // they are cumulative
            } else if (total > 0 && count >= total * QUANTILE) {
                return now->buckets[i].bound * 1000;
            }
        }
    }
    return -1;
}

static void set_engine(struct page *page, const struct engine_numbers *numbers, double quantile)
{
    const struct page_engine *engine = &page->engine;
    struct page_print row;
    page_row_begin(&row);
    page_row_number(&row, "streams", numbers->streams, 1);
    page_row_number(&row, "requests", engine->requests.per_second, 10);
    jsonw_bool(&row.json, "slow", quantile > 1e9); // longer than the last bound: +Inf is no JSON
    page_row_number(&row, "p95Ms", quantile > 1e9 ? -1 : quantile, 10);
    page_row_number(&row, "fromVisitors", engine->to_agent.per_second, 1);
    page_row_number(&row, "toVisitors", engine->from_agent.per_second, 1);
    page_row_number(
        &row, "certificateEnds", numbers->cert_not_after > 0 ? numbers->cert_not_after : -1, 1);
    page_row_end(page, PAGE_ENGINE, SLICE("now"), &row);
}

bool page_engine_metrics(struct page *page, struct slice body)
{
    struct page_engine *engine = &page->engine;
    struct engine_numbers numbers = {0};
    struct prometheus_sample sample;
    uint64_t now_ns = worker_now(page->health->worker);
    bool any = false;
    page_renew_begin(&page->tables, PAGE_STREAMS_LIVE);
    page_renew_begin(&page->tables, PAGE_STREAMS);
    while (prometheus_next(&body, &sample)) {
        any = true;
        take_number(page, &sample, &numbers);
    }
    page_renew_end(&page->tables, PAGE_STREAMS_LIVE);
    page_renew_end(&page->tables, PAGE_STREAMS);
    page_touch(page);
    if (!any) {
        page_clear(&page->tables, PAGE_ENGINE);
        return false;
    }
    page_rate_take(&engine->requests, numbers.requests, now_ns);
    page_rate_take(&engine->to_agent, numbers.to_agent, now_ns);
    page_rate_take(&engine->from_agent, numbers.from_agent, now_ns);
    set_engine(page, &numbers, quantile_ms(engine, &numbers));
    memcpy(engine->buckets, numbers.buckets, sizeof engine->buckets);
    engine->bucket_count = numbers.bucket_count;
    return true;
}

void page_engine_rest(struct page *page)
{
    page->engine = (struct page_engine){0};
}
