// SPDX-License-Identifier: Apache-2.0
// Where a request goes, and the books of who has ended.
//
//                     ┌ no host                                   ─► page 400
//   authority ─► route├ engine's name                             ─► api_start
//                     ├ a tunnel's name ─► tunnel ─► policy       ─► upstream_start
//                     └ any other name                            ─► page 421
//   plain CONNECT ─► the tunnel that the SNI names ─► policy      ─► upstream_start
//
//   request    answer      upgraded     the exchange
//   ────────   ────────    ─────────    ─────────────────────────────────────────────
//   any        ended       no           has ended (what is left of the request is the front's
//   affair) open       ended       yes          goes on until exchange_request_end ended      open
//   any          goes on until exchange_end ended      ended       yes          has ended
//
// 1. exchange->back is NULL before the routing and after the end; nothing is called through it
// then.
// 2. ended is set before the call that tells the other side, so that nobody ends it twice.
#include "engine/edge/exchange.h"

#include "engine/api/api.h"
#include "engine/config/config.h"
#include "engine/control/directory.h"
#include "engine/edge/head_rules.h"
#include "engine/edge/page.h"
#include "engine/edge/policy.h"
#include "engine/edge/route.h"
#include "engine/shard.h"
#include "engine/upstream/upstream.h"
#include "obs/log.h"
#include "proto/http1_body.h"

#define NO_ERROR EDGE_ERROR_COUNT
#define FORWARDED_SYNTAX_MAX 64 // what is constant of a Forwarded field

// ---- Where it goes ------------------------------------------------------------------------------

static void close_books(struct exchange *exchange)
{
    exchange->ended = true;
    exchange->back = NULL;
}

static size_t add_to_line(struct exchange *exchange, size_t len, struct slice text)
{
    size_t room = sizeof exchange->line - 1 - len;
    size_t taken = text.len < room ? text.len : room;
    memcpy(exchange->line + len, text.at, taken);
    return len + taken;
}

static void describe(struct exchange *exchange, const struct request_head *head)
{
    ptrdiff_t mark = slice_find(head->target, '?'); // queries hold tokens
    size_t len = add_to_line(exchange, 0, head->method);
    len = add_to_line(exchange, len, SLICE(" "));
    len = add_to_line(exchange, len, head->authority);
    len = add_to_line(
        exchange, len, mark < 0 ? head->target : slice_of(head->target.at, (size_t)mark));
    exchange->line[len] = '\0';
}

static void begin(struct exchange *exchange, const struct request_head *head)
{
    exchange->started_ns = worker_now(exchange->visitor->shard->worker);
    exchange->version = head->version;
    exchange->connect = slice_eq(head->method, SLICE("CONNECT"));
    exchange->head_only = slice_eq(head->method, SLICE("HEAD"));
    exchange->wants_html =
        page_prefers_html(head_rules_value(head->fields, head->field_count, SLICE("accept")));
    describe(exchange, head);
}

// A plain CONNECT names no site of ours; the TLS session does.
static enum edge_error find_connected(struct visitor *visitor, struct tunnel **ret_tunnel)
{
    *ret_tunnel = directory_by_host(visitor->shard, slice_str(visitor->sni));
    if (*ret_tunnel == NULL || (*ret_tunnel)->protocol != TUNNEL_HTTP) {
        return EDGE_METHOD;
    }
    if (visitor->strayed) {
        return EDGE_MISDIRECTED;
    }
    visitor->connected = true;
    return NO_ERROR;
}

// What an ordinary request is for; *ret_tunnel NULL: the API.
static enum edge_error find_named(
    struct visitor *visitor, const struct request_head *head, struct tunnel **ret_tunnel)
{
    struct slice engine_host = slice_str(visitor->shard->engine->config->host);
    char host[HOSTNAME_SIZE];
    size_t host_len = 0;
    enum route route = route_of(head->authority, engine_host, host, &host_len);
    if (route == ROUTE_BAD) {
        return EDGE_BAD_REQUEST;
    }
    if (!slice_eq(slice_of(host, host_len), slice_str(visitor->sni))) {
        visitor->strayed = true;
        if (visitor->connected) {
            return EDGE_MISDIRECTED;
        }
    }
    *ret_tunnel = NULL;
    switch (route) {
    case ROUTE_API:
        return NO_ERROR;
    case ROUTE_TUNNEL:
        *ret_tunnel = directory_by_host(visitor->shard, slice_of(host, host_len));
        return *ret_tunnel == NULL ? EDGE_UNKNOWN_HOST : NO_ERROR;
    case ROUTE_OUTSIDE:
    case ROUTE_BAD:
        break;
    }
    return EDGE_MISDIRECTED;
}

void exchange_start(struct exchange *exchange, const struct request_head *head)
{
    struct visitor *visitor = exchange->visitor;
    begin(exchange, head);
    bool plain_connect = exchange->connect && head->upgrade.len == 0;
    struct tunnel *tunnel = NULL;
    enum edge_error error =
        plain_connect ? find_connected(visitor, &tunnel) : find_named(visitor, head, &tunnel);
    if (error == NO_ERROR && tunnel != NULL) {
        error = policy_check(tunnel, visitor, head);
    }
    if (error != NO_ERROR) {
        exchange_fail(exchange, error);
    } else if (tunnel == NULL) {
        api_start(exchange, head);
    } else {
        upstream_start(exchange, tunnel, head);
    }
}

void exchange_refuse(
    struct exchange *exchange, const struct request_head *head, enum edge_error error)
{
    begin(exchange, head);
    exchange_fail(exchange, error);
}

// Trailers that are one hop's, or too late for what they say, end here in both directions.
static size_t bounded(size_t count)
{
    return count < HTTP1_TRAILERS_MAX ? count : HTTP1_TRAILERS_MAX;
}

// ---- From the front to the back -----------------------------------------------------------------

bool exchange_request_body(struct exchange *exchange, struct slice bytes)
{
    weir_assert(!exchange->ended && !exchange->request_ended);
    return exchange->back->body(exchange, bytes);
}

void exchange_request_end(
    struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    weir_assert(!exchange->ended && !exchange->request_ended);
    const struct back_ops *back = exchange->back;
    struct http1_header fields[HTTP1_TRAILERS_MAX];
    count = head_rules_trailers(trailers, bounded(count), true, fields);
    exchange->request_ended = true;
    if (exchange->upgraded && exchange->answer_ended) {
        close_books(exchange);
    }
    back->end(exchange, fields, count);
}

void exchange_answer_resume(struct exchange *exchange)
{
    weir_assert(!exchange->ended);
    exchange->back->resume(exchange);
}

static void let_back_go(struct exchange *exchange)
{
    const struct back_ops *back = exchange->back;
    exchange->back = NULL;
    if (back != NULL) {
        back->cancel(exchange);
    }
}

void exchange_cancel(struct exchange *exchange)
{
    if (!exchange->ended) {
        exchange->ended = true;
        let_back_go(exchange);
    }
}

void exchange_abort(struct exchange *exchange, enum edge_error error)
{
    weir_assert(!exchange->ended);
    let_back_go(exchange);
    exchange_fail(exchange, error);
}

// ---- From the back to the front -----------------------------------------------------------------

void exchange_head(struct exchange *exchange, const struct answer_head *head)
{
    weir_assert(!exchange->ended && exchange->status == 0);
    bool success = head->status >= 200 && head->status < 300;
    if (head->status == 101 || (exchange->connect && success)) {
        exchange->status = head->status;
        exchange->upgraded = true;
        exchange->request_ended = false;
    } else if (head->status >= 200) {
        exchange->status = head->status;
        if (!head->has_body) {
            exchange->answer_ended = true;
            close_books(exchange);
        }
    }
    exchange->front->head(exchange, head);
}

bool exchange_body(struct exchange *exchange, struct slice bytes)
{
    weir_assert(!exchange->ended && !exchange->answer_ended && exchange->status != 0);
    return exchange->front->body(exchange, bytes);
}

void exchange_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    weir_assert(!exchange->ended && !exchange->answer_ended && exchange->status != 0);
    struct http1_header fields[HTTP1_TRAILERS_MAX];
    count = head_rules_trailers(trailers, bounded(count), false, fields);
    exchange->answer_ended = true;
    if (!exchange->upgraded || exchange->request_ended) {
        close_books(exchange);
    }
    exchange->front->end(exchange, fields, count);
}

void exchange_resume(struct exchange *exchange)
{
    weir_assert(!exchange->ended);
    exchange->front->resume(exchange);
}

void exchange_fail(struct exchange *exchange, enum edge_error error)
{
    weir_assert(!exchange->ended);
    exchange->back = NULL;
    exchange->label = page_error(error)->label;
    engine_count_nth(exchange->visitor->shard, ENGINE_EDGE_ERRORS_BAD_REQUEST, error);
    if (exchange->status == 0) {
        page_send(exchange, error);
    } else {
        close_books(exchange);
        exchange->front->cut(exchange);
    }
}

// ---- The books ----------------------------------------------------------------------------------

static void log_request(const struct exchange *exchange, uint64_t duration_ns)
{
    struct log_line line;
    log_begin(&line, LOG_HTTP_REQUEST);
    log_text(&line, "request", exchange->line);
    log_u64(&line, "status", exchange->status);
    log_u64(&line, "durationMs", duration_ns / NS_PER_MS);
    log_text(&line, "visitor", exchange->visitor->peer_text);
    log_u64(&line, "httpVersion", exchange->version);
    if (exchange->label != NULL) {
        log_text(&line, "edgeError", exchange->label);
    }
    if (exchange->request_id[0] != '\0') {
        log_text(&line, "requestId", exchange->request_id);
    }
    log_end(&line);
}

void exchange_finished(struct exchange *exchange)
{
    struct engine_shard *shard = exchange->visitor->shard;
    uint64_t duration_ns = worker_now(shard->worker) - exchange->started_ns;
    weir_assert(exchange->ended);
    if (exchange->status != 0) {
        unsigned hundreds = exchange->status / 100;
        engine_count_nth(shard,
            exchange->version == 2 ? ENGINE_HTTP_REQUESTS_H2_1XX : ENGINE_HTTP_REQUESTS_H1_1XX,
            (hundreds < 5 ? hundreds : 5) - 1);
        if (!exchange->upgraded) {
            engine_observe(
                shard, ENGINE_HISTOGRAM_HTTP_REQUEST, (double)duration_ns / (double)NS_PER_S);
        }
    }
    log_request(exchange, duration_ns);
}

// ---- Fields -------------------------------------------------------------------------------------

// Unique, and of no use to who can guess it.
static void make_request_id(struct exchange *exchange)
{
    static const char digits[] = "0123456789abcdef";
    struct engine_shard *shard = exchange->visitor->shard;
    uint64_t halves[2];
    for (unsigned half = 0; half < 2; half++) {
        uint64_t number = ++shard->request_count;
        halves[half] = siphash(&shard->worker->seed, &number, sizeof number);
    }
    for (unsigned i = 0; i < EXCHANGE_ID_SIZE - 1; i++) {
        exchange->request_id[i] = digits[halves[i / 16] >> (i % 16 * 4) & 15];
    }
    exchange->request_id[EXCHANGE_ID_SIZE - 1] = '\0';
}

static bool is_peers(const struct http1_header *field)
{
    return slice_eq_nocase(field->name, SLICE("x-forwarded-for")) && field->value.len > 0;
}

// X-Forwarded-For of a proxy that we believe, and the proxy's own address behind it.
static void write_peers(
    const struct exchange *exchange, const struct request_head *head, struct buf *scratch)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (is_peers(&head->fields[i])) {
            buf_append_slice(scratch, head->fields[i].value);
            buf_append_str(scratch, ", ");
        }
    }
    buf_append_str(scratch, exchange->visitor->peer_text);
}

// What the two below may take.
static size_t facts_room(const struct request_head *head)
{
    size_t room = 2 * IP_TEXT_SIZE + head->authority.len + FORWARDED_SYNTAX_MAX;
    for (size_t i = 0; i < head->field_count; i++) {
        if (is_peers(&head->fields[i])) {
            room += head->fields[i].value.len + 2;
        }
    }
    return room;
}

// RFC 7239 section 4: an IPv6 address is quoted, and so is a host that may have a port.
static void write_forwarded(
    const struct exchange *exchange, struct slice authority, struct buf *scratch)
{
    const char *peer = exchange->visitor->peer_text;
    bool v6 = strchr(peer, ':') != NULL;
    buf_printf(scratch,
        v6 ? "for=\"[%s]\";host=\"%.*s\";proto=https" : "for=%s;host=\"%.*s\";proto=https", peer,
        SLICE_ARG(authority));
}

// The facts that have to be written out. Their storage is reserved as a whole, so that it does not
// move under the first when the second comes.
static bool write_facts(const struct exchange *exchange, const struct request_head *head,
    struct buf *scratch, struct head_facts *facts)
{
    const struct engine_config *config = exchange->visitor->shard->engine->config;
    bool from_proxy = ip_in_any(
        config->trusted_proxies.items, config->trusted_proxies.count, &exchange->visitor->peer.ip);
    if (!from_proxy && !config->forwarded) {
        return true;
    }
    if (buf_reserve(scratch, facts_room(head)) == NULL) {
        return false;
    }
    size_t start = scratch->len;
    if (from_proxy) {
        write_peers(exchange, head, scratch);
        facts->peers = slice_skip(buf_slice(scratch), start);
    }
    start = scratch->len;
    if (config->forwarded) {
        write_forwarded(exchange, head->authority, scratch);
        facts->forwarded = slice_skip(buf_slice(scratch), start);
    }
    return !scratch->failed;
}

enum weir_result exchange_forward_fields(struct exchange *exchange, const struct request_head *head,
    struct buf *scratch, struct http1_header *out, size_t *ret_count)
{
    struct visitor *visitor = exchange->visitor;
    make_request_id(exchange);
    struct head_facts facts = {
        .peer = slice_str(visitor->peer_text),
        .peers = slice_str(visitor->peer_text),
        .host = head->authority,
        .port = slice_str(visitor->port_text),
        .forwarded = SLICE_EMPTY,
        .request_id = slice_str(exchange->request_id),
    };
    if (!write_facts(exchange, head, scratch, &facts)) {
        return WEIR_MEMORY;
    }
    return head_rules_request(
        head->fields, head->field_count, &facts, out, EXCHANGE_FIELDS_MAX, ret_count);
}

enum weir_result exchange_answer_fields(
    const struct http1_header *fields, size_t count, struct http1_header *out, size_t *ret_count)
{
    return head_rules_answer(fields, count, out, EXCHANGE_FIELDS_MAX, ret_count);
}
