// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/head_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define OUT_MAX 128

static const struct head_facts facts = {
    .peer = {"192.0.2.7", 9},
    .peers = {"192.0.2.7", 9},
    .host = {"demo.t.edge.test:8443", 21},
    .port = {"8443", 4},
    .forwarded = {"", 0},
    .request_id = {"made", 4},
};

static const char *const added = "x-forwarded-for: 192.0.2.7\n"
                                 "x-forwarded-proto: https\n"
                                 "x-forwarded-host: demo.t.edge.test:8443\n"
                                 "x-forwarded-port: 8443\n"
                                 "x-real-ip: 192.0.2.7\n";

// "name: value\n" for each field.
static size_t read_fields(const char *text, struct http1_header *fields)
{
    struct slice rest = slice_str(text);
    struct slice line;
    size_t count = 0;
    while (slice_split(&rest, '\n', &line)) {
        ptrdiff_t colon = slice_find(line, ':');
        if (colon > 0) {
            fields[count++] = (struct http1_header){
                slice_of(line.at, (size_t)colon), slice_trim(slice_skip(line, (size_t)colon + 1))};
        }
    }
    return count;
}

static void write_fields(const struct http1_header *fields, size_t count, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        int written = snprintf(out + len, size - len, "%.*s: %.*s\n", SLICE_ARG(fields[i].name),
            SLICE_ARG(fields[i].value));
        assert_true(written > 0 && (size_t)written < size - len);
        len += (size_t)written;
    }
}

static void check_request(const char *in, const char *kept, const char *id)
{
    struct http1_header fields[OUT_MAX];
    struct http1_header out[OUT_MAX];
    char found[8192];
    char wanted[8192];
    size_t count = 0;
    assert_int_equal(
        head_rules_request(fields, read_fields(in, fields), &facts, out, OUT_MAX, &count), WEIR_OK);
    write_fields(out, count, found, sizeof found);
    (void)snprintf(wanted, sizeof wanted, "%s%s%s", kept, added, id);
    assert_string_equal(found, wanted);
}

static void requests_travel_without_what_is_of_one_hop(void **state)
{
    static const struct {
        const char *in;
        const char *kept;
    } rows[] = {
        {"", ""},
        {"Origin: https://a\nCookie: b=c\nAuthorization: Basic d\n",
            "Origin: https://a\nCookie: b=c\nAuthorization: Basic d\n"},
        {"Expect: 100-continue\n", "Expect: 100-continue\n"},
        {"Keep-Alive: 5\nProxy-Connection: x\nProxy-Authorization: y\nTrailer: z\nUpgrade: "
         "websocket\nTransfer-Encoding: chunked\nContent-Length: 5\nHost: other\n",
            ""},
        {"HTTP2-Settings: AAMAAABk\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n", ""},
        {"Connection: close, X-Mine\nX-Mine: 1\nx-other: 2\n", "x-other: 2\n"},
        {"X-Mine: 1\nConnection: x-mine\nConnection: ,keep-alive , x-other\nx-other: 2\n", ""},
        {"TE: trailers\nConnection: TE\n", "te: trailers\n"},
        {"TE: gzip, Trailers;q=1\n", ""},
        {"TE: gzip, trailers\n", "te: trailers\n"},
        {"TE: gzip\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_request(rows[i].in, rows[i].kept, "x-request-id: made\n");
    }
}

static void nobody_speaks_for_the_edge(void **state)
{
    static const char *const spoofs[] = {
        "X-Forwarded-For: 1.2.3.4\n",
        "x-forwarded-FOR: 1.2.3.4\nX-Forwarded-For: 5.6.7.8\n",
        "X_Forwarded_For: 1.2.3.4\n",
        "X-Forwarded_Proto: http\n",
        "X-Forwarded-Host: evil\nX-Forwarded-Port: 1\nX-Forwarded-Server: evil\n",
        "Forwarded: for=1.2.3.4\n",
        "X-Real-IP: 1.2.3.4\nX_Real_IP: 1.2.3.4\n",
        "Transfer_Encoding: chunked\nContent_Length: 3\n",
        // Naming what the edge adds does not take it away.
        "Connection: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof spoofs / sizeof *spoofs; i++) {
        check_request(spoofs[i], "", "x-request-id: made\n");
    }
}

static void request_id_of_the_visitor_stays(void **state)
{
    (void)state;
    check_request("X-Request-ID: his\n", "X-Request-ID: his\n", "");
    check_request("X-Request-ID: his\nConnection: x-request-id\n", "", "x-request-id: made\n");
}

static void answers_travel_without_what_is_of_one_hop(void **state)
{
    struct http1_header fields[OUT_MAX];
    struct http1_header out[OUT_MAX];
    char found[8192];
    size_t count = 0;
    size_t in_count = read_fields("Server: nginx\nConnection: close, X-Hop\nX-Hop: 1\n"
                                  "Transfer-Encoding: chunked\nContent-Length: 4\nTrailer: a\n"
                                  "Keep-Alive: timeout=5\nX-Weir-Error: offline\nUpgrade: h2c\n"
                                  "Set-Cookie: a=b\nSet-Cookie: c=d\nX-Forwarded-For: x\n",
        fields);
    (void)state;
    assert_int_equal(head_rules_answer(fields, in_count, out, OUT_MAX, &count), WEIR_OK);
    write_fields(out, count, found, sizeof found);
    assert_string_equal(
        found, "Server: nginx\nSet-Cookie: a=b\nSet-Cookie: c=d\nX-Forwarded-For: x\n");
}

static void limits_hold(void **state)
{
    struct http1_header fields[OUT_MAX];
    struct http1_header out[OUT_MAX];
    char words[HEAD_RULES_NAMED_MAX * 3 + 32];
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < HTTP1_HEADERS_MAX; i++) {
        fields[i] = (struct http1_header){SLICE("a"), SLICE("b")};
    }
    assert_int_equal(
        head_rules_request(fields, HTTP1_HEADERS_MAX, &facts, out, OUT_MAX, &count), WEIR_OK);
    assert_int_equal(count, HTTP1_HEADERS_MAX + 6);
    assert_int_equal(
        head_rules_request(fields, HTTP1_HEADERS_MAX, &facts, out, HTTP1_HEADERS_MAX, &count),
        WEIR_TOO_LARGE);

    size_t len = 0;
    for (size_t i = 0; i < HEAD_RULES_NAMED_MAX; i++) {
        len += (size_t)snprintf(words + len, sizeof words - len, "a,");
    }
    fields[0] = (struct http1_header){SLICE("connection"), slice_of(words, len)};
    assert_int_equal(head_rules_request(fields, 1, &facts, out, OUT_MAX, &count), WEIR_OK);
    words[len++] = 'b';
    fields[0].value.len = len;
    assert_int_equal(head_rules_request(fields, 1, &facts, out, OUT_MAX, &count), WEIR_TOO_LARGE);
    assert_int_equal(head_rules_answer(fields, 1, out, OUT_MAX, &count), WEIR_TOO_LARGE);
}

// Trailers of h2 have passed no decoder of ours, and services that merge them into the head would
// believe them, under either spelling.
static void trailers_say_nothing_that_a_head_must_not(void **state)
{
    static const struct {
        const char *name;
        bool request;
        bool answer;
    } rows[] = {
        {"grpc-status", true, true},
        {"x-check", true, true},
        {"content-length", false, false},
        {"Content_Length", false, false},
        {"transfer-encoding", false, false},
        {"host", false, false},
        {"authorization", false, false},
        {"x-forwarded-for", false, false},
        {"X_Forwarded_For", false, false},
        {"x-real-ip", false, false},
        {"x_real_ip", false, false},
        {"forwarded", false, false},
        {"set-cookie", false, false},
        {"http2-settings", false, false},
        {"x-weir-error", false, false},
        {"x-request-id", false, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http1_header field = {slice_str(rows[i].name), SLICE("1")};
        struct http1_header out[1];
        assert_int_equal(head_rules_trailers(&field, 1, true, out), rows[i].request);
        assert_int_equal(head_rules_trailers(&field, 1, false, out), rows[i].answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_travel_without_what_is_of_one_hop),
        cmocka_unit_test(nobody_speaks_for_the_edge),
        cmocka_unit_test(request_id_of_the_visitor_stays),
        cmocka_unit_test(answers_travel_without_what_is_of_one_hop),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(trailers_say_nothing_that_a_head_must_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
