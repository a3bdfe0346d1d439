// SPDX-License-Identifier: Apache-2.0
// What somebody tells one monitor of a cluster is told to all who watch any of them: deployments,
// notes in the timeline, and signs of life of machines. A monitor that is alone, or cannot reach
// the Redis, keeps it to itself.
#include <jansson.h>
#include <stdlib.h>

#include "base/time.h"
#include "health/api/api_internal.h"
#include "health/cluster/shared_result.h"
#include "sys/clock.h"

#define NOTE_MAX 8192
#define HEARTBEAT_AGE_NS (30 * NS_PER_S) // an older one is no sign of life

// ---- Telling

void health_tell_deployment(struct health *health, struct slice deployment_id, struct slice json)
{
    sockets_tell_deployment(&health->sockets, deployment_id, json);
    cluster_tell_others(&health->cluster, "deployment", deployment_id, json);
}

void health_note(struct health *health, const struct health_event *event)
{
    struct buf note = BUF_INIT(NOTE_MAX);
    struct json_writer writer;
    health_emit(health, event);
    json_writer_init(&writer, &note);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", event_type_name(event->type));
    jsonw_string(&writer, "service", event->service);
    jsonw_string(&writer, "machine", event->machine);
    jsonw_string(&writer, "message", event->message);
    jsonw_object_end(&writer);
    if (!note.failed) {
        cluster_tell_others(&health->cluster, "note", SLICE_EMPTY, buf_slice(&note));
    }
    buf_reset(&note);
}

void health_tell_heartbeat(struct health *health, const struct device *device, struct slice json)
{
    cluster_tell_others(
        &health->cluster, "heartbeat", slice_str(device->name), json.len == 0 ? SLICE("{}") : json);
}

// ---- Hearing

static void hear_deployment(struct health *health, const struct shared_message *message)
{
    char *text = json_dumps(message->body, JSON_COMPACT);
    if (text != NULL) {
        sockets_tell_deployment(&health->sockets, message->about, slice_str(text));
        free(text); // jansson's
    }
}

static struct slice member(const json_t *object, const char *name)
{
    return slice_str(json_string_value(json_object_get(object, name)));
}

static void hear_note(struct health *health, const struct shared_message *message)
{
    struct slice type = member(message->body, "type");
    for (unsigned i = 0; i < EVENT_TYPE_COUNT; i++) {
        // States are told with results.
        if (i != EVENT_STATUS_CHANGE && slice_eq(type, slice_str(event_type_name(i)))) {
            health_emit(health, &(struct health_event){
                                    .wall_ms = sys_wall_ms() - message->age_ns / NS_PER_MS,
                                    .type = i,
                                    .previous = EVENT_NO_STATUS,
                                    .status = EVENT_NO_STATUS,
                                    .service = member(message->body, "service"),
                                    .machine = member(message->body, "machine"),
                                    .message = member(message->body, "message"),
                                });
        }
    }
}

static void hear_heartbeat(struct health *health, const struct shared_message *message)
{
    struct device *device = devices_find(&health->devices, message->about);
    if (device != NULL && message->age_ns < HEARTBEAT_AGE_NS) {
        api_take_heartbeat(health, device, message->body);
    }
}

void health_hear(struct health *health, const struct shared_message *message)
{
    if (slice_eq(message->what, SLICE("deployment"))) {
        hear_deployment(health, message);
    } else if (slice_eq(message->what, SLICE("note"))) {
        hear_note(health, message);
    } else if (slice_eq(message->what, SLICE("heartbeat"))) {
        hear_heartbeat(health, message);
    }
}
