// SPDX-License-Identifier: Apache-2.0
// The rows as a Prometheus server sees them, and the numbers of several workers.
#include "engine/metrics/engine_metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define PAGE_MAX (1 << 20)
#define WORKERS 3

static bool page_has(struct buf *page, const char *text)
{
    const char *all = buf_text(page);
    assert_non_null(all);
    return strstr(all, text) != NULL;
}

// A family that is torn apart, or a series that is there twice, is refused by a scraper.
static void test_every_family_stands_together(void **state)
{
    (void)state;
    struct engine_metrics_row row;
    for (size_t i = 0; engine_metrics_row_at(i, &row); i++) {
        struct engine_metrics_row other;
        bool left = false;
        for (size_t j = i + 1; engine_metrics_row_at(j, &other); j++) {
            bool same = strcmp(row.name, other.name) == 0;
            assert_false(same && left);
            assert_false(same && strcmp(row.labels, other.labels) == 0);
            assert_true(!same || (row.type == other.type && strcmp(row.help, other.help) == 0));
            left = left || !same;
        }
    }
}

static void test_names_follow_the_conventions(void **state)
{
    (void)state;
    struct engine_metrics_row row;
    size_t count = 0;
    for (; engine_metrics_row_at(count, &row); count++) {
        struct slice name = slice_str(row.name);
        assert_true(slice_starts_with(name, SLICE("weir_engine_")) ||
                    slice_starts_with(name, SLICE("process_")));
        assert_int_equal(row.type == PROMETHEUS_COUNTER, slice_ends_with(name, SLICE("_total")));
        assert_true(strlen(row.help) > 0 && row.help[strlen(row.help) - 1] == '.');
    }
    assert_int_equal(count, ENGINE_METRIC_COUNT + ENGINE_HISTOGRAM_COUNT + ENGINE_FAMILY_COUNT);
}

static void test_workers_are_added_up(void **state)
{
    (void)state;
    struct engine_metrics *all = engine_metrics_new(WORKERS);
    assert_non_null(all);
    engine_metrics_add(&all[0], ENGINE_TUNNELS_HTTP, 3);
    engine_metrics_add(&all[2], ENGINE_TUNNELS_HTTP, -1); // closed by another worker
    engine_metrics_set(&all[1], ENGINE_CERT_NOT_AFTER, 1800000000);
    engine_metrics_observe(&all[0], ENGINE_HISTOGRAM_STREAM_SETUP_TLS, .0005);
    engine_metrics_observe(&all[1], ENGINE_HISTOGRAM_STREAM_SETUP_TLS, 31);
    assert_int_equal(engine_metrics_total(all, WORKERS, ENGINE_TUNNELS_HTTP), 2);

    struct buf page = BUF_INIT(PAGE_MAX);
    engine_metrics_write(all, WORKERS, 1500, EXPOSITION_PROMETHEUS, &page);
    assert_false(page.failed);
    static const char *const lines[] = {
        "# TYPE weir_engine_tunnels gauge\n"
        "weir_engine_tunnels{publish=\"private\",protocol=\"none\"} 0\n"
        "weir_engine_tunnels{publish=\"public\",protocol=\"http\"} 2\n",
        "\nweir_engine_cert_not_after_timestamp_seconds 1800000000\n",
        "\nweir_engine_edge_errors_total{reason=\"unknown_host\"} 0\n",
        "\nweir_engine_api_requests_total{endpoint=\"sse\",code=\"401\"} 0\n",
        "\nweir_engine_stream_setup_seconds_bucket{kind=\"tls\",le=\"0.0005\"} 1\n",
        "\nweir_engine_stream_setup_seconds_bucket{kind=\"tls\",le=\"30\"} 1\n",
        "\nweir_engine_stream_setup_seconds_bucket{kind=\"tls\",le=\"+Inf\"} 2\n",
        "\nweir_engine_stream_setup_seconds_sum{kind=\"tls\"} 31.0005\n",
        "\nweir_engine_build_info{version=\"" WEIR_VERSION "\"} 1\n",
        "\nprocess_start_time_seconds 1.5\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!page_has(&page, lines[i])) {
            fail_msg("the page has no %s", lines[i]);
        }
    }
    buf_reset(&page);
    engine_metrics_free(all);
}

static void test_a_family_of_its_own(void **state)
{
    (void)state;
    struct buf page = BUF_INIT(PAGE_MAX);
    engine_metrics_family(ENGINE_FAMILY_TUNNEL_STREAMS, EXPOSITION_PROMETHEUS, &page);
    engine_metrics_sample(ENGINE_FAMILY_TUNNEL_STREAMS, SLICE("a\"b"), 4, &page);
    assert_true(page_has(&page, "weir_engine_tunnel_streams_total{tunnel=\"a\\\"b\"} 4\n"));
    buf_reset(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_stands_together),
        cmocka_unit_test(test_names_follow_the_conventions),
        cmocka_unit_test(test_workers_are_added_up),
        cmocka_unit_test(test_a_family_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
