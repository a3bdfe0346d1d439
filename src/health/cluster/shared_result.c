// SPDX-License-Identifier: Apache-2.0
#include "health/cluster/shared_result.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define AGE_MS_MAX INT64_C(31536000000) // a year

enum shared_flag {
    FLAG_EVER_PASSED = 1,
    FLAG_EVER_FAILED = 2,
    FLAG_WAS_UNHEALTHY = 4,
    FLAG_SLOW = 8,
    FLAG_COUNTED = 16,
};

// ---- Writing

static void begin(
    struct json_writer *writer, struct buf *out, const struct target *target, const char *kind)
{
    json_writer_init(writer, out);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "kind", kind);
    jsonw_text(writer, "service", target->service->name);
    jsonw_text(writer, "machine", target->service->machine->name);
}

static void write_age(
    struct json_writer *writer, const char *key, bool known, uint64_t then_ns, uint64_t now_ns)
{
    jsonw_u64(writer, key, known ? (now_ns - then_ns) / NS_PER_MS : 0);
}

static unsigned flags_of(const struct state *state)
{
    unsigned flags = 0;
    flags |= state->ever_passed ? FLAG_EVER_PASSED : 0;
    flags |= state->ever_failed ? FLAG_EVER_FAILED : 0;
    flags |= state->was_unhealthy ? FLAG_WAS_UNHEALTHY : 0;
    flags |= state->slow ? FLAG_SLOW : 0;
    flags |= state->counted ? FLAG_COUNTED : 0;
    return flags;
}

void shared_result_write(const struct target *target, const char *by, struct buf *out)
{
    const struct state *state = &target->state;
    const struct check_record *last = &target->last;
    uint64_t now_ns = monitor_now_ns();
    char identity[20];
    char mark[192];
    struct json_writer writer;
    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)target->service->identity);
    snprintf(mark, sizeof mark, "%s %llu", by, (unsigned long long)target->last_ns);
    begin(&writer, out, target, "result");
    jsonw_text(&writer, "identity", identity);
    jsonw_text(&writer, "mark", mark);
    jsonw_text(&writer, "outcome", check_outcome_label(last->outcome));
    jsonw_text(&writer, "message", last->message);
    jsonw_i64(&writer, "code", last->code);
    jsonw_u64(&writer, "latency_ns", last->latency_ns);
    jsonw_u64(&writer, "tls_not_after_s", last->tls_not_after_s);
    jsonw_u64(&writer, "failures", state->failures);
    jsonw_u64(&writer, "passes", state->passes);
    jsonw_u64(&writer, "recent", state->recent);
    jsonw_u64(&writer, "recent_count", state->recent_count);
    jsonw_u64(&writer, "flags", flags_of(state));
    write_age(&writer, "age_ms", true, target->last_ns, now_ns);
    write_age(&writer, "pass_age_ms", state->ever_passed, state->last_pass_ns, now_ns);
    write_age(&writer, "failure_age_ms", state->ever_failed, state->last_failure_ns, now_ns);
    write_age(&writer, "result_age_ms", state->counted, state->last_result_ns, now_ns);
    jsonw_object_end(&writer);
}

void shared_check_write(const struct target *target, struct buf *out)
{
    struct json_writer writer;
    begin(&writer, out, target, "check");
    jsonw_object_end(&writer);
}

void shared_maintenance_write(const struct target *target, struct buf *out)
{
    const struct maintenance *maintenance = &target->maintenance;
    uint64_t now_ms = sys_wall_ms();
    uint64_t until_ms = maintenance->until_wall_ms;
    struct json_writer writer;
    begin(&writer, out, target, "maintenance");
    jsonw_bool(&writer, "on", maintenance->on);
    jsonw_bool(&writer, "ends", until_ms != 0);
    jsonw_u64(&writer, "left_ms", until_ms > now_ms ? until_ms - now_ms : 0);
    jsonw_text(&writer, "reason", maintenance->reason == NULL ? "" : maintenance->reason);
    jsonw_object_end(&writer);
}

void shared_told_write(
    const char *by, const char *what, struct slice about, struct slice json, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "kind", "told");
    jsonw_text(&writer, "by", by);
    jsonw_text(&writer, "what", what);
    jsonw_string(&writer, "about", about);
    jsonw_raw(&writer, "body", json);
    jsonw_object_end(&writer);
}

// ---- Reading

struct reading {
    const json_t *object;
    uint64_t age_ns;
    bool ok;
};

static struct slice read_text(struct reading *reading, const char *key)
{
    const json_t *value = json_object_get(reading->object, key);
    reading->ok &= json_is_string(value);
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_EMPTY;
}

static uint64_t read_number(struct reading *reading, const char *key, json_int_t max)
{
    const json_t *value = json_object_get(reading->object, key);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    reading->ok &= number >= 0 && number <= max;
    return number >= 0 && number <= max ? (uint64_t)number : 0;
}

// How long ago it is by now.
static uint64_t read_age(struct reading *reading, const char *key)
{
    return read_number(reading, key, AGE_MS_MAX) * NS_PER_MS + reading->age_ns;
}

static uint64_t read_hex(struct reading *reading, const char *key)
{
    struct slice text = read_text(reading, key);
    char digits[17];
    char *end = digits;
    if (text.len != 16 || !slice_to_text(text, digits, sizeof digits)) {
        reading->ok = false;
        return 0;
    }
    uint64_t number = strtoull(digits, &end, 16);
    reading->ok &= end == digits + 16;
    return number;
}

static enum check_outcome read_outcome(struct reading *reading)
{
    struct slice label = read_text(reading, "outcome");
    for (unsigned i = 0; i < CHECK_OUTCOME_COUNT; i++) {
        if (slice_eq(label, slice_str(check_outcome_label(i)))) {
            return i;
        }
    }
    reading->ok = false;
    return OUTCOME_INTERNAL;
}

static void read_record(struct reading *reading, struct check_record *record)
{
    struct slice message = read_text(reading, "message");
    *record = (struct check_record){
        .wall_ms = sys_wall_ms() - read_age(reading, "age_ms") / NS_PER_MS,
        .latency_ns = read_number(reading, "latency_ns", INT64_MAX),
        .outcome = read_outcome(reading),
        .code = (int)read_number(reading, "code", INT32_MAX),
        .tls_not_after_s = read_number(reading, "tls_not_after_s", INT64_MAX),
    };
    reading->ok &= slice_to_text(message, record->message, sizeof record->message);
    for (size_t i = 0; i < message.len; i++) {
        reading->ok &= (unsigned char)message.at[i] >= ' ' && message.at[i] != 0x7f;
    }
}

static void read_state(struct reading *reading, struct state *state)
{
    uint64_t now_ns = monitor_now_ns();
    uint64_t flags = read_number(reading, "flags", 31);
    *state = (struct state){
        .last_pass_ns = now_ns - read_age(reading, "pass_age_ms"),
        .last_failure_ns = now_ns - read_age(reading, "failure_age_ms"),
        .last_result_ns = now_ns - read_age(reading, "result_age_ms"),
        .failures = (uint32_t)read_number(reading, "failures", UINT32_MAX),
        .passes = (uint32_t)read_number(reading, "passes", UINT32_MAX),
        .recent = (uint32_t)read_number(reading, "recent", UINT32_MAX),
        .recent_count = (uint8_t)read_number(reading, "recent_count", STATE_RECENT_COUNT),
        .counted = (flags & FLAG_COUNTED) != 0,
        .ever_passed = (flags & FLAG_EVER_PASSED) != 0,
        .ever_failed = (flags & FLAG_EVER_FAILED) != 0,
        .was_unhealthy = (flags & FLAG_WAS_UNHEALTHY) != 0,
        .slow = (flags & FLAG_SLOW) != 0,
    };
    // A state that no machine of ours can be in.
    reading->ok &= state->failures == 0 || state->passes == 0;
}

static bool read_bool(struct reading *reading, const char *key)
{
    const json_t *value = json_object_get(reading->object, key);
    reading->ok &= json_is_boolean(value);
    return json_is_true(value);
}

static void read_maintenance(struct reading *reading, struct shared_message *message)
{
    uint64_t left_ms = read_number(reading, "left_ms", AGE_MS_MAX * 100);
    uint64_t now_ms = sys_wall_ms();
    uint64_t age_ms = reading->age_ns / NS_PER_MS;
    message->on = read_bool(reading, "on");
    message->reason = read_text(reading, "reason");
    if (read_bool(reading, "ends")) {
        reading->ok &= left_ms > age_ms || !message->on; // it has ended
        message->until_wall_ms = left_ms > age_ms ? now_ms + left_ms - age_ms : 0;
    }
}

static void read_result(struct reading *reading, struct shared_message *message)
{
    static const struct siphash_key key = {1, 2};
    struct slice mark = read_text(reading, "mark");
    message->mark = siphash(&key, mark.at, mark.len);
    message->identity = read_hex(reading, "identity");
    read_record(reading, &message->record);
    read_state(reading, &message->state);
}

static void read_told(struct reading *reading, struct shared_message *message)
{
    message->by = read_text(reading, "by");
    message->what = read_text(reading, "what");
    message->about = read_text(reading, "about");
    message->body = json_object_get(reading->object, "body");
    message->age_ns = reading->age_ns;
    reading->ok &= json_is_object(message->body);
    message->kind = reading->ok ? SHARED_TOLD : SHARED_NOTHING;
}

void shared_message_read(struct shared_message *message, struct slice text, uint64_t age_ns)
{
    enum shared_kind kind = SHARED_NOTHING;
    *message = (struct shared_message){
        .service = SLICE_EMPTY, .machine = SLICE_EMPTY, .reason = SLICE_EMPTY};
    message->document = json_loadb(text.at, text.len, 0, NULL);
    struct reading reading = {message->document, age_ns, json_is_object(message->document)};
    if (!reading.ok) {
        return;
    }
    struct slice word = read_text(&reading, "kind");
    if (slice_eq(word, SLICE("told"))) {
        read_told(&reading, message);
        return;
    }
    message->service = read_text(&reading, "service");
    message->machine = read_text(&reading, "machine");
    if (slice_eq(word, SLICE("result"))) {
        read_result(&reading, message);
        kind = SHARED_RESULT;
    } else if (slice_eq(word, SLICE("maintenance"))) {
        read_maintenance(&reading, message);
        kind = SHARED_MAINTENANCE;
    } else if (slice_eq(word, SLICE("check"))) {
        kind = SHARED_CHECK;
    }
    bool named = message->service.len > 0 && message->machine.len > 0;
    message->kind = reading.ok && named ? kind : SHARED_NOTHING;
}

void shared_message_fini(struct shared_message *message)
{
    json_decref(message->document);
    message->document = NULL;
}
