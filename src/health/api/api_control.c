// SPDX-License-Identifier: Apache-2.0
// What changes something: a check now, maintenance, a reload.
#include <jansson.h>
#include <stdio.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define FOR_SECONDS_MAX 31622400 // a year

static void answer_flag(
    struct api_request *request, unsigned status, const char *key, bool value, const char *message)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, key, value);
    jsonw_text(&writer, "message", message);
    jsonw_object_end(&writer);
    api_answer_json(request, status, &document);
}

void api_check_now(struct api_request *request)
{
    struct target *target =
        monitor_find(&request->health->monitor, slice_str(request->path.text[0]), SLICE_EMPTY);
    if (target == NULL) {
        api_answer_error(request, 404, "Service not found");
        return;
    }
    if (!service_monitored(target->service)) {
        api_answer_error(request, 409, "There is nothing to check");
        return;
    }
    bool started = health_check_now(request->health, target);
    answer_flag(
        request, 202, "started", started, started ? "check started" : "a check is under way");
}

void api_reload(struct api_request *request)
{
    struct slice problems;
    char message[4096];
    switch (health_reload(request->health)) {
    case HEALTH_RELOADED:
        answer_flag(request, 200, "success", true, "registry reloaded");
        break;
    case HEALTH_LOCKED:
        answer_flag(request, 202, "success", false,
            "somebody has locked the registry; it is read as soon as they are done");
        break;
    case HEALTH_REFUSED:
        problems = slice_trim(buf_slice(&request->health->problems));
        snprintf(message, sizeof message, "%.*s", SLICE_ARG(problems));
        api_answer_error(request, 422, message);
        break;
    }
}

// ---- Maintenance: of a service, or of all services of a machine.

struct maintenance_request {
    uint64_t until_wall_ms;
    char reason[128];
};

static bool set_one(
    struct health *health, struct target *target, bool on, const struct maintenance_request *asked)
{
    monitor_set_maintenance(target, on, asked->until_wall_ms, slice_str(asked->reason));
    history_touch(&health->history, target);
    cluster_maintenance(&health->cluster, target);
    return true;
}

static void set_all(struct api_request *request, bool on, const struct maintenance_request *asked)
{
    struct health *health = request->health;
    struct monitor *monitor = &health->monitor;
    struct slice name = slice_str(request->path.text[0]);
    struct target *target = monitor_find(monitor, name, SLICE_EMPTY);
    bool found = target != NULL && set_one(health, target, on, asked);
    for (size_t i = 0; target == NULL && i < monitor->target_count; i++) {
        if (slice_eq(slice_str(monitor->targets[i]->service->machine->name), name)) {
            found = set_one(health, monitor->targets[i], on, asked);
        }
    }
    if (!found) {
        api_answer_error(request, 404, "There is no such service or machine");
        return;
    }
    health_look_at_maintenance(health);
    health->version++;
    health->urgent++;
    answer_flag(request, 200, "maintenance", on, on ? "maintenance started" : "maintenance ended");
}

// {"until": ISO 8601 | "for_seconds": number, "reason": text}; all of it may be missing.
static bool read_body(struct slice body, struct maintenance_request *ret_asked)
{
    json_error_t error;
    json_t *root = body.len == 0 ? json_object() : json_loadb(body.at, body.len, 0, &error);
    json_t *until = json_object_get(root, "until");
    json_t *seconds = json_object_get(root, "for_seconds");
    const char *reason = json_string_value(json_object_get(root, "reason"));
    bool ok = json_is_object(root) && (until == NULL || seconds == NULL);
    *ret_asked = (struct maintenance_request){0};
    snprintf(ret_asked->reason, sizeof ret_asked->reason, "%s", reason == NULL ? "" : reason);
    if (ok && until != NULL) {
        ok = json_is_string(until) && time_from_iso(slice_str(json_string_value(until)),
                                          &ret_asked->until_wall_ms) == WEIR_OK;
    }
    if (ok && seconds != NULL) {
        json_int_t number = json_integer_value(seconds);
        ok = json_is_integer(seconds) && number > 0 && number <= FOR_SECONDS_MAX;
        ret_asked->until_wall_ms = sys_wall_ms() + (uint64_t)(ok ? number : 0) * 1000;
    }
    json_decref(root);
    return ok;
}

void api_maintenance_start(struct api_request *request)
{
    struct maintenance_request asked;
    if (!read_body(request->http->body, &asked)) {
        api_answer_error(request, 422,
            "the body must be a JSON object with until (a time) or for_seconds, and reason");
        return;
    }
    set_all(request, true, &asked);
}

void api_maintenance_end(struct api_request *request)
{
    set_all(request, false, &(struct maintenance_request){0});
}
