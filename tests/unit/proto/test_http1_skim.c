// SPDX-License-Identifier: Apache-2.0
// Heads of answers, good, sloppy and wrong. Every row is fed whole, cut in two at every place, and
// byte by byte; the verdict is the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "proto/http1_skim.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *text;
    enum weir_result result;
    unsigned status;
} rows[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", WEIR_OK, 200},
    {"HTTP/1.0 404 Not Found\r\n\r\n", WEIR_OK, 404},
    {"HTTP/1.1 503\r\n\r\n", WEIR_OK, 503},
    {"HTTP/1.1 204 \r\n\r\n", WEIR_OK, 204},
    {"HTTP/1.1   200 OK\r\n\r\n", WEIR_OK, 200},
    {"HTTP/1.1 999 \r\n\r\n", WEIR_OK, 999},
    // sloppy, and alive
    {"HTTP/1.1 200 OK\nA: b\n\n", WEIR_OK, 200},
    {"HTTP/1.1 200 OK\r\nno header at all\r\n folded\r\n\r\n", WEIR_OK, 200},
    {"HTTP/1.1 200 OK\r\n\rx\r\n\r\n", WEIR_OK, 200},
    {"HTTP/1.1 200 A reason longer than what is kept of a line\r\n\r\n", WEIR_OK, 200},
    // interim answers
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", WEIR_OK, 200},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\n\r\n", WEIR_OK, 500},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", WEIR_OK, 101},
    {"HTTP/1.1 100 Continue\r\n\r\n", WEIR_AGAIN, 0},
    // not there yet
    {"HTTP/1.1 200 OK\r\nA: b\r\n", WEIR_AGAIN, 0},
    {"HTTP/1.1 20", WEIR_AGAIN, 0},
    {"H", WEIR_AGAIN, 0},
    {"", WEIR_AGAIN, 0},
    // something else
    {"SSH-2.0-OpenSSH_9.2\r\n", WEIR_MALFORMED, 0},
    {"<html>", WEIR_MALFORMED, 0},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"http/1.1 200 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/2 200\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.x 200 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1200 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1 20\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1 2000 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1 2x0 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1 099 Low\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1         200 OK\r\n\r\n", WEIR_MALFORMED, 0},
    {"HTTP/1.1 100 Continue\r\n\r\nnonsense", WEIR_MALFORMED, 0},
};

static void feed(struct http1_skim *skim, enum weir_result *result, const char *bytes, size_t len)
{
    // A copy of exactly that length, so that reading past it is seen.
    char *copy = mem_copy(bytes, len);
    assert_non_null(copy);
    if (*result == WEIR_AGAIN) {
        *result = http1_skim_feed(skim, slice_of(copy, len));
    }
    mem_free(copy);
}

static void judge(size_t row, const struct http1_skim *skim, enum weir_result result)
{
    if (result != rows[row].result || (result == WEIR_OK && skim->status != rows[row].status)) {
        fail_msg("\"%s\": result %d, status %u", rows[row].text, (int)result, skim->status);
    }
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(rows); row++) {
        const char *text = rows[row].text;
        size_t len = strlen(text);
        for (size_t cut = 0; cut <= len; cut++) {
            struct http1_skim skim = {0};
            enum weir_result result = WEIR_AGAIN;
            feed(&skim, &result, text, cut);
            feed(&skim, &result, text + cut, len - cut);
            judge(row, &skim, result);
        }
        struct http1_skim skim = {0};
        enum weir_result result = WEIR_AGAIN;
        for (size_t i = 0; i < len; i++) {
            feed(&skim, &result, text + i, 1);
        }
        judge(row, &skim, result);
    }
}

static void test_a_head_is_bounded(void **state)
{
    static const char line[] = "X-Padding: ................................................\r\n";
    struct http1_skim skim = {0};
    enum weir_result result = WEIR_AGAIN;
    size_t fed = 0;
    (void)state;
    feed(&skim, &result, "HTTP/1.1 200 OK\r\n", 17);
    for (fed = 17; result == WEIR_AGAIN && fed < 2 * HTTP1_SKIM_BYTES_MAX; fed += sizeof line - 1) {
        feed(&skim, &result, line, sizeof line - 1);
    }
    assert_int_equal(result, WEIR_TOO_LARGE);
    assert_true(fed > HTTP1_SKIM_BYTES_MAX && fed <= HTTP1_SKIM_BYTES_MAX + sizeof line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_a_head_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
