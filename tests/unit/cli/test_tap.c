// SPDX-License-Identifier: Apache-2.0
// What the tap makes of a stream. Every conversation is fed whole, cut in two at every place, and
// byte by byte: what is recorded must be the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/inspect/tap.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define STEPS_MAX 8
#define GET "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define CLOSE "HTTP/1.0 200 OK\r\n\r\nuntil the end"
#define WEBSOCKET "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHED(more)                                                                             \
    "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n" more "\r\n"
#define MASKED_HI                                                                                  \
    "\x81\x82\x01\x02\x03\x04"                                                                     \
    "Ik"
#define END NULL // of a direction

struct step {
    enum capture_side side;
    const char *bytes; // END: that direction has ended
};

struct row {
    const char *name;
    struct step steps[STEPS_MAX]; // ended by a row of zeros
    const char *expected;         // "kind state method request-body/length answer-body/length;"
};

#define UP(text)                                                                                   \
    {                                                                                              \
        CAPTURE_REQUEST, text                                                                      \
    }
#define DOWN(text)                                                                                 \
    {                                                                                              \
        CAPTURE_ANSWER, text                                                                       \
    }
#define NO_MORE                                                                                    \
    {                                                                                              \
        CAPTURE_SIDE_COUNT, NULL                                                                   \
    }

static const struct row rows[] = {
    {"one exchange", {UP(GET), DOWN(OK), NO_MORE}, "http done GET /0 hi/2;"},
    {"a body each way", {UP(POST), DOWN(OK), NO_MORE}, "http done POST hello/5 hi/2;"},
    {"one behind the other", {UP(GET), DOWN(OK), UP(POST), DOWN(OK), NO_MORE},
        "http done GET /0 hi/2;http done POST hello/5 hi/2;"},
    {"pipelined", {UP(GET POST), DOWN(OK OK), NO_MORE},
        "http done GET /0 hi/2;http done POST hello/5 hi/2;"},
    {"chunks, both ways",
        {UP("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
            DOWN("HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\nA: "
                 "b\r\n\r\n"),
            NO_MORE},
        "http done PUT abcde/5 z/1;"},
    {"until the end", {UP(GET), DOWN(CLOSE), {CAPTURE_ANSWER, END}, NO_MORE},
        "http done GET /0 until the end/13;"},
    {"cut before the end", {UP(GET), DOWN(CLOSE), NO_MORE}, "http cut GET /0 until the end/13;"},
    {"no answer", {UP(GET), NO_MORE}, "http cut GET /0 /0;"},
    {"half a head", {UP("GET /a HT"), NO_MORE}, "raw done  /9 /0;"},
    {"half a request",
        {UP("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhell"), NO_MORE},
        "http cut POST hell/4 /0;"},
    {"interim answers",
        {UP(POST),
            DOWN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK),
            NO_MORE},
        "http done POST hello/5 hi/2;"},
    {"answered before it was asked in full",
        {UP("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"), DOWN(OK), UP("llo"),
            UP(GET), DOWN(OK), NO_MORE},
        "http done POST hello/5 hi/2;http done GET /0 hi/2;"},
    {"HEAD has no body",
        {UP("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" GET),
            DOWN("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" OK), NO_MORE},
        "http done HEAD /0 /0;http done GET /0 hi/2;"},
    {"frames",
        {UP(WEBSOCKET), DOWN(SWITCHED("") "\x81\x05hello"), UP(MASKED_HI), DOWN("\x89\x01p"),
            DOWN("\x02\x02"
                 "AB"
                 "\x80\x01"
                 "C"),
            NO_MORE},
        "websocket done GET /8 /17 [< 1 hello/5][> 1 Hi/2][< 9 p/1][< 2+ AB/2][< 0 C/1];"},
    {"a frame that is compressed, and one that is not",
        {UP(WEBSOCKET), DOWN(SWITCHED("Sec-WebSocket-Extensions: permessage-deflate\r\n")),
            DOWN("\xc1\x02zz\x81\x02hi"), NO_MORE},
        "websocket done GET /0 /8 [< 1z zz/2][< 1 hi/2];"},
    {"a frame that is compressed by nobody's leave",
        {UP(WEBSOCKET), DOWN(SWITCHED("") "\x81\x01x\xc1\x02zz\x81\x01y"), NO_MORE},
        "websocket done GET /0 /10 [< 1 x/1];"},
    {"frames that break off",
        {UP(WEBSOCKET),
            DOWN(SWITCHED("") "\x82\x09"
                              "abc"),
            UP("\x81"), NO_MORE},
        "websocket done GET /1 /5 [< 2! abc/9];"},
    {"a frame of a visitor without a mask",
        {UP(WEBSOCKET), DOWN(SWITCHED("")), UP("\x81\x01x"), NO_MORE}, "websocket done GET /3 /0;"},
    {"a continuation of nothing", {UP(WEBSOCKET), DOWN(SWITCHED("") "\x80\x01x"), NO_MORE},
        "websocket done GET /0 /3;"},
    {"another upgrade",
        {UP("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: mine\r\n\r\n"),
            DOWN("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: mine\r\n\r\nxy"), UP("abc"),
            NO_MORE},
        "upgraded done GET /3 /2;"},
    {"CONNECT",
        {UP("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n"), DOWN("HTTP/1.1 200 OK\r\n\r\n12345"),
            NO_MORE},
        "upgraded done CONNECT /0 /5;"},
    {"TLS", {UP("\x16\x03\x01zzz"), DOWN("\x16\x03\x03yy"), NO_MORE}, "tls done  /6 /5;"},
    {"HTTP/2", {UP("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), DOWN("abc"), NO_MORE}, "h2c done  /24 /3;"},
    {"the service speaks first", {DOWN("220 mail ready\r\n"), UP("EHLO me\r\n"), NO_MORE},
        "raw done  /9 /16;"},
    {"a smuggler's request",
        {UP("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
            "chunked\r\n\r\n"),
            NO_MORE},
        "unreadable done  /75 /0;"},
    {"a broken chunk",
        {UP("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nazz\r\n"),
            NO_MORE},
        NULL},
    {"a broken answer", {UP(GET), DOWN("HTTP/1.1 abc\r\n\r\n"), NO_MORE}, NULL},
    {"an answer to nothing", {UP(GET), DOWN(OK), DOWN(OK), NO_MORE}, NULL},
};

// [< opcode, + to be continued, z compressed, ! broken off, payload/length]
static size_t describe_frames(
    const struct capture_entry *entry, char *text, size_t len, size_t size)
{
    len += (size_t)snprintf(text + len, size - len, "%s", entry->frame_count > 0 ? " " : "");
    list_for_each (node, &entry->frames) {
        const struct capture_frame *frame = container_of(node, struct capture_frame, node);
        len += (size_t)snprintf(text + len, size - len, "[%c %d%s%s%s %.*s/%llu]",
            frame->side == CAPTURE_REQUEST ? '>' : '<', frame->opcode, frame->fin ? "" : "+",
            frame->compressed ? "z" : "", frame->broken_off ? "!" : "", (int)frame->kept,
            frame->bytes, (unsigned long long)frame->len);
    }
    return len;
}

static void describe(const struct capture *capture, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    list_for_each (node, &capture->entries) {
        const struct capture_entry *entry = container_of(node, struct capture_entry, node);
        const struct capture_message *request = &entry->messages[CAPTURE_REQUEST];
        const struct capture_message *answer = &entry->messages[CAPTURE_ANSWER];
        assert_int_equal(entry->holders, 0);
        len += (size_t)snprintf(text + len, size - len, "%s %s %s %.*s/%llu %.*s/%llu",
            capture_kind_word(entry->kind), capture_state_word(entry->state), entry->method,
            SLICE_ARG(buf_slice(&request->body)), (unsigned long long)request->body_len,
            SLICE_ARG(buf_slice(&answer->body)), (unsigned long long)answer->body_len);
        len = describe_frames(entry, text, len, size);
        len += (size_t)snprintf(text + len, size - len, ";");
        assert_true(len < size);
    }
}

static size_t total_len(const struct step *steps)
{
    size_t sum = 0;
    for (; steps->side != CAPTURE_SIDE_COUNT; steps++) {
        sum += steps->bytes == NULL ? 0 : strlen(steps->bytes);
    }
    return sum;
}

// A copy of its own for every piece, so that a byte beyond it is noticed.
static void feed_piece(struct tap *tap, enum capture_side side, const char *bytes, size_t len)
{
    char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    tap_feed(tap, side, slice_of(copy, len), 7);
    free(copy);
}

static void play(const struct row *row, size_t cut, size_t each, char *text, size_t size)
{
    struct capture capture;
    struct tap tap;
    size_t at = 0;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    for (const struct step *step = row->steps; step->side != CAPTURE_SIDE_COUNT; step++) {
        size_t left = step->bytes == NULL ? 0 : strlen(step->bytes);
        const char *bytes = step->bytes;
        if (bytes == NULL) {
            tap_end(&tap, step->side, 8);
        }
        while (left > 0) {
            size_t len = left < each ? left : each;
            len = at < cut && at + len > cut ? cut - at : len;
            feed_piece(&tap, step->side, bytes, len);
            bytes += len;
            left -= len;
            at += len;
        }
    }
    tap_close(&tap, 9);
    tap_close(&tap, 9);
    describe(&capture, text, size);
    capture_fini(&capture);
}

static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char whole[1024];
        char again[1024];
        size_t len = total_len(rows[i].steps);
        play(&rows[i], 0, len + 1, whole, sizeof whole);
        if (rows[i].expected == NULL) {
            assert_non_null(strstr(whole, "unreadable done"));
        } else if (strcmp(whole, rows[i].expected) != 0) {
            fail_msg("%s: %s, not %s", rows[i].name, whole, rows[i].expected);
        }
        for (size_t cut = 0; cut <= len; cut++) {
            play(&rows[i], cut, cut == 0 ? 1 : len + 1, again, sizeof again);
            if (rows[i].expected != NULL && strcmp(whole, again) != 0) {
                fail_msg("%s, cut at %zu: %s, not %s", rows[i].name, cut, again, whole);
            }
        }
    }
}

// ---- HTTP/2

struct h2_piece {
    enum capture_side side;
    size_t len;
    const char *bytes;
};

// Of python3-h2: a POST with padding, an interim answer, trailers; a GET; one that is reset.
static const struct h2_piece h2_pieces[] = {
    {CAPTURE_REQUEST, 152,
        "\x50\x52\x49\x20\x2a\x20\x48\x54\x54\x50\x2f\x32\x2e\x30\x0d\x0a\x0d\x0a\x53\x4d"
        "\x0d\x0a\x0d\x0a\x00\x00\x2a\x04\x00\x00\x00\x00\x00\x00\x01\x00\x00\x10\x00\x00"
        "\x02\x00\x00\x00\x01\x00\x04\x00\x00\xff\xff\x00\x05\x00\x00\x40\x00\x00\x08\x00"
        "\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x06\x00\x01\x00\x00\x00\x00\x1f\x01\x04"
        "\x00\x00\x00\x01\x83\x44\x85\x62\xbf\xf3\xcc\x01\x86\x41\x84\x1a\xe9\x2a\x13\x5f"
        "\x87\x49\x7c\xa5\x8a\xe8\x19\xaa\x40\x83\xf2\xb7\xaf\x81\xf7\x00\x00\x0f\x00\x08"
        "\x00\x00\x00\x01\x09\x68\x65\x6c\x6c\x6f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x04\x00\x01\x00\x00\x00\x01\x20\x79\x6f\x75"},
    {CAPTURE_ANSWER, 60,
        "\x00\x00\x2a\x04\x00\x00\x00\x00\x00\x00\x01\x00\x00\x10\x00\x00\x02\x00\x00\x00"
        "\x00\x00\x04\x00\x00\xff\xff\x00\x05\x00\x00\x40\x00\x00\x08\x00\x00\x00\x00\x00"
        "\x03\x00\x00\x00\x64\x00\x06\x00\x01\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
    {CAPTURE_ANSWER, 70,
        "\x00\x00\x0b\x01\x04\x00\x00\x00\x01\x48\x82\x08\x19\x6d\x85\xff\xf8\xc7\x9f\xfb"
        "\x00\x00\x0a\x01\x04\x00\x00\x00\x01\x88\x5f\x87\x49\x7c\xa5\x8a\xe8\x19\xaa\x00"
        "\x00\x02\x00\x00\x00\x00\x00\x01\x68\x69\x00\x00\x0b\x01\x05\x00\x00\x00\x01\x40"
        "\x87\xf2\xb2\x6c\x19\xa8\x2d\x9f\x81\x4f"},
    {CAPTURE_REQUEST, 9, "\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
    {CAPTURE_REQUEST, 17, "\x00\x00\x08\x01\x05\x00\x00\x00\x03\x82\x44\x83\x61\x3e\x0f\x86\xc1"},
    {CAPTURE_ANSWER, 10, "\x00\x00\x01\x01\x05\x00\x00\x00\x03\x8d"},
    {CAPTURE_REQUEST, 17, "\x00\x00\x08\x01\x05\x00\x00\x00\x05\x82\x44\x83\x60\x96\xa7\x86\xc2"},
    {CAPTURE_ANSWER, 13, "\x00\x00\x04\x03\x00\x00\x00\x00\x05\x00\x00\x00\x00"},
};

static void play_h2(size_t cut, size_t each, char *text, size_t size)
{
    struct capture capture;
    struct tap tap;
    size_t at = 0;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    for (size_t i = 0; i < COUNT(h2_pieces); i++) {
        for (size_t done = 0; done < h2_pieces[i].len;) {
            size_t len = h2_pieces[i].len - done;
            len = len < each ? len : each;
            len = at < cut && at + len > cut ? cut - at : len;
            feed_piece(&tap, h2_pieces[i].side, h2_pieces[i].bytes + done, len);
            done += len;
            at += len;
        }
    }
    const struct capture_entry *first = capture_find(&capture, 2);
    assert_non_null(first);
    const struct capture_message *answer = &first->messages[CAPTURE_ANSWER];
    assert_memory_equal(answer->head, "HTTP/1.1 200 \r\ncontent-type: text/plain\r\n\r\n", 43);
    const struct capture_message *request = &first->messages[CAPTURE_REQUEST];
    assert_memory_equal(request->head,
        "POST /p?x=1 HTTP/1.1\r\nhost: a.test\r\ncontent-type: text/plain\r\nx-y: z\r\n\r\n", 74);
    tap_close(&tap, 9);
    describe(&capture, text, size);
    capture_fini(&capture);
}

static void test_http_2(void **state)
{
    char text[1024];
    size_t len = 0;
    static const char expected[] = "h2c done  /195 /153;h2 done POST hello you/9 hi/2;"
                                   "h2 done GET /0 /0;h2 cut GET /0 /0;";
    (void)state;
    for (size_t i = 0; i < COUNT(h2_pieces); i++) {
        len += h2_pieces[i].len;
    }
    for (size_t cut = 0; cut <= len; cut++) {
        play_h2(cut, cut == 0 ? 1 : len + 1, text, sizeof text);
        if (strcmp(text, expected) != 0) {
            fail_msg("cut at %zu: %s, not %s", cut, text, expected);
        }
    }
}

// The service's settings may be the first word, and what it is is known all the same.
static void test_http_2_begun_by_the_service(void **state)
{
    struct capture capture;
    struct tap tap;
    (void)state;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    feed_piece(&tap, h2_pieces[1].side, h2_pieces[1].bytes, h2_pieces[1].len);
    feed_piece(&tap, h2_pieces[0].side, h2_pieces[0].bytes, h2_pieces[0].len);
    feed_piece(&tap, h2_pieces[2].side, h2_pieces[2].bytes, h2_pieces[2].len);
    const struct capture_entry *first = capture_find(&capture, 2);
    assert_non_null(first);
    assert_int_equal(first->state, CAPTURE_DONE);
    tap_close(&tap, 9);
    capture_fini(&capture);
}

// ---- Bounds

static void test_frames_are_bounded(void **state)
{
    struct capture capture;
    struct tap tap;
    char long_frame[4 + 5000] = "\x82\x7e\x13\x88";
    (void)state;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    tap_feed(&tap, CAPTURE_REQUEST, slice_str(WEBSOCKET), 1);
    tap_feed(&tap, CAPTURE_ANSWER, slice_str(SWITCHED("")), 1);
    const struct capture_entry *entry = capture_find(&capture, 1);
    tap_feed(&tap, CAPTURE_ANSWER, slice_of(long_frame, sizeof long_frame), 2);
    assert_int_equal(entry->frame_bytes, CAPTURE_FRAME_BYTES_MAX);
    for (int i = 0; i < CAPTURE_FRAMES_MAX; i++) {
        tap_feed(&tap, CAPTURE_ANSWER, slice_str("\x81\x01x"), 3);
    }
    assert_int_equal(entry->frames_seen, CAPTURE_FRAMES_MAX + 1);
    assert_int_equal(entry->frame_count, CAPTURE_FRAMES_MAX);
    assert_int_equal(entry->frame_bytes, CAPTURE_FRAMES_MAX); // the long one has gone
    capture_clear(&capture);
    tap_feed(&tap, CAPTURE_ANSWER, slice_str("\x81\x01x"), 3);
    assert_int_equal(capture.bytes, 0);
    tap_close(&tap, 4);
    capture_fini(&capture);
}

static void exchange(struct tap *tap, const char *request, const char *answer)
{
    tap_feed(tap, CAPTURE_REQUEST, slice_str(request), 1);
    tap_feed(tap, CAPTURE_ANSWER, slice_str(answer), 2);
}

static void test_a_long_body_is_cut(void **state)
{
    (void)state;
    struct capture capture;
    struct tap tap;
    capture_init(&capture);
    capture.body_max = 3;
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    exchange(&tap, POST, OK);
    const struct capture_entry *entry = capture_find(&capture, 1);
    assert_non_null(entry);
    const struct capture_message *request = &entry->messages[CAPTURE_REQUEST];
    assert_true(slice_eq(buf_slice(&request->body), SLICE("hel")));
    assert_true(request->body_cut);
    assert_int_equal(request->body_len, 5);
    assert_false(entry->messages[CAPTURE_ANSWER].body_cut);
    tap_close(&tap, 3);
    capture_fini(&capture);
}

static void test_the_oldest_go(void **state)
{
    (void)state;
    struct capture capture;
    struct tap tap;
    capture_init(&capture);
    capture.entries_max = 2;
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    for (int i = 0; i < 5; i++) {
        exchange(&tap, GET, OK);
    }
    assert_int_equal(capture.count, 2);
    assert_int_equal(capture_oldest(&capture), 4);
    assert_null(capture_find(&capture, 3));
    capture.bytes_max = 1;
    exchange(&tap, GET, OK);
    assert_int_equal(capture.count, 0);
    assert_int_equal(capture.bytes, 0);
    assert_int_equal(capture_oldest(&capture), 7);
    tap_close(&tap, 3);
    capture_fini(&capture);
}

// What has gone while its stream runs keeps its place, so that answers go to the right request.
static void test_gone_under_way(void **state)
{
    (void)state;
    struct capture capture;
    struct tap tap;
    char text[256];
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    tap_feed(&tap, CAPTURE_REQUEST, SLICE("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"), 1);
    capture_clear(&capture);
    tap_feed(&tap, CAPTURE_REQUEST, SLICE(POST), 1);
    tap_feed(&tap, CAPTURE_ANSWER, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" OK), 1);
    tap_close(&tap, 1);
    describe(&capture, text, sizeof text);
    assert_string_equal(text, "http done POST hello/5 hi/2;");
    capture_fini(&capture);
}

static void test_too_many_wait(void **state)
{
    (void)state;
    struct capture capture;
    struct tap tap;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    for (int i = 0; i < TAP_PIPELINE_MAX + 5; i++) {
        tap_feed(&tap, CAPTURE_REQUEST, SLICE(GET), 1);
    }
    tap_close(&tap, 1);
    assert_int_equal(capture.count, TAP_PIPELINE_MAX + 1);
    const struct capture_entry *entry = capture_find(&capture, TAP_PIPELINE_MAX + 1);
    assert_int_equal(entry->kind, CAPTURE_KIND_CROWDED);
    assert_int_equal(entry->messages[CAPTURE_REQUEST].bytes, 5 * strlen(GET));
    capture_fini(&capture);
}

static void test_a_head_without_end(void **state)
{
    (void)state;
    struct capture capture;
    struct tap tap;
    capture_init(&capture);
    tap_open(&tap, &capture, &(struct capture_origin){.tunnel = "t"});
    tap_feed(&tap, CAPTURE_REQUEST, SLICE("GET / HTTP/1.1\r\nHost: x\r\n"), 1);
    for (int i = 0; i < 2000; i++) {
        tap_feed(&tap, CAPTURE_REQUEST, SLICE("Filler: 0123456789\r\n"), 1);
    }
    assert_int_equal(tap.halves[CAPTURE_REQUEST].head.len, 0);
    const struct capture_entry *entry = capture_find(&capture, 1);
    assert_int_equal(entry->kind, CAPTURE_KIND_UNREADABLE);
    assert_int_equal(entry->messages[CAPTURE_REQUEST].bytes, 25 + 2000 * 20);
    tap_close(&tap, 1);
    capture_fini(&capture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_frames_are_bounded),
        cmocka_unit_test(test_http_2),
        cmocka_unit_test(test_http_2_begun_by_the_service),
        cmocka_unit_test(test_a_long_body_is_cut),
        cmocka_unit_test(test_the_oldest_go),
        cmocka_unit_test(test_gone_under_way),
        cmocka_unit_test(test_too_many_wait),
        cmocka_unit_test(test_a_head_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
