// SPDX-License-Identifier: Apache-2.0
// Browsers wait for news with a request that is answered when there are some (long polling): at
// most so many wait at once, each for a bounded time, and changes that come close together are told
// together.
#include "cli/inspect/inspector.h"

#include <stdio.h>

#include "base/hostname.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "base/utf8.h"
#include "cli/inspect/capture_show.h"
#include "cli/inspect/replay.h"

#define WAITERS_MAX 32
#define WAIT_MAX_S 30
#define BATCH_NS (100 * NS_PER_MS)
#define SETUP_NS (30 * NS_PER_S)
#define IDLE_NS (60 * NS_PER_S)
#define BODY_MAX 1024 // nobody has anything to say
#define CONNECTIONS_MAX 64
#define ANSWER_MAX ((size_t)128 * 1024 * 1024)
#define PORTS_TRIED 10
#define JSON_TYPE "application/json"
#define SAFE_HEADERS                                                                               \
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"      \
    "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"                \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "                     \
    "frame-ancestors 'none'\r\n"

extern const unsigned char inspect_html[], inspect_js[], inspect_css[];
extern const size_t inspect_html_len, inspect_js_len, inspect_css_len;

struct waiter {
    struct list node;
    struct inspector *inspector;
    struct http_conn *conn;
    uint64_t after;
    struct timer deadline;
};

struct inspector_tap {
    struct list node;
    struct tap tap;
};

// ---- Addresses

bool inspector_parse_address(const char *text, bool anywhere, struct sys_address *ret_address,
    bool *ret_chosen, const char **ret_problem)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon == NULL ? text : colon + 1;
    struct slice host = colon == NULL ? SLICE_EMPTY : slice_of(text, (size_t)(colon - text));
    uint64_t port = INSPECTOR_PORT;
    char name[IP_TEXT_SIZE];
    *ret_chosen = digits[0] != '\0';
    if (host.len > 1 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    host = host.len == 0 ? SLICE("127.0.0.1") : host;
    *ret_problem = "allowed: PORT, ADDRESS:PORT or nothing";
    if ((*ret_chosen && number_parse_u64(slice_str(digits), 65535, &port) != WEIR_OK) ||
        !slice_to_text(host, name, sizeof name) ||
        sys_address_parse(name, (uint16_t)port, ret_address) != WEIR_OK) {
        return false;
    }
    *ret_problem = "other machines would see everything; allowed: a loopback address, or "
                   "--inspect-anywhere with it";
    return anywhere || ip_is_loopback(&ret_address->ip);
}

bool inspector_knows_host(const struct sys_address *address, struct slice host)
{
    struct slice name;
    unsigned port;
    struct ip ip;
    if (hostname_split_port(host, &name, &port) != WEIR_OK ||
        (port == 0 ? 80 : port) != address->port) {
        return false;
    }
    if (name.len > 1 && name.at[0] == '[' && name.at[name.len - 1] == ']') {
        name = slice_of(name.at + 1, name.len - 2);
    }
    // A name that is an address cannot be pointed elsewhere by anybody's DNS.
    return slice_eq_nocase(name, SLICE("localhost")) || ip_parse(name, &ip) == WEIR_OK;
}

// ---- Answers

static struct inspector *of(const struct http_request *request)
{
    return http_owner(request->conn);
}

static void answer(struct http_conn *conn, unsigned status, const char *type, struct slice body,
    const char *headers)
{
    http_answer(
        conn, &(struct http_answer){
                  .status = status, .content_type = type, .headers = headers, .body = body});
}

static void answer_problem(struct http_conn *conn, unsigned status, const char *problem)
{
    struct buf out = BUF_INIT(1024);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "error", problem);
    jsonw_object_end(&writer);
    answer(conn, status, JSON_TYPE, buf_slice(&out), SAFE_HEADERS);
    buf_reset(&out);
}

static void answer_json(struct http_conn *conn, struct buf *out, const char *headers)
{
    if (out->failed) {
        answer_problem(conn, 500, "it does not fit into memory");
    } else {
        answer(conn, 200, JSON_TYPE, buf_slice(out), headers);
    }
    buf_reset(out);
}

// True: go on. Otherwise the request has been answered.
static bool admit(struct http_request *request)
{
    const struct inspector *inspector = of(request);
    const struct http1_header *host = http1_find(request->head, SLICE("host"));
    bool post = slice_eq(request->head->method, SLICE("POST"));
    if (host == NULL || !inspector_knows_host(&inspector->address, host->value)) {
        answer_problem(request->conn, 421, "Host is no name of this inspector; use its address");
    } else if (post && http1_find(request->head, SLICE("x-weir-inspect")) == NULL) {
        answer_problem(request->conn, 403, "the field X-Weir-Inspect is missing");
    } else {
        return true;
    }
    return false;
}

static bool number_of(const struct http_request *request, struct slice name, uint64_t *ret_number)
{
    char text[32];
    size_t len;
    return http1_query_value(request->query, name, text, sizeof text, &len) == WEIR_OK &&
           number_parse_u64(slice_of(text, len), UINT64_MAX, ret_number) == WEIR_OK;
}

// NULL: it has been answered.
static struct capture_entry *entry_of(struct http_request *request)
{
    uint64_t id;
    struct capture_entry *entry = NULL;
    if (!number_of(request, SLICE("id"), &id)) {
        answer_problem(request->conn, 400, "id is missing: the number of an exchange");
        return NULL;
    }
    entry = capture_find(&of(request)->capture, id);
    if (entry == NULL) {
        answer_problem(request->conn, 404, "that exchange is not kept any more");
    }
    return entry;
}

// ---- Files

static void on_page(struct http_request *request)
{
    if (admit(request)) {
        answer(request->conn, 200, "text/html; charset=utf-8",
            slice_of((const char *)inspect_html, inspect_html_len), SAFE_HEADERS);
    }
}

static void on_script(struct http_request *request)
{
    if (admit(request)) {
        answer(request->conn, 200, "text/javascript; charset=utf-8",
            slice_of((const char *)inspect_js, inspect_js_len), SAFE_HEADERS);
    }
}

static void on_style(struct http_request *request)
{
    if (admit(request)) {
        answer(request->conn, 200, "text/css; charset=utf-8",
            slice_of((const char *)inspect_css, inspect_css_len), SAFE_HEADERS);
    }
}

static void on_not_found(struct http_request *request)
{
    if (admit(request)) {
        answer_problem(request->conn, 404, "there is nothing here");
    }
}

// ---- News

static void waiter_free(struct waiter *waiter)
{
    timer_cancel(&waiter->deadline);
    list_remove(&waiter->node);
    waiter->inspector->waiter_count--;
    mem_free(waiter);
}

static void answer_list(struct inspector *inspector, struct http_conn *conn, uint64_t after)
{
    struct buf out = BUF_INIT(ANSWER_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &out);
    capture_write_list(&inspector->capture, after, inspector->secrets, &writer);
    answer_json(conn, &out, SAFE_HEADERS);
}

static void answer_waiter(struct waiter *waiter)
{
    struct inspector *inspector = waiter->inspector;
    struct http_conn *conn = waiter->conn;
    uint64_t after = waiter->after;
    waiter_free(waiter);
    answer_list(inspector, conn, after);
}

static void on_waited(struct timer *timer)
{
    answer_waiter(container_of(timer, struct waiter, deadline));
}

static void on_waiter_gone(void *arg)
{
    waiter_free(arg);
}

static void on_batch(struct timer *timer)
{
    struct inspector *inspector = container_of(timer, struct inspector, batch);
    while (!list_empty(&inspector->waiters)) {
        answer_waiter(container_of(inspector->waiters.next, struct waiter, node));
    }
}

static void on_changed(struct capture *capture, void *arg)
{
    struct inspector *inspector = arg;
    (void)capture;
    if (!list_empty(&inspector->waiters) && !timer_armed(&inspector->batch)) {
        worker_arm_in(inspector->worker, &inspector->batch, BATCH_NS);
    }
}

static void on_exchanges(struct http_request *request)
{
    struct inspector *inspector = of(request);
    uint64_t after = 0;
    uint64_t wait_s = 0;
    if (!admit(request)) {
        return;
    }
    (void)number_of(request, SLICE("after"), &after); // 0 without it: everything
    (void)number_of(request, SLICE("wait"), &wait_s); // and at once
    wait_s = wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S;
    struct waiter *waiter = NULL;
    if (wait_s > 0 && after == inspector->capture.revision &&
        inspector->waiter_count < WAITERS_MAX) {
        waiter = mem_zalloc(sizeof *waiter);
    }
    if (waiter == NULL) {
        answer_list(inspector, request->conn, after);
        return;
    }
    *waiter = (struct waiter){.inspector = inspector, .conn = request->conn, .after = after};
    timer_init(&waiter->deadline, on_waited);
    list_init(&waiter->node);
    list_push_back(&inspector->waiters, &waiter->node);
    inspector->waiter_count++;
    worker_arm_in(inspector->worker, &waiter->deadline, wait_s * NS_PER_S);
    http_wait(request->conn, on_waiter_gone, waiter);
}

// ---- One exchange

static void on_exchange(struct http_request *request)
{
    struct buf out = BUF_INIT(ANSWER_MAX);
    struct json_writer writer;
    const struct capture_entry *entry = admit(request) ? entry_of(request) : NULL;
    if (entry != NULL) {
        json_writer_init(&writer, &out);
        capture_write_entry(entry, of(request)->secrets, &writer);
        answer_json(request->conn, &out, SAFE_HEADERS);
    }
}

static void on_archive(struct http_request *request)
{
    struct inspector *inspector = of(request);
    struct buf out = BUF_INIT(ANSWER_MAX);
    struct json_writer writer;
    const struct capture_entry *only = NULL;
    if (!admit(request) || (request->query.len > 0 && (only = entry_of(request)) == NULL)) {
        return;
    }
    json_writer_init(&writer, &out);
    capture_write_har(&inspector->capture, only, inspector->secrets, &writer);
    answer_json(request->conn, &out,
        SAFE_HEADERS "Content-Disposition: attachment; filename=\"weir.har\"\r\n");
}

static void on_replay(struct http_request *request)
{
    const struct capture_entry *entry = admit(request) ? entry_of(request) : NULL;
    uint64_t id = 0;
    if (entry == NULL) {
        return;
    }
    const char *problem = replay_start(of(request), entry, &id);
    if (problem != NULL) {
        answer_problem(request->conn, 409, problem);
        return;
    }
    char text[64];
    int len = snprintf(text, sizeof text, "{\"id\":%llu}", (unsigned long long)id);
    answer(request->conn, 200, JSON_TYPE, slice_of(text, (size_t)len), SAFE_HEADERS);
}

static void on_clear(struct http_request *request)
{
    if (admit(request)) {
        capture_clear(&of(request)->capture);
        answer(request->conn, 200, JSON_TYPE, SLICE("{}"), SAFE_HEADERS);
    }
}

static const struct http_route routes[] = {
    {"/", "GET", on_page},
    {"/inspect.js", "GET", on_script},
    {"/inspect.css", "GET", on_style},
    {"/api/exchanges", "GET", on_exchanges},
    {"/api/exchange", "GET", on_exchange},
    {"/api/har", "GET", on_archive},
    {"/api/replay", "POST", on_replay},
    {"/api/clear", "POST", on_clear},
    {NULL, NULL, NULL},
};

// ---- Streams

struct inspector_tap *inspector_tap_open(struct inspector *inspector, const char *tunnel,
    const char *target, const char *stream_id, const char *source_ip)
{
    struct capture_origin origin = {0};
    struct inspector_tap *tap = mem_zalloc(sizeof *tap);
    if (tap == NULL) {
        return NULL;
    }
    snprintf(origin.tunnel, sizeof origin.tunnel, "%s", tunnel);
    snprintf(origin.target, sizeof origin.target, "%s", target);
    snprintf(origin.stream, sizeof origin.stream, "%s", stream_id);
    snprintf(origin.source, sizeof origin.source, "%s", source_ip);
    utf8_make_plain(origin.tunnel);
    utf8_make_plain(origin.stream);
    utf8_make_plain(origin.source);
    tap_open(&tap->tap, &inspector->capture, &origin);
    list_init(&tap->node);
    list_push_back(&inspector->taps, &tap->node);
    return tap;
}

void inspector_tap_feed(struct inspector *inspector, struct inspector_tap *tap,
    enum capture_side side, struct slice bytes)
{
    if (tap == NULL) {
        return;
    }
    if (bytes.len == 0) {
        tap_end(&tap->tap, side, worker_now(inspector->worker));
    } else {
        tap_feed(&tap->tap, side, bytes, worker_now(inspector->worker));
    }
}

void inspector_tap_close(struct inspector *inspector, struct inspector_tap *tap)
{
    if (tap != NULL) {
        tap_close(&tap->tap, worker_now(inspector->worker));
        list_remove(&tap->node);
        mem_free(tap);
    }
}

// ---- Life

static enum weir_result listen_somewhere(struct sys_address *address, bool chosen, int *ret_fd)
{
    enum weir_result result = WEIR_IN_USE;
    for (unsigned i = 0; i < (chosen ? 1 : PORTS_TRIED) && result == WEIR_IN_USE; i++) {
        address->port = (uint16_t)(address->port + (i > 0));
        result = sys_listen_alone(address, ret_fd);
    }
    return result;
}

static void set_up(struct inspector *inspector, const struct inspector_options *options)
{
    capture_init(&inspector->capture);
    inspector->capture.changed = on_changed;
    inspector->capture.arg = inspector;
    inspector->secrets = options->secrets;
    inspector->http = (struct http_options){
        .routes = routes,
        .not_found = on_not_found,
        .setup_timeout_ns = SETUP_NS,
        .idle_timeout_ns = IDLE_NS,
        .body_max = BODY_MAX,
        .conn_max = CONNECTIONS_MAX,
        .error_headers = SAFE_HEADERS,
        .owner = inspector,
    };
    list_init(&inspector->waiters);
    list_init(&inspector->taps);
    list_init(&inspector->replays);
    timer_init(&inspector->batch, on_batch);
}

bool inspector_open(struct inspector *inspector, struct worker *worker,
    const struct inspector_options *options, char *problem, size_t size)
{
    const char *why;
    bool chosen;
    int fd;
    char ip[IP_TEXT_SIZE];
    *inspector = (struct inspector){.worker = worker};
    if (!inspector_parse_address(
            options->address, options->anywhere, &inspector->address, &chosen, &why)) {
        snprintf(problem, size, "--inspect %s: %s", options->address, why);
        return false;
    }
    set_up(inspector, options);
    enum weir_result result = listen_somewhere(&inspector->address, chosen, &fd);
    if (result == WEIR_OK) {
        result = http_server_open(&inspector->server, worker, &inspector->http, fd);
    }
    ip_to_text(&inspector->address.ip, ip);
    bool v6 = strchr(ip, ':') != NULL;
    snprintf(inspector->url, sizeof inspector->url, "http://%s%s%s:%u/", v6 ? "[" : "", ip,
        v6 ? "]" : "", inspector->address.port);
    if (result != WEIR_OK) {
        snprintf(problem, size, "the inspector cannot listen at %s: %s", inspector->url,
            weir_result_text(result));
        return false;
    }
    inspector->open = true;
    return true;
}

void inspector_close(struct inspector *inspector)
{
    if (!inspector->open) {
        return;
    }
    inspector->open = false;
    timer_cancel(&inspector->batch);
    replay_end_all(inspector);
    list_for_each_safe (node, &inspector->taps) {
        inspector_tap_close(inspector, container_of(node, struct inspector_tap, node));
    }
    http_server_close(&inspector->server); // waiters go with their connections
    capture_fini(&inspector->capture);
}
