// SPDX-License-Identifier: Apache-2.0
// Browsers and services that speak h2, with nghttp2's code for both: several requests at once, some
// of them given up in the middle, windows of any size. They say and check what those of web.c do,
// which may be at the other end:
//
// 1. A service gets whole requests, each with its own body, and none that it has no right to.
// 2. An answer of a service reaches the browser that asked for it, byte by byte, and is whole when
//    it ends in order.
// 3. What the engine sends is what nghttp2 takes.
// 4. In a calm world every request has the answer of a service.
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "peer.h"

#define CALLS_MAX 400 // of all browsers, on the stream of a pool
#define UNKNOWN SIZE_MAX
#define HALVES 2

// One request and its answer.
struct call {
    int32_t id;
    uint64_t tag; // of the request; of a service 0 before it is known
    unsigned status;
    size_t to_say; // bytes of its own body
    size_t said;
    size_t to_hear;
    size_t heard;
    size_t answer_size; // that the request asks for
    bool begun;         // the answer
    bool ended;         // in order, as far as it was heard
    bool closed;
    bool cut; // is reset in the middle of its body
};

struct web_h2 {
    nghttp2_session *session;
    struct peer *peer;
    bool serves;
    size_t count;
    struct call calls[CALLS_MAX];
};

static struct call *call_of(struct web_h2 *web, int32_t id)
{
    for (size_t i = 0; i < web->count; i++) {
        if (web->calls[i].id == id) {
            return &web->calls[i];
        }
    }
    return NULL;
}

static struct call *note_call(struct web_h2 *web, int32_t id)
{
    sim_check(web->count < CALLS_MAX, "more requests than were asked for");
    struct call *call = &web->calls[web->count++];
    *call = (struct call){.id = id, .to_hear = UNKNOWN};
    return call;
}

// ---- Saying

static ssize_t say(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t size,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct web_h2 *web = arg;
    struct call *call = call_of(web, id);
    uint64_t tag = web->serves ? call->tag : call->tag | WEB_UP;
    size_t until = call->cut ? call->to_say / HALVES : call->to_say;
    size_t left = until - call->said;
    size_t len = left < size ? left : size;
    len = len > 1 && sim_chance(50) ? 1 + sim_below(len) : len;
    (void)session;
    (void)source;
    if (call->cut && left == 0) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)talk_byte(tag, call->said + i);
    }
    call->said += len;
    *flags = call->said == call->to_say ? (uint32_t)NGHTTP2_DATA_FLAG_EOF : 0;
    return (ssize_t)len;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value)};
}

static void ask(struct web_h2 *web)
{
    struct peer *peer = web->peer;
    uint64_t tag = web_tag(peer, peer->requests_sent++);
    bool post = sim_chance(50);
    bool sized = sim_chance(70);
    size_t len = post ? web_some_size() : 0;
    char path[64];
    char tag_text[24];
    char len_text[24];
    snprintf(path, sizeof path, "/%llu/%zu", (unsigned long long)tag, web_some_size());
    snprintf(tag_text, sizeof tag_text, "%llu", (unsigned long long)tag);
    snprintf(len_text, sizeof len_text, "%zu", len);
    const nghttp2_nv fields[] = {field(":method", post ? "POST" : "GET"), field(":scheme", "https"),
        field(":authority", peer->host), field(":path", path), field("x-tag", tag_text),
        field("content-length", len_text)};
    size_t count = sizeof fields / sizeof *fields - (post && sized ? 0 : 1);
    const nghttp2_data_provider body = {.read_callback = say};
    int32_t id =
        nghttp2_submit_request(web->session, NULL, fields, count, post ? &body : NULL, NULL);
    sim_check(id > 0, "a request of a browser");
    struct call *call = note_call(web, id);
    call->tag = tag;
    call->to_say = len;
    call->cut = post && !sim_calm() && sim_chance(5);
}

static void answer(struct web_h2 *web, struct call *call)
{
    char tag_text[24];
    char len_text[24];
    call->begun = true;
    if (!sim_calm() && sim_chance(5)) {
        return; // never
    }
    call->to_say = call->answer_size;
    call->cut = !sim_calm() && sim_chance(5);
    snprintf(tag_text, sizeof tag_text, "%llu", (unsigned long long)call->tag);
    snprintf(len_text, sizeof len_text, "%zu", call->to_say);
    const nghttp2_nv fields[] = {
        field(":status", "200"), field("x-tag", tag_text), field("content-length", len_text)};
    const nghttp2_data_provider body = {.read_callback = say};
    int result =
        nghttp2_submit_response(web->session, call->id, fields, sim_chance(50) ? 3 : 2, &body);
    sim_check(result == 0, "an answer of a service");
}

// ---- Hearing

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct web_h2 *web = arg;
    (void)session;
    if (web->serves && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        sim_check(!web->peer->wrong, "a request for one who has no right to it");
        (void)note_call(web, frame->hd.stream_id);
    }
    return 0;
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct web_h2 *web = arg;
    struct call *call = call_of(web, frame->hd.stream_id);
    struct slice which = slice_of((const char *)name, name_len);
    const char *text = (const char *)value; // nghttp2 ends it with a zero
    (void)session;
    (void)flags;
    (void)value_len;
    if (slice_eq(which, SLICE("content-length"))) {
        call->to_hear = strtoul(text, NULL, 10);
    } else if (slice_eq(which, SLICE(":status"))) {
        call->status = (unsigned)strtoul(text, NULL, 10);
        sim_check(call->status == 200 || !sim_calm(), "an error in a calm world");
    } else if (slice_eq(which, SLICE(":path"))) {
        char *size = NULL;
        call->tag = strtoull(text + 1, &size, 10);
        call->answer_size = strtoul(size + 1, NULL, 10);
    } else if (slice_eq(which, SLICE("x-tag"))) {
        sim_check(strtoull(text, NULL, 10) == call->tag, "a message of somebody else");
    }
    return 0;
}

static int on_bytes(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
    size_t len, void *arg)
{
    struct web_h2 *web = arg;
    struct call *call = call_of(web, id);
    uint64_t tag = web->serves ? call->tag | WEB_UP : call->tag;
    (void)session;
    (void)flags;
    for (size_t i = 0; i < len && (web->serves || call->status == 200); i++) {
        sim_check((char)bytes[i] == talk_byte(tag, call->heard + i), "a body of somebody else");
    }
    call->heard += len;
    return 0;
}

static void take_end(struct web_h2 *web, struct call *call)
{
    bool whole = call->to_hear == UNKNOWN || call->heard == call->to_hear;
    call->ended = true;
    sim_check(whole, "an end before its time");
    if (web->serves && !call->begun) {
        answer(web, call);
    } else if (!web->serves) {
        web->peer->answers++;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct web_h2 *web = arg;
    bool message = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    (void)session;
    if (message && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        take_end(web, call_of(web, frame->hd.stream_id));
    }
    return 0;
}

static int on_gone(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct web_h2 *web = arg;
    struct call *call = call_of(web, id);
    (void)session;
    if (call != NULL) { // else it was refused before it began
        sim_check(!sim_calm() || code == NGHTTP2_NO_ERROR, "a reset in a calm world");
        call->closed = true;
    }
    return 0;
}

// ---- Connections

static uint32_t some_window(void)
{
    static const uint32_t windows[] = {65535, 65535, 1000, 1 << 20};
    return windows[sim_below(4)];
}

static struct web_h2 *start(struct peer *peer, bool serves)
{
    nghttp2_session_callbacks *callbacks = NULL;
    struct web_h2 *web = calloc(1, sizeof *web);
    sim_check(web != NULL && nghttp2_session_callbacks_new(&callbacks) == 0, "no memory for h2");
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_bytes);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_gone);
    int result = serves ? nghttp2_session_server_new(&web->session, callbacks, web)
                        : nghttp2_session_client_new(&web->session, callbacks, web);
    nghttp2_session_callbacks_del(callbacks);
    bool narrow = sim_chance(30);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, some_window()},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, narrow ? 2 : 100}};
    sim_check(result == 0 && nghttp2_submit_settings(
                                 web->session, NGHTTP2_FLAG_NONE, settings, serves ? 2 : 1) == 0,
        "no session");
    web->peer = peer;
    web->serves = serves;
    return web;
}

void web_h2_free(struct web_h2 *web)
{
    if (web != NULL) {
        nghttp2_session_del(web->session);
        free(web);
    }
}

enum deed { RESETS, PINGS, RESIZES, LEAVES, SNAPS, SAYS_GOODBYE, IS_DEAF, TRASHES, DEED_COUNT };

static void reset_any(struct web_h2 *web)
{
    struct call *call = web->count == 0 ? NULL : &web->calls[sim_below(web->count)];
    if (call != NULL && !call->closed) {
        (void)nghttp2_submit_rst_stream(web->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
    }
}

static void act_up(struct web_h2 *web)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, some_window()};
    switch ((enum deed)sim_below(DEED_COUNT)) {
    case RESETS:
        reset_any(web);
        break;
    case PINGS:
        (void)nghttp2_submit_ping(web->session, NGHTTP2_FLAG_NONE, NULL);
        break;
    case RESIZES:
        (void)nghttp2_submit_settings(web->session, NGHTTP2_FLAG_NONE, &window, 1);
        break;
    case LEAVES:
    case SNAPS:
        peer_finish(web->peer, sim_chance(50));
        break;
    case SAYS_GOODBYE:
        (void)nghttp2_session_terminate_session(web->session, NGHTTP2_NO_ERROR);
        break;
    case IS_DEAF:
        web->peer->wake_ns += sim_below(5 * NS_PER_S);
        break;
    case TRASHES:
        peer_keep(&web->peer->out, "what is no frame at all", 23);
        break;
    case DEED_COUNT:
        break;
    }
}

// Lets the session write, and read what has come.
static void move(struct web_h2 *web)
{
    struct peer *peer = web->peer;
    const uint8_t *bytes = NULL;
    ssize_t len = 1;
    while (peer->out.len < PIECE_MAX && len > 0) {
        len = nghttp2_session_mem_send(web->session, &bytes);
        sim_check(len >= 0, "a session that cannot write");
        peer_keep(&peer->out, bytes, (size_t)len);
    }
    web_send_out(peer);
    bool here = web_take_in(peer);
    struct slice news = buf_slice(&peer->in);
    len = nghttp2_session_mem_recv(web->session, (const uint8_t *)news.at, news.len);
    sim_check(len == (ssize_t)news.len, "frames that are none");
    buf_consume(&peer->in, news.len);
    bool done = !nghttp2_session_want_read(web->session) &&
                !nghttp2_session_want_write(web->session) && peer->out.len == 0;
    if (!here || done) {
        peer_finish(peer, false);
    }
}

static void step(struct web_h2 *web)
{
    if (!sim_calm() && sim_chance(2)) {
        act_up(web);
    }
    if (!web->peer->over) {
        move(web);
    }
}

// ---- Browsers

void browser_h2_step(struct peer *peer)
{
    if (peer->h2 == NULL) {
        peer->h2 = start(peer, false);
    }
    bool more = peer->requests_sent < peer->requests_wanted && sim_now() < town.until_ns;
    while (more && sim_chance(50)) {
        ask(peer->h2);
        more = peer->requests_sent < peer->requests_wanted;
    }
    step(peer->h2);
    bool open = false;
    for (size_t i = 0; i < peer->h2->count; i++) {
        open = open || !peer->h2->calls[i].closed;
    }
    if (!more && !open && (sim_calm() || sim_chance(50))) {
        peer_finish(peer, false); // others stay, and wait for more to ask
    }
}

// ---- Services

void service_h2_step(struct peer *peer)
{
    if (peer->mute) {
        return;
    }
    if (peer->h2 == NULL) {
        peer->h2 = start(peer, true);
    }
    step(peer->h2);
}
