// SPDX-License-Identifier: Apache-2.0
#include "health/mirror.h"

#include <stdio.h>

#include "base/time.h"
#include "health/view.h"
#include "proto/json_write.h"

#define DOCUMENT_MAX 65536
#define KEY_MAX 4096

static void write_result(const struct target *target, struct buf *out)
{
    const struct state *state = &target->state;
    double response_ms = target_response_ms(target);
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "service", target->service->name);
    jsonw_text(&writer, "machine", target->service->machine->name);
    jsonw_text(&writer, "status", health_status_name(state_status(state)));
    jsonw_u64(&writer, "health_score", state_score(state, &target->rules));
    jsonw_text(&writer, "state_reason", state_reason_word(state->reason));
    jsonw_u64(&writer, "consecutive_failures", state->failures);
    if (response_ms < 0) {
        jsonw_null(&writer, "response_time_ms");
    } else {
        jsonw_double(&writer, "response_time_ms", response_ms);
    }
    view_write_time(&writer, "last_checked", target->has_last ? target->last.wall_ms : 0);
    view_write_time(&writer, "last_pass", target->last_pass_wall_ms);
    view_write_time(&writer, "last_failure", target->last_failure_wall_ms);
    jsonw_text(&writer, "message", target->has_last ? target->last.message : "");
    jsonw_object_end(&writer);
}

void mirror_result(struct mirror *mirror, const struct target *target)
{
    struct buf key = BUF_INIT(KEY_MAX);
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    if (mirror->monitor == NULL) {
        return;
    }
    buf_printf(
        &key, "portoser:health:%s:%s", target->service->name, target->service->machine->name);
    write_result(target, &document);
    if (!key.failed && !document.failed) {
        (void)redis_link_send(&mirror->link,
            (struct slice[]){SLICE("SETEX"), buf_slice(&key), SLICE("300"), buf_slice(&document)},
            4); // what is dropped is counted
    }
    buf_reset(&key);
    buf_reset(&document);
}

static void put_status(struct json_writer *writer, const char *key, unsigned status)
{
    if (status == EVENT_NO_STATUS) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, health_status_name(status));
    }
}

void mirror_event(struct mirror *mirror, const struct health_event *event)
{
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    struct json_writer writer;
    if (mirror->monitor == NULL || event->type != EVENT_STATUS_CHANGE) {
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", "health_status_change");
    jsonw_string(&writer, "service", event->service);
    jsonw_string(&writer, "machine", event->machine);
    put_status(&writer, "previous_status", event->previous);
    put_status(&writer, "new_status", event->status);
    jsonw_string(&writer, "message", event->message);
    view_write_time(&writer, "timestamp", event->wall_ms);
    jsonw_object_end(&writer);
    if (!document.failed) {
        (void)redis_link_send(&mirror->link,
            (struct slice[]){SLICE("PUBLISH"), SLICE("portoser:health"), buf_slice(&document)},
            3); // what is dropped is counted
    }
    buf_reset(&document);
}

// What was missed without a connection.
static void on_ready(void *arg)
{
    struct mirror *mirror = arg;
    for (size_t i = 0; i < mirror->monitor->target_count; i++) {
        if (mirror->monitor->targets[i]->has_last) {
            mirror_result(mirror, mirror->monitor->targets[i]);
        }
    }
}

enum weir_result mirror_start(struct mirror *mirror, struct worker *worker,
    const struct monitor *monitor, const struct redis_place *place)
{
    *mirror = (struct mirror){.monitor = monitor, .link = {.ready = on_ready, .arg = mirror}};
    return redis_link_open(&mirror->link, worker, place);
}

void mirror_stop(struct mirror *mirror)
{
    redis_link_close(&mirror->link);
    mirror->monitor = NULL;
}
