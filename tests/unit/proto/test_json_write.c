// SPDX-License-Identifier: Apache-2.0
// What the writer writes, byte for byte, and that its doubles read back.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "proto/json_write.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static void expect(struct buf *out, struct slice text)
{
    assert_false(out->failed);
    if (!slice_eq(buf_slice(out), text)) {
        fail_msg("wrote %.*s, not %.*s", SLICE_ARG(buf_slice(out)), SLICE_ARG(text));
    }
    buf_reset(out);
}

// Every call in every place a comma may or may not be.
static void write_everything(struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "text", "x");
    jsonw_object_begin(&writer, "empty");
    jsonw_object_end(&writer);
    jsonw_array_begin(&writer, "list");
    jsonw_array_begin(&writer, NULL);
    jsonw_array_end(&writer);
    jsonw_u64(&writer, NULL, UINT64_MAX);
    jsonw_i64(&writer, NULL, INT64_MIN);
    jsonw_bool(&writer, NULL, true);
    jsonw_null(&writer, NULL);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "no", false);
    jsonw_null(&writer, "nil");
    jsonw_object_end(&writer);
    jsonw_string(&writer, NULL, SLICE("y"));
    jsonw_array_end(&writer);
    jsonw_double(&writer, "half", 0.5);
    jsonw_raw(&writer, "raw", SLICE("{\"a\": 1}"));
    jsonw_key(&writer, SLICE("k\n\"ey"));
    jsonw_array_begin(&writer, NULL);
    jsonw_raw(&writer, NULL, SLICE("1"));
    jsonw_array_end(&writer);
    jsonw_key(&writer, SLICE(""));
    jsonw_text(&writer, NULL, NULL);
    jsonw_u64(&writer, "zero", 0);
    jsonw_object_end(&writer);
}

#define EVERYTHING                                                                                 \
    "{\"text\":\"x\",\"empty\":{},\"list\":[[],18446744073709551615,-9223372036854775808,true,"    \
    "null,{\"no\":false,\"nil\":null},\"y\"],\"half\":0.5,\"raw\":{\"a\": 1},\"k\\n\\\"ey\":[1],"  \
    "\"\":\"\",\"zero\":0}"

static void test_structure(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(4096);
    write_everything(&out);
    expect(&out, SLICE(EVERYTHING));
}

static void test_starts_behind_other_text(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(64);
    buf_append_str(&out, "[1]\n");
    struct json_writer writer;
    json_writer_init(&writer, &out);
    jsonw_array_begin(&writer, NULL);
    jsonw_array_end(&writer);
    expect(&out, SLICE("[1]\n[]"));
}

static const struct {
    struct slice text;
    struct slice json;
} string_rows[] = {
    {TEXT(""), TEXT("\"\"")},
    {TEXT("plain"), TEXT("\"plain\"")},
    {TEXT("\""), TEXT("\"\\\"\"")},
    {TEXT("a\\b/c"), TEXT("\"a\\\\b/c\"")},
    {TEXT("\b\f\n\r\t"), TEXT("\"\\b\\f\\n\\r\\t\"")},
    {TEXT("\0\x01\v\x1f\x7f"), TEXT("\"\\u0000\\u0001\\u000b\\u001f\x7f\"")},
    {TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        TEXT("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"")},
    {TEXT("\xe2\x80\xa8"), TEXT("\"\xe2\x80\xa8\"")},
    {TEXT("a\xff z"), TEXT("\"a\xef\xbf\xbd z\"")},
    {TEXT("\xe2\x82"), TEXT("\"\xef\xbf\xbd\"")},
    {TEXT("\xe2\x82\""), TEXT("\"\xef\xbf\xbd\\\"\"")},
    {TEXT("\xc0\x80"), TEXT("\"\xef\xbf\xbd\xef\xbf\xbd\"")},
    {TEXT("\xed\xa0\x80"), TEXT("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")},
    {TEXT("\x80\xc3\xa9"), TEXT("\"\xef\xbf\xbd\xc3\xa9\"")},
};

static void test_strings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(string_rows); i++) {
        struct buf out = BUF_INIT(256);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        jsonw_string(&writer, NULL, string_rows[i].text);
        expect(&out, string_rows[i].json);
    }
}

static const struct {
    double number;
    const char *json;
} double_rows[] = {
    {0, "0"},
    {-0.0, "0"},
    {1, "1"},
    {-1, "-1"},
    {0.1, "0.1"},
    {-2.5, "-2.5"},
    {123.456, "123.456"},
    {0.001, "0.001"},
    {0.05, "0.05"},
    {0.0004, "0.0004"},
    {99.9995, "99.9995"},
    {10.5, "10.5"},
    {999999999999.875, "999999999999.875"},
    {1000000000000.5, "1000000000000.5"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1.0 / 3, "0.3333333333333333"},
    {9007199254740991, "9007199254740991"},
    {9007199254740992, "9007199254740992"},
    {9007199254740994, "9007199254740994"},
    {-9007199254740994, "-9007199254740994"},
    {1e20, "100000000000000000000"},
    {123456789012345680000.0, "123456789012345680000"},
    {1e21, "1e+21"},
    {1.5e21, "1.5e+21"},
    {-1.5e300, "-1.5e+300"},
    {1e-6, "0.000001"},
    {1.25e-6, "0.00000125"},
    {1e-7, "1e-7"},
    {1.25e-7, "1.25e-7"},
    {5e-324, "5e-324"},
    {1.7976931348623157e308, "1.7976931348623157e+308"},
    {2.2250738585072014e-308, "2.2250738585072014e-308"},
    {1795224820.204, "1795224820.204"},
    {NAN, "null"},
    {INFINITY, "null"},
    {-INFINITY, "null"},
};

static void test_doubles(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(double_rows); i++) {
        struct buf out = BUF_INIT(64);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        jsonw_double(&writer, NULL, double_rows[i].number);
        expect(&out, slice_str(double_rows[i].json));
    }
}

// Bit patterns from a fixed generator, over the whole range of exponents.
static void test_doubles_read_back(void **state)
{
    (void)state;
    uint64_t bits = UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        double number;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number)) {
            continue;
        }
        struct buf out = BUF_INIT(64);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        jsonw_double(&writer, NULL, number);
        const char *text = buf_text(&out);
        assert_non_null(text);
        double back = strtod(text, NULL);
        if (memcmp(&back, &number, sizeof back) != 0) {
            fail_msg("%s is not %.17g", text, number);
        }
        buf_reset(&out);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    for (size_t bound = 0; bound < sizeof EVERYTHING - 1; bound++) {
        struct buf out = BUF_INIT(bound);
        write_everything(&out);
        assert_true(out.failed);
        assert_true(out.len <= bound);
        buf_reset(&out);
    }
    struct buf out = BUF_INIT(sizeof EVERYTHING - 1);
    write_everything(&out);
    expect(&out, SLICE(EVERYTHING));
}

static void test_without_memory(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(4096);
    mem_fail_at(1);
    write_everything(&out);
    mem_fail_at(0);
    assert_true(out.failed);
    buf_reset(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_starts_behind_other_text),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_doubles_read_back),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
