// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// All events, each in brackets, when the text comes in two pieces.
static void read(struct slice text, size_t split, size_t bytes_max, struct buf *out)
{
    struct sse_reader reader;
    struct slice parts[] = {slice_of(text.at, split), slice_skip(text, split)};
    enum weir_result result = WEIR_OK;
    sse_reader_init(&reader, bytes_max);
    for (size_t i = 0; i < 2 && result == WEIR_OK; i++) {
        struct slice data;
        while (sse_reader_next(&reader, &parts[i], &data, &result)) {
            buf_append_byte(out, '[');
            buf_append_slice(out, data);
            buf_append_byte(out, ']');
        }
    }
    if (result != WEIR_OK) {
        buf_append_str(out, "!");
    }
    sse_reader_fini(&reader);
}

static void test_every_split(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *events;
    } rows[] = {
        {"data: a\n\ndata: b\n\n", "[a][b]"},
        {"data:a\r\n\r\n: ping\r\n\r\ndata:  b\r\rdata: c\n\n", "[a][ b][c]"},
        {"data: a\r\ndata: b\r\n\r\n", "[a\nb]"},
        {"data: a\ndata: b\ndata\nid: 7\nevent: x\nretry: 1\n\n", "[a\nb\n]"},
        {"\n\n: comment\n\nevent: only\n\n", ""},
        {"data: not ended\n", ""},
        {"dat: a\n\ndatax: b\n\n", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice text = slice_str(rows[i].text);
        for (size_t split = 0; split <= text.len; split++) {
            struct buf out = BUF_INIT(256);
            read(text, split, 1024, &out);
            const char *found = buf_text(&out);
            assert_string_equal(found, rows[i].events);
            buf_reset(&out);
        }
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct slice line = SLICE("data: 0123456789\n\n");
    struct slice event = SLICE("data: 01234\ndata: 01234\n\n");
    for (size_t split = 0; split <= line.len; split++) {
        struct buf out = BUF_INIT(256);
        read(line, split, 8, &out);
        assert_string_equal(buf_text(&out), "!");
        buf_reset(&out);
    }
    struct buf out = BUF_INIT(256);
    read(event, 3, 11, &out);
    assert_string_equal(buf_text(&out), "[01234\n01234]");
    buf_reset(&out);
    read(SLICE("data: 012345\ndata: 01234\n\n"), 3, 11, &out);
    assert_string_equal(buf_text(&out), "!");
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
