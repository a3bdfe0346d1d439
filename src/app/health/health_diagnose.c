// SPDX-License-Identifier: Apache-2.0
#include "app/health/health_diagnose.h"

#include <stdio.h>

#include "base/time.h"
#include "cli/plain.h"
#include "health/actions/diagnoses.h"
#include "proto/json_write.h"
#include "sys/clock.h"

struct diagnosed {
    struct target *targets[DIAGNOSIS_TARGETS_MAX]; // the service is the first
    size_t count;
};

enum category {
    CATEGORY_NETWORK,
    CATEGORY_RESOURCES,
    CATEGORY_CONFIGURATION,
    CATEGORY_DEPENDENCIES,
    CATEGORY_COUNT,
};

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIPPED };

static const char *const verdict_words[] = {"pass", "fail", "skipped"};
static const char *const verdict_marks[] = {"✓", "✗", "⊘"};

static enum verdict verdict_of(const struct target *target)
{
    if (target->has_last) {
        return check_outcome_passed(target->last.outcome) ? VERDICT_PASS : VERDICT_FAIL;
    }
    return target->service->problem != NULL ? VERDICT_FAIL : VERDICT_SKIPPED;
}

static const char *message_of(const struct target *target)
{
    const struct service *service = target->service;
    return target->has_last           ? target->last.message
           : service->problem != NULL ? service->problem
           : service->disabled        ? "disabled"
           : !service->declared       ? "no health check declared"
                                      : "not checked";
}

static enum category category_of(const struct diagnosed *diagnosed, size_t index)
{
    const struct service *service = diagnosed->targets[index]->service;
    bool here = service->check.type == CHECK_PROCESS || service->check.type == CHECK_EXEC;
    return index > 0                                        ? CATEGORY_DEPENDENCIES
           : service->problem != NULL || !service->declared ? CATEGORY_CONFIGURATION
           : here                                           ? CATEGORY_RESOURCES
                                                            : CATEGORY_NETWORK;
}

// ---- Text

static void put_phase(struct buf *out, const char *name, uint64_t ns, bool *ret_any)
{
    if (ns > 0) {
        buf_printf(out, "%s%s %.1f ms", *ret_any ? ", " : "    after ", name, (double)ns / 1e6);
        *ret_any = true;
    }
}

static void put_phases(struct buf *out, const struct check_record *last)
{
    bool any = false;
    put_phase(out, "dns", last->phases.name_ns, &any);
    put_phase(out, "connect", last->phases.connect_ns, &any);
    put_phase(out, "tls", last->phases.tls_ns, &any);
    put_phase(out, "first byte", last->phases.first_byte_ns, &any);
    put_phase(out, "end", last->latency_ns, &any);
    buf_append_str(out, any ? "\n" : "");
    if (last->tls_not_after_s != 0) {
        char time[TIME_ISO_SIZE];
        time_to_iso(last->tls_not_after_s * 1000, time);
        buf_printf(out, "    certificate until %s\n", time);
    }
}

static void put_target(struct buf *out, const struct target *target)
{
    const struct service *service = target->service;
    buf_printf(out, "%s ", verdict_marks[verdict_of(target)]);
    plain_append(out, slice_str(service->name));
    buf_printf(out, " (%s on ", check_type_name(service->check.type));
    plain_append(out, slice_str(service->machine->name));
    buf_append_str(out, "): ");
    plain_append(out, slice_str(message_of(target)));
    buf_append_byte(out, '\n');
    if (target->has_last) {
        put_phases(out, &target->last);
    }
}

static void write_text(const struct diagnosed *diagnosed, struct buf *out)
{
    const struct target *first = diagnosed->targets[0];
    buf_append_str(out, "Diagnosis: ");
    plain_append(out, slice_str(first->service->name));
    buf_append_str(out, " on ");
    plain_append(out, slice_str(first->service->machine->name));
    buf_printf(out, "\nHealth Score: %u/100\n\n", state_score(&first->state, &first->rules));
    put_target(out, first);
    buf_append_str(out, diagnosed->count > 1 ? "\nDepends on:\n" : "");
    for (size_t i = 1; i < diagnosed->count; i++) {
        put_target(out, diagnosed->targets[i]);
    }
}

// ---- JSON

static void write_observation(struct json_writer *writer, const struct target *target)
{
    char type[512];
    const struct service *service = target->service;
    snprintf(type, sizeof type, "%s_%s", check_type_name(service->check.type), service->name);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "type", type);
    jsonw_text(writer, "status", verdict_words[verdict_of(target)]);
    jsonw_text(writer, "details", message_of(target));
    if (target->has_last) {
        const struct check_record *last = &target->last;
        jsonw_object_begin(writer, "timing_ms");
        jsonw_double(writer, "dns", (double)(last->phases.name_ns / 1000) / 1000);
        jsonw_double(writer, "connect", (double)(last->phases.connect_ns / 1000) / 1000);
        jsonw_double(writer, "tls", (double)(last->phases.tls_ns / 1000) / 1000);
        jsonw_double(writer, "ttfb", (double)(last->phases.first_byte_ns / 1000) / 1000);
        jsonw_double(writer, "total", (double)(last->latency_ns / 1000) / 1000);
        jsonw_object_end(writer);
    }
    jsonw_object_end(writer);
}

static void write_categories(struct json_writer *writer, const struct diagnosed *diagnosed)
{
    static const char *const names[CATEGORY_COUNT] = {
        "network", "resources", "configuration", "dependencies"};
    jsonw_object_begin(writer, "categorized_observations");
    for (unsigned category = 0; category < CATEGORY_COUNT; category++) {
        jsonw_array_begin(writer, names[category]);
        for (size_t i = 0; i < diagnosed->count; i++) {
            if (category_of(diagnosed, i) == category) {
                write_observation(writer, diagnosed->targets[i]);
            }
        }
        jsonw_array_end(writer);
    }
    jsonw_object_end(writer);
}

static void write_problems(struct json_writer *writer, const struct diagnosed *diagnosed)
{
    size_t count = 0;
    jsonw_array_begin(writer, "problems");
    for (size_t i = 0; i < diagnosed->count; i++) {
        const struct target *target = diagnosed->targets[i];
        char text[512];
        if (verdict_of(target) != VERDICT_FAIL) {
            continue;
        }
        jsonw_object_begin(writer, NULL);
        snprintf(text, sizeof text, "problem-%zu", ++count);
        jsonw_text(writer, "id", text);
        jsonw_text(writer, "severity", i == 0 ? "critical" : "high");
        snprintf(text, sizeof text, "%s: %s", target->service->name, message_of(target));
        jsonw_text(writer, "description", text);
        jsonw_u64(writer, "frequency", 1);
        jsonw_null(writer, "success_rate");
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

static void write_json(const struct diagnosed *diagnosed, struct buf *out)
{
    const struct target *first = diagnosed->targets[0];
    struct json_writer writer;
    char time[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), time);
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", first->service->name);
    jsonw_text(&writer, "machine", first->service->machine->name);
    jsonw_u64(&writer, "health_score", state_score(&first->state, &first->rules));
    write_categories(&writer, diagnosed);
    jsonw_array_begin(&writer, "observations");
    for (size_t i = 0; i < diagnosed->count; i++) {
        write_observation(&writer, diagnosed->targets[i]);
    }
    jsonw_array_end(&writer);
    write_problems(&writer, diagnosed);
    jsonw_array_begin(&writer, "solutions");
    jsonw_array_end(&writer);
    jsonw_text(&writer, "timestamp", time);
    jsonw_object_end(&writer);
    buf_append_byte(out, '\n');
}

void health_diagnose_write(const struct health_ask *ask, struct monitor *monitor, struct buf *out)
{
    struct diagnosed diagnosed;
    struct target *service = monitor_find(monitor, slice_str(ask->service), ask->filter.machine);
    weir_assert(service != NULL);
    diagnosed.count = diagnosis_closure(monitor, service, diagnosed.targets);
    if (ask->json) {
        write_json(&diagnosed, out);
    } else {
        write_text(&diagnosed, out);
    }
}
