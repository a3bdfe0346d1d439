// SPDX-License-Identifier: Apache-2.0
// What a diagnosis found, in the shapes of the reference: an observation for every check that was
// made and for what is short on the machine, and a problem for every observation that is bad.
#include <stdio.h>

#include "base/time.h"
#include "health/actions/diagnoses.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define DISK_SHORT_PERCENT 90.0
#define MEMORY_SHORT_PERCENT 95.0
#define OBSERVATIONS_MAX (DIAGNOSIS_TARGETS_MAX + 2)
#define MESSAGE_SIZE 512

struct observation {
    const char *type;
    const char *severity; // "info": no problem
    const char *title;
    const struct target *target; // whose check it is; NULL: of the machine
    uint64_t wall_ms;
    char message[MESSAGE_SIZE];
};

struct found {
    struct observation all[OBSERVATIONS_MAX];
    size_t count;
};

static struct observation *add(
    struct found *found, const char *type, const char *severity, const char *title)
{
    weir_assert(found->count < OBSERVATIONS_MAX);
    struct observation *next = &found->all[found->count++];
    *next = (struct observation){
        .type = type, .severity = severity, .title = title, .wall_ms = sys_wall_ms()};
    return next;
}

// Which of the reference's types a failure is.
static const char *type_of(enum check_outcome outcome)
{
    static const char *const types[CHECK_OUTCOME_COUNT] = {
        [OUTCOME_PASS] = "other",
        [OUTCOME_STATUS] = "service_down",
        [OUTCOME_BODY] = "service_down",
        [OUTCOME_PROTOCOL] = "service_down",
        [OUTCOME_TIMEOUT] = "network_issue",
        [OUTCOME_REFUSED] = "service_down",
        [OUTCOME_RESET] = "service_down",
        [OUTCOME_UNREACHABLE] = "network_issue",
        [OUTCOME_NAME] = "network_issue",
        [OUTCOME_TLS] = "configuration_error",
        [OUTCOME_ANSWER] = "service_down",
        [OUTCOME_PROCESS] = "service_down",
        [OUTCOME_EXIT] = "service_down",
        [OUTCOME_SSH] = "network_issue",
        [OUTCOME_INTERNAL] = "other",
    };
    return types[outcome];
}

static void observe_unchecked(struct found *found, const struct target *target)
{
    const struct service *service = target->service;
    bool wrong = service->problem != NULL;
    struct observation *next = add(found, wrong ? "configuration_error" : "other",
        wrong ? "high" : "low", wrong ? "The registry has a mistake" : "Nothing is checked");
    next->target = target;
    snprintf(next->message, sizeof next->message, "%s: %s", service->name,
        wrong                ? service->problem
        : service->disabled  ? "disabled"
        : !service->declared ? "no health check declared"
                             : "not checked here");
}

static void observe_check(
    struct found *found, const struct target *target, bool heard, bool dependency)
{
    const struct check_record *last = &target->last;
    bool passed = check_outcome_passed(last->outcome);
    if (!target->planned) {
        observe_unchecked(found, target);
        return;
    }
    if (!heard) {
        struct observation *late = add(found, "other", "medium", "The check did not end in time");
        late->target = target;
        snprintf(late->message, sizeof late->message, "%s: no result yet", target->service->name);
        return;
    }
    const char *grave = state_status(&target->state) == HEALTH_UNHEALTHY ? "critical" : "high";
    struct observation *next = add(found,
        passed       ? "other"
        : dependency ? "dependency_missing"
                     : type_of(last->outcome),
        passed ? "info" : grave,
        passed       ? "The check passed"
        : dependency ? "A dependency does not work"
                     : "The check failed");
    next->target = target;
    next->wall_ms = last->wall_ms;
    snprintf(next->message, sizeof next->message, "%s: %s", target->service->name, last->message);
}

static void observe_machine(struct found *found, const struct health *health, const char *machine)
{
    const struct device *device = devices_find(&health->devices, slice_str(machine));
    const struct device_sample *sample = device == NULL ? NULL : device_newest(device, 0);
    if (sample == NULL || device->status != DEVICE_OK) {
        return;
    }
    if (device_disk_percent(sample) >= DISK_SHORT_PERCENT) {
        struct observation *next = add(found, "disk_space", "high", "The disk is nearly full");
        snprintf(next->message, sizeof next->message, "disk of %s: %.0f %% used", machine,
            device_disk_percent(sample));
    }
    if (device_memory_percent(sample) >= MEMORY_SHORT_PERCENT) {
        struct observation *next = add(found, "memory_issue", "high", "Memory is short");
        snprintf(next->message, sizeof next->message, "memory of %s: %.0f %% used", machine,
            device_memory_percent(sample));
    }
}

// ---- Printing

static void put_ms(struct json_writer *writer, const char *key, uint64_t ns)
{
    if (ns == 0) {
        jsonw_null(writer, key);
    } else {
        jsonw_double(writer, key, (double)(ns / 1000) / 1000);
    }
}

static void write_details(struct json_writer *writer, const struct target *target)
{
    jsonw_object_begin(writer, "details");
    if (target != NULL) {
        jsonw_text(writer, "service", target->service->name);
        jsonw_text(writer, "machine", target->service->machine->name);
        jsonw_text(writer, "check_type", check_type_name(target->service->check.type));
        jsonw_text(writer, "status", health_status_name(state_status(&target->state)));
    }
    if (target != NULL && target->has_last) {
        const struct check_record *last = &target->last;
        jsonw_text(writer, "problem_type", check_outcome_label(last->outcome));
        jsonw_i64(writer, "code", last->code);
        put_ms(writer, "latency_ms", last->latency_ns);
        put_ms(writer, "dns_ms", last->phases.name_ns);
        put_ms(writer, "connect_ms", last->phases.connect_ns);
        put_ms(writer, "tls_ms", last->phases.tls_ns);
        put_ms(writer, "first_byte_ms", last->phases.first_byte_ns);
    }
    jsonw_object_end(writer);
}

static void write_observation(struct json_writer *writer, const struct observation *observation)
{
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "type", observation->type);
    jsonw_text(writer, "severity", observation->severity);
    jsonw_text(writer, "message", observation->message);
    write_details(writer, observation->target);
    view_write_time(writer, "timestamp", observation->wall_ms);
    jsonw_object_end(writer);
}

static void write_problem(struct json_writer *writer, const struct observation *observation,
    const char *machine, size_t n)
{
    const struct target *target = observation->target;
    char text[MESSAGE_SIZE];
    jsonw_object_begin(writer, NULL);
    snprintf(text, sizeof text, "problem-%zu", n);
    jsonw_text(writer, "id", text);
    jsonw_text(writer, "title", observation->title);
    jsonw_text(writer, "description", observation->message);
    jsonw_text(writer, "severity", observation->severity);
    jsonw_array_begin(writer, "observations");
    write_observation(writer, observation);
    jsonw_array_end(writer);
    jsonw_array_begin(writer, "affected_components");
    jsonw_text(writer, NULL, target == NULL ? machine : target->service->name);
    jsonw_array_end(writer);
    view_write_time(writer, "timestamp", observation->wall_ms);
    jsonw_object_end(writer);
}

static size_t write_problems(
    const struct found *found, const char *machine, struct json_writer *writer)
{
    size_t count = 0;
    jsonw_array_begin(writer, NULL);
    for (size_t i = 0; i < found->count; i++) {
        if (strcmp(found->all[i].severity, "info") != 0) {
            write_problem(writer, &found->all[i], machine, ++count);
        }
    }
    jsonw_array_end(writer);
    return count;
}

static void observe(struct found *found, const struct diagnosis_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct diagnosis_step *step = &report->steps[i];
        if (step->target != NULL) {
            observe_check(found, step->target, step->heard, i > 0);
        }
    }
    observe_machine(found, report->health, report->machine);
}

size_t diagnosis_write(
    const struct diagnosis_report *report, struct buf *ret_whole, struct buf *ret_problems)
{
    const struct target *target = report->steps[0].target;
    struct found found = {.count = 0};
    struct json_writer writer;
    observe(&found, report);
    json_writer_init(&writer, ret_problems);
    size_t problems = write_problems(&found, report->machine, &writer);
    json_writer_init(&writer, ret_whole);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", report->service);
    jsonw_text(&writer, "machine", report->machine);
    view_write_time(&writer, "started_at", report->begun_wall_ms);
    view_write_time(&writer, "completed_at", sys_wall_ms());
    jsonw_double(&writer, "duration_seconds", report->duration_s);
    jsonw_array_begin(&writer, "observations");
    for (size_t i = 0; i < found.count; i++) {
        write_observation(&writer, &found.all[i]);
    }
    jsonw_array_end(&writer);
    jsonw_raw(&writer, "problems", buf_slice(ret_problems));
    jsonw_array_begin(&writer, "solutions");
    jsonw_array_end(&writer);
    jsonw_u64(
        &writer, "health_score", target == NULL ? 0 : state_score(&target->state, &target->rules));
    jsonw_bool(&writer, "success", target != NULL);
    if (target == NULL) {
        jsonw_text(&writer, "error", "The service left the registry meanwhile");
    } else {
        jsonw_null(&writer, "error");
    }
    jsonw_object_end(&writer);
    return problems;
}
