// SPDX-License-Identifier: Apache-2.0
// The relay's rows: who is there (/state), how it fares (/health), its log, and numbers of
// /metrics. Rates are taken between two answers, and a cell that nothing passes through has a row
// that stays.
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/health.h"
#include "health/page/page_row.h"
#include "proto/prometheus_read.h"
#include "sys/clock.h"

#define LINES_SHOWN 500
#define CELL_NAME_SIZE PAGE_KEY_MAX
#define CELLS_MAX 20000
#define FAILURES_MAX 64
#define CLOCKS_APART_MS 5000 // what the start may move by between two answers
#define LINE_KEY_SIZE 32
#define DETAILS_SIZE (PAGE_WORDS_MAX + 1)

struct cell_rate {
    struct map_node node; // by name
    struct page_rate frames;
    uint64_t round;
    char name[]; // ends with NUL
};

void page_rate_take(struct page_rate *rate, double value, uint64_t now_ns)
{
    bool known = rate->at_ns != 0 && now_ns > rate->at_ns && value >= rate->last;
    rate->per_second = known ? (value - rate->last) * 1e9 / (double)(now_ns - rate->at_ns) : -1;
    rate->last = value;
    rate->at_ns = now_ns;
}

static void copy_text(char *text, size_t size, const json_t *object, const char *key)
{
    snprintf(text, size, "%s", page_json_text(object, key));
}

static json_t *read_object(struct slice body)
{
    json_error_t error;
    json_t *root = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

static void set_relay(struct page *page)
{
    const struct page_relay *relay = &page->relay;
    struct page_print row;
    page_row_begin(&row);
    page_row_text(&row, "relayId", relay->id);
    page_row_text(&row, "backplaneMode", relay->backplane);
    jsonw_bool(&row.json, "ok", relay->ok);
    page_row_text(&row, "downSince", relay->down_since[0] == '\0' ? NULL : relay->down_since);
    page_row_text(&row, "problem", relay->problem[0] == '\0' ? NULL : relay->problem);
    view_write_time(&row.json, "startedAt", relay->started_wall_ms);
    jsonw_u64(&row.json, "connections", relay->connections);
    jsonw_u64(&row.json, "cells", relay->cell_count);
    jsonw_u64(&row.json, "daemons", relay->daemon_count);
    page_row_number(&row, "queuedBytes", relay->queued_bytes, 1);
    page_row_number(&row, "toDaemons", relay->to_daemons.per_second, 10);
    page_row_number(&row, "toClients", relay->to_clients.per_second, 10);
    page_row_end(page, PAGE_RELAY, SLICE("now"), &row);
}

// ---- Cells

// NULL without memory, or when there are too many: the cell has no rate then.
static struct cell_rate *rate_of(struct page_relay *relay, struct slice name)
{
    struct map_node *node = map_find(&relay->cells, name);
    if (node != NULL) {
        return container_of(node, struct cell_rate, node);
    }
    struct cell_rate *cell =
        relay->cells.count < CELLS_MAX ? mem_zalloc(sizeof *cell + name.len + 1) : NULL;
    if (cell == NULL) {
        return NULL;
    }
    memcpy(cell->name, name.at, name.len);
    if (map_insert(&relay->cells, &cell->node, slice_of(cell->name, name.len)) != WEIR_OK) {
        mem_free(cell);
        return NULL;
    }
    return cell;
}

// Those of an earlier round, or all.
static void drop_cells(struct page_relay *relay, bool all)
{
    struct map_node *node = map_next(&relay->cells, NULL);
    while (node != NULL) {
        struct cell_rate *cell = container_of(node, struct cell_rate, node);
        node = map_next(&relay->cells, node);
        if (all || cell->round != relay->round) {
            map_remove(&relay->cells, &cell->node);
            mem_free(cell);
        }
    }
}

static double frames_of(const json_t *daemons)
{
    double frames = 0;
    size_t index;
    json_t *daemon;
    json_array_foreach(daemons, index, daemon)
    {
        frames += json_number_value(json_object_get(daemon, "framesIn"));
        frames += json_number_value(json_object_get(daemon, "framesOut"));
    }
    return frames;
}

static void set_cell(struct page *page, const json_t *cell)
{
    struct page_relay *relay = &page->relay;
    const char *target = page_json_text(cell, "runtimeTargetId");
    const json_t *daemons = json_object_get(cell, "daemons");
    const json_t *daemon = json_array_get(daemons, 0);
    bool connected = json_is_true(json_object_get(cell, "daemonConnected"));
    char name[CELL_NAME_SIZE];
    struct page_print row;
    snprintf(name, sizeof name, "%s%s%s", page_json_text(cell, "workspaceId"),
        target[0] == '\0' ? "" : ":", target);
    struct cell_rate *rate = rate_of(relay, slice_str(name));
    if (rate != NULL) {
        rate->round = relay->round;
        page_rate_take(&rate->frames, frames_of(daemons), worker_now(page->health->worker));
    }
    relay->daemon_count += connected;
    page_row_begin(&row);
    jsonw_bool(&row.json, "daemonConnected", connected);
    jsonw_i64(&row.json, "clientCount", json_integer_value(json_object_get(cell, "clientCount")));
    page_row_text(&row, "connectedAt", json_string_value(json_object_get(daemon, "connectedAt")));
    page_row_text(&row, "installId", json_string_value(json_object_get(daemon, "installId")));
    page_row_number(&row, "framesPerSecond", rate == NULL ? -1 : rate->frames.per_second, 10);
    page_row_end(page, PAGE_CELLS, slice_str(name), &row);
}

// The relay tells for how long it is up; the moment it started does not change.
static void take_start(struct page_relay *relay, const json_t *root)
{
    uint64_t now_ms = sys_wall_ms();
    double up_ms = json_number_value(json_object_get(root, "uptimeMs"));
    uint64_t started_ms = up_ms >= 0 && up_ms < (double)now_ms ? now_ms - (uint64_t)up_ms : now_ms;
    if (started_ms > relay->started_wall_ms + CLOCKS_APART_MS ||
        started_ms + CLOCKS_APART_MS < relay->started_wall_ms) {
        relay->started_wall_ms = started_ms;
    }
}

bool page_relay_state(struct page *page, struct slice body)
{
    struct page_relay *relay = &page->relay;
    json_t *root = read_object(body);
    const json_t *cells = json_object_get(root, "workspaces");
    json_int_t connections = json_integer_value(json_object_get(root, "totalConnections"));
    size_t index;
    json_t *cell;
    if (!json_is_array(cells) || connections < 0) {
        json_decref(root);
        return false;
    }
    copy_text(relay->id, sizeof relay->id, root, "relayId");
    copy_text(relay->backplane, sizeof relay->backplane, root, "backplaneMode");
    take_start(relay, root);
    relay->connections = (uint64_t)connections;
    relay->cell_count = json_array_size(cells);
    relay->daemon_count = 0;
    relay->round++;
    page_renew_begin(&page->tables, PAGE_CELLS);
    json_array_foreach(cells, index, cell)
    {
        set_cell(page, cell);
    }
    page_renew_end(&page->tables, PAGE_CELLS);
    drop_cells(relay, false);
    json_decref(root);
    set_relay(page);
    page_touch(page);
    return true;
}

bool page_relay_health(struct page *page, struct slice body)
{
    struct page_relay *relay = &page->relay;
    json_t *root = read_object(body);
    if (root == NULL) {
        return false;
    }
    relay->ok = json_is_true(json_object_get(root, "ok"));
    copy_text(relay->down_since, sizeof relay->down_since, root, "backplaneDownSince");
    copy_text(relay->problem, sizeof relay->problem, root, "backplaneProblem");
    json_decref(root);
    set_relay(page);
    page_touch(page);
    return true;
}

// ---- The log

// "key=value key=value", cut where there is no more room.
static void write_details(json_t *details, char text[DETAILS_SIZE])
{
    size_t len = 0;
    const char *key;
    json_t *value;
    text[0] = '\0';
    json_object_foreach(details, key, value)
    {
        char shown[DETAILS_SIZE] = "";
        if (json_is_string(value)) {
            snprintf(shown, sizeof shown, "%s", json_string_value(value));
        } else {
            size_t size =
                json_dumpb(value, shown, sizeof shown - 1, JSON_ENCODE_ANY | JSON_COMPACT);
            shown[size < sizeof shown ? size : 0] = '\0';
        }
        int more =
            snprintf(text + len, DETAILS_SIZE - len, "%s%s=%s", len == 0 ? "" : " ", key, shown);
        if (more < 0 || len + (size_t)more >= DETAILS_SIZE) {
            return;
        }
        len += (size_t)more;
    }
}

// Lines have no names of their own: what they say is one, and how often it was said before.
struct line_names {
    uint64_t hashes[LINES_SHOWN];
    size_t count;
};

static void name_line(struct line_names *names, uint64_t hash, char key[LINE_KEY_SIZE])
{
    unsigned before = 0;
    for (size_t i = 0; i < names->count; i++) {
        before += names->hashes[i] == hash;
    }
    names->hashes[names->count++] = hash;
    snprintf(key, LINE_KEY_SIZE, "%016" PRIx64 "-%u", hash, before);
}

static void set_line(struct page *page, const json_t *line, struct line_names *names)
{
    char words[DETAILS_SIZE];
    char key[LINE_KEY_SIZE];
    struct page_print row;
    write_details(json_object_get(line, "details"), words);
    page_row_begin(&row);
    page_row_text(&row, "time", page_json_text(line, "ts"));
    page_row_text(&row, "kind", page_json_text(line, "event"));
    page_row_text(&row, "level", page_json_text(line, "level"));
    page_row_text(&row, "words", words);
    struct slice text = buf_slice(&row.out);
    name_line(names, siphash(&page->health->worker->seed, text.at, text.len), key);
    page_row_end(page, PAGE_RELAY_LOG, slice_str(key), &row);
}

bool page_relay_logs(struct page *page, struct slice body)
{
    json_t *root = read_object(body);
    const json_t *lines = json_object_get(root, "logs");
    struct line_names names = {.count = 0};
    size_t count = json_array_size(lines);
    if (!json_is_array(lines)) {
        json_decref(root);
        return false;
    }
    page_renew_begin(&page->tables, PAGE_RELAY_LOG);
    for (size_t i = count > LINES_SHOWN ? count - LINES_SHOWN : 0; i < count; i++) {
        set_line(page, json_array_get(lines, i), &names);
    }
    page_renew_end(&page->tables, PAGE_RELAY_LOG);
    json_decref(root);
    page_touch(page);
    return true;
}

// ---- Numbers

struct relay_numbers {
    double queued;
    double to_daemons;
    double to_clients;
    unsigned failures;
    bool any;
};

static void take_failure(
    struct page *page, const struct prometheus_sample *sample, struct relay_numbers *numbers)
{
    char reason[64];
    if (sample->value > 0 && numbers->failures < FAILURES_MAX &&
        prometheus_read_label(sample, SLICE("reason"), reason, sizeof reason)) {
        numbers->failures++;
        page_row_alone(page, PAGE_FAILURES, slice_str(reason), sample->value);
    }
}

static void take_number(
    struct page *page, const struct prometheus_sample *sample, struct relay_numbers *numbers)
{
    const struct {
        struct slice name;
        double *sum;
    } wanted[] = {
        {SLICE("relay_outbound_queue_bytes"), &numbers->queued},
        {SLICE("relay_frames_client_to_daemon_total"), &numbers->to_daemons},
        {SLICE("relay_frames_daemon_to_clients_total"), &numbers->to_clients},
    };
    numbers->any = true;
    if (slice_eq(sample->name, SLICE("relay_handshake_failures_total"))) {
        take_failure(page, sample, numbers);
        return;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (slice_eq(sample->name, wanted[i].name)) {
            *wanted[i].sum += sample->value;
        }
    }
}

bool page_relay_metrics(struct page *page, struct slice body)
{
    struct page_relay *relay = &page->relay;
    struct relay_numbers numbers = {0};
    struct prometheus_sample sample;
    uint64_t now_ns = worker_now(page->health->worker);
    page_renew_begin(&page->tables, PAGE_FAILURES);
    while (prometheus_next(&body, &sample)) {
        take_number(page, &sample, &numbers);
    }
    page_renew_end(&page->tables, PAGE_FAILURES);
    if (!numbers.any) {
        return false;
    }
    relay->queued_bytes = numbers.queued;
    page_rate_take(&relay->to_daemons, numbers.to_daemons, now_ns);
    page_rate_take(&relay->to_clients, numbers.to_clients, now_ns);
    set_relay(page);
    page_touch(page);
    return true;
}

// ---- Life

void page_relay_start(struct page *page)
{
    map_init(&page->relay.cells, &page->health->worker->seed);
}

void page_relay_rest(struct page *page)
{
    const struct siphash_key seed = page->relay.cells.seed;
    drop_cells(&page->relay, true);
    map_fini(&page->relay.cells);
    page->relay = (struct page_relay){0};
    map_init(&page->relay.cells, &seed);
}
