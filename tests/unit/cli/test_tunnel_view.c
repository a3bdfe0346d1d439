// SPDX-License-Identifier: Apache-2.0
// Models to lines: rows of the specification, order, small terminals, and text that would steer
// one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cli/forward/tunnel_view.h"
#include "cli/paint.h"

static struct tunnel_view view;

static char *render(size_t rows, struct buf *out)
{
    buf_init(out, 65536);
    tunnel_view_render(&view, rows, out);
    assert_false(out->failed);
    return buf_text(out);
}

static size_t lines_of(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

static int fill(void **state)
{
    static const struct tunnel_view_tunnel tunnel = {
        .id = "tid", .address = "https://a.t.x", .target = "localhost:80", .status = "online"};
    (void)state;
    view = (struct tunnel_view){.version = "1.2",
        .plan = "community",
        .latency_us = 1234,
        .tunnels = &tunnel,
        .tunnel_count = 1};
    return 0;
}

static void test_rows(void **state)
{
    struct buf out;
    (void)state;
    const char *text = render(40, &out);
    assert_non_null(
        strstr(text, "\nversion     : 1.2\nupdate      : -\nplan        : community\n"));
    assert_non_null(strstr(text, "\nlatency     : 1.2 ms\nstatus      : online\n"
                                 "tunnel ID   : tid\nforwarding  : https://a.t.x\n"
                                 "forwarded   : localhost:80\n"));
    assert_non_null(strstr(text, "incoming connections:\nno connection\n"));
    assert_null(strstr(text, "problem"));
    buf_reset(&out);
}

static void test_order(void **state)
{
    struct buf out;
    (void)state;
    uint64_t first = tunnel_view_opened(&view, "a", "one", "192.0.2.1", 0);
    uint64_t second = tunnel_view_opened(&view, "a", "two", "", 1500);
    uint64_t third = tunnel_view_opened(&view, "a", "three", "x", 2000);
    tunnel_view_closed(&view, second, 5, 6, 7);
    tunnel_view_problem(&view, "nobody listens", 3661000);
    const char *text = render(40, &out);
    const char *connections = strstr(text, "incoming connections:\n");
    assert_non_null(connections);
    assert_string_equal(connections,
        "incoming connections:\n"
        "[date: 1970-01-01 00:00:02.000 UTC, stream_id: three, source_ip: x, active:true]\n"
        "[date: 1970-01-01 00:00:00.000 UTC, stream_id: one, source_ip: 192.0.2.1, active:true]\n"
        "[date: 1970-01-01 00:00:01.500 UTC, stream_id: two, source_ip: -, active:false, in: 5 B, "
        "out: 6 B, 7 ms]\n\nq or Ctrl-C ends it\n");
    assert_non_null(strstr(text, "problem     : 01:01:01 nobody listens\n"));
    tunnel_view_closed(&view, first, 0, 0, 0);
    tunnel_view_closed(&view, third, 0, 0, 0);
    buf_reset(&out);
}

static void test_several_tunnels(void **state)
{
    static const struct tunnel_view_tunnel tunnels[] = {
        {"1", "https://a", "localhost:1", "online"}, {"2", "https://b", "localhost:2", "offline"}};
    struct buf out;
    (void)state;
    view.tunnels = tunnels;
    view.tunnel_count = 2;
    (void)tunnel_view_opened(&view, "localhost:2", "id", "x", 0);
    const char *text = render(40, &out);
    assert_non_null(strstr(text, "forwarding  : https://b\nforwarded   : localhost:2\n"));
    assert_non_null(strstr(text, "source_ip: x, active:true, to: localhost:2]"));
    buf_reset(&out);
}

static void test_every_size(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        (void)tunnel_view_opened(&view, "a", "id", "x", 0);
    }
    tunnel_view_closed(&view, 1, 0, 0, 0); // has been replaced long ago
    for (size_t rows = 0; rows < 400; rows++) {
        struct buf out;
        assert_true(lines_of(render(rows, &out)) <= (rows < 3 ? 1000 : rows));
        buf_reset(&out);
    }
}

static void test_hostile_text(void **state)
{
    struct buf out;
    (void)state;
    view.version = "\033]0;owned\a\033[2J1\x01\n2";
    (void)tunnel_view_opened(&view, "a", "\033[31mid\r\n", "\xff\x9b", 0);
    tunnel_view_problem(&view, "\033[?1049l", 0);
    const char *text = render(40, &out);
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\a'));
    assert_null(strstr(text, "owned"));
    buf_reset(&out);
}

static void test_painting(void **state)
{
    struct buf out = BUF_INIT(4096);
    (void)state;
    paint_lines(&out, SLICE("abcdef\nx\ny\n"), 2, 3);
    assert_string_equal(buf_text(&out), "\033[Habc\033[0m\033[K\r\nx\033[0m\033[K\033[J");
    buf_clear(&out);
    paint_line(&out, SLICE("\033[31mh\xc3\xa4lt"), 2, false);
    assert_string_equal(buf_text(&out), "\033[31mh\xc3\xa4\033[0m\033[K");
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows, fill),
        cmocka_unit_test_setup(test_order, fill),
        cmocka_unit_test_setup(test_several_tunnels, fill),
        cmocka_unit_test_setup(test_every_size, fill),
        cmocka_unit_test_setup(test_hostile_text, fill),
        cmocka_unit_test_setup(test_painting, fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
