// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_clock(void **state)
{
    (void)state;
    static const struct {
        uint64_t theirs_ms;
        uint64_t ours_ms;
        enum doctor_status status;
        const char *said;
    } rows[] = {
        {1000000, 1000000, DOCTOR_PASS, "within 0.0 s"},
        {1004000, 1000000, DOCTOR_PASS, "within 4.0 s"},
        {1000000, 1010000, DOCTOR_WARN, "10 s ahead of"},
        {1029000, 1000000, DOCTOR_WARN, "29 s behind"},
        {1000000, 4600000, DOCTOR_FAIL, "3600 s ahead of"},
        {1030000, 1000000, DOCTOR_FAIL, "30 s behind the engine's: set the one"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct doctor_report report = {0};
        doctor_judge_clock(&report, rows[i].theirs_ms, rows[i].ours_ms);
        assert_int_equal(report.findings[DOCTOR_CLOCK].status, rows[i].status);
        assert_non_null(strstr(report.findings[DOCTOR_CLOCK].message, rows[i].said));
        doctor_fini(&report);
    }
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *server;
        const char *version;
        enum doctor_status status;
    } rows[] = {
        {"weir", WEIR_VERSION, DOCTOR_PASS},
        {"weir", "0.0.1", DOCTOR_WARN},
        {"rstream-engine-ce", "1.25.0", DOCTOR_PASS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct profile profile = {.host = (char[]){"a"}, .server_name = (char[]){"a"}};
        struct doctor_report report = {.profile = &profile};
        struct probe_result probe = {.reached = PROBE_DONE, .ip_count = 1};
        strcpy(probe.server, rows[i].server);
        strcpy(probe.server_version, rows[i].version);
        doctor_judge_probe(&report, &probe, 0);
        assert_int_equal(report.findings[DOCTOR_VERSION].status, rows[i].status);
        doctor_fini(&report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
