// SPDX-License-Identifier: Apache-2.0
// Exchanges as JSON and as an archive, read again by a foreign parser; and what is hidden.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "cli/inspect/capture_show.h"
#include "cli/inspect/tap.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char request[] =
    "POST /a?x=1&token=geheim&flag HTTP/1.1\r\nHost: demo.test\r\nCookie: id=geheim\r\n"
    "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
static const char answer[] = "HTTP/1.1 201 Made\r\nSet-Cookie: id=geheim\r\nLocation: /b\r\n"
                             "Content-Length: 3\r\n\r\n\xff\x01z";

static void fill(struct capture *capture)
{
    struct tap tap;
    capture_init(capture);
    tap_open(&tap, capture, &(struct capture_origin){.tunnel = "demo", .source = "192.0.2.1"});
    tap_feed(&tap, CAPTURE_REQUEST, slice_of(request, sizeof request - 1), 1000000);
    tap_feed(&tap, CAPTURE_ANSWER, slice_of(answer, sizeof answer - 1), 3000000);
    tap_close(&tap, 4000000);
    tap_open(&tap, capture, &(struct capture_origin){.tunnel = "raw"});
    tap_feed(&tap, CAPTURE_REQUEST, SLICE("\x16\x03\x01"), 1);
    tap_close(&tap, 2);
}

static json_t *parse(struct buf *out)
{
    json_error_t error;
    assert_false(out->failed);
    json_t *value = json_loadb(buf_slice(out).at, out->len, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL) {
        fail_msg("%s: %.*s", error.text, SLICE_ARG(buf_slice(out)));
    }
    return value;
}

static const char *text_of(const json_t *value, const char *key)
{
    const char *text = json_string_value(json_object_get(value, key));
    return text == NULL ? "(none)" : text;
}

static void test_list(void **state)
{
    (void)state;
    struct capture capture;
    struct buf out = BUF_INIT(65536);
    struct json_writer writer;
    fill(&capture);
    json_writer_init(&writer, &out);
    capture_write_list(&capture, 0, false, &writer);
    json_t *list = parse(&out);
    json_t *exchanges = json_object_get(list, "exchanges");
    assert_int_equal(json_array_size(exchanges), 2);
    json_t *first = json_array_get(exchanges, 0);
    assert_string_equal(text_of(first, "target"), "/a?x=1&token=[hidden]&flag");
    assert_string_equal(text_of(first, "host"), "demo.test");
    assert_string_equal(text_of(first, "state"), "done");
    assert_int_equal(json_integer_value(json_object_get(first, "status")), 201);
    assert_true(json_real_value(json_object_get(first, "wait_ms")) == 2.0 ||
                json_integer_value(json_object_get(first, "wait_ms")) == 2);
    assert_string_equal(text_of(json_array_get(exchanges, 1), "kind"), "tls");
    json_decref(list);

    buf_clear(&out);
    json_writer_init(&writer, &out);
    capture_write_list(&capture, capture.revision, false, &writer);
    list = parse(&out);
    assert_int_equal(json_array_size(json_object_get(list, "exchanges")), 0);
    json_decref(list);
    buf_reset(&out);
    capture_fini(&capture);
}

static void check_secrets(bool shown, bool archive)
{
    struct capture capture;
    struct buf out = BUF_INIT(65536);
    struct json_writer writer;
    fill(&capture);
    json_writer_init(&writer, &out);
    if (archive) {
        capture_write_har(&capture, NULL, shown, &writer);
    } else {
        capture_write_entry(capture_find(&capture, 1), shown, &writer);
    }
    json_decref(parse(&out));
    assert_true((strstr(buf_text(&out), "geheim") != NULL) == shown);
    assert_true((strstr(buf_text(&out), CAPTURE_HIDDEN) != NULL) == !shown);
    buf_reset(&out);
    capture_fini(&capture);
}

static void test_secrets(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        check_secrets((i & 1) != 0, (i & 2) != 0);
    }
}

static void test_archive(void **state)
{
    (void)state;
    struct capture capture;
    struct buf out = BUF_INIT(65536);
    struct json_writer writer;
    fill(&capture);
    json_writer_init(&writer, &out);
    capture_write_har(&capture, NULL, false, &writer);
    json_t *archive = parse(&out);
    json_t *entries = json_object_get(json_object_get(archive, "log"), "entries");
    assert_int_equal(json_array_size(entries), 1); // what is no HTTP is none of an archive's
    json_t *entry = json_array_get(entries, 0);
    json_t *asked = json_object_get(entry, "request");
    json_t *content = json_object_get(json_object_get(entry, "response"), "content");
    assert_string_equal(text_of(asked, "url"), "https://demo.test/a?x=1&token=[hidden]&flag");
    assert_int_equal(json_array_size(json_object_get(asked, "queryString")), 3);
    assert_string_equal(text_of(json_object_get(asked, "postData"), "text"), "hi");
    assert_string_equal(text_of(content, "text"), "/wF6");
    assert_string_equal(text_of(content, "encoding"), "base64");
    assert_string_equal(text_of(json_object_get(entry, "response"), "redirectURL"), "/b");
    json_decref(archive);
    buf_reset(&out);
    capture_fini(&capture);
}

static void test_targets(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"/?", "/?"},
        {"/?token", "/?token"},
        {"/?token=", "/?token=[hidden]"},
        {"/?a=b&&TOKEN=x=y&c", "/?a=b&&TOKEN=[hidden]&c"},
        {"/token=x?rstream.token=x", "/token=x?rstream.token=[hidden]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf out = BUF_INIT(256);
        capture_append_target(&out, slice_str(rows[i][0]), false);
        assert_string_equal(buf_text(&out), rows[i][1]);
        buf_clear(&out);
        capture_append_target(&out, slice_str(rows[i][0]), true);
        assert_string_equal(buf_text(&out), rows[i][0]);
        buf_reset(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_archive),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
