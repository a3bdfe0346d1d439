// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the API.
#ifndef WEIR_HEALTH_API_INTERNAL_H
#define WEIR_HEALTH_API_INTERNAL_H

#include <jansson.h>

#include "health/api/api_stats.h"
#include "health/api/path_match.h"
#include "health/health.h"
#include "health/history/uptime.h"
#include "health/view/view.h"
#include "proto/json_write.h"

#define API_PART_SIZE PATH_PART_SIZE
#define API_ORIGIN_SIZE 280 // a host name of 253 characters, a scheme and a port
#define API_DOCUMENT_MAX (32 * 1024 * 1024)

// What of a request is still needed when it is answered later.
struct api_ticket {
    size_t row; // of api_routes.def; API_ROW_COUNT: of none
    uint64_t begun_ns;
    bool head;                    // HEAD
    bool secure;                  // it came over TLS to the proxy in front
    bool gzip;                    // the client takes it
    char origin[API_ORIGIN_SIZE]; // of another page that may read the answer; "": of none
};

struct api_request {
    struct http_request *http;
    struct health *health;
    struct path_parts path;
    struct api_ticket ticket;
};

typedef void api_handler_fn(struct api_request *request);

// Who may: everybody, everybody where `public_read` says so and else a viewer, a viewer, an
// operator, an administrator. Where there are no tokens, everybody may.
enum access { ACCESS_OPEN, ACCESS_PUBLIC, ACCESS_READ, ACCESS_OPERATE, ACCESS_ADMINISTER };

struct api_row {
    const char *method;
    const char *path;
    enum access access;
    api_handler_fn *handle;
    const char *summary;
};
// API_ROW_COUNT rows of api_routes.def.
const struct api_row *api_rows(void);

#define API_ROUTE(method, path, access, handler, summary) api_handler_fn handler;
#include "health/api/api_routes.def"
#undef API_ROUTE
// The JSON of /health; api_health chooses between it and the page.
api_handler_fn api_liveness;

// ---- Answers: exactly one for a request.

// Fills in what is known before a route is.
void api_begin(struct api_request *request, struct http_request *http);
// The names of a route in the metrics; "other" for API_ROW_COUNT.
const char *api_row_method(size_t row);
const char *api_row_path(size_t row);

// Every answer goes through here: it gets the headers that all have, and is counted.
void api_reply(
    struct http_conn *conn, const struct api_ticket *ticket, const struct http_answer *answer);
// A document for a request that was put off by http_wait_for; takes its storage.
void api_answer_later(
    struct http_conn *conn, const struct api_ticket *ticket, unsigned status, struct buf *document);

// Takes the document's storage.
void api_answer_json(struct api_request *request, unsigned status, struct buf *document);
void api_answer_text(
    struct api_request *request, const char *content_type, const char *headers, struct slice body);
// A document that the client may have already (ETag, If-None-Match): 200 or 304.
struct api_tagged {
    const char *content_type;
    uint64_t hash; // of the body
    struct slice body;
    struct slice gzip;  // the body packed already; empty: it is not
    struct buf *packed; // keeps the body's gzip for the next one who asks; NULL: it is not kept
};
void api_answer_tagged(struct api_request *request, const struct api_tagged *what);
// The error envelope of spec section 4.1.
void api_answer_error(struct api_request *request, unsigned status, const char *message);
// 422, for a parameter.
void api_answer_parameter(struct api_request *request, const char *name, const char *message);

// A file of --ui-dir (api_files.c); false: there is none at this path, and nothing was answered.
bool api_answer_file(struct api_request *request);

// The same with headers of the route's own, whole lines.
void api_answer_json_with(
    struct api_request *request, unsigned status, const char *headers, struct buf *document);

// ---- Who asks (api_access.c)

// By the token; everybody is an administrator where there are no tokens.
enum role api_role(struct api_request *request);
// False after a refusal.
bool api_may(struct api_request *request, enum access access);
// The name that the client knows this monitor by is one of ours (DNS rebinding).
bool api_host_fits(const struct http_request *http);
// The page that asks is one of ours or of those that are named, or there is none; or a token says
// who asks.
bool api_origin_fits(const struct http_request *http);
// Fills in what the request's headers say.
void api_read_ticket(struct api_request *request);
// Lines for the answer: who else may read it.
void api_write_cors(const struct api_ticket *ticket, struct buf *lines);

// ---- Questions

// A parameter as a whole number; fallback when it is not there. False after a 422.
bool api_number(
    struct api_request *request, const char *name, int64_t fallback, int64_t *ret_value);
// A parameter as true or false. False after a 422.
bool api_flag(struct api_request *request, const char *name, bool fallback, bool *ret_value);
// A parameter as text; "" when it is not there or too long.
void api_text(struct api_request *request, const char *name, char *text, size_t size);

// problem_type and its counts, the most frequent first, at most max.
void api_write_problems(
    const struct health *health, struct json_writer *writer, const char *key, size_t max);

// The newest results of a service, at most max.
void api_write_results(const struct health *health, const struct target *target,
    struct json_writer *writer, const char *key, size_t max);

// What a heartbeat says. False: it is no object, or metrics is none in it.
bool api_take_heartbeat(struct health *health, struct device *device, const json_t *heartbeat);

// The events of one service, from now back to since_ms; uptime is zeroed, or has a `stretch`.
void api_uptime_walk(const struct health *health, const struct target *target,
    struct uptime *uptime, uint64_t since_ms, uint64_t now_ms);
// One that has a word in the uptime log.
void api_uptime_write_event(struct json_writer *writer, const struct health_event *event);

// A view of what the filter lets through, with resources and history. False after a 500.
bool api_open_view(
    struct api_request *request, const struct view_filter *filter, struct view *view);

#endif
