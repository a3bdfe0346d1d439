// SPDX-License-Identifier: Apache-2.0
// Answers on an HTTP/1.1 connection: what the back says, in RFC 9112's words. Head and body of a
// small answer leave in one record, at the latest when the turn ends; a complete answer at once.
//
//   the answer has            the visitor speaks 1.1     he speaks 1.0
//   no body, or a length      Content-Length             Content-Length
//   a body without a length   chunked                    until the connection closes
//   101, 2xx to CONNECT       raw bytes                  raw bytes
//
// 1. Nothing here ends the connection or calls the back: a failed write is found by the settling.
#include "engine/edge/edge_h1.h"

#include <stdio.h>

static struct h1_conn *conn_of(struct exchange *exchange)
{
    return container_of(exchange, struct h1_conn, exchange);
}

static void add_field(struct outgo *out, struct slice name, struct slice value)
{
    outgo_add(out, name);
    outgo_add(out, SLICE(": "));
    outgo_add(out, value);
    outgo_add(out, SLICE("\r\n"));
}

static void add_length(struct outgo *out, uint64_t length)
{
    char text[48];
    int len = snprintf(text, sizeof text, "Content-Length: %llu\r\n", (unsigned long long)length);
    outgo_add(out, slice_of(text, (size_t)len));
}

static void add_status(struct outgo *out, unsigned status)
{
    char line[64];
    int len = snprintf(line, sizeof line, "HTTP/1.1 %u %s\r\n", status, http1_reason(status));
    outgo_add(out, slice_of(line, (size_t)len));
}

// RFC 9110 sections 8.6 and 9.3.6.
static bool may_have_length(const struct h1_conn *conn, unsigned status)
{
    return status >= 200 && status != 204 && !conn->exchange.upgraded;
}

static void add_framing(struct h1_conn *conn, const struct answer_head *head)
{
    struct outgo *out = &conn->out;
    if (!may_have_length(conn, head->status)) {
        return;
    }
    if (head->has_length) {
        add_length(out, head->length);
    } else if (!head->has_body) {
        // Of HEAD and 304 nobody knows; any other answer without a body has none of no bytes.
        if (!conn->exchange.head_only && head->status != 304) {
            add_length(out, 0);
        }
    } else if (conn->minor_version > 0) {
        conn->chunked = true;
        outgo_add(out, SLICE("Transfer-Encoding: chunked\r\n"));
    } else {
        conn->keep_alive = false;
    }
}

static void add_connection(struct h1_conn *conn, const struct answer_head *head)
{
    struct outgo *out = &conn->out;
    if (head->status == 101) {
        add_field(out, SLICE("Connection"), SLICE("Upgrade"));
        add_field(out, SLICE("Upgrade"),
            head->upgrade.len > 0 ? head->upgrade : slice_str(conn->upgrade));
    } else if (conn->exchange.upgraded) {
        return;
    } else if (!conn->keep_alive) {
        add_field(out, SLICE("Connection"), SLICE("close"));
    } else if (conn->minor_version == 0) {
        add_field(out, SLICE("Connection"), SLICE("keep-alive"));
    }
}

static void flush(struct h1_conn *conn)
{
    (void)outgo_flush(&conn->out); // what is left waits for writability
    h1_settle_later(conn);
}

static void on_head(struct exchange *exchange, const struct answer_head *head)
{
    struct h1_conn *conn = conn_of(exchange);
    bool final = head->status >= 200 || head->status == 101;
    if (!final && conn->minor_version == 0) {
        return; // HTTP/1.0 knows none (RFC 9110 section 15.2)
    }
    bool body_unwanted = !conn->body_done && exchange->back == NULL;
    if (exchange->upgraded || conn->draining || (final && body_unwanted)) {
        conn->keep_alive = false;
    }
    add_status(&conn->out, head->status);
    for (size_t i = 0; i < head->field_count; i++) {
        add_field(&conn->out, head->fields[i].name, head->fields[i].value);
    }
    if (final) {
        add_framing(conn, head);
        add_connection(conn, head);
        conn->has_length = head->has_length && !exchange->upgraded;
        conn->left = head->length;
    }
    outgo_add(&conn->out, SLICE("\r\n"));
    conn->moved_ns = worker_now(conn->stream.worker);
    if (!final || exchange->ended || exchange->upgraded) {
        flush(conn);
    } else {
        h1_settle_later(conn);
    }
}

static bool on_body(struct exchange *exchange, struct slice bytes)
{
    struct h1_conn *conn = conn_of(exchange);
    struct slice pieces[OUTGO_PARTS_MAX] = {bytes};
    size_t count = 1;
    char size[HTTP1_CHUNK_HEAD_MAX];
    if (bytes.len == 0) {
        return true;
    }
    if (conn->has_length) {
        weir_assert(bytes.len <= conn->left);
        conn->left -= bytes.len;
    } else if (conn->chunked) {
        pieces[0] = slice_of(size, http1_chunk_head_write(size, bytes.len));
        pieces[1] = bytes;
        pieces[2] = SLICE(HTTP1_CHUNK_TAIL);
        count = 3;
    }
    outgo_send(&conn->out, pieces, count);
    conn->moved_ns = worker_now(conn->stream.worker);
    h1_settle_later(conn);
    conn->front_full = outgo_waiting(&conn->out) > EXCHANGE_HELD_HIGH;
    return !conn->front_full;
}

static void on_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    struct h1_conn *conn = conn_of(exchange);
    weir_assert(!conn->has_length || conn->left == 0);
    if (conn->chunked) {
        outgo_add(&conn->out, SLICE(HTTP1_LAST_CHUNK));
        for (size_t i = 0; i < count; i++) {
            add_field(&conn->out, trailers[i].name, trailers[i].value);
        }
        outgo_add(&conn->out, SLICE("\r\n"));
    }
    flush(conn);
}

static void on_cut(struct exchange *exchange)
{
    struct h1_conn *conn = conn_of(exchange);
    conn->cut = true;
    conn->keep_alive = false;
    flush(conn);
}

static void on_resume(struct exchange *exchange)
{
    struct h1_conn *conn = conn_of(exchange);
    conn->back_full = false;
    h1_settle_later(conn);
}

const struct front_ops h1_front_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .cut = on_cut,
    .resume = on_resume,
};
