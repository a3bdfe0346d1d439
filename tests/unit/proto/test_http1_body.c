// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 bodies: what is payload, where it ends, and a row for every way to make two readers
// disagree about it. Every row is fed whole, cut in two at every place, and byte by byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "proto/http1_body.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BYTES(literal) literal, sizeof(literal) - 1
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static void init(struct http1_body *body, const char *fields, const char *method, unsigned status)
{
    char text[256];
    struct http1_head head;
    if (status == 0) {
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);
        assert_int_equal(http1_parse_request(slice_str(text), &head), WEIR_OK);
        http1_body_init_request(body, &head);
        return;
    }
    snprintf(text, sizeof text, "HTTP/1.1 %u X\r\n%s\r\n", status, fields);
    assert_int_equal(http1_parse_response(slice_str(text), &head), WEIR_OK);
    http1_body_init_response(body, &head, slice_str(method));
}

// What came of a body: its payload, its trailers as "name=value;", and what was left of the bytes.
struct outcome {
    enum weir_result result;
    char payload[512];
    size_t payload_len;
    char trailers[512];
    size_t left;
};

static enum weir_result feed(struct http1_body *body, struct slice piece, struct outcome *outcome)
{
    char *copy = malloc(piece.len > 0 ? piece.len : 1);
    assert_non_null(copy);
    memcpy(copy, piece.at, piece.len);
    struct slice rest = slice_of(copy, piece.len);
    enum weir_result result;
    do {
        struct slice payload;
        size_t before = rest.len;
        result = http1_body_next(body, &rest, &payload);
        assert_true(result != WEIR_OK || before == 0 || rest.len < before);
        assert_true(
            payload.len == 0 || (payload.at >= copy && payload.at + payload.len == rest.at));
        assert_true(outcome->payload_len + payload.len <= sizeof outcome->payload);
        memcpy(outcome->payload + outcome->payload_len, payload.at, payload.len);
        outcome->payload_len += payload.len;
    } while (result == WEIR_OK && rest.len > 0);
    outcome->left = rest.len;
    free(copy);
    return result;
}

static void read_trailers(const struct http1_body *body, struct outcome *outcome)
{
    size_t at = 0;
    size_t len = 0;
    struct http1_header trailer;
    while (http1_body_trailer_next(body, &at, &trailer)) {
        len += (size_t)snprintf(outcome->trailers + len, sizeof outcome->trailers - len,
            "%.*s=%.*s;", SLICE_ARG(trailer.name), SLICE_ARG(trailer.value));
    }
}

// In pieces of these lengths; the last one takes the rest.
static struct outcome run(struct http1_body body, struct slice wire, size_t first, size_t each)
{
    struct outcome outcome = {.result = WEIR_OK};
    size_t at = 0;
    size_t step = first;
    do {
        size_t len = wire.len - at < step ? wire.len - at : step;
        outcome.result = feed(&body, slice_of(wire.at + at, len), &outcome);
        at += len - outcome.left;
        step = each;
    } while (outcome.result == WEIR_OK && at < wire.len);
    outcome.left = wire.len - at;
    if (outcome.result == WEIR_OK) {
        struct slice nothing = SLICE_EMPTY;
        struct slice payload;
        outcome.result = http1_body_next(&body, &nothing, &payload);
    }
    if (outcome.result == WEIR_OK || outcome.result == WEIR_CLOSED) {
        assert_int_equal(body.len, outcome.payload_len);
        assert_int_equal(http1_body_done(&body), outcome.result == WEIR_CLOSED);
        read_trailers(&body, &outcome);
    }
    http1_body_fini(&body);
    return outcome;
}

// ---- Bodies that are fine -----------------------------------------------------------------------

static const struct good_row {
    const char *rule;
    const char *fields;
    const char *method; // of the request that is answered
    unsigned status;    // 0: a request
    const char *wire;
    enum http1_body_kind kind;
    const char *payload;
    const char *trailers;
    const char *left; // NULL: the body does not end
} good_rows[] = {
    {"a request without framing has none", "", "", 0, "GET", HTTP1_BODY_NONE, "", "", "GET"},
    {"a length of 0", "Content-Length: 0\r\n", "", 0, "GET", HTTP1_BODY_NONE, "", "", "GET"},
    {"a length", "Content-Length: 3\r\n", "", 0, "abcGET", HTTP1_BODY_LENGTH, "abc", "", "GET"},
    {"a length, not reached", "Content-Length: 4\r\n", "", 0, "abc", HTTP1_BODY_LENGTH, "abc", "",
        NULL},
    {"chunks", CHUNKED, "", 0, "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nGET", HTTP1_BODY_CHUNKED, "abcd", "",
        "GET"},
    {"no chunks", CHUNKED, "", 0, "0\r\n\r\nGET", HTTP1_BODY_CHUNKED, "", "", "GET"},
    {"a chunk of CRLF", CHUNKED, "", 0, "4\r\n\r\n\r\n\r\n0\r\n\r\n", HTTP1_BODY_CHUNKED,
        "\r\n\r\n", "", ""},
    {"hexadecimal in both cases", CHUNKED, "", 0, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        HTTP1_BODY_CHUNKED, "01234567890123456789", "", ""},
    {"leading zeros", CHUNKED, "", 0, "0000000000000001\r\na\r\n000\r\n\r\n", HTTP1_BODY_CHUNKED,
        "a", "", ""},
    {"extensions", CHUNKED, "", 0, "1;a=b;c=\"d\\\"\\\\ e\";f\\\r\nx\r\n0;last\r\n\r\n",
        HTTP1_BODY_CHUNKED, "x", "", ""},
    {"an empty extension", CHUNKED, "", 0, "1;\r\nx\r\n0\r\n\r\n", HTTP1_BODY_CHUNKED, "x", "", ""},
    {"trailers", CHUNKED, "", 0, "1\r\nx\r\n0\r\ngrpc-status: 0\r\nB:\r\nc:\td e \r\n\r\nGET",
        HTTP1_BODY_CHUNKED, "x", "grpc-status=0;B=;c=d e;", "GET"},
    {"trailers that frame or route", CHUNKED, "", 0,
        "0\r\nA: 1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\nHost: y\r\n"
        "X-Forwarded-For: z\r\nSet-Cookie: c\r\nB: 2\r\n\r\n",
        HTTP1_BODY_CHUNKED, "", "A=1;B=2;", ""},
    {"chunks, cut in a size", CHUNKED, "", 0, "3\r\nabc\r\n1", HTTP1_BODY_CHUNKED, "abc", "", NULL},
    {"chunks, cut before the last line", CHUNKED, "", 0, "0\r\n", HTTP1_BODY_CHUNKED, "", "", NULL},
    {"chunks, cut in a trailer", CHUNKED, "", 0, "0\r\nA: b\r\nC", HTTP1_BODY_CHUNKED, "", "A=b;",
        NULL},
    {"an answer without framing", "", "GET", 200, "abc\r\n\r\n0\r\n\r\n", HTTP1_BODY_UNTIL_CLOSE,
        "abc\r\n\r\n0\r\n\r\n", "", NULL},
    {"an answer in chunks", CHUNKED, "GET", 200, "3\r\nabc\r\n0\r\n\r\nHTTP", HTTP1_BODY_CHUNKED,
        "abc", "", "HTTP"},
    {"an answer with a length", "Content-Length: 2\r\n", "POST", 500, "abH", HTTP1_BODY_LENGTH,
        "ab", "", "H"},
    {"an answer to HEAD", "Content-Length: 2\r\n", "HEAD", 200, "HTTP", HTTP1_BODY_NONE, "", "",
        "HTTP"},
    {"an answer to HEAD in chunks", CHUNKED, "HEAD", 200, "HTTP", HTTP1_BODY_NONE, "", "", "HTTP"},
    {"100", "", "GET", 100, "HTTP", HTTP1_BODY_NONE, "", "", "HTTP"},
    {"103", "Content-Length: 2\r\n", "GET", 103, "HTTP", HTTP1_BODY_NONE, "", "", "HTTP"},
    {"101", "", "GET", 101, "\x81", HTTP1_BODY_NONE, "", "", "\x81"},
    {"204", "Content-Length: 2\r\n", "GET", 204, "HTTP", HTTP1_BODY_NONE, "", "", "HTTP"},
    {"304", CHUNKED, "GET", 304, "HTTP", HTTP1_BODY_NONE, "", "", "HTTP"},
    {"2xx to CONNECT", CHUNKED, "CONNECT", 200, "raw", HTTP1_BODY_NONE, "", "", "raw"},
    {"403 to CONNECT", "Content-Length: 2\r\n", "CONNECT", 403, "no", HTTP1_BODY_LENGTH, "no", "",
        ""},
};

static void check_good(const struct good_row *row, size_t first, size_t each)
{
    struct http1_body body;
    init(&body, row->fields, row->method, row->status);
    assert_int_equal(body.kind, row->kind);
    struct outcome outcome = run(body, slice_str(row->wire), first, each);
    assert_int_equal(outcome.result, row->left == NULL ? WEIR_OK : WEIR_CLOSED);
    assert_int_equal(outcome.payload_len, strlen(row->payload));
    assert_memory_equal(outcome.payload, row->payload, outcome.payload_len);
    assert_string_equal(outcome.trailers, row->trailers);
    assert_int_equal(outcome.left, row->left == NULL ? 0 : strlen(row->left));
}

static void good_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        const struct good_row *row = &good_rows[i];
        print_message("%s\n", row->rule);
        size_t len = strlen(row->wire);
        for (size_t cut = 0; cut <= len; cut++) {
            check_good(row, cut, len);
        }
        check_good(row, 1, 1);
    }
}

static void only_some_end_at_close(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        unsigned status;
        const char *wire;
        bool complete;
    } rows[] = {
        {"", 200, "", true},
        {"", 200, "abc", true},
        {"Content-Length: 3\r\n", 200, "ab", false},
        {"Content-Length: 3\r\n", 200, "abc", true},
        {CHUNKED, 200, "1\r\na\r\n", false},
        {CHUNKED, 200, "0\r\n", false},
        {CHUNKED, 200, "0\r\n\r\n", true},
        {CHUNKED, 200, "", false},
        {"", 204, "", true},
        {"Content-Length: 3\r\n", 0, "", false},
        {"", 0, "", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http1_body body;
        init(&body, rows[i].fields, "GET", rows[i].status);
        struct slice bytes = slice_str(rows[i].wire);
        struct slice payload;
        while (bytes.len > 0) {
            enum weir_result result = http1_body_next(&body, &bytes, &payload);
            assert_true(result == WEIR_OK || result == WEIR_CLOSED);
        }
        assert_int_equal(http1_body_ends_at_close(&body), rows[i].complete);
        http1_body_fini(&body);
    }
}

// ---- Bodies that are refused --------------------------------------------------------------------

static const struct bad_row {
    const char *rule;
    const char *wire;
    size_t len;
} bad_rows[] = {
    {"no size", BYTES("\r\n")},
    {"no size but an extension", BYTES(";a\r\n")},
    {"a plus", BYTES("+1\r\n")},
    {"a minus", BYTES("-1\r\n")},
    {"0x", BYTES("0x1\r\n")},
    {"a letter past f", BYTES("1g\r\n")},
    {"an underscore", BYTES("1_0\r\n")},
    {"a space before", BYTES(" 1\r\n")},
    {"a space behind", BYTES("1 \r\n")},
    {"a tab behind", BYTES("1\t\r\n")},
    {"a space before an extension", BYTES("1 ;a\r\n")},
    {"an empty line before", BYTES("\r\n1\r\n")},
    {"a size in quotes", BYTES("\"1\"\r\n")},
    {"a NUL behind", BYTES("1\0\r\n")},
    {"a vertical tab behind", BYTES("1\v\r\n")},
    {"a size that ends in LF", BYTES("1\n")},
    {"a size that ends in CR CR LF", BYTES("1\r\r\n")},
    {"a size that ends in CR", BYTES("1\ra")},
    {"the last size ends in LF", BYTES("0\n\r\n")},
    {"a size of 2^63", BYTES("8000000000000000\r\n")},
    {"a size of 2^64", BYTES("10000000000000000\r\n")},
    {"a size of 2^64 + 1", BYTES("10000000000000001\r\n")},
    {"17 digits", BYTES("00000000000000001\r\n")},
    {"an extension that ends in LF", BYTES("1;a\n")},
    {"an extension with CR", BYTES("1;a\rb\r\n")},
    {"an extension with NUL", BYTES("1;a\0\r\n")},
    {"an extension above ASCII", BYTES("1;\xc3\xa4\r\n")},
    {"an extension with DEL", BYTES("1;\x7f\r\n")},
    {"LF in a quoted extension", BYTES("1;a=\"\n\"\r\n")},
    {"CRLF in a quoted extension", BYTES("1;a=\"\r\n\"\r\n")},
    {"an extension with an open quote", BYTES("1;a=\"b\r\n")},
    {"an extension with a quote that is escaped", BYTES("1;a=\"b\\\"\r\n")},
    {"a chunk without its end", BYTES("1\r\nab\r\n")},
    {"a chunk that ends in LF", BYTES("1\r\na\n")},
    {"a chunk that ends in CR", BYTES("1\r\na\r1")},
    {"a chunk shorter than its size", BYTES("3\r\nab\r\n0\r\n\r\n")},
    {"a chunk longer than its size", BYTES("1\r\nabc\r\n0\r\n\r\n")},
    {"a chunk with two ends", BYTES("1\r\na\r\n\r\n0\r\n\r\n")},
    {"the body ends in LF", BYTES("0\r\n\n")},
    {"the body ends in CR CR", BYTES("0\r\n\r\r")},
    {"a request where trailers are", BYTES("0\r\nGET / HTTP/1.1\r\n\r\n")},
    {"a trailer without a colon", BYTES("0\r\nA\r\n\r\n")},
    {"a trailer without a name", BYTES("0\r\n: b\r\n\r\n")},
    {"a trailer with a space before its colon", BYTES("0\r\nA : b\r\n\r\n")},
    {"a trailer with a space in its name", BYTES("0\r\nA b: c\r\n\r\n")},
    {"a trailer that begins with a space", BYTES("0\r\n A: b\r\n\r\n")},
    {"a folded trailer", BYTES("0\r\nA: b\r\n c\r\n\r\n")},
    {"a trailer that ends in LF", BYTES("0\r\nA: b\n\r\n")},
    {"a trailer with CR", BYTES("0\r\nA: b\rc\r\n\r\n")},
    {"a trailer with NUL", BYTES("0\r\nA: b\0\r\n\r\n")},
    {"a trailer with a control character", BYTES("0\r\nA: \x1b\r\n\r\n")},
    {"a trailer with a name in UTF-8", BYTES("0\r\n\xc3\xa4: b\r\n\r\n")},
    {"a trailer's name with NUL", BYTES("0\r\nA\0: b\r\n\r\n")},
    {"the last line with a space", BYTES("0\r\n \r\n")},
};

static void bad_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        print_message("%s\n", bad_rows[i].rule);
        struct slice wire = slice_of(bad_rows[i].wire, bad_rows[i].len);
        for (size_t cut = 0; cut <= wire.len; cut++) {
            struct http1_body body;
            init(&body, CHUNKED, "", 0);
            assert_int_equal(run(body, wire, cut, wire.len).result, WEIR_MALFORMED);
            init(&body, CHUNKED, "GET", 200);
            assert_int_equal(run(body, wire, cut, 1).result, WEIR_MALFORMED);
        }
    }
}

// ---- Bounds -------------------------------------------------------------------------------------

static enum weir_result run_text(const char *text, size_t len)
{
    struct http1_body body;
    init(&body, CHUNKED, "", 0);
    struct slice rest = slice_of(text, len);
    struct slice payload;
    enum weir_result result = WEIR_OK;
    while (result == WEIR_OK && rest.len > 0) {
        result = http1_body_next(&body, &rest, &payload);
    }
    http1_body_fini(&body);
    return result;
}

static void lines_and_trailers_are_bounded(void **state)
{
    (void)state;
    static char text[HTTP1_TRAILER_BYTES_MAX * 2];
    // "1;" and 254 bytes of extension.
    memset(text, 'x', sizeof text);
    memcpy(text, "1;", 2);
    memcpy(text + HTTP1_CHUNK_LINE_MAX, "\r\na\r\n0\r\n\r\n", 10);
    assert_int_equal(run_text(text, HTTP1_CHUNK_LINE_MAX + 10), WEIR_CLOSED);
    memset(text + HTTP1_CHUNK_LINE_MAX, 'x', 1);
    assert_int_equal(run_text(text, HTTP1_CHUNK_LINE_MAX), WEIR_OK);
    assert_int_equal(run_text(text, HTTP1_CHUNK_LINE_MAX + 1), WEIR_TOO_LARGE);

    // One long trailer; its end counts as one byte.
    memset(text, 'x', sizeof text);
    memcpy(text, "0\r\nA:", 5);
    memcpy(text + 3 + HTTP1_TRAILER_BYTES_MAX - 1, "\r\n\r\n", 4);
    assert_int_equal(run_text(text, 3 + HTTP1_TRAILER_BYTES_MAX + 3), WEIR_CLOSED);
    memcpy(text + 3 + HTTP1_TRAILER_BYTES_MAX - 1, "x\r\n\r\n", 5);
    assert_int_equal(run_text(text, 3 + HTTP1_TRAILER_BYTES_MAX + 4), WEIR_TOO_LARGE);
    memset(text + 3 + HTTP1_TRAILER_BYTES_MAX, 'x', 5);
    assert_int_equal(run_text(text, 3 + HTTP1_TRAILER_BYTES_MAX + 1), WEIR_TOO_LARGE);

    // Many short ones.
    size_t len = (size_t)snprintf(text, sizeof text, "0\r\n");
    for (size_t i = 0; i < HTTP1_TRAILERS_MAX; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "A:\r\n");
    }
    memcpy(text + len, "\r\n", 2);
    assert_int_equal(run_text(text, len + 2), WEIR_CLOSED);
    memcpy(text + len, "A:\r\n", 4);
    assert_int_equal(run_text(text, len + 4), WEIR_TOO_LARGE);
}

static void memory_may_be_short(void **state)
{
    (void)state;
    static const char text[] = "0\r\nA: b\r\n\r\n";
    mem_fail_at(1);
    enum weir_result result = run_text(text, sizeof text - 1);
    mem_fail_at(0);
    assert_int_equal(result, WEIR_MEMORY);
    // Without trailers, none is asked for.
    mem_fail_at(1);
    result = run_text(BYTES("1\r\na\r\n0\r\n\r\n"));
    mem_fail_at(0);
    assert_int_equal(result, WEIR_CLOSED);
}

static void the_longest_chunk(void **state)
{
    (void)state;
    struct http1_body body;
    init(&body, CHUNKED, "", 0);
    struct slice rest = SLICE("7fffffffffffffff\r\nabc");
    struct slice payload;
    assert_int_equal(http1_body_next(&body, &rest, &payload), WEIR_OK);
    assert_int_equal(payload.len, 3);
    assert_true(body.left == INT64_MAX - 3);
    http1_body_fini(&body);
    http1_body_fini(&body);
}

// ---- Writing ------------------------------------------------------------------------------------

static void chunk_heads(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        const char *head;
    } rows[] = {
        {1, "1\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {0x4000, "4000\r\n"},
        {0xabcdef, "abcdef\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char head[HTTP1_CHUNK_HEAD_MAX];
        size_t len = http1_chunk_head_write(head, rows[i].len);
        assert_int_equal(len, strlen(rows[i].head));
        assert_memory_equal(head, rows[i].head, len);
    }
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    char wire[256];
    size_t len = http1_chunk_head_write(wire, 3);
    len += (size_t)snprintf(
        wire + len, sizeof wire - len, "abc" HTTP1_CHUNK_TAIL HTTP1_LAST_CHUNK "a: b\r\n\r\n");
    struct http1_body body;
    init(&body, CHUNKED, "", 0);
    struct outcome outcome = run(body, slice_of(wire, len), len, len);
    assert_int_equal(outcome.result, WEIR_CLOSED);
    assert_int_equal(outcome.payload_len, 3);
    assert_string_equal(outcome.trailers, "a=b;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies),
        cmocka_unit_test(only_some_end_at_close),
        cmocka_unit_test(bad_bodies),
        cmocka_unit_test(lines_and_trailers_are_bounded),
        cmocka_unit_test(memory_may_be_short),
        cmocka_unit_test(the_longest_chunk),
        cmocka_unit_test(chunk_heads),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
