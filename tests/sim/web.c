// SPDX-License-Identifier: Apache-2.0
// Browsers ask a few things one after the other on one connection, services answer, in every way
// there is. Request and answer say whose they are: a request names its tag, the answer repeats it,
// and the bodies are what the tag says. So:
//
// 1. A service gets whole requests, each with its own body.
// 2. An answer of a service reaches the browser that asked for it, whole, or not at all in the end.
// 3. In a calm world every request has the answer of a service.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "peer.h"

#define HEAD_MAX 4096
#define BODY_MAX 60000

struct text {
    struct slice head; // with the empty line
    struct slice body; // as far as it is here
    size_t body_len;
    bool chunked;
};

size_t web_some_size(void)
{
    return sim_below(sim_chance(80) ? 500 : BODY_MAX);
}

static void put(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct peer *peer, const char *format, ...)
{
    char text[HEAD_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    peer_keep(&peer->out, text, (size_t)len);
}

static void put_body(struct peer *peer, uint64_t tag, size_t from, size_t to)
{
    while (from < to) {
        char bytes[PIECE_MAX];
        size_t len = to - from < sizeof bytes ? to - from : sizeof bytes;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = talk_byte(tag, from + i);
        }
        peer_keep(&peer->out, bytes, len);
        from += len;
    }
}

static void check_body(struct slice body, uint64_t tag)
{
    for (size_t i = 0; i < body.len; i++) {
        sim_check(body.at[i] == talk_byte(tag, i), "a body of somebody else");
    }
}

// The number behind a word of the head; 0 without.
static uint64_t number_behind(struct slice head, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len < head.len; i++) {
        if (slice_starts_with_nocase(slice_skip(head, i), slice_of(word, len))) {
            return strtoull(head.at + i + len, NULL, 10);
        }
    }
    return 0;
}

// False until the head is whole.
static bool read_text(struct slice bytes, struct text *ret_text)
{
    const char *end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end == NULL) {
        return false;
    }
    *ret_text = (struct text){.head = slice_of(bytes.at, (size_t)(end - bytes.at) + 4)};
    ret_text->body = slice_skip(bytes, ret_text->head.len);
    ret_text->body_len = number_behind(ret_text->head, "\r\ncontent-length:");
    ret_text->chunked = slice_contains_nocase(ret_text->head, SLICE("transfer-encoding: chunked"));
    return true;
}

// Takes the chunks apart into body; false until the last one is here. *ret_len: of the coded body.
static bool join_chunks(struct slice coded, struct buf *body, size_t *ret_len)
{
    struct slice rest = coded;
    for (;;) {
        const char *end = memmem(rest.at, rest.len, "\r\n", 2);
        if (end == NULL) {
            return false;
        }
        size_t len = strtoul(rest.at, NULL, 16);
        rest = slice_skip(rest, (size_t)(end - rest.at) + 2);
        if (rest.len < len + 2) {
            return false;
        }
        peer_keep(body, rest.at, len);
        rest = slice_skip(rest, len + 2);
        if (len == 0) {
            *ret_len = coded.len - rest.len;
            return true;
        }
    }
}

// False until it is whole. From then on body is all of it, and body_len what it took.
static bool take_body(struct text *text, struct buf *joined)
{
    bool whole = text->body.len >= text->body_len;
    if (text->chunked) {
        whole = join_chunks(text->body, joined, &text->body_len);
        text->body = buf_slice(joined);
    } else if (whole) {
        text->body.len = text->body_len;
    }
    return whole;
}

void web_send_out(struct peer *peer)
{
    struct slice waiting = buf_slice(&peer->out);
    if (waiting.len > 0) {
        size_t len = sim_chance(50) ? waiting.len : 1 + sim_below(waiting.len);
        buf_consume(&peer->out, wire_send(&peer->wire, waiting.at, len));
    }
}

// False when the connection is over.
bool web_take_in(struct peer *peer)
{
    char bytes[PIECE_MAX];
    size_t len = 0;
    enum wire_news news = wire_receive(&peer->wire, bytes, 1 + sim_below(sizeof bytes), &len);
    if (news == WIRE_BYTES) {
        peer_keep(&peer->in, bytes, len);
    }
    return news == WIRE_BYTES || news == WIRE_NOTHING;
}

// ---- Browsers

void browser_start(struct peer *peer)
{
    peer->requests_wanted = 1 + (unsigned)sim_below(5);
}

uint64_t web_tag(const struct peer *peer, unsigned nth)
{
    return peer->number * WEB_REQUESTS_MAX + nth;
}

static void ask(struct peer *peer)
{
    uint64_t tag = web_tag(peer, peer->requests_sent++);
    bool post = sim_chance(50);
    size_t len = post ? web_some_size() : 0;
    put(peer, "%s /%llu/%zu HTTP/1.1\r\nHost: %s\r\nX-Tag: %llu\r\n", post ? "POST" : "GET",
        (unsigned long long)tag, web_some_size(), peer->host, (unsigned long long)tag);
    if (post) {
        put(peer, "Content-Length: %zu\r\n", len);
    }
    put(peer, "\r\n");
    put_body(peer, tag | WEB_UP, 0, len);
}

static void judge(const struct text *text, struct slice body, uint64_t tag)
{
    bool served = slice_starts_with(text->head, SLICE("HTTP/1.1 200 "));
    sim_check(served || !sim_calm(), "an error in a calm world");
    if (served) {
        sim_check(number_behind(text->head, "\r\nx-tag:") == tag, "an answer of somebody else");
        check_body(body, tag);
    }
}

// True when a whole answer was taken off.
static bool take_reply(struct peer *peer)
{
    struct text text;
    uint64_t tag = web_tag(peer, peer->answers);
    if (!read_text(buf_slice(&peer->in), &text)) {
        return false;
    }
    sim_check(peer->answers < peer->requests_sent, "an answer that nobody has asked for");
    struct buf joined = BUF_INIT(4 * BODY_MAX);
    bool whole = take_body(&text, &joined);
    judge(&text, text.body, tag);
    buf_reset(&joined);
    if (whole) {
        buf_consume(&peer->in, text.head.len + text.body_len);
        peer->answers++;
    }
    return whole;
}

void browser_step(struct peer *peer)
{
    bool pipelines = peer->requests_sent > 0 && sim_chance(5);
    if (peer->requests_sent < peer->requests_wanted && peer->out.len == 0 &&
        sim_now() < town.until_ns && (peer->answers == peer->requests_sent || pipelines)) {
        ask(peer);
    }
    if (!sim_calm() && sim_chance(1)) {
        peer_finish(peer, sim_chance(50));
        return;
    }
    web_send_out(peer);
    bool here = web_take_in(peer);
    while (take_reply(peer)) {
    }
    if (!here || peer->answers == peer->requests_wanted) {
        peer_finish(peer, false);
    }
}

void browser_check(const struct peer *peer)
{
    sim_check(!sim_calm() || (peer->answers > 0 && peer->answers == peer->requests_wanted),
        "a request without an answer in a calm world");
}

// ---- Services

enum manner { LENGTH, CHUNKS, UNTIL_THE_END, HALF, HALF_AND_RESET, TRASH, SILENCE, MANNER_COUNT };

static void put_chunks(struct peer *peer, uint64_t tag, size_t size)
{
    size_t from = 0;
    while (from < size) {
        size_t len = 1 + sim_below(size - from);
        put(peer, "%zx\r\n", len);
        put_body(peer, tag, from, from + len);
        put(peer, "\r\n");
        from += len;
    }
    put(peer, "0\r\n\r\n");
}

static void reply(struct peer *peer, uint64_t tag, size_t size)
{
    enum manner manner = sim_calm() || sim_chance(80) ? (enum manner)sim_below(HALF)
                                                      : (enum manner)sim_below(MANNER_COUNT);
    static const char *const fields[] = {
        [CHUNKS] = "Transfer-Encoding: chunked\r\n", [UNTIL_THE_END] = "Connection: close\r\n"};
    if (manner == SILENCE) {
        peer->mute = true;
        return;
    }
    if (manner == TRASH) {
        put(peer, "nonsense\r\n\r\n");
        return;
    }
    put(peer, "HTTP/1.1 200 OK\r\nX-Tag: %llu\r\n", (unsigned long long)tag);
    if (manner == CHUNKS || manner == UNTIL_THE_END) {
        put(peer, "%s\r\n", fields[manner]);
    } else {
        put(peer, "Content-Length: %zu\r\n\r\n", size);
    }
    if (manner == CHUNKS) {
        put_chunks(peer, tag, size);
    } else {
        put_body(peer, tag, 0, manner >= HALF ? size / 2 : size);
    }
    peer->leaves = manner == UNTIL_THE_END || manner == HALF;
    peer->snaps = manner == HALF_AND_RESET;
}

// Only h2 has bodies whose length is known at their end.
static bool may_be_chunked(uint64_t tag)
{
    uint64_t number = tag / WEB_REQUESTS_MAX;
    return number > 0 && number <= town.count && town.peers[number - 1]->speaks_h2;
}

static void take_question(struct peer *peer)
{
    struct text text;
    struct buf joined = BUF_INIT(4 * BODY_MAX);
    if (peer->out.len > 0 || !read_text(buf_slice(&peer->in), &text)) {
        return;
    }
    if (!take_body(&text, &joined)) {
        buf_reset(&joined);
        return;
    }
    sim_check(!peer->wrong, "a request for one who has no right to it");
    uint64_t tag = number_behind(text.head, "\r\nx-tag:");
    sim_check(!text.chunked || may_be_chunked(tag), "a body of known length in chunks");
    ptrdiff_t slash = slice_find(text.head, '/');
    char *size = NULL;
    sim_check(
        slash > 0 && strtoull(text.head.at + slash + 1, &size, 10) == tag, "a request that is two");
    check_body(text.body, tag | WEB_UP);
    buf_reset(&joined);
    size_t answer = strtoul(size + 1, NULL, 10);
    buf_consume(&peer->in, text.head.len + text.body_len);
    reply(peer, tag, answer);
}

void service_step(struct peer *peer)
{
    if (peer->mute) {
        return;
    }
    if (!peer->leaves && !peer->snaps) {
        take_question(peer);
    }
    web_send_out(peer);
    bool idle = peer->out.len == 0 && peer->in.len == 0;
    bool done = peer->out.len == 0 && (peer->leaves || peer->snaps);
    done = done || (idle && !sim_calm() && sim_chance(10)); // a request may be under way
    if (!web_take_in(peer) || done) {
        peer_finish(peer, peer->snaps);
    }
}
