// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "health/history/old_files.h"

static struct old_files files;

static int setup(void **state)
{
    (void)state;
    files = (struct old_files){0};
    arena_init(&files.arena, 1024 * 1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    old_files_fini(&files);
    return 0;
}

static void test_lines_of_events(void **state)
{
    static const struct {
        bool json;
        const char *line;
        int type; // -1: not understood
        const char *details;
    } rows[] = {
        {true,
            "{\"timestamp\":\"2025-03-01T10:00:00.123456\",\"event_type\":\"failure\","
            "\"service\":\"web\",\"machine\":\"pi_1\",\"details\":\"down\",\"metadata\":{}}",
            EVENT_PROBLEM_DETECTED, "down"},
        {true,
            "{\"timestamp\":\"2025-03-01T10:00:00+00:00\",\"event_type\":\"start\","
            "\"service\":\"web\",\"machine\":\"pi_1\"}",
            EVENT_SERVICE_STARTED, ""},
        {true,
            "{\"timestamp\":\"soon\",\"event_type\":\"start\",\"service\":\"a\",\"machine\":\"b\"}",
            -1, NULL},
        {true,
            "{\"timestamp\":\"2025-03-01\",\"event_type\":\"bang\",\"service\":\"a\",\"machine\":"
            "\"b\"}",
            -1, NULL},
        {true, "{\"timestamp\":\"2025-03-01\",\"event_type\":\"stop\",\"service\":\"a\"}", -1,
            NULL},
        {true, "[]", -1, NULL},
        {true, "{\"timesta", -1, NULL},
        {true, "", -1, NULL},
        {false, "2025-03-01T10:00:00Z|recovery|web|pi_1|up | again", EVENT_PROBLEM_RESOLVED,
            "up | again"},
        {false, "2025-03-01T10:00:00Z|restart|web|pi_1", EVENT_SERVICE_RESTARTED, ""},
        {false, "2025-03-01T10:00:00Z|restart|web", -1, NULL},
        {false, "2025-03-01T10:00:00Z|restart||pi_1|x", -1, NULL},
        {false, "||||", -1, NULL},
        {false, "nothing", -1, NULL},
    };
    unsigned bad = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t before = files.event_count;
        (rows[i].json ? old_files_take_json : old_files_take_log)(&files, slice_str(rows[i].line));
        bad += rows[i].type < 0;
        assert_int_equal(files.lines, i + 1);
        assert_int_equal(files.bad, bad);
        assert_int_equal(files.event_count - before, rows[i].type >= 0);
        if (rows[i].type >= 0) {
            const struct health_event *event = &files.events[before];
            assert_int_equal(event->type, rows[i].type);
            assert_true(event->wall_ms / 1000 == 1740823200);
            assert_true(slice_eq(event->machine, SLICE("pi_1")));
            assert_true(slice_eq(event->message, slice_str(rows[i].details)));
        }
    }
}

static void test_problems_are_added_up(void **state)
{
    static const char *const lines[] = {
        "2025-03-01T10:00:00Z|port_conflict|web|warning",
        "2025-03-03T10:00:00Z|port_conflict|db|error",
        "2025-03-02T10:00:00Z|port_conflict|web|info",
        "2025-03-02T10:00:00Z|disk_space|db|CRITICAL",
        "2025-03-02T10:00:00Z|disk_space|db|terrible",
        "2025-03-02T10:00:00Z|disk_space|db",
        "when|disk_space|db|error",
        "2025-03-02T10:00:00Z||db|error",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        old_files_take_problem(&files, slice_str(lines[i]));
    }
    assert_int_equal(files.lines, 8);
    assert_int_equal(files.bad, 4);
    assert_int_equal(files.problem_count, 2);
    assert_string_equal(files.problems[0].type, "port_conflict");
    assert_int_equal(files.problems[0].count, 3);
    assert_int_equal(files.problems[0].severity, OLD_ERROR);
    assert_int_equal(files.problems[0].service_count, 2);
    assert_true(files.problems[0].last_wall_ms / 1000 == 1740996000);
    assert_int_equal(files.problems[1].severity, OLD_CRITICAL);
}

static void test_kinds_and_services_are_bounded(void **state)
{
    char line[128];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "2025-03-01|kind-%d|web|info", i);
        old_files_take_problem(&files, slice_str(line));
        snprintf(line, sizeof line, "2025-03-01|kind-0|web-%d|info", i);
        old_files_take_problem(&files, slice_str(line));
    }
    assert_int_equal(files.problem_count, OLD_PROBLEMS_MAX);
    assert_int_equal(files.problems[0].service_count, OLD_SERVICES_MAX);
    assert_int_equal(files.problems[0].count, 1001);
    assert_int_equal(files.bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_of_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_problems_are_added_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds_and_services_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
