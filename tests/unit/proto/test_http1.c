// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 heads (RFC 9112): what is accepted and how it reads, and a row for every way to make two
// parsers disagree. Every row is fed at every split point, in a block of exactly its size.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/http1.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BYTES(literal) literal, sizeof(literal) - 1
#define GET "GET / HTTP/1.1\r\nHost: x\r\n"
#define POST "POST / HTTP/1.1\r\nHost: x\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

static struct slice copy_exact(struct slice text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.at, text.len);
    return slice_of(copy, text.len);
}

static void free_exact(struct slice copy)
{
    free((char *)(uintptr_t)copy.at);
}

static enum weir_result parse(struct slice bytes, bool answer, struct http1_head *head)
{
    return answer ? http1_parse_response(bytes, head) : http1_parse_request(bytes, head);
}

// The outcome alone.
static enum weir_result judge(struct slice text, bool answer)
{
    struct http1_head head;
    struct slice copy = copy_exact(text);
    enum weir_result result = parse(copy, answer, &head);
    free_exact(copy);
    return result;
}

static void assert_slice(struct slice slice, const char *expected)
{
    assert_int_equal(slice.len, strlen(expected));
    assert_memory_equal(slice.at, expected, slice.len);
}

// ---- Heads that are fine ------------------------------------------------------------------------

enum flag { LENGTH = 1, CHUNKED = 2, KEEP = 4, UPGRADE = 8 };

static const struct good_row {
    const char *rule;
    const char *head;
    const char *method; // NULL for an answer
    const char *target;
    unsigned status;
    unsigned minor_version;
    size_t header_count;
    unsigned flags; // enum flag
    uint64_t content_length;
} good_rows[] = {
    {"the least", GET END, "GET", "/", 0, 1, 1, KEEP, 0},
    {"1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", "GET", "/", 0, 0, 0, 0, 0},
    {"1.0 may have one", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "GET", "/", 0, 0, 1, 0, 0},
    {"an empty Host is one", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", 0, 1, 1, KEEP, 0},
    {"Host with a port", "GET / HTTP/1.1\r\nHost: a-b.c:80\r\n\r\n", "GET", "/", 0, 1, 1, KEEP, 0},
    {"Host in brackets", "GET / HTTP/1.1\r\nhOST: [::1]:80\r\n\r\n", "GET", "/", 0, 1, 1, KEEP, 0},
    {"2.2 an empty line first", "\r\n" GET END, "GET", "/", 0, 1, 1, KEEP, 0},
    {"a query", "GET /ws?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/ws?a=b&c", 0, 1, 1, KEEP, 0},
    {"absolute form", "GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "http://h/p", 0, 1, 1,
        KEEP, 0},
    {"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*", 0, 1, 1, KEEP, 0},
    {"authority form", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT", "h:1", 0, 1, 1, KEEP,
        0},
    {"a length", POST "Content-Length: 17" END END, "POST", "/", 0, 1, 2, KEEP | LENGTH, 17},
    {"a length of 0", POST "content-length:0" END END, "POST", "/", 0, 1, 2, KEEP | LENGTH, 0},
    {"blanks around a length", POST "Content-Length:  5  " END END, "POST", "/", 0, 1, 2,
        KEEP | LENGTH, 5},
    {"the longest length", POST "Content-Length: 9223372036854775807" END END, "POST", "/", 0, 1, 2,
        KEEP | LENGTH, INT64_MAX},
    {"chunked", POST "Transfer-Encoding: chunked" END END, "POST", "/", 0, 1, 2, KEEP | CHUNKED, 0},
    {"CHUNKED", POST "TRANSFER-ENCODING: CHUNKED" END END, "POST", "/", 0, 1, 2, KEEP | CHUNKED, 0},
    {"close", GET "Connection: close" END END, "GET", "/", 0, 1, 2, 0, 0},
    {"close wins", GET "Connection: keep-alive, Close" END END, "GET", "/", 0, 1, 2, 0, 0},
    {"close in a second header", GET "Connection: a" END "Connection: close" END END, "GET", "/", 0,
        1, 3, 0, 0},
    {"closed is not close", GET "Connection: closed" END END, "GET", "/", 0, 1, 2, KEEP, 0},
    {"1.0 keeps alive when asked", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET", "/",
        0, 0, 1, KEEP, 0},
    {"upgrade", GET "Connection: keep-alive, Upgrade" END "Upgrade: websocket" END END, "GET", "/",
        0, 1, 3, KEEP | UPGRADE, 0},
    {"upgrade, not in Connection", GET "Upgrade: websocket" END END, "GET", "/", 0, 1, 2, KEEP, 0},
    {"upgrade, to nothing", GET "Connection: Upgrade" END END, "GET", "/", 0, 1, 2, KEEP, 0},
    {"bytes above ASCII in a value", GET "A: \xc3\xa4\xff" END END, "GET", "/", 0, 1, 2, KEEP, 0},
    {"an empty value", GET "A:" END "B: \t" END END, "GET", "/", 0, 1, 3, KEEP, 0},
    {"answer", ANSWER END, NULL, NULL, 200, 1, 0, KEEP, 0},
    {"answer of 1.0", "HTTP/1.0 404 Not Found\r\n\r\n", NULL, NULL, 404, 0, 0, 0, 0},
    {"answer without a phrase", "HTTP/1.1 204 \r\n\r\n", NULL, NULL, 204, 1, 0, KEEP, 0},
    {"answer, phrase above ASCII", "HTTP/1.1 999 \xc3\xa4\r\n\r\n", NULL, NULL, 999, 1, 0, KEEP, 0},
    {"answer with a length", ANSWER "Content-Length: 3" END END, NULL, NULL, 200, 1, 1,
        KEEP | LENGTH, 3},
    {"answer in chunks", ANSWER "Transfer-Encoding: chunked" END END, NULL, NULL, 200, 1, 1,
        KEEP | CHUNKED, 0},
    {"answer to an upgrade",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        NULL, NULL, 101, 1, 2, KEEP | UPGRADE, 0},
};

static void check_good(const struct good_row *row)
{
    bool answer = row->method == NULL;
    size_t len = strlen(row->head);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(judge(slice_of(row->head, cut), answer), WEIR_AGAIN);
    }
    // Bytes of a body behind the head are nobody's business here, whatever they are.
    static const char *const bodies[] = {"", "x", "\r\n\r\n", "\n\x01\xff GET /"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        char whole[512];
        int whole_len = snprintf(whole, sizeof whole, "%s%s", row->head, bodies[i]);
        struct slice copy = copy_exact(slice_of(whole, (size_t)whole_len));
        struct http1_head head;
        assert_int_equal(parse(copy, answer, &head), WEIR_OK);
        assert_int_equal(head.head_len, len);
        assert_slice(head.method, answer ? "" : row->method);
        assert_slice(head.target, answer ? "" : row->target);
        assert_int_equal(head.status, row->status);
        assert_int_equal(head.minor_version, row->minor_version);
        assert_int_equal(head.header_count, row->header_count);
        assert_int_equal(head.has_content_length, (row->flags & LENGTH) != 0);
        assert_int_equal(head.chunked, (row->flags & CHUNKED) != 0);
        assert_int_equal(head.keep_alive, (row->flags & KEEP) != 0);
        assert_int_equal(head.upgrade, (row->flags & UPGRADE) != 0);
        assert_true(head.content_length == row->content_length);
        free_exact(copy);
    }
}

static void test_good_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        print_message("%s\n", good_rows[i].rule);
        check_good(&good_rows[i]);
    }
}

// ---- Heads that are refused ---------------------------------------------------------------------

static const struct bad_row {
    const char *rule;
    const char *head;
    size_t len;
} bad_requests[] = {
    // Where the body ends (RFC 9112 section 6).
    {"CL and TE", BYTES(POST "Content-Length: 5" END "Transfer-Encoding: chunked" END END)},
    {"TE and CL", BYTES(POST "Transfer-Encoding: chunked" END "Content-Length: 5" END END)},
    {"CL of 0 and TE", BYTES(POST "Content-Length: 0" END "Transfer-Encoding: chunked" END END)},
    {"two CL that differ", BYTES(POST "Content-Length: 5" END "Content-Length: 6" END END)},
    {"two CL that agree", BYTES(POST "Content-Length: 5" END "Content-Length: 5" END END)},
    {"two CL in other case", BYTES(POST "Content-Length: 5" END "CONTENT-LENGTH: 5" END END)},
    {"CL twice in one header", BYTES(POST "Content-Length: 5, 5" END END)},
    {"negative CL", BYTES(POST "Content-Length: -5" END END)},
    {"negative CL of 0", BYTES(POST "Content-Length: -0" END END)},
    {"CL with a plus", BYTES(POST "Content-Length: +5" END END)},
    {"CL in hexadecimal", BYTES(POST "Content-Length: 0x5" END END)},
    {"CL with a letter", BYTES(POST "Content-Length: 5a" END END)},
    {"CL with an exponent", BYTES(POST "Content-Length: 1e3" END END)},
    {"CL with a fraction", BYTES(POST "Content-Length: 5.0" END END)},
    {"CL with a blank inside", BYTES(POST "Content-Length: 5 6" END END)},
    {"CL with leading zeros", BYTES(POST "Content-Length: 05" END END)},
    {"CL empty", BYTES(POST "Content-Length:" END END)},
    {"CL blank", BYTES(POST "Content-Length: " END END)},
    {"CL of 2^63", BYTES(POST "Content-Length: 9223372036854775808" END END)},
    {"CL of 2^64", BYTES(POST "Content-Length: 18446744073709551616" END END)},
    {"CL of 2^64 + 5", BYTES(POST "Content-Length: 18446744073709551621" END END)},
    {"CL with a space before its colon", BYTES(POST "Content-Length : 5" END END)},
    {"CL with a tab before its colon", BYTES(POST "Content-Length\t: 5" END END)},
    {"CL with a vertical tab", BYTES(POST "Content-Length: \v5" END END)},
    {"TE twice", BYTES(POST "Transfer-Encoding: chunked" END "Transfer-Encoding: chunked" END END)},
    {"TE twice, one identity",
        BYTES(POST "Transfer-Encoding: chunked" END "Transfer-Encoding: identity" END END)},
    {"TE chunked twice in one header", BYTES(POST "Transfer-Encoding: chunked, chunked" END END)},
    {"TE not chunked at the end", BYTES(POST "Transfer-Encoding: chunked, gzip" END END)},
    {"TE with a coding before", BYTES(POST "Transfer-Encoding: gzip, chunked" END END)},
    {"TE identity", BYTES(POST "Transfer-Encoding: identity" END END)},
    {"TE unknown", BYTES(POST "Transfer-Encoding: xchunked" END END)},
    {"TE in quotes", BYTES(POST "Transfer-Encoding: \"chunked\"" END END)},
    {"TE with a parameter", BYTES(POST "Transfer-Encoding: chunked;a=b" END END)},
    {"TE empty", BYTES(POST "Transfer-Encoding:" END END)},
    {"TE with a vertical tab", BYTES(POST "Transfer-Encoding: \vchunked" END END)},
    {"TE with a NUL", BYTES(POST "Transfer-Encoding: chunked\0" END END)},
    {"TE with a space before its colon", BYTES(POST "Transfer-Encoding : chunked" END END)},
    {"TE folded", BYTES(POST "Transfer-Encoding:" END " chunked" END END)},
    {"TE in 1.0", BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")},
    // Lines (sections 2.2, 5).
    {"folded with a space", BYTES(GET "A: b" END " c" END END)},
    {"folded with a tab", BYTES(GET "A: b" END "\tc" END END)},
    {"folded to a blank line", BYTES(GET "A: b" END " " END END)},
    {"folded first header", BYTES("GET / HTTP/1.1\r\n Host: x\r\n\r\n")},
    {"LF ends the request line", BYTES("GET / HTTP/1.1\nHost: x\r\n\r\n")},
    {"LF ends a header", BYTES(GET "A: b\nC: d" END END)},
    {"LF ends the head", BYTES(GET "\n")},
    {"LF LF ends the head", BYTES("GET / HTTP/1.1\nHost: x\n\n")},
    {"LF first", BYTES("\n" GET END)},
    {"CR ends a header", BYTES(GET "A: b\rC: d" END END)},
    {"CR in a value", BYTES(GET "A: b\rc" END END)},
    {"CR CR LF", BYTES(GET "A: b\r" END END)},
    {"CR in front of the last line", BYTES(GET "A: b" END "\r" END END)},
    {"CR in a name", BYTES(GET "A\rB: c" END END)},
    {"CR in the request line", BYTES("GET /\r HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"CR first", BYTES("\r" GET END)},
    {"NUL in a value", BYTES(GET "A: b\0c" END END)},
    {"NUL in a name", BYTES(GET "A\0: b" END END)},
    {"NUL in the target", BYTES("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"DEL in a value", BYTES(GET "A: \x7f" END END)},
    {"escape in a value", BYTES(GET "A: \x1b[0m" END END)},
    {"space before a colon", BYTES(GET "A : b" END END)},
    {"tab before a colon", BYTES(GET "A\t: b" END END)},
    {"space in a name", BYTES(GET "A b: c" END END)},
    {"no name", BYTES(GET ": b" END END)},
    {"no colon", BYTES(GET "A" END END)},
    {"no colon at the end", BYTES(GET "A: b" END "C" END END)},
    {"a name in UTF-8", BYTES(GET "\xc3\xa4: b" END END)},
    // The request line (section 3).
    {"HTTP/0.9", BYTES("GET /\r\n\r\n")},
    {"HTTP/0.9 in words", BYTES("GET / HTTP/0.9\r\nHost: x\r\n\r\n")},
    {"HTTP/1.2", BYTES("GET / HTTP/1.2\r\nHost: x\r\n\r\n")},
    {"HTTP/2.0", BYTES("GET / HTTP/2.0\r\nHost: x\r\n\r\n")},
    {"HTTP/2 preface", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
    {"HTTP/1", BYTES("GET / HTTP/1\r\nHost: x\r\n\r\n")},
    {"HTTP/1.10", BYTES("GET / HTTP/1.10\r\nHost: x\r\n\r\n")},
    {"HTTP/01.1", BYTES("GET / HTTP/01.1\r\nHost: x\r\n\r\n")},
    {"http/1.1", BYTES("GET / http/1.1\r\nHost: x\r\n\r\n")},
    {"RTSP", BYTES("DESCRIBE / RTSP/1.0\r\nHost: x\r\n\r\n")},
    {"ICE", BYTES("SOURCE / ICE/1.0\r\nHost: x\r\n\r\n")},
    {"no target", BYTES("GET HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"an empty target", BYTES("GET  HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"two spaces before the target", BYTES("GET  / HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"two spaces behind the target", BYTES("GET /  HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a space at the end", BYTES("GET / HTTP/1.1 \r\nHost: x\r\n\r\n")},
    {"a space at the front", BYTES(" GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a tab for a space", BYTES("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a tab behind the target", BYTES("GET /\tHTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a space in the target", BYTES("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"two versions", BYTES("GET / HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a target in UTF-8", BYTES("GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a method in small letters", BYTES("get / HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"an unknown method", BYTES("GOT / HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"a method that only begins well", BYTES("GETS / HTTP/1.1\r\nHost: x\r\n\r\n")},
    {"TLS", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
    // Host (RFC 9112 section 3.2).
    {"no Host in 1.1", BYTES("GET / HTTP/1.1\r\n\r\n")},
    {"no Host in 1.1, other headers", BYTES("GET / HTTP/1.1\r\nX-Host: x\r\n\r\n")},
    {"two Hosts", BYTES(GET "Host: y" END END)},
    {"two Hosts that agree", BYTES(GET "Host: x" END END)},
    {"two Hosts in other case", BYTES(GET "hOST: y" END END)},
    {"two Hosts in 1.0", BYTES("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n")},
    {"two hosts in one", BYTES("GET / HTTP/1.1\r\nHost: x, y\r\n\r\n")},
    {"two hosts in one without a space", BYTES("GET / HTTP/1.1\r\nHost: x,y\r\n\r\n")},
    {"Host with a path", BYTES("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n")},
    {"Host with a user", BYTES("GET / HTTP/1.1\r\nHost: u@x\r\n\r\n")},
    {"Host with a space", BYTES("GET / HTTP/1.1\r\nHost: x y\r\n\r\n")},
    {"Host with a fragment", BYTES("GET / HTTP/1.1\r\nHost: x#y\r\n\r\n")},
    {"Host in UTF-8", BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n")},
};

static const struct bad_row bad_answers[] = {
    {"CL and TE", BYTES(ANSWER "Content-Length: 5" END "Transfer-Encoding: chunked" END END)},
    {"two CL", BYTES(ANSWER "Content-Length: 5" END "Content-Length: 6" END END)},
    {"TE unknown", BYTES(ANSWER "Transfer-Encoding: gzip" END END)},
    {"TE in 1.0", BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {"folded", BYTES(ANSWER "A: b" END " c" END END)},
    {"LF ends a header", BYTES(ANSWER "A: b\n" END)},
    {"CR in the phrase", BYTES("HTTP/1.1 200 O\rK\r\n\r\n")},
    {"NUL in the phrase", BYTES("HTTP/1.1 200 O\0K\r\n\r\n")},
    {"an empty line first", BYTES("\r\n" ANSWER END)},
    {"HTTP/1.2", BYTES("HTTP/1.2 200 OK\r\n\r\n")},
    {"HTTP/2", BYTES("HTTP/2 200 OK\r\n\r\n")},
    {"HTTP/1.", BYTES("HTTP/1. 200 OK\r\n\r\n")},
    {"RTSP", BYTES("RTSP/1.0 200 OK\r\n\r\n")},
    {"ICY", BYTES("ICY 200 OK\r\n\r\n")},
    {"no status", BYTES("HTTP/1.1 OK\r\n\r\n")},
    {"status of two digits", BYTES("HTTP/1.1 20 OK\r\n\r\n")},
    {"status of four digits", BYTES("HTTP/1.1 2000 OK\r\n\r\n")},
    {"status 000", BYTES("HTTP/1.1 000 OK\r\n\r\n")},
    {"status 099", BYTES("HTTP/1.1 099 OK\r\n\r\n")},
    {"status with a letter", BYTES("HTTP/1.1 20a OK\r\n\r\n")},
    {"status with a sign", BYTES("HTTP/1.1 -20 OK\r\n\r\n")},
    {"two spaces before the status", BYTES("HTTP/1.1  200 OK\r\n\r\n")},
    {"a request", BYTES(GET END)},
};

// No prefix is accepted, and what is refused once stays refused.
static void check_bad(const struct bad_row *row, bool answer)
{
    print_message("%s\n", row->rule);
    enum weir_result before = WEIR_AGAIN;
    for (size_t len = 0; len <= row->len; len++) {
        enum weir_result result = judge(slice_of(row->head, len), answer);
        assert_true(result == WEIR_MALFORMED || (result == WEIR_AGAIN && before == WEIR_AGAIN));
        before = result;
    }
    assert_int_equal(before, WEIR_MALFORMED);
}

static void test_bad_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_requests); i++) {
        check_bad(&bad_requests[i], false);
    }
}

static void test_bad_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_answers); i++) {
        check_bad(&bad_answers[i], true);
    }
}

// What is refused before the head is complete: the peer need not send the rest.
static const struct early_row {
    const char *bytes;
    bool answer;
} early_rows[] = {
    {"g", false},
    {"\x16", false},
    {" ", false},
    {"\n", false},
    {"\rG", false},
    {"GET /\r\n", false},
    {"GET / HTTP/2.0\r\n", false},
    {"GET / HTTP/1.1\n", false},
    {GET "A: b\n", false},
    {GET " A: b\r\n", false},
    {"P", true},
    {"HTTP/2", true},
    {"HTTP/1.1 200 OK\n", true},
    {"HTTP/1.5 200 OK\r\n", true},
};

static void test_refused_early(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(early_rows); i++) {
        print_message("%s\n", early_rows[i].bytes);
        assert_int_equal(
            judge(slice_str(early_rows[i].bytes), early_rows[i].answer), WEIR_MALFORMED);
    }
}

// ---- Every byte in every place ------------------------------------------------------------------

static bool is_token_byte(int byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_value_byte(int byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool is_host_byte(int byte)
{
    return byte == '\t' || byte == ' ' || // around the value here, so not part of it
           (is_token_byte(byte) && strchr("#^`|", byte) == NULL) ||
           (byte != 0 && strchr("()=;:[]", byte) != NULL);
}

static bool is_target_byte(int byte)
{
    return byte > ' ' && byte < 0x7f;
}

static const struct place {
    const char *before;
    const char *behind;
    bool (*allows)(int byte);
} places[] = {
    {GET "A", "B: c\r\n\r\n", is_token_byte},
    {GET, "B: c\r\n\r\n", is_token_byte},
    {GET "A: b", "c\r\n\r\n", is_value_byte},
    {GET "A: ", "\r\n\r\n", is_value_byte},
    {"GET / HTTP/1.1\r\nHost: x", "\r\n\r\n", is_host_byte},
    {"GET /", "x HTTP/1.1\r\nHost: x\r\n\r\n", is_target_byte},
};

static void test_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(places); i++) {
        for (int byte = 0; byte < 256; byte++) {
            char head[128];
            int len =
                snprintf(head, sizeof head, "%s%c%s", places[i].before, byte, places[i].behind);
            // A colon ends a name instead of being part of it.
            bool colon = byte == ':' && places[i].allows == is_token_byte && i == 0;
            enum weir_result expected = places[i].allows(byte) || colon ? WEIR_OK : WEIR_MALFORMED;
            if (judge(slice_of(head, (size_t)len), false) != expected) {
                fail_msg("place %zu, byte 0x%02x", i, (unsigned)byte);
            }
        }
    }
}

// Values are looked at in pieces of eight bytes: at every place in one, beside any others.
static void test_every_byte_anywhere_in_a_piece(void **state)
{
    static const char beside[] = {' ', '~', '\x80', '\xff', '\t'};
    (void)state;
    for (size_t i = 0; i < sizeof beside; i++) {
        for (size_t place = 0; place < 16; place++) {
            for (int byte = 0; byte < 256; byte++) {
                char head[] = GET "A: b................c\r\n\r\n";
                char *value = strstr(head, "....");
                memset(value, beside[i], 16);
                value[place] = (char)byte;
                enum weir_result expected = is_value_byte(byte) ? WEIR_OK : WEIR_MALFORMED;
                if (judge(slice_of(head, sizeof head - 1), false) != expected) {
                    fail_msg("place %zu, byte 0x%02x", place, (unsigned)byte);
                }
            }
        }
    }
}

// ---- Limits -------------------------------------------------------------------------------------

// A request whose head is len bytes, in a block of its own.
static struct slice request_of(size_t len)
{
    char *bytes = malloc(len);
    assert_non_null(bytes);
    memset(bytes, 'a', len);
    memcpy(bytes, GET "A: ", sizeof GET "A: " - 1);
    memcpy(bytes + len - 4, "\r\n\r\n", 4);
    return slice_of(bytes, len);
}

static void test_head_size(void **state)
{
    (void)state;
    struct http1_head head;
    struct slice fits = request_of(HTTP1_HEAD_BYTES_MAX);
    assert_int_equal(http1_parse_request(fits, &head), WEIR_OK);
    assert_int_equal(head.head_len, HTTP1_HEAD_BYTES_MAX);
    assert_int_equal(http1_parse_request(slice_of(fits.at, fits.len - 1), &head), WEIR_AGAIN);
    free_exact(fits);

    struct slice over = request_of(HTTP1_HEAD_BYTES_MAX + 1);
    assert_int_equal(http1_parse_request(over, &head), WEIR_TOO_LARGE);
    // So it is as soon as nothing that follows could end it in time.
    assert_int_equal(
        http1_parse_request(slice_of(over.at, HTTP1_HEAD_BYTES_MAX), &head), WEIR_TOO_LARGE);
    assert_int_equal(
        http1_parse_request(slice_of(over.at, HTTP1_HEAD_BYTES_MAX - 1), &head), WEIR_AGAIN);
    free_exact(over);
}

static void test_head_size_counts_empty_lines(void **state)
{
    (void)state;
    struct http1_head head;
    struct slice request = request_of(HTTP1_HEAD_BYTES_MAX);
    char *bytes = malloc(request.len + 2);
    assert_non_null(bytes);
    memcpy(bytes, "\r\n", 2);
    memcpy(bytes + 2, request.at, request.len);
    assert_int_equal(http1_parse_request(slice_of(bytes, request.len + 2), &head), WEIR_TOO_LARGE);
    free(bytes);
    free_exact(request);
}

static void test_header_count(void **state)
{
    (void)state;
    char bytes[sizeof GET + 6 * (HTTP1_HEADERS_MAX + 1)];
    size_t len = sizeof GET - 1;
    memcpy(bytes, GET, len);
    for (size_t count = 1; count < HTTP1_HEADERS_MAX; count++, len += 6) {
        memcpy(bytes + len, "A: b\r\n", 6);
    }
    memcpy(bytes + len, "\r\n", 2);
    struct http1_head head;
    assert_int_equal(http1_parse_request(slice_of(bytes, len + 2), &head), WEIR_OK);
    assert_int_equal(head.header_count, HTTP1_HEADERS_MAX);
    assert_int_equal(http1_count(&head, SLICE("a")), HTTP1_HEADERS_MAX - 1);

    memcpy(bytes + len, "A: b\r\n", 6);
    assert_int_equal(judge(slice_of(bytes, len + 5), false), WEIR_AGAIN);
    assert_int_equal(judge(slice_of(bytes, len + 6), false), WEIR_TOO_LARGE);
}

static void test_leading_empty_lines(void **state)
{
    (void)state;
    char bytes[2 * 9 + sizeof GET END];
    for (size_t count = 0; count <= 9; count++) {
        for (size_t i = 0; i < count; i++) {
            memcpy(bytes + 2 * i, "\r\n", 2);
        }
        memcpy(bytes + 2 * count, GET END, sizeof GET END);
        struct http1_head head;
        enum weir_result result = http1_parse_request(slice_str(bytes), &head);
        assert_int_equal(result, count <= 8 ? WEIR_OK : WEIR_MALFORMED);
        if (result == WEIR_OK) {
            assert_int_equal(head.head_len, strlen(bytes));
            assert_slice(head.method, "GET");
        }
    }
}

// ---- Headers ------------------------------------------------------------------------------------

static void test_headers(void **state)
{
    (void)state;
    static const char bytes[] = GET "Accept:text/html\r\n"
                                    "X-Many: one ,\tTwo\r\n"
                                    "x-many:,three\r\n"
                                    "Spaces: \t a \t b \t\r\n\r\n";
    struct http1_head head;
    assert_int_equal(http1_parse_request(slice_str(bytes), &head), WEIR_OK);
    assert_int_equal(head.header_count, 5);
    assert_slice(head.headers[0].name, "Host");
    assert_slice(head.headers[0].value, "x");
    assert_slice(head.headers[3].name, "x-many");
    assert_slice(http1_find(&head, SLICE("ACCEPT"))->value, "text/html");
    assert_slice(http1_find(&head, SLICE("spaces"))->value, "a \t b");
    assert_ptr_equal(http1_find(&head, SLICE("x-many")), &head.headers[2]);
    assert_null(http1_find(&head, SLICE("Accep")));
    assert_null(http1_find(&head, SLICE("Accept2")));
    assert_int_equal(http1_count(&head, SLICE("X-MANY")), 2);
    assert_int_equal(http1_count(&head, SLICE("none")), 0);
    assert_true(http1_has_token(&head, SLICE("x-many"), SLICE("ONE")));
    assert_true(http1_has_token(&head, SLICE("x-many"), SLICE("two")));
    assert_true(http1_has_token(&head, SLICE("x-many"), SLICE("three")));
    assert_false(http1_has_token(&head, SLICE("x-many"), SLICE("thre")));
    assert_false(http1_has_token(&head, SLICE("x-many"), SLICE("one ,\tTwo")));
    assert_false(http1_has_token(&head, SLICE("none"), SLICE("one")));
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(http1_reason(101), "Switching Protocols");
    assert_string_equal(http1_reason(200), "OK");
    assert_string_equal(http1_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http1_reason(503), "Service Unavailable");
    assert_string_equal(http1_reason(0), "Unknown");
    assert_string_equal(http1_reason(299), "Unknown");
}

// ---- Targets ------------------------------------------------------------------------------------

static const struct target_row {
    const char *target;
    const char *path; // NULL: refused
    const char *query;
} target_rows[] = {
    {"/", "/", ""},
    {"/ws", "/ws", ""},
    {"/ws?", "/ws", ""},
    {"/ws?a=b", "/ws", "a=b"},
    {"/ws?a=b?c", "/ws", "a=b?c"},
    {"/?/", "/", "/"},
    {"//ws", "//ws", ""},
    {"/a//b/../c", "/a//b/../c", ""},
    {"/a%2fb", "/a%2fb", ""},
    {"/x://y", "/x://y", ""},
    {"http://h/ws", "/ws", ""},
    {"http://h/ws?a=b", "/ws", "a=b"},
    {"http://h", "/", ""},
    {"http://h?a=b", "/", "a=b"},
    {"http://h/?u=http://i/", "/", "u=http://i/"},
    {"HTTPS://u@h:1/ws", "/ws", ""},
    {"a+b-c.d9://h/", "/", ""},
    {"", NULL, NULL},
    {"?", NULL, NULL},
    {"*", NULL, NULL},
    {"h:80", NULL, NULL},
    {"ws", NULL, NULL},
    {"http:/h/", NULL, NULL},
    {"http:///ws", NULL, NULL},
    {"http://", NULL, NULL},
    {"http://?a", NULL, NULL},
    {"://h/", NULL, NULL},
    {"9p://h/", NULL, NULL},
    {"ws?u=http://h/", NULL, NULL},
    {"/ws#a", NULL, NULL},
    {"/ws?a#b", NULL, NULL},
    {"/w s", NULL, NULL},
    {"/w\ts", NULL, NULL},
    {"/\x01", NULL, NULL},
    {"/\x7f", NULL, NULL},
    {"/\xc3\xa4", NULL, NULL},
};

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(target_rows); i++) {
        const struct target_row *row = &target_rows[i];
        print_message("%s\n", row->target);
        struct slice target = copy_exact(slice_str(row->target));
        struct slice path;
        struct slice query;
        enum weir_result result = http1_split_target(target, &path, &query);
        assert_int_equal(result, row->path == NULL ? WEIR_MALFORMED : WEIR_OK);
        if (result == WEIR_OK) {
            assert_slice(path, row->path);
            assert_slice(query, row->query);
        }
        free_exact(target);
    }
    struct slice path;
    struct slice query;
    assert_int_equal(http1_split_target(slice_of("/\0", 2), &path, &query), WEIR_MALFORMED);
}

static const struct query_row {
    const char *query;
    const char *name;
    enum weir_result result;
    const char *value;
} query_rows[] = {
    {"a=b", "a", WEIR_OK, "b"},
    {"a=", "a", WEIR_OK, ""},
    {"a", "a", WEIR_OK, ""},
    {"x=y&a=b", "a", WEIR_OK, "b"},
    {"a=1&a=2", "a", WEIR_OK, "1"},
    {"a=b=c", "a", WEIR_OK, "b=c"},
    {"&&a=b&", "a", WEIR_OK, "b"},
    {"a=b+c%20d", "a", WEIR_OK, "b c d"},
    {"a=%41%c3%A4%2b%26", "a", WEIR_OK, "A\xc3\xa4+&"},
    {"a=%", "a", WEIR_OK, "%"},
    {"a=%4", "a", WEIR_OK, "%4"},
    {"a=%4g", "a", WEIR_OK, "%4g"},
    {"a=%g4", "a", WEIR_OK, "%g4"},
    {"a=%%41", "a", WEIR_OK, "%A"},
    {"a=%2541", "a", WEIR_OK, "%41"},
    {"%61=b", "a", WEIR_OK, "b"},
    {"a%2b+b=c", "a+ b", WEIR_OK, "c"},
    {"a=12345678901234567890123", "a", WEIR_OK, "12345678901234567890123"},
    {"a=123456789012345678901234", "a", WEIR_TOO_LARGE, NULL},
    {"a=b%00c", "a", WEIR_MALFORMED, NULL},
    {"a=%00", "a", WEIR_MALFORMED, NULL},
    {"", "a", WEIR_NOT_FOUND, NULL},
    {"&", "a", WEIR_NOT_FOUND, NULL},
    {"b=a", "a", WEIR_NOT_FOUND, NULL},
    {"A=b", "a", WEIR_NOT_FOUND, NULL},
    {"aa=b", "a", WEIR_NOT_FOUND, NULL},
    {"a=b", "aa", WEIR_NOT_FOUND, NULL},
    {"a;b=c", "b", WEIR_NOT_FOUND, NULL},
    {"a%00=b", "a", WEIR_NOT_FOUND, NULL},
};

static void test_query_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(query_rows); i++) {
        const struct query_row *row = &query_rows[i];
        print_message("%s\n", row->query);
        struct slice query = copy_exact(slice_str(row->query));
        char text[24];
        size_t len;
        assert_int_equal(
            http1_query_value(query, slice_str(row->name), text, sizeof text, &len), row->result);
        if (row->result == WEIR_OK) {
            assert_string_equal(text, row->value);
            assert_int_equal(len, strlen(row->value));
        }
        free_exact(query);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_heads),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_refused_early),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_every_byte_anywhere_in_a_piece),
        cmocka_unit_test(test_head_size),
        cmocka_unit_test(test_head_size_counts_empty_lines),
        cmocka_unit_test(test_header_count),
        cmocka_unit_test(test_leading_empty_lines),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_query_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
