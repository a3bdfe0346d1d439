// SPDX-License-Identifier: Apache-2.0
#include "proto/prometheus.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

// A slice for a static initialiser.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE_MAX ((size_t)1 << 16)

static void expect_text(struct buf *page, const char *wanted)
{
    assert_false(page->failed);
    char *text = buf_text(page);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    buf_reset(page);
}

static void test_choose(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum exposition wanted;
    } rows[] = {
        {"", EXPOSITION_PROMETHEUS},
        {"*/*", EXPOSITION_PROMETHEUS},
        {"text/plain", EXPOSITION_PROMETHEUS},
        {"text/html,application/xhtml+xml,*/*;q=0.8", EXPOSITION_PROMETHEUS},
        {"application/openmetrics-text", EXPOSITION_OPENMETRICS},
        {"Application/OpenMetrics-Text; version=1.0.0", EXPOSITION_OPENMETRICS},
        // What Prometheus 2.42 sends.
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
         "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            EXPOSITION_OPENMETRICS},
        {"text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4",
            EXPOSITION_PROMETHEUS},
        {"text/plain;q=0.4, application/openmetrics-text ; q=0.5", EXPOSITION_OPENMETRICS},
        {"text/plain,application/openmetrics-text", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=0", EXPOSITION_PROMETHEUS},
        {"application/openmetrics-text;q=0.000,text/plain;q=0", EXPOSITION_PROMETHEUS},
        // A quality that cannot be read is as none.
        {"application/openmetrics-text;q=,text/plain;q=0.9", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=7,text/plain;q=0.9", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=-1,text/plain;q=0.9", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=nan,text/plain;q=0.9", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=0.12345678901,text/plain;q=0.9", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-textual", EXPOSITION_PROMETHEUS},
        {",,;q=1,;;", EXPOSITION_PROMETHEUS},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("%s\n", rows[i].accept);
        assert_int_equal(prometheus_choose(slice_str(rows[i].accept)), rows[i].wanted);
    }
}

static void test_content_types(void **state)
{
    (void)state;
    assert_string_equal(
        prometheus_content_type(EXPOSITION_PROMETHEUS), "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(prometheus_content_type(EXPOSITION_OPENMETRICS),
        "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

static void test_family(void **state)
{
    (void)state;
    static const struct {
        enum exposition exposition;
        enum prometheus_type type;
        const char *name;
        const char *help;
        const char *wanted;
    } rows[] = {
        {EXPOSITION_PROMETHEUS, PROMETHEUS_COUNTER, "a_total", "Help.",
            "# HELP a_total Help.\n# TYPE a_total counter\n"},
        {EXPOSITION_OPENMETRICS, PROMETHEUS_COUNTER, "a_total", "Help.",
            "# HELP a Help.\n# TYPE a counter\n"},
        // A gauge keeps its name, whatever it ends in.
        {EXPOSITION_PROMETHEUS, PROMETHEUS_GAUGE, "a_total", "Help.",
            "# HELP a_total Help.\n# TYPE a_total gauge\n"},
        {EXPOSITION_OPENMETRICS, PROMETHEUS_GAUGE, "a_total", "Help.",
            "# HELP a_total Help.\n# TYPE a_total gauge\n"},
        {EXPOSITION_OPENMETRICS, PROMETHEUS_HISTOGRAM, "a_bytes", "Help.",
            "# HELP a_bytes Help.\n# TYPE a_bytes histogram\n"},
        {EXPOSITION_PROMETHEUS, PROMETHEUS_GAUGE, "a", "A \"b\" \\ and\nc",
            "# HELP a A \"b\" \\\\ and\\nc\n# TYPE a gauge\n"},
        {EXPOSITION_OPENMETRICS, PROMETHEUS_GAUGE, "a", "A \"b\" \\ and\nc",
            "# HELP a A \\\"b\\\" \\\\ and\\nc\n# TYPE a gauge\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf page = BUF_INIT(PAGE_MAX);
        prometheus_family(&page, rows[i].exposition, rows[i].type, rows[i].name, rows[i].help);
        expect_text(&page, rows[i].wanted);
    }
}

static void test_ints(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *wanted;
    } rows[] = {
        {0, "a 0\n"},
        {-1, "a -1\n"},
        {INT64_MAX, "a 9223372036854775807\n"},
        {INT64_MIN, "a -9223372036854775808\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf page = BUF_INIT(PAGE_MAX);
        prometheus_int(&page, "a", NULL, rows[i].value);
        expect_text(&page, rows[i].wanted);
    }
}

static void test_labels(void **state)
{
    (void)state;
    static const struct {
        struct slice value;
        const char *wanted;
    } rows[] = {
        {TEXT(""), "a{l=\"\"} 1\n"},
        {TEXT("plain"), "a{l=\"plain\"} 1\n"},
        {TEXT("q\"b\\n\nt\t"), "a{l=\"q\\\"b\\\\n\\nt\t\"} 1\n"},
        {TEXT("\"} 1\nforged{l=\""), "a{l=\"\\\"} 1\\nforged{l=\\\"\"} 1\n"},
        {TEXT("gr\xc3\xbc\xc3\x9f"), "a{l=\"gr\xc3\xbc\xc3\x9f\"} 1\n"},
        {TEXT("\xff|\xe2\x82|\xed\xa0\x80|\xc3"),
            "a{l=\"\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\"} "
            "1\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf page = BUF_INIT(PAGE_MAX);
        struct prometheus_label label = {"l", rows[i].value};
        prometheus_int(&page, "a", &label, 1);
        expect_text(&page, rows[i].wanted);
    }
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *wanted;
    } rows[] = {
        {0, "a 0\n"},
        {1, "a 1\n"},
        {-2.5, "a -2.5\n"},
        {.1, "a 0.1\n"},
        {.1 + .2, "a 0.30000000000000004\n"},
        {1048576, "a 1048576\n"},
        {123456789012345, "a 123456789012345\n"},
        {1e21, "a 1e+21\n"},
        {5e-324, "a 4.94065645841247e-324\n"},
        {1.7976931348623157e308, "a 1.7976931348623157e+308\n"},
        {HUGE_VAL, "a +Inf\n"},
        {-HUGE_VAL, "a -Inf\n"},
        {NAN, "a NaN\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf page = BUF_INIT(PAGE_MAX);
        prometheus_double(&page, "a", NULL, rows[i].value);
        expect_text(&page, rows[i].wanted);
    }
}

static void test_histogram(void **state)
{
    (void)state;
    static const double bounds[] = {.0005, .2, 1, 128, 262144, 1048576, 1e7};
    static const uint64_t buckets[] = {1, 0, 2, 3, 0, 4, 0, 5};
    struct prometheus_histogram histogram = {
        .bounds = bounds, .bound_count = COUNT_OF(bounds), .buckets = buckets, .sum = 12.5};
    struct buf page = BUF_INIT(PAGE_MAX);
    prometheus_histogram(&page, EXPOSITION_PROMETHEUS, "h", &histogram);
    expect_text(&page, "h_bucket{le=\"0.0005\"} 1\n"
                       "h_bucket{le=\"0.2\"} 1\n"
                       "h_bucket{le=\"1\"} 3\n"
                       "h_bucket{le=\"128\"} 6\n"
                       "h_bucket{le=\"262144\"} 6\n"
                       "h_bucket{le=\"1048576\"} 10\n"
                       "h_bucket{le=\"10000000\"} 10\n"
                       "h_bucket{le=\"+Inf\"} 15\n"
                       "h_sum 12.5\n"
                       "h_count 15\n");
    prometheus_histogram(&page, EXPOSITION_OPENMETRICS, "h", &histogram);
    expect_text(&page, "h_bucket{le=\"0.0005\"} 1\n"
                       "h_bucket{le=\"0.2\"} 1\n"
                       "h_bucket{le=\"1.0\"} 3\n"
                       "h_bucket{le=\"128.0\"} 6\n"
                       "h_bucket{le=\"262144.0\"} 6\n"
                       "h_bucket{le=\"1.048576e+06\"} 10\n"
                       "h_bucket{le=\"1e+07\"} 10\n"
                       "h_bucket{le=\"+Inf\"} 15\n"
                       "h_sum 12.5\n"
                       "h_count 15\n");
}

static void test_written_labels(void **state)
{
    (void)state;
    static const double bounds[] = {.5};
    static const uint64_t buckets[] = {1, 2};
    struct prometheus_histogram histogram = {
        .labels = "kind=\"a\"", .bounds = bounds, .bound_count = 1, .buckets = buckets, .sum = 4};
    struct buf page = BUF_INIT(PAGE_MAX);
    prometheus_histogram(&page, EXPOSITION_PROMETHEUS, "h", &histogram);
    expect_text(&page, "h_bucket{kind=\"a\",le=\"0.5\"} 1\n"
                       "h_bucket{kind=\"a\",le=\"+Inf\"} 3\n"
                       "h_sum{kind=\"a\"} 4\n"
                       "h_count{kind=\"a\"} 3\n");
    prometheus_int_labelled(&page, "c_total", "kind=\"a\",result=\"ok\"", -7);
    prometheus_int_labelled(&page, "d", "", 8);
    expect_text(&page, "c_total{kind=\"a\",result=\"ok\"} -7\nd 8\n");
}

static void test_end(void **state)
{
    (void)state;
    struct buf page = BUF_INIT(PAGE_MAX);
    prometheus_end(&page, EXPOSITION_PROMETHEUS);
    assert_int_equal(page.len, 0);
    prometheus_end(&page, EXPOSITION_OPENMETRICS);
    expect_text(&page, "# EOF\n");
}

static void test_full_page_says_so(void **state)
{
    (void)state;
    struct buf page = BUF_INIT(8);
    prometheus_int(&page, "longer_than_eight", NULL, 1);
    assert_true(page.failed);
    buf_reset(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_family),
        cmocka_unit_test(test_ints),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_written_labels),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_full_page_says_so),
    };
    return cmocka_run_group_tests_name("prometheus", tests, NULL, NULL);
}
