// SPDX-License-Identifier: Apache-2.0
#include "relay/worker_transport.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "http/client.h"
#include "obs/log.h"
#include "proto/json_write.h"
#include "relay/routing.h"

#define PATH_BYTES_MAX 4096
#define URL_BYTES_MAX 8192
#define HEADERS_MAX 12
#define HEADER_LINE_MAX 8192

struct request {
    struct list node; // in worker->backend->requests
    struct peer *worker;
    struct http_call *call;
    char *id; // owned
    size_t id_len;
};

// ---- Paths

// encodeURIComponent: what it leaves alone, of the characters an id may have, is all but ':'; ids
// are checked at admission, claims are not, so everything is handled.
static size_t encode_component(const char *text, char *out, size_t size)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool plain = (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= 'a' && *at <= 'z') || strchr("-_.!~*'()", *at) != NULL;
        if (len + 4 > size) {
            return 0;
        }
        if (plain) {
            out[len++] = (char)*at;
        } else {
            out[len++] = '%';
            out[len++] = hex[*at >> 4];
            out[len++] = hex[*at & 15];
        }
    }
    out[len] = '\0';
    return len;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_dots(struct slice segment)
{
    return slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE(".."));
}

// Behind the worker's own prefix. Anything that some server might read as another path: control characters, blanks, bytes beyond
// ASCII, backslashes, fragments, encoded dots, slashes and backslashes, empty and dot segments.
static bool is_plain(struct slice path)
{
    static const char *const encoded[] = {"%2e", "%2f", "%5c", "%00", "%25"};
    for (size_t i = 0; i < path.len; i++) {
        unsigned char byte = (unsigned char)path.at[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '\\' || byte == '#') {
            return false;
        }
    }
    ptrdiff_t mark = slice_find(path, '?');
    struct slice rest = mark < 0 ? path : slice_of(path.at, (size_t)mark);
    for (size_t i = 0; i < sizeof encoded / sizeof encoded[0]; i++) {
        if (slice_contains_nocase(rest, slice_str(encoded[i]))) {
            return false;
        }
    }
    struct slice segment;
    bool first = true;
    while (slice_split(&rest, '/', &segment)) {
        if (is_dots(segment) || (segment.len == 0 && !first && rest.at != NULL)) {
            return false;
        }
        first = false;
    }
    return true;
}

// An id may hold slashes, backslashes and percent signs; they travel encoded. But not such that a
// server that decodes too early, or twice, would read dot segments or an empty one out of it.
static bool is_harmless_id(const char *id)
{
    struct slice part = slice_of(id, 0);
    for (const char *at = id;; at++) {
        if (*at == '%' && is_hex(at[1]) && is_hex(at[2])) {
            return false;
        }
        if (*at != '/' && *at != '\\' && *at != '\0') {
            part.len++;
            continue;
        }
        if (part.len == 0 || is_dots(part)) {
            return false;
        }
        if (*at == '\0') {
            return true;
        }
        part = slice_of(at + 1, 0);
    }
}

// The path begins with the prefix, in whose encoded bytes the case of digits means nothing.
static bool begins_with(struct slice path, struct slice prefix)
{
    unsigned digits = 0;
    for (size_t i = 0; i < prefix.len; i++) {
        char wanted = prefix.at[i];
        char is = i < path.len ? path.at[i] : '\0';
        bool digit = digits > 0;
        digits = wanted == '%' ? 2 : digits - digit;
        if (is != wanted && !(digit && (is & ~0x20) == wanted && is_hex(is))) {
            return false;
        }
    }
    return true;
}

bool worker_transport_path_allowed(
    struct slice path, const char *workspace_id, const char *executor_id)
{
    char workspace[3 * 128 + 1];
    char executor[3 * 4 * 128 + 1];
    char prefix[PATH_BYTES_MAX];
    if (!is_harmless_id(workspace_id) || !is_harmless_id(executor_id) ||
        encode_component(workspace_id, workspace, sizeof workspace) == 0 ||
        encode_component(executor_id, executor, sizeof executor) == 0) {
        return false;
    }
    int len = snprintf(prefix, sizeof prefix, "/api/runtime/workspaces/%s/managed-executors/%s",
        workspace, executor);
    if (!begins_with(path, slice_of(prefix, (size_t)len))) {
        return false;
    }
    struct slice rest = slice_skip(path, (size_t)len);
    return rest.len == 0 || (rest.at[0] == '/' && is_plain(rest));
}

// ---- Answers

static void answer(struct peer *worker, struct slice id, unsigned status,
    const struct http_call_header *headers, size_t header_count, struct slice body)
{
    static const char *const hidden[] = {"authorization", "set-cookie", "cookie",
        "content-encoding", "content-length", "connection", "keep-alive", "transfer-encoding",
        "te", "trailer", "upgrade", "proxy-authenticate", "proxy-authorization"};
    struct buf out;
    struct json_writer json;
    buf_init(&out, 6 * body.len + 6 * id.len + 512 * 1024);
    json_writer_init(&json, &out);
    jsonw_object_begin(&json, NULL);
    jsonw_text(&json, "type", "viewport.worker_transport.response/v1");
    jsonw_string(&json, "requestId", id);
    jsonw_u64(&json, "status", status);
    jsonw_object_begin(&json, "headers");
    for (size_t i = 0; i < header_count; i++) {
        bool hide = false;
        for (size_t j = 0; j < sizeof hidden / sizeof hidden[0]; j++) {
            hide = hide || slice_eq_nocase(headers[i].name, slice_str(hidden[j]));
        }
        if (!hide) {
            jsonw_key(&json, headers[i].name);
            jsonw_string(&json, NULL, headers[i].value);
        }
    }
    jsonw_object_end(&json);
    jsonw_string(&json, "body", body);
    jsonw_object_end(&json);
    if (!out.failed) {
        ws_send(&worker->ws, WS_TEXT, buf_slice(&out));
    } else {
        ws_close(&worker->ws, &close_NO_MEMORY);
    }
    buf_reset(&out);
}

static void answer_reason(
    struct peer *worker, struct slice id, unsigned status, const char *reason)
{
    static const struct http_call_header json_type = {
        {"content-type", 12}, {"application/json", 16}};
    char body[128];
    int len = snprintf(body, sizeof body, "{\"ok\":false,\"reason\":\"%s\"}", reason);
    answer(worker, id, status, &json_type, 1, slice_of(body, (size_t)len));
}

static void request_free(struct request *request)
{
    list_remove(&request->node);
    request->worker->backend->request_count--;
    mem_free(request->id);
    mem_free(request);
}

static void on_done(void *arg, const struct http_call_result *result)
{
    struct request *request = arg;
    struct peer *worker = request->worker;
    struct metrics_shard *metrics = worker->shard->worker->metrics;
    struct slice id = slice_of(request->id, request->id_len);
    if (result->outcome == HTTP_CALL_ANSWERED) {
        metrics_count(metrics, METRIC_WORKER_TRANSPORT_FORWARDED);
        answer(worker, id, result->status, result->headers, result->header_count, result->body);
    } else {
        metrics_count(metrics, METRIC_WORKER_TRANSPORT_FORWARD_FAILED);
        peer_log_frame(worker, LOG_WORKER_TRANSPORT_FORWARD_FAILED,
            result->outcome == HTTP_CALL_TOO_LARGE ? "response too large" : result->error);
        answer_reason(worker, id, 502, "WORKER_TRANSPORT_FORWARD_FAILED");
    }
    request_free(request);
}

void worker_transport_end(struct peer *worker)
{
    if (worker->backend == NULL) {
        return;
    }
    list_for_each_safe(node, &worker->backend->requests) {
        struct request *request = container_of(node, struct request, node);
        http_call_cancel(request->call);
        request_free(request);
    }
}

// ---- Requests

static const char *const passed_headers[] = {"authorization", "accept", "content-type",
    "x-viewport-run-lease", "x-viewport-assignment-claim", "x-viewport-worker-fingerprint",
    "x-viewport-worker-timestamp", "x-viewport-worker-nonce", "x-viewport-worker-body-sha256",
    "x-viewport-worker-signature", "x-viewport-server-id"};

struct header_lines {
    char *lines[HEADERS_MAX + 2]; // owned, ended by NULL
    size_t count;
};

static bool is_header_value(const char *value)
{
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0'; at++) {
        if ((*at < ' ' && *at != '\t') || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool add_line(struct header_lines *lines, const char *name, const char *value)
{
    char line[HEADER_LINE_MAX];
    int len = snprintf(line, sizeof line, "%s: %s", name, value);
    if (len < 0 || (size_t)len >= sizeof line || lines->count > HEADERS_MAX) {
        return false;
    }
    lines->lines[lines->count] = mem_copy(line, (size_t)len);
    return lines->lines[lines->count++] != NULL;
}

static void free_lines(struct header_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        mem_free(lines->lines[i]);
    }
}

// False: a value that cannot be a header's, or no memory.
static bool collect_headers(const struct frame *frame, struct header_lines *lines)
{
    if (!add_line(lines, "Accept-Encoding", "identity")) {
        return false;
    }
    if (frame->headers.kind != JSON_KIND_OBJECT) {
        return true;
    }
    bool ok = true;
    json_t *object = json_loadb(frame->headers.text.at, frame->headers.text.len, 0, NULL);
    if (object == NULL) {
        return false; // what jansson cannot hold (a NUL, a number out of range) is no header either
    }
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        for (size_t i = 0; i < sizeof passed_headers / sizeof passed_headers[0] && ok; i++) {
            if (slice_eq_nocase(slice_str(name), slice_str(passed_headers[i])) &&
                json_is_string(value)) {
                ok = is_header_value(json_string_value(value)) &&
                     add_line(lines, passed_headers[i], json_string_value(value));
            }
        }
    }
    json_decref(object);
    return ok;
}

static bool start(struct request *request, const struct frame *frame, struct slice path,
    const struct header_lines *lines)
{
    struct peer *worker = request->worker;
    const struct relay *relay = worker->shard->relay;
    char url[URL_BYTES_MAX];
    char method[8];
    char method_scratch[64];
    struct slice method_text;
    int len = snprintf(
        url, sizeof url, "%s%.*s", relay->config->platform_origin, SLICE_ARG(path));
    if (len < 0 || (size_t)len >= sizeof url ||
        !frame_text(&frame->method, method_scratch, sizeof method_scratch, &method_text) ||
        !slice_to_text(method_text, method, sizeof method)) {
        return false;
    }
    struct buf body;
    buf_init(&body, frame->body.text.len + 1);
    char *at = buf_reserve(&body, frame->body.text.len);
    if (at == NULL) {
        return false;
    }
    if (frame->body.kind == JSON_KIND_STRING) {
        buf_commit(&body, json_value_unescape(&frame->body, at));
    }
    request->call = http_call_start(worker->shard->worker,
        &(struct http_call_options){
            .method = method,
            .url = url,
            .headers = (const char *const *)lines->lines,
            .body = buf_slice(&body),
            .tls = &relay->platform_tls,
            .timeout_ns = time_from_ms(relay->config->worker_timeout_ms),
            .response_max = relay->config->worker_max_response_bytes,
            .keep_headers = true,
        },
        on_done, request);
    buf_reset(&body);
    return request->call != NULL;
}

static bool forward(
    struct peer *worker, const struct frame *frame, struct slice id, struct slice path)
{
    struct header_lines lines = {0};
    struct request *request = mem_zalloc(sizeof *request);
    if (request == NULL) {
        return false;
    }
    request->worker = worker;
    request->id = mem_copy(id.at, id.len);
    request->id_len = id.len;
    list_init(&request->node);
    list_push_back(&worker->backend->requests, &request->node);
    worker->backend->request_count++;
    bool ok = request->id != NULL && collect_headers(frame, &lines) &&
              start(request, frame, path, &lines);
    free_lines(&lines);
    if (!ok) {
        request_free(request);
    }
    return ok;
}

void worker_transport_request(struct peer *worker, const struct frame *frame)
{
    char id_scratch[PATH_BYTES_MAX];
    char path_scratch[PATH_BYTES_MAX];
    struct slice id;
    struct slice path;
    struct metrics_shard *metrics = worker->shard->worker->metrics;
    if (!frame_text(&frame->request_id, id_scratch, sizeof id_scratch, &id)) {
        route_invalid(worker, LOG_WORKER_FRAME_REJECTED, METRIC_FRAMES_DAEMON_REJECTED,
            "invalid_worker_transport_frame");
        return;
    }
    if (!frame_text(&frame->path, path_scratch, sizeof path_scratch, &path) ||
        path.len > PATH_BYTES_MAX || peer_text(worker, PEER_EXECUTOR) == NULL ||
        !worker_transport_path_allowed(
            path, peer_text(worker, PEER_WORKSPACE), peer_text(worker, PEER_EXECUTOR))) {
        metrics_count(metrics, METRIC_WORKER_TRANSPORT_REJECTED);
        peer_log_frame(worker, LOG_WORKER_TRANSPORT_REJECTED, "WORKER_TRANSPORT_PATH_DENIED");
        answer_reason(worker, id, 403, "WORKER_TRANSPORT_PATH_DENIED");
        return;
    }
    if (worker->backend->request_count >= worker->shard->relay->config->worker_max_inflight) {
        metrics_count(metrics, METRIC_WORKER_TRANSPORT_REJECTED);
        answer_reason(worker, id, 429, "WORKER_TRANSPORT_TOO_MANY_REQUESTS");
        return;
    }
    if (!forward(worker, frame, id, path)) {
        metrics_count(metrics, METRIC_WORKER_TRANSPORT_FORWARD_FAILED);
        answer_reason(worker, id, 502, "WORKER_TRANSPORT_FORWARD_FAILED");
    }
}

void route_worker_message(struct peer *worker, struct ws_message *message)
{
    static const struct rate_event over_rate = {METRIC_FRAMES_DAEMON_RATE_LIMITED,
        LOG_WORKER_FRAME_RATE_LIMITED, "worker_rate_limit", &close_WORKER_RATE};
    struct frame frame;
    if (!frame_parse(slice_of(message->bytes, message->len), FRAME_FROM_WORKER, &frame)) {
        double capacity = (double)worker->shard->relay->config->daemon_runtime_rate_per_minute;
        route_invalid(worker, LOG_WORKER_FRAME_REJECTED, METRIC_FRAMES_DAEMON_REJECTED,
            "invalid_worker_transport_frame");
        if (!bucket_take(&worker->backend->invalid, capacity, worker_now(worker->shard->worker))) {
            ws_close(&worker->ws, over_rate.close);
        }
        return;
    }
    if (route_charge(worker, &worker->shard->daemon, worker->own_rate, &over_rate)) {
        worker_transport_request(worker, &frame);
    }
}
