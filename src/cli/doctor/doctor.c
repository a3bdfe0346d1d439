// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/doctor.h"

#include <inttypes.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/plain.h"
#include "cli/table.h"

static const char *const check_names[] = {
#define DOCTOR_CHECK(symbol, name) name,
#include "cli/doctor/doctor_checks.def"
#undef DOCTOR_CHECK
};

static const char *const status_names[] = {
    [DOCTOR_SKIP] = "skip", [DOCTOR_PASS] = "pass", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

void doctor_set(struct doctor_report *report, enum doctor_check check, enum doctor_status status,
    const char *format, ...)
{
    struct doctor_finding *finding = &report->findings[check];
    char raw[DOCTOR_MESSAGE_SIZE];
    struct buf plain = BUF_INIT(DOCTOR_MESSAGE_SIZE - 1);
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    finding->status = status;
    if (plain_append(&plain, slice_str(raw)) != WEIR_OK ||
        !slice_to_text(buf_slice(&plain), finding->message, sizeof finding->message)) {
        snprintf(finding->message, sizeof finding->message, "out of memory");
    }
    buf_reset(&plain);
}

void doctor_add_detail(
    struct doctor_report *report, enum doctor_check check, const char *key, json_t *value)
{
    struct doctor_finding *finding = &report->findings[check];
    if (value != NULL && finding->details == NULL) {
        finding->details = json_object();
    }
    if (value != NULL) {
        json_object_set_new(finding->details, key, value); // without memory it is not told
    }
}

void doctor_skip_rest(struct doctor_report *report, const char *reason)
{
    for (unsigned i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        if (report->findings[i].message[0] == '\0') {
            doctor_set(report, (enum doctor_check)i, DOCTOR_SKIP, "%s", reason);
        }
    }
}

void doctor_fini(struct doctor_report *report)
{
    for (unsigned i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        json_decref(report->findings[i].details);
        report->findings[i].details = NULL;
    }
}

// ---- The clock

#define CLOCK_WARN_MS 5000
#define CLOCK_FAIL_MS 30000 // the leeway of exp and nbf, spec section 7.1

void doctor_judge_clock(struct doctor_report *report, uint64_t theirs_ms, uint64_t wall_ms)
{
    bool ahead = wall_ms > theirs_ms;
    uint64_t apart_ms = ahead ? wall_ms - theirs_ms : theirs_ms - wall_ms;
    double seconds = (double)apart_ms / 1000;
    doctor_add_detail(report, DOCTOR_CLOCK, "aheadSeconds", json_real(ahead ? seconds : -seconds));
    if (apart_ms < CLOCK_WARN_MS) {
        doctor_set(report, DOCTOR_CLOCK, DOCTOR_PASS, "within %.1f s of the engine's", seconds);
        return;
    }
    doctor_set(report, DOCTOR_CLOCK, apart_ms < CLOCK_FAIL_MS ? DOCTOR_WARN : DOCTOR_FAIL,
        "this machine's clock is %.0f s %s the engine's: set the one that is wrong (timedatectl "
        "tells; tokens allow for 30 s)",
        seconds, ahead ? "ahead of" : "behind");
}

// ---- Showing

size_t doctor_count(const struct doctor_report *report, enum doctor_status status)
{
    size_t count = 0;
    for (unsigned i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        count += report->findings[i].status == status;
    }
    return count;
}

enum weir_result doctor_write_table(const struct doctor_report *report, struct buf *out)
{
    static const char *const titles[] = {"CHECK", "STATUS", "MESSAGE"};
    const struct profile *profile = report->profile;
    const char *const heads[][2] = {
        {"Version:", "weir " WEIR_VERSION},
        {"Config:", profile->config_path},
        {"Context:", profile->context},
        {"Project:", NULL},
        {"Engine:", profile->engine},
    };
    struct table head;
    struct table table;
    table_init(&head, NULL, 2);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        table_add_str(&head, heads[i][0]);
        table_add_str(&head, heads[i][1]);
    }
    table_init(&table, titles, 3);
    for (unsigned i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        table_add_str(&table, check_names[i]);
        table_add_str(&table, status_names[report->findings[i].status]);
        table_add_str(&table, report->findings[i].message);
    }
    enum weir_result result = table_write(&head, out);
    buf_printf(out, "Summary:  %zu pass, %zu warn, %zu fail, %zu skip\n\n",
        doctor_count(report, DOCTOR_PASS), doctor_count(report, DOCTOR_WARN),
        doctor_count(report, DOCTOR_FAIL), doctor_count(report, DOCTOR_SKIP));
    if (result == WEIR_OK) {
        result = table_write(&table, out);
    }
    table_fini(&head);
    table_fini(&table);
    return result;
}

static json_t *text_or_empty(const char *text)
{
    return json_string(text == NULL ? "" : text);
}

json_t *doctor_to_json(const struct doctor_report *report, uint64_t wall_ms)
{
    char now[TIME_ISO_SIZE];
    json_t *summary = json_object();
    json_t *checks = json_array();
    time_to_iso(wall_ms, now);
    for (unsigned i = 0; i < DOCTOR_STATUS_COUNT; i++) {
        json_object_set_new(summary, status_names[i],
            json_integer((json_int_t)doctor_count(report, (enum doctor_status)i)));
    }
    for (unsigned i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        const struct doctor_finding *finding = &report->findings[i];
        json_t *row = json_pack("{s:s, s:s, s:s}", "name", check_names[i], "status",
            status_names[finding->status], "message", finding->message);
        if (finding->details != NULL) {
            json_object_set(row, "details", finding->details);
        }
        json_array_append_new(checks, row);
    }
    const struct profile *profile = report->profile;
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:s, s:o, s:o, s:s}", "version", WEIR_VERSION,
        "channel", "cli", "configPath", text_or_empty(profile->config_path), "apiUrl", "",
        "contextName", text_or_empty(profile->context), "engine", text_or_empty(profile->engine),
        "projectEndpoint", "", "summary", summary, "checks", checks, "generatedAt", now);
}
