// SPDX-License-Identifier: Apache-2.0
// What is there, by id; and the way from one moment to another.
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/engine/event_feed.h"
#include "cli/engine/event_id.h"

enum weir_result feed_state_init(struct feed_state *state)
{
    *state = (struct feed_state){json_object(), json_object()};
    return state->clients != NULL && state->tunnels != NULL ? WEIR_OK : WEIR_MEMORY;
}

void feed_state_fini(struct feed_state *state)
{
    json_decref(state->clients);
    json_decref(state->tunnels);
    *state = (struct feed_state){0};
}

static const char *id_of(const json_t *object)
{
    return json_string_value(json_object_get(object, "id"));
}

// Keeps it as a value of its own: the caller's belongs to an event that goes away.
static enum weir_result put(json_t *objects, const json_t *object)
{
    const char *id = id_of(object);
    if (id == NULL) {
        return WEIR_PROTOCOL;
    }
    return json_object_set_new(objects, id, json_deep_copy(object)) == 0 ? WEIR_OK : WEIR_MEMORY;
}

static enum weir_result put_all(json_t *objects, const json_t *list)
{
    enum weir_result result = WEIR_OK;
    json_t *object;
    size_t index;
    json_array_foreach(list, index, object)
    {
        if (result == WEIR_OK) {
            result = put(objects, object);
        }
    }
    return result;
}

static enum weir_result replace_all(struct feed_state *state, const json_t *snapshot)
{
    json_object_clear(state->clients);
    json_object_clear(state->tunnels);
    enum weir_result result = put_all(state->clients, json_object_get(snapshot, "clients"));
    return result == WEIR_OK ? put_all(state->tunnels, json_object_get(snapshot, "tunnels"))
                             : result;
}

enum weir_result feed_state_apply(struct feed_state *state, const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "object");
    if (type == NULL) {
        return WEIR_PROTOCOL;
    }
    if (strcmp(type, "state.initial") == 0) {
        return replace_all(state, object);
    }
    bool client = strncmp(type, "client.", 7) == 0;
    if (!client && strncmp(type, "tunnel.", 7) != 0) {
        return WEIR_OK; // of a newer engine: nothing we keep
    }
    json_t *objects = client ? state->clients : state->tunnels;
    if (strcmp(type + 7, "deleted") != 0) {
        return put(objects, object);
    }
    if (id_of(object) == NULL) {
        return WEIR_PROTOCOL;
    }
    json_object_del(objects, id_of(object)); // it may be unknown
    return WEIR_OK;
}

// ---- Catching up

static void add(json_t *events, const char *type, const json_t *object, uint64_t wall_ms)
{
    char id[EVENT_ID_SIZE];
    char when[TIME_ISO_SIZE];
    event_id_make("evt_cli_", id);
    time_to_iso(wall_ms, when);
    json_t *copy = json_deep_copy(object);
    if (strstr(type, ".deleted") != NULL) {
        json_object_set_new(copy, "status", json_string("offline"));
    }
    // Without memory the list stays short, and the caller finds it so.
    json_array_append_new(events, json_pack("{s:s, s:s, s:s, s:o}", "id", id, "type", type,
                                      "created_at", when, "object", copy));
}

// Those of `from` that `other` lacks.
static size_t add_missing(
    json_t *events, const char *type, json_t *from, json_t *other, uint64_t wall_ms)
{
    const char *id;
    json_t *object;
    size_t count = 0;
    json_object_foreach(from, id, object)
    {
        if (json_object_get(other, id) == NULL) {
            add(events, type, object, wall_ms);
            count++;
        }
    }
    return count;
}

static size_t add_changed(
    json_t *events, const char *type, json_t *before, json_t *now, uint64_t wall_ms)
{
    const char *id;
    json_t *object;
    size_t count = 0;
    json_object_foreach(now, id, object)
    {
        const json_t *old = json_object_get(before, id);
        if (old != NULL && json_equal(old, object) == 0) {
            add(events, type, object, wall_ms);
            count++;
        }
    }
    return count;
}

json_t *feed_state_catch_up(
    const struct feed_state *state, const json_t *snapshot, uint64_t wall_ms)
{
    struct feed_state now;
    json_t *events = json_array();
    size_t count = 0;
    bool ok = feed_state_init(&now) == WEIR_OK && json_is_object(snapshot) &&
              replace_all(&now, snapshot) == WEIR_OK;
    if (ok) {
        count += add_missing(events, "tunnel.deleted", state->tunnels, now.tunnels, wall_ms);
        count += add_missing(events, "client.deleted", state->clients, now.clients, wall_ms);
        count += add_missing(events, "client.created", now.clients, state->clients, wall_ms);
        count += add_changed(events, "client.updated", state->clients, now.clients, wall_ms);
        count += add_missing(events, "tunnel.created", now.tunnels, state->tunnels, wall_ms);
        count += add_changed(events, "tunnel.updated", state->tunnels, now.tunnels, wall_ms);
    }
    feed_state_fini(&now);
    if (!ok || json_array_size(events) != count) {
        json_decref(events);
        return NULL;
    }
    return events;
}
