// SPDX-License-Identifier: Apache-2.0
// What a server asks of a request's head beyond its syntax: limits of its own, told apart, and
// where the request goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "proto/http1.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

// ---- Limits -------------------------------------------------------------------------------------

static const struct http1_limits limits = {
    .head_bytes_max = 200, .header_count_max = 3, .target_len_max = 50};

// A request whose target has target_len bytes, with header_count headers and a last one that fills
// the head up to head_len bytes.
static struct slice request(char *out, size_t target_len, size_t header_count, size_t head_len)
{
    size_t len = (size_t)sprintf(out, "UNSUBSCRIBE /");
    memset(out + len, 'p', target_len - 1);
    len += target_len - 1;
    len += (size_t)sprintf(out + len, " HTTP/1.1\r\nHost: x\r\n");
    for (size_t i = 1; i < header_count; i++) {
        len += (size_t)sprintf(out + len, "A: b\r\n");
    }
    if (head_len > 0) {
        len -= 2;
        memset(out + len, 'v', head_len - len - 4);
        len = head_len - 4;
        len += (size_t)sprintf(out + len, "\r\n");
    }
    len += (size_t)sprintf(out + len, "\r\n");
    return slice_of(out, len);
}

static void limits_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        size_t target_len;
        size_t header_count;
        size_t head_len;
        enum weir_result result;
    } rows[] = {
        {1, 1, 0, WEIR_OK},
        {50, 3, 200, WEIR_OK},
        {51, 1, 0, WEIR_TOO_LONG},
        {90, 1, 0, WEIR_TOO_LONG},
        {150, 1, 0, WEIR_TOO_LONG},
        {1000, 1, 0, WEIR_TOO_LONG},
        {51, 4, 0, WEIR_TOO_LARGE}, // it is not read so far
        {1, 4, 0, WEIR_TOO_LARGE},
        {1, 2, 201, WEIR_TOO_LARGE},
        {50, 3, 201, WEIR_TOO_LARGE},
        {1, 1, 1000, WEIR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("row %zu\n", i);
        char text[2048];
        struct slice whole =
            request(text, rows[i].target_len, rows[i].header_count, rows[i].head_len);
        struct http1_head head;
        assert_int_equal(http1_parse_request_within(whole, &limits, &head), rows[i].result);
        // A prefix is undecided or says the same already.
        for (size_t cut = 0; cut < whole.len; cut++) {
            enum weir_result result =
                http1_parse_request_within(slice_of(whole.at, cut), &limits, &head);
            assert_true(result == WEIR_AGAIN || (result == rows[i].result && result != WEIR_OK));
        }
        // No more than the limits is ever needed to decide.
        if (rows[i].result != WEIR_OK && whole.len > limits.head_bytes_max) {
            whole.len = limits.head_bytes_max;
            assert_int_equal(http1_parse_request_within(whole, &limits, &head), rows[i].result);
        }
        assert_int_equal(http1_parse_request(whole, &head),
            rows[i].result == WEIR_OK || whole.len < limits.head_bytes_max ? WEIR_OK : WEIR_AGAIN);
    }
}

static void a_target_may_not_fill_the_head(void **state)
{
    (void)state;
    const struct http1_limits narrow = {
        .head_bytes_max = 64, .header_count_max = 3, .target_len_max = 60};
    char text[128];
    memset(text, 'p', sizeof text);
    memcpy(text, "GET /", 5);
    struct http1_head head;
    assert_int_equal(http1_parse_request_within(slice_of(text, 63), &narrow, &head), WEIR_AGAIN);
    assert_int_equal(http1_parse_request_within(slice_of(text, 64), &narrow, &head), WEIR_TOO_LONG);
}

// ---- Where it goes ------------------------------------------------------------------------------

static const struct target_row {
    const char *line;
    const char *host; // NULL: HTTP/1.0 without
    enum weir_result result;
    enum http1_target_form form;
    const char *authority;
    const char *origin;
} target_rows[] = {
    {"GET /", "x", WEIR_OK, HTTP1_ORIGIN_FORM, "x", "/"},
    {"GET /a//b/../c?d=e?f&g=%20", "x:8443", WEIR_OK, HTTP1_ORIGIN_FORM, "x:8443",
        "/a//b/../c?d=e?f&g=%20"},
    {"GET /?", "x", WEIR_OK, HTTP1_ORIGIN_FORM, "x", "/?"},
    {"GET //x/y", "x", WEIR_OK, HTTP1_ORIGIN_FORM, "x", "//x/y"},
    {"GET /http://y/", "x", WEIR_OK, HTTP1_ORIGIN_FORM, "x", "/http://y/"},
    {"GET /", "", WEIR_OK, HTTP1_ORIGIN_FORM, "", "/"},
    {"GET /", NULL, WEIR_OK, HTTP1_ORIGIN_FORM, "", "/"},
    {"OPTIONS /", "x", WEIR_OK, HTTP1_ORIGIN_FORM, "x", "/"},
    {"OPTIONS *", "x", WEIR_OK, HTTP1_ASTERISK_FORM, "x", "*"},
    {"GET http://x/", "x", WEIR_OK, HTTP1_ABSOLUTE_FORM, "x", "/"},
    {"GET HTTPS://X:1/a?b", "x:1", WEIR_OK, HTTP1_ABSOLUTE_FORM, "X:1", "/a?b"},
    {"GET http://x", "x", WEIR_OK, HTTP1_ABSOLUTE_FORM, "x", "/"},
    {"GET http://x/", NULL, WEIR_OK, HTTP1_ABSOLUTE_FORM, "x", "/"},
    {"GET http://[::1]:80/", "[::1]:80", WEIR_OK, HTTP1_ABSOLUTE_FORM, "[::1]:80", "/"},
    {"CONNECT x:443", "x:443", WEIR_OK, HTTP1_AUTHORITY_FORM, "x:443", ""},
    {"CONNECT [::1]:443", "[::1]:443", WEIR_OK, HTTP1_AUTHORITY_FORM, "[::1]:443", ""},
    {"GET *", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET x:443", "x:443", WEIR_MALFORMED, 0, NULL, NULL},
    {"OPTIONS **", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"OPTIONS *?a", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT x", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT x:0", "x:0", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT x:65536", "x:65536", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT :443", ":443", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT u@x:443", "x:443", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT x:443", "y:443", WEIR_MALFORMED, 0, NULL, NULL},
    {"CONNECT x:443", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://x/", "y", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://x/", "x:80", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://x/", "", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://u@x/", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http:///", "", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://", "", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://x?y", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET ftp://x/", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http:/x", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET /#a", "x", WEIR_MALFORMED, 0, NULL, NULL},
    {"GET http://x/#a", "x", WEIR_MALFORMED, 0, NULL, NULL},
};

static void targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(target_rows); i++) {
        const struct target_row *row = &target_rows[i];
        print_message("%s at %s\n", row->line, row->host == NULL ? "(none)" : row->host);
        char text[256];
        if (row->host == NULL) {
            snprintf(text, sizeof text, "%s HTTP/1.0\r\n\r\n", row->line);
        } else {
            snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", row->line, row->host);
        }
        struct http1_head head;
        enum weir_result result = http1_parse_request(slice_str(text), &head);
        struct http1_target target;
        if (result == WEIR_OK) {
            result = http1_read_target(&head, &target);
        }
        assert_int_equal(result, row->result);
        if (result == WEIR_OK) {
            assert_int_equal(target.form, row->form);
            assert_true(slice_eq(target.authority, slice_str(row->authority)));
            assert_true(slice_eq(target.origin, slice_str(row->origin)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_are_told_apart),
        cmocka_unit_test(a_target_may_not_fill_the_head),
        cmocka_unit_test(targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
