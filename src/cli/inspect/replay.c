// SPDX-License-Identifier: Apache-2.0
// reach ──► stream: request out, answer in ──► end, or the deadline
//
// The tap sees the request when it is written and the answer when it is read: what the page shows
// is what was on the wire.
#include "cli/inspect/replay.h"

#include "base/mem.h"
#include "cli/forward/target.h"
#include "cli/inspect/capture_show.h"

#define REPLAY_NS (30 * NS_PER_S)
#define REQUEST_MAX (CAPTURE_BODY_MAX + 2 * HTTP1_HEAD_BYTES_MAX)

struct replay {
    struct list node;
    struct inspector *inspector;
    struct reach *reach;
    struct stream stream;
    struct buf out;
    struct tap tap;
    struct timer deadline;
    uint64_t id; // of the entry it makes
    bool connected;
    bool closing;
    struct target target;
};

bool replay_write(const struct capture_entry *entry, struct buf *out, const char **ret_problem)
{
    const struct capture_message *message = &entry->messages[CAPTURE_REQUEST];
    struct http1_head head;
    *ret_problem = NULL;
    if (!capture_parse(entry, CAPTURE_REQUEST, &head)) {
        *ret_problem = "it is no HTTP request";
    } else if (entry->kind == CAPTURE_KIND_H2) {
        *ret_problem = "it was HTTP/2, which is not sent again";
    } else if (entry->kind != CAPTURE_KIND_HTTP || head.upgrade) {
        *ret_problem = "it was an upgrade: what followed is not known";
    } else if (message->body_cut || message->ended_ns == 0) {
        *ret_problem = "its body was not kept as a whole";
    }
    if (*ret_problem != NULL) {
        return false;
    }
    buf_printf(out, "%.*s %.*s HTTP/1.1\r\n", SLICE_ARG(head.method), SLICE_ARG(head.target));
    for (size_t i = 0; i < head.header_count; i++) {
        const struct http1_header *field = &head.headers[i];
        if (!slice_eq_nocase(field->name, SLICE("connection")) &&
            !slice_eq_nocase(field->name, SLICE("content-length")) &&
            !slice_eq_nocase(field->name, SLICE("transfer-encoding")) &&
            !slice_eq_nocase(field->name, SLICE("expect"))) {
            buf_printf(out, "%.*s: %.*s\r\n", SLICE_ARG(field->name), SLICE_ARG(field->value));
        }
    }
    if (message->body_len > 0 || head.has_content_length || head.chunked) {
        buf_printf(out, "Content-Length: %zu\r\n", message->body.len);
    }
    buf_append_str(out, "Connection: close\r\n\r\n");
    buf_append_slice(out, buf_slice(&message->body));
    *ret_problem = out->failed ? "it does not fit into memory" : NULL;
    return !out->failed;
}

// ---- The end

static void replay_free(struct replay *replay)
{
    replay->inspector->replay_count--;
    list_remove(&replay->node);
    buf_reset(&replay->out);
    mem_free(replay);
}

static void on_closed(struct stream *stream)
{
    replay_free(container_of(stream, struct replay, stream));
}

static const char *how_it_ended(const struct capture_entry *entry)
{
    return entry->messages[CAPTURE_ANSWER].begun_ns == 0
               ? "the local service ended the connection without an answer"
               : "the local service ended the connection in the middle of its answer";
}

// problem: why, when the answer is not complete then; NULL: the service ended it.
static void end(struct replay *replay, const char *problem)
{
    if (replay->closing) {
        return;
    }
    replay->closing = true;
    timer_cancel(&replay->deadline);
    tap_close(&replay->tap, worker_now(replay->inspector->worker));
    struct capture *capture = &replay->inspector->capture;
    struct capture_entry *entry = capture_find(capture, replay->id);
    if (entry != NULL && entry->state == CAPTURE_CUT) {
        capture_explain(capture, entry, problem == NULL ? how_it_ended(entry) : problem);
    }
    reach_cancel(replay->reach);
    if (replay->connected) {
        stream_close(&replay->stream, false, on_closed);
    } else {
        replay_free(replay);
    }
}

void replay_end_all(struct inspector *inspector)
{
    list_for_each_safe (node, &inspector->replays) {
        end(container_of(node, struct replay, node), "the inspector has ended");
    }
}

static void on_deadline(struct timer *timer)
{
    end(container_of(timer, struct replay, deadline), "no complete answer within 30 s");
}

// ---- Bytes

static enum weir_result write_request(struct replay *replay)
{
    while (replay->out.len > 0) {
        struct slice left = buf_slice(&replay->out);
        struct iovec part = {(char *)left.at, left.len};
        size_t len = 0;
        enum weir_result result = stream_write(&replay->stream, &part, 1, &len);
        if (result != WEIR_OK) {
            return result;
        }
        buf_consume(&replay->out, len);
    }
    return WEIR_OK;
}

static enum weir_result read_answer(struct replay *replay)
{
    struct worker *worker = replay->inspector->worker;
    struct iovec part = {worker->read_area, WORKER_READ_AREA_SIZE};
    size_t len = 0;
    enum weir_result result = stream_read(&replay->stream, &part, 1, &len);
    if (result == WEIR_OK) {
        tap_feed(
            &replay->tap, CAPTURE_ANSWER, slice_of(worker->read_area, len), worker_now(worker));
    } else if (result == WEIR_CLOSED) {
        tap_end(&replay->tap, CAPTURE_ANSWER, worker_now(worker));
    }
    return result;
}

// The one request has its whole answer, whether the service closes or not.
static bool answered(const struct replay *replay)
{
    return replay->out.len == 0 && replay->tap.spoken && replay->tap.waiting_count == 0 &&
           replay->tap.halves[CAPTURE_ANSWER].entry == NULL;
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct replay *replay = container_of(stream, struct replay, stream);
    (void)events;
    enum weir_result wrote = write_request(replay);
    enum weir_result read = read_answer(replay);
    bool failed =
        (wrote != WEIR_OK && wrote != WEIR_AGAIN) || (read != WEIR_OK && read != WEIR_AGAIN);
    if (failed || answered(replay)) {
        end(replay, NULL);
        return;
    }
    stream_want(stream, WATCH_READ | (replay->out.len > 0 ? WATCH_WRITE : 0u));
}

static void on_reached(void *arg, const struct reach_result *result)
{
    struct replay *replay = arg;
    replay->reach = NULL;
    if (result->fault.error != WEIR_AGENT_ERROR_NONE ||
        stream_open(&replay->stream, replay->inspector->worker, result->state.fd, NULL, on_ready) !=
            WEIR_OK) {
        end(replay, result->fault.error != WEIR_AGENT_ERROR_NONE ? result->fault.text
                                                                 : "out of memory or descriptors");
        return;
    }
    replay->connected = true;
    stream_want(&replay->stream, WATCH_READ | WATCH_WRITE);
}

// ---- The start

static bool begin_reach(struct replay *replay, const char *text)
{
    const struct reach_options options = {
        .what = text, .timeout_ns = REPLAY_NS, .done = on_reached, .arg = replay};
    if (target_parse(text, &replay->target)) {
        replay->reach = target_reach(replay->inspector->worker, &replay->target, &options);
    }
    return replay->reach != NULL;
}

const char *replay_start(
    struct inspector *inspector, const struct capture_entry *entry, uint64_t *ret_id)
{
    const char *problem;
    if (inspector->replay_count == REPLAYS_MAX) {
        return "too many are under way";
    }
    struct replay *replay = mem_zalloc(sizeof *replay);
    if (replay == NULL) {
        return "out of memory";
    }
    inspector->replay_count++;
    list_init(&replay->node);
    list_push_back(&inspector->replays, &replay->node);
    replay->inspector = inspector;
    timer_init(&replay->deadline, on_deadline);
    buf_init(&replay->out, REQUEST_MAX);
    struct capture_origin origin = entry->origin;
    origin.replay_of = entry->id;
    memset(origin.stream, 0, sizeof origin.stream);
    memset(origin.source, 0, sizeof origin.source);
    if (!replay_write(entry, &replay->out, &problem) ||
        !begin_reach(replay, entry->origin.target)) {
        replay_free(replay);
        return problem == NULL ? "the local service cannot be reached" : problem;
    }
    // From here on the entry may go: the tap makes new ones.
    tap_open(&replay->tap, &inspector->capture, &origin);
    tap_feed(&replay->tap, CAPTURE_REQUEST, buf_slice(&replay->out), worker_now(inspector->worker));
    *ret_id = replay->id = inspector->capture.newest;
    worker_arm_in(inspector->worker, &replay->deadline, REPLAY_NS);
    return NULL;
}
