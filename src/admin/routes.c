// SPDX-License-Identifier: Apache-2.0
// What concerns all workers is gathered from them: the request waits, its connection may go first.
#include "admin/routes.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "loop/gather.h"
#include "obs/log.h"
#include "proto/json_write.h"
#include "relay/relay.h"
#include "sys/clock.h"

#define ANSWER_BYTES_MAX (64u * 1024 * 1024)
#define SMALL_BYTES_MAX 4096
#define GATHER_TIMEOUT_NS (2 * NS_PER_S)
#define JSON_TYPE "application/json"

static void answer_text(
    struct http_conn *conn, unsigned status, const char *content_type, struct slice body)
{
    http_answer(conn,
        &(struct http_answer){.status = status, .content_type = content_type, .body = body});
}

static void answer_reason(struct http_conn *conn, unsigned status, const char *reason)
{
    char body[96];
    int len = snprintf(body, sizeof body, "{\"ok\":false,\"reason\":\"%s\"}", reason);
    answer_text(conn, status, JSON_TYPE, slice_of(body, (size_t)len));
}

// Answers with the buffer and empties it.
static void answer_buffer(
    struct http_conn *conn, unsigned status, const char *content_type, struct buf *body)
{
    if (body->failed) {
        answer_reason(conn, 500, "OUT_OF_MEMORY");
    } else {
        answer_text(conn, status, content_type, buf_slice(body));
    }
    buf_reset(body);
}

void admin_not_found(struct http_request *request)
{
    answer_reason(request->conn, 404, "NOT_FOUND");
}

// ---- Who may ask

static struct slice presented_token(const struct http_request *request)
{
    const struct http1_header *header = http1_find(request->head, SLICE("authorization"));
    if (header != NULL && slice_starts_with_nocase(header->value, SLICE("bearer")) &&
        header->value.len > 7 && (header->value.at[6] == ' ' || header->value.at[6] == '\t')) {
        return slice_trim(slice_skip(header->value, 7));
    }
    header = http1_find(request->head, SLICE("x-relay-admin-token"));
    return header == NULL ? SLICE_EMPTY : header->value;
}

static bool token_fits(const struct relay_config *config, struct slice token)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)token.at, token.len, digest);
    return config->has_admin_token && token.len > 0 &&
           CRYPTO_memcmp(digest, config->admin_token_sha256, sizeof digest) == 0;
}

// True: go on. Otherwise the request has been answered.
static bool admit(struct http_request *request)
{
    const struct relay_config *config = relay_of_conn(request->conn)->config;
    if (!config->enable_admin_http) {
        admin_not_found(request);
        return false;
    }
    if (token_fits(config, presented_token(request))) {
        return true;
    }
    char ip[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(&http_peer(request->conn)->ip, ip);
    metrics_count(http_worker(request->conn)->metrics, METRIC_ADMIN_UNAUTHORIZED);
    log_begin(&line, LOG_ADMIN_UNAUTHORIZED);
    log_str(&line, "path", request->path);
    log_text(&line, "ip", ip);
    log_end(&line);
    answer_reason(request->conn, 401, "ADMIN_UNAUTHORIZED");
    return false;
}

// ---- Questions to all workers

struct question {
    struct http_conn *conn;
    struct gather *gather;
    enum exposition exposition;
    bool first_round; // of /metrics: frames in, then frames out; of /state: cells, then backplane
    struct buf page;
};

static void question_free(struct question *question)
{
    buf_reset(&question->page);
    mem_free(question);
}

static void on_conn_gone(void *arg)
{
    struct question *question = arg;
    gather_cancel(question->gather);
    question_free(question);
}

static void ask(struct http_request *request, enum exposition exposition,
    gather_render_fn *render, gather_done_fn *done)
{
    struct question *question = mem_zalloc(sizeof *question);
    if (question == NULL) {
        answer_reason(request->conn, 500, "OUT_OF_MEMORY");
        return;
    }
    *question = (struct question){
        .conn = request->conn, .exposition = exposition, .first_round = true};
    buf_init(&question->page, ANSWER_BYTES_MAX);
    question->gather = gather_start(http_worker(request->conn), ANSWER_BYTES_MAX,
        GATHER_TIMEOUT_NS, render, done, question);
    if (question->gather == NULL) {
        question_free(question);
        answer_reason(request->conn, 500, "OUT_OF_MEMORY");
        return;
    }
    http_wait(request->conn, on_conn_gone, question);
}

static void answer_overload(struct question *question)
{
    answer_reason(question->conn, 503, "WORKER_NOT_RESPONDING");
    question_free(question);
}

// ---- /health

// Local traffic goes on while the way to other relays is down, so that alone is no reason to be
// taken out of service.
static void write_backplane_health(struct json_writer *json, struct relay *relay, bool ok)
{
    char since[TIME_ISO_SIZE];
    bool degraded = atomic_load(&relay->links_down) > 0;
    jsonw_text(json, "status", !ok ? "unavailable" : (degraded ? "degraded" : "ok"));
    if (degraded) {
        time_to_iso(atomic_load(&relay->links_down_since_wall_ms), since);
        jsonw_text(json, "backplaneDownSince", since);
        jsonw_text(json, "backplaneProblem", atomic_load(&relay->link_problem));
    }
}

static void write_health(struct relay *relay, bool ok, struct buf *out)
{
    const struct relay_config *config = relay->config;
    const char *backplane = backplane_mode_name(config->backplane_mode);
    bool reference = config->compat == COMPAT_REFERENCE;
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_bool(&json, "ok", ok);
    jsonw_text(&json, "service", "relay");
    jsonw_u64(&json, "uptimeMs", (sys_now_ns() - relay->crew->started_ns) / NS_PER_MS);
    if (config->health_verbose) {
        const char *security = security_mode_name(config->security_mode);
        jsonw_bool(&json, "tlsEnabled", config->tls_enabled);
        jsonw_text(&json, "relayMode", reference ? security : backplane);
        jsonw_text(&json, "relayId", config->relay_id);
        jsonw_text(&json, "backplaneMode", backplane);
        jsonw_text(&json, "securityMode", security);
    }
    if (config->backplane_mode != BACKPLANE_SINGLE) {
        write_backplane_health(&json, relay, ok);
    }
    jsonw_object_end(&json);
}

static void render_nothing(struct worker *worker, struct buf *out)
{
    (void)worker;
    (void)out;
}

// Healthy: not draining, and every worker's loop turns.
static void on_all_turned(void *arg, const struct buf *pieces, unsigned count, bool complete)
{
    struct question *question = arg;
    struct relay *relay = relay_of_conn(question->conn);
    bool ok = complete && !atomic_load(&relay->draining);
    (void)pieces;
    (void)count;
    write_health(relay, ok, &question->page);
    answer_buffer(question->conn, ok ? 200 : 503, JSON_TYPE, &question->page);
    question_free(question);
}

static void handle_health(struct http_request *request)
{
    ask(request, EXPOSITION_PROMETHEUS, render_nothing, on_all_turned);
}

// ---- /state

static void write_state_head(struct json_writer *json, struct relay *relay)
{
    const struct relay_config *config = relay->config;
    const struct crew *crew = relay->crew;
    jsonw_bool(json, "ok", true);
    jsonw_text(json, "service", "relay");
    jsonw_text(json, "relayMode", security_mode_name(config->security_mode));
    if (config->health_verbose) {
        jsonw_text(json, "serverUrl", config->platform_origin);
        jsonw_bool(json, "tlsEnabled", config->tls_enabled);
        jsonw_text(json, "tlsHost", config->tls_host);
        jsonw_text(json, "wsBaseUrl", config->public_ws_base_url);
    }
    jsonw_text(json, "relayId", config->relay_id);
    jsonw_text(json, "backplaneMode", backplane_mode_name(config->backplane_mode));
    jsonw_bool(json, "busEnabled", config->bus_enabled);
    jsonw_bool(json, "clientRedirectEnabled", config->client_redirect_enabled);
    jsonw_u64(json, "uptimeMs", (sys_now_ns() - crew->started_ns) / NS_PER_MS);
    jsonw_i64(json, "totalConnections",
        metrics_total(crew->metrics, crew->count, METRIC_CONNECTIONS));
}

// The two rounds' pieces, each the members of one array.
static void on_state(void *arg, const struct buf *pieces, unsigned count, bool complete)
{
    struct question *question = arg;
    struct relay *relay = relay_of_conn(question->conn);
    bool alone = relay->config->backplane_mode == BACKPLANE_SINGLE;
    struct json_writer json;
    if (!complete) {
        answer_overload(question);
        return;
    }
    json_writer_init(&json, &question->page);
    if (question->first_round) {
        jsonw_object_begin(&json, NULL);
        write_state_head(&json, relay);
    } else {
        json.need_comma = true;
    }
    jsonw_array_begin(&json, question->first_round ? "workspaces" : "backplane");
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > 0) {
            jsonw_raw(&json, NULL, buf_slice(&pieces[i]));
        }
    }
    jsonw_array_end(&json);
    if (question->first_round && !alone) {
        question->first_round = false;
        question->gather = gather_start(http_worker(question->conn), ANSWER_BYTES_MAX,
            GATHER_TIMEOUT_NS, relay_write_backplane, on_state, question);
        if (question->gather == NULL) {
            answer_overload(question);
        }
        return;
    }
    jsonw_object_end(&json);
    answer_buffer(question->conn, 200, JSON_TYPE, &question->page);
    question_free(question);
}

static void handle_state(struct http_request *request)
{
    if (admit(request)) {
        ask(request, EXPOSITION_PROMETHEUS, relay_write_cells, on_state);
    }
}

// ---- /logs

static void write_time_or_null(struct json_writer *json, const char *key, uint64_t wall_ms)
{
    char text[TIME_ISO_SIZE];
    if (wall_ms == 0) {
        jsonw_null(json, key);
        return;
    }
    time_to_iso(wall_ms, text);
    jsonw_text(json, key, text);
}

static void write_summary(struct json_writer *json)
{
    struct log_summary summary;
    log_summarise(&summary);
    jsonw_object_begin(json, "summary");
    for (enum log_level level = 0; level < LOG_LEVEL_COUNT; level++) {
        jsonw_u64(json, log_level_name(level), summary.counts[level]);
    }
    jsonw_object_end(json);
    jsonw_u64(json, "total", summary.total);
    jsonw_u64(json, "capacity", summary.capacity);
    write_time_or_null(json, "oldest", summary.oldest_wall_ms);
    write_time_or_null(json, "newest", summary.newest_wall_ms);
}

static void handle_logs(struct http_request *request)
{
    char summary[8];
    size_t len;
    if (!admit(request)) {
        return;
    }
    bool brief = http1_query_value(request->query, SLICE("summary"), summary, sizeof summary,
                     &len) == WEIR_OK &&
                 strcmp(summary, "1") == 0;
    struct buf page;
    struct json_writer json;
    buf_init(&page, ANSWER_BYTES_MAX);
    json_writer_init(&json, &page);
    jsonw_object_begin(&json, NULL);
    jsonw_bool(&json, "ok", true);
    if (brief) {
        write_summary(&json);
    }
    jsonw_array_begin(&json, "logs");
    (void)!log_dump(&page, brief); // page.failed says it too
    jsonw_array_end(&json);
    jsonw_object_end(&json);
    answer_buffer(request->conn, 200, JSON_TYPE, &page);
}

// ---- /metrics

// A piece is the count of frames without a label of their own, in eight bytes, and then the samples
// of the labelled ones: the first are to be added up over the workers.
static void render_family(struct worker *worker, enum relay_family family, struct buf *out)
{
    uint64_t other = relay_other_frames(worker, family);
    buf_append(out, &other, sizeof other);
    relay_write_family(worker, family, out);
}

static void render_frames_in(struct worker *worker, struct buf *out)
{
    render_family(worker, RELAY_FRAMES_IN, out);
}

static void render_frames_out(struct worker *worker, struct buf *out)
{
    render_family(worker, RELAY_FRAMES_OUT, out);
}

static void add_pieces(struct question *question, enum metric_family family,
    const struct buf *pieces, unsigned count)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        struct slice piece = buf_slice(&pieces[i]);
        uint64_t other = 0;
        if (piece.len >= sizeof other) {
            memcpy(&other, piece.at, sizeof other);
        }
        total += other;
        buf_append_slice(&question->page, slice_skip(piece, sizeof other));
    }
    if (total > 0) {
        metrics_sample(family, SLICE("_other"), (int64_t)total, &question->page);
    }
}

static void on_frames(void *arg, const struct buf *pieces, unsigned count, bool complete)
{
    struct question *question = arg;
    const struct crew *crew = http_worker(question->conn)->crew;
    if (!complete) {
        answer_overload(question);
        return;
    }
    enum metric_family family = question->first_round ? FAMILY_FRAMES_IN : FAMILY_FRAMES_OUT;
    metrics_family(family, question->exposition, &question->page);
    add_pieces(question, family, pieces, count);
    if (question->first_round) {
        question->first_round = false;
        question->gather = gather_start(http_worker(question->conn), ANSWER_BYTES_MAX,
            GATHER_TIMEOUT_NS, render_frames_out, on_frames, question);
        if (question->gather == NULL) {
            answer_overload(question);
        }
        return;
    }
    metrics_write(crew->metrics, crew->count, question->exposition, &question->page);
    prometheus_end(&question->page, question->exposition);
    answer_buffer(question->conn, 200, prometheus_content_type(question->exposition),
        &question->page);
    question_free(question);
}

static void handle_metrics(struct http_request *request)
{
    if (!admit(request)) {
        return;
    }
    const struct http1_header *accept = http1_find(request->head, SLICE("accept"));
    enum exposition exposition =
        prometheus_choose(accept == NULL ? SLICE_EMPTY : accept->value);
    ask(request, exposition, render_frames_in, on_frames);
}

const struct http_route admin_routes[] = {
    {"/health", "GET", handle_health},
    {"/state", "GET", handle_state},
    {"/logs", "GET", handle_logs},
    {"/metrics", "GET", handle_metrics},
    {NULL, NULL, NULL},
};
