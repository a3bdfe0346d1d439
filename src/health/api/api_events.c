// SPDX-License-Identifier: Apache-2.0
// Events from outside: deploy scripts tell what they do, and whoever watches sees it (spec section
// 5.2). An event is stamped, sent on as it is, and noted in the timeline when it ends something.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define EVENTS_PER_SECOND 100
#define MESSAGE_SIZE 512

struct outside_type {
    const char *name;
    enum event_type noted; // counts with `notes`
    bool notes;
};

static const struct outside_type outside_types[] = {
    {"deployment_started", EVENT_DIAGNOSTIC_RUN, true},
    {"deployment_progress", EVENT_DIAGNOSTIC_RUN, false},
    {"deployment_log", EVENT_DIAGNOSTIC_RUN, false},
    {"deployment_completed", EVENT_SERVICE_DEPLOYED, true},
    {"deployment_complete", EVENT_SERVICE_DEPLOYED, true},
    {"deployment_failed", EVENT_DIAGNOSTIC_RUN, true},
};

static const struct outside_type *find_type(const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "type"));
    for (size_t i = 0; name != NULL && i < sizeof outside_types / sizeof outside_types[0]; i++) {
        if (strcmp(name, outside_types[i].name) == 0) {
            return &outside_types[i];
        }
    }
    return NULL;
}

static bool passes_gate(struct health *health)
{
    struct events_gate *gate = &health->events_gate;
    uint64_t now_ns = worker_now(health->worker);
    if (gate->count == 0 || now_ns - gate->second_ns >= NS_PER_S) {
        *gate = (struct events_gate){.second_ns = now_ns};
    }
    return gate->count++ < EVENTS_PER_SECOND;
}

// What every text member must be, if it is there at all; NULL: they are.
static const char *find_mistake(const json_t *event)
{
    static const char *const texts[] = {"service", "machine", "message", "error", "deployment_id"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const json_t *value = json_object_get(event, texts[i]);
        if (value != NULL && !json_is_string(value) && !json_is_null(value)) {
            return texts[i];
        }
    }
    const json_t *results = json_object_get(event, "results");
    return results == NULL || json_is_array(results) ? NULL : "results";
}

static struct slice member(const json_t *event, const char *name)
{
    return slice_str(json_string_value(json_object_get(event, name)));
}

static void note(
    struct health *health, const json_t *event, const struct outside_type *type, uint64_t wall_ms)
{
    char text[MESSAGE_SIZE];
    struct slice detail = member(event, "message");
    detail = detail.len == 0 ? member(event, "error") : detail;
    int room = detail.len > MESSAGE_SIZE / 2 ? MESSAGE_SIZE / 2 : (int)detail.len;
    snprintf(text, sizeof text, "%s%s%.*s", type->name, room > 0 ? ": " : "", room, detail.at);
    health_note(health, &(struct health_event){
                            .wall_ms = wall_ms,
                            .type = type->noted,
                            .previous = EVENT_NO_STATUS,
                            .status = EVENT_NO_STATUS,
                            .service = member(event, "service"),
                            .machine = member(event, "machine"),
                            .message = slice_str(text),
                        });
}

static bool send_on(struct health *health, json_t *event, uint64_t wall_ms)
{
    char time[TIME_ISO_SIZE];
    time_to_iso(wall_ms, time);
    if (json_object_set_new(event, "timestamp", json_string(time)) != 0) {
        return false;
    }
    char *text = json_dumps(event, JSON_COMPACT);
    if (text == NULL) {
        return false;
    }
    health_tell_deployment(health, member(event, "deployment_id"), slice_str(text));
    free(text); // jansson's
    return true;
}

static void take(struct api_request *request, json_t *event)
{
    struct health *health = request->health;
    const struct outside_type *type = find_type(event);
    const char *mistake = find_mistake(event);
    uint64_t wall_ms = sys_wall_ms();
    char message[128];
    if (type == NULL) {
        api_answer_error(request, 422,
            "type must be deployment_started, deployment_progress, deployment_log, "
            "deployment_completed, deployment_complete or deployment_failed");
    } else if (mistake != NULL) {
        snprintf(message, sizeof message, "%s must be a %s", mistake,
            strcmp(mistake, "results") == 0 ? "list" : "text");
        api_answer_error(request, 422, message);
    } else if (!send_on(health, event, wall_ms)) {
        api_answer_error(request, 500, "Internal server error");
    } else {
        struct buf document = BUF_INIT(API_DOCUMENT_MAX);
        if (type->notes) {
            note(health, event, type, wall_ms);
        }
        (void)buf_append_str(&document, "{\"success\":true}"); // failed: answered with 500
        api_answer_json(request, 202, &document);
    }
}

void api_events(struct api_request *request)
{
    struct slice body = request->http->body;
    if (!passes_gate(request->health)) {
        api_answer_error(request, 429, "Rate limit exceeded: 100 events a second are taken");
        return;
    }
    json_t *event = json_loadb(body.at, body.len, 0, NULL);
    if (json_is_object(event)) {
        take(request, event);
    } else {
        api_answer_error(request, 422, "The body must be one JSON object");
    }
    json_decref(event);
}
