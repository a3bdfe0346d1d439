// SPDX-License-Identifier: Apache-2.0
#include "obs/metrics.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE_MAX ((size_t)1 << 20)
#define SHARDS 3

static char *page_of(
    const struct metrics_shard *shards, enum exposition exposition, struct buf *page)
{
    buf_init(page, PAGE_MAX);
    metrics_write(shards, SHARDS, exposition, page);
    prometheus_end(page, exposition);
    assert_false(page->failed);
    char *text = buf_text(page);
    assert_non_null(text);
    return text;
}

static void expect_line(const char *page, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (strstr(page, wanted) == NULL) {
        fail_msg("the page has no line %s", line);
    }
}

static void test_sums_over_shards(void **state)
{
    (void)state;
    struct metrics_shard *shards = metrics_shards_new(SHARDS);
    assert_non_null(shards);
    metrics_add(&shards[0], METRIC_CONNECTIONS, 5);
    metrics_add(&shards[2], METRIC_CONNECTIONS, -2);
    metrics_count(&shards[1], METRIC_HANDSHAKES);
    metrics_set(&shards[0], METRIC_TLS_CERTIFICATE_EXPIRY_SECONDS, 1800000000);
    metrics_set(&shards[0], METRIC_TLS_CERTIFICATE_EXPIRY_SECONDS, 1900000000);
    metrics_failure(&shards[0], FAILURE_JWT_EXPIRED);
    metrics_failure(&shards[1], FAILURE_JWT_EXPIRED);
    metrics_failure(&shards[2], FAILURE_ABORTED);
    assert_int_equal(metrics_total(shards, SHARDS, METRIC_CONNECTIONS), 3);
    assert_int_equal(metrics_total(shards, 1, METRIC_CONNECTIONS), 5);
    struct buf page;
    char *text = page_of(shards, EXPOSITION_PROMETHEUS, &page);
    expect_line(text, "relay_connections_total 3");
    expect_line(text, "relay_handshakes_total 1");
    expect_line(text, "relay_tls_certificate_expiry_seconds 1900000000");
    expect_line(text, "relay_handshake_failures_total{reason=\"jwt_expired\"} 2");
    expect_line(text, "relay_handshake_failures_total{reason=\"aborted\"} 1");
    expect_line(text, "relay_handshake_failures_total{reason=\"rate_limited\"} 0");
    buf_reset(&page);
    metrics_shards_free(shards);
}

static void test_buckets(void **state)
{
    (void)state;
    struct metrics_shard *shards = metrics_shards_new(SHARDS);
    assert_non_null(shards);
    static const double sizes[] = {0, 128, 128.5, 1048576, 1048577};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        metrics_observe(&shards[i % SHARDS], HISTOGRAM_FRAME_SIZE_BYTES, sizes[i]);
    }
    metrics_observe(&shards[0], HISTOGRAM_BACKPLANE_PUBLISH_SECONDS, .2);
    metrics_observe(&shards[0], HISTOGRAM_JWT_VALIDATE_DURATION_SECONDS, 1.0000001);
    struct buf page;
    char *text = page_of(shards, EXPOSITION_PROMETHEUS, &page);
    static const char *const lines[] = {
        "relay_frame_size_bytes_bucket{le=\"128\"} 2",
        "relay_frame_size_bytes_bucket{le=\"256\"} 3",
        "relay_frame_size_bytes_bucket{le=\"512\"} 3",
        "relay_frame_size_bytes_bucket{le=\"1024\"} 3",
        "relay_frame_size_bytes_bucket{le=\"4096\"} 3",
        "relay_frame_size_bytes_bucket{le=\"16384\"} 3",
        "relay_frame_size_bytes_bucket{le=\"65536\"} 3",
        "relay_frame_size_bytes_bucket{le=\"262144\"} 3",
        "relay_frame_size_bytes_bucket{le=\"1048576\"} 4",
        "relay_frame_size_bytes_bucket{le=\"+Inf\"} 5",
        "relay_frame_size_bytes_sum 2097409.5",
        "relay_frame_size_bytes_count 5",
        // What the alert rules ask for are bounds.
        "relay_backplane_publish_seconds_bucket{le=\"0.1\"} 0",
        "relay_backplane_publish_seconds_bucket{le=\"0.2\"} 1",
        "relay_jwt_validate_duration_seconds_bucket{le=\"1\"} 0",
        "relay_jwt_validate_duration_seconds_bucket{le=\"2.5\"} 1",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        expect_line(text, lines[i]);
    }
    buf_reset(&page);
    metrics_shards_free(shards);
}

// What the manual walks is what a page shows, except families labelled by workspace.
static void test_every_row_is_on_the_page(void **state)
{
    (void)state;
    struct metrics_shard *shards = metrics_shards_new(SHARDS);
    assert_non_null(shards);
    struct buf page;
    char *text = page_of(shards, EXPOSITION_PROMETHEUS, &page);
    struct metrics_row row;
    size_t count = 0;
    for (; metrics_row_at(count, &row); count++) {
        char line[512];
        snprintf(line, sizeof line, "# HELP %s %s\n# TYPE %s %s", row.name, row.help, row.name,
            prometheus_type_name(row.type));
        bool by_workspace = strcmp(row.label, "workspace_id") == 0;
        assert_int_equal(strstr(text, line) == NULL, by_workspace);
        struct metrics_row other;
        for (size_t i = 0; i < count && metrics_row_at(i, &other); i++) {
            assert_string_not_equal(row.name, other.name);
        }
    }
    assert_int_equal(count, METRIC_COUNT + HISTOGRAM_COUNT + FAMILY_COUNT);
    assert_false(metrics_row_at(SIZE_MAX, &row));
    buf_reset(&page);
    metrics_shards_free(shards);
}

static void test_rows_are_well_formed(void **state)
{
    (void)state;
    struct metrics_row row;
    for (size_t i = 0; metrics_row_at(i, &row); i++) {
        for (const char *at = row.name; *at != '\0'; at++) {
            assert_true(islower((unsigned char)*at) || *at == '_');
        }
        size_t len = strlen(row.help);
        assert_true(len > 1 && isupper((unsigned char)row.help[0]) && row.help[len - 1] == '.');
        if (row.type == PROMETHEUS_COUNTER) {
            assert_true(slice_ends_with(slice_str(row.name), SLICE("_total")));
        }
    }
}

static void test_families(void **state)
{
    (void)state;
    struct buf page = BUF_INIT(PAGE_MAX);
    metrics_family(FAMILY_FRAMES_IN, EXPOSITION_OPENMETRICS, &page);
    metrics_sample(FAMILY_FRAMES_IN, SLICE("w\"1"), 7, &page);
    metrics_family(FAMILY_LOG_LINES_LOST, EXPOSITION_PROMETHEUS, &page);
    metrics_sample(FAMILY_LOG_LINES_LOST, SLICE("ignored"), 8, &page);
    char *text = buf_text(&page);
    assert_non_null(text);
    assert_string_equal(text, "# HELP relay_frames_in Frames received from daemons.\n"
                              "# TYPE relay_frames_in counter\n"
                              "relay_frames_in_total{workspace_id=\"w\\\"1\"} 7\n"
                              "# HELP relay_log_lines_lost_total "
                              "Log lines lost because standard output was not read, or "
                              "memory ran out.\n"
                              "# TYPE relay_log_lines_lost_total counter\n"
                              "relay_log_lines_lost_total 8\n");
    buf_reset(&page);
}

static void test_failure_labels_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAILURE_COUNT; i++) {
        const char *label = handshake_failure_label((enum handshake_failure)i);
        assert_true(label[0] != '\0');
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(label, handshake_failure_label((enum handshake_failure)j));
        }
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    mem_fail_at(1);
    struct metrics_shard *shards = metrics_shards_new(SHARDS);
    mem_fail_at(0);
    assert_int_equal(shards == NULL, WEIR_FAULTS);
    metrics_shards_free(shards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_over_shards),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_every_row_is_on_the_page),
        cmocka_unit_test(test_rows_are_well_formed),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_failure_labels_differ),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
