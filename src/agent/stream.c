// SPDX-License-Identifier: Apache-2.0
// A stream that the program reads and writes itself, or joins with a socket:
//
//   OFFERED ─ taken ─┐
//   (of a visitor)   ├─► REACHING ─► ASKING ─► OPEN ─► JOINING ─► JOINED
//   PLANNED ─────────┘                (zero_rtt false)
//   (dialed)
//
// from each of them to GONE, where what is left closes; `closed` is told when it has.
//
// Invariants:
// 1. end is the only way to GONE; the first reason wins.
// 2. Readiness is waited for only when a call of the program has met AGAIN: nothing is told twice.
#include <stdio.h>

#include "agent/internal.h"
#include "base/mem.h"
#include "base/time.h"

#define TARGET_LEN_MAX 256
#define READ_PIECE (16u * 1024)
#define DIAL_MS 10000
#define IDLE_NS (24 * 3600 * NS_PER_S)
#define HALF_IDLE_NS (3600 * NS_PER_S)

enum stream_state_of {
    STREAM_OFFERED,
    STREAM_PLANNED,
    STREAM_REACHING,
    STREAM_ASKING,
    STREAM_OPEN,
    STREAM_JOINING,
    STREAM_JOINED,
    STREAM_GONE,
};

struct weir_stream {
    struct weir_agent *agent;
    struct list node;    // in agent->streams, when dialed
    struct visit *visit; // NULL: dialed
    struct weir_stream_events events;
    void *arg;
    enum stream_state_of state;
    bool opened; // `stream` is open, or closing
    bool taken;
    bool zero_rtt;
    bool ended_in;
    bool ended_out;
    bool finish_wanted;
    bool want_read;
    bool want_write;
    int join_fd; // -1: none
    struct reach *reach;
    struct timer deadline;
    struct job job;
    struct stream stream;
    struct stream_state detached;
    struct pair pair;
    struct buf in; // read behind the answer
    struct fault fault;
    char *target; // owned; of a dial
};

// ---- The end

static void free_stream(struct weir_stream *stream)
{
    timer_cancel(&stream->deadline);
    list_remove(&stream->job.node);
    list_remove(&stream->node);
    buf_reset(&stream->in);
    mem_free(stream->target);
    if (stream->join_fd >= 0) {
        sys_close(stream->join_fd);
    }
    mem_free(stream);
}

static void tell_gone(struct weir_stream *stream)
{
    struct weir_agent *agent = stream->agent;
    struct visit *visit = stream->visit;
    struct fault fault = stream->fault;
    struct weir_agent_problem problem;
    if (stream->events.closed != NULL) {
        stream->events.closed(stream->arg, fault_problem(&fault, &problem));
    }
    free_stream(stream);
    if (visit != NULL) {
        if (fault.error == WEIR_AGENT_ERROR_NONE) {
            fault_set(&fault, WEIR_AGENT_ERROR_REFUSED, "the program ended the stream");
        }
        visit_stream_gone(visit, &fault);
    } else if (agent->closing != AGENT_STAYS) {
        agent_close_step(agent);
    }
}

static void on_gone(struct worker *worker, struct job *job)
{
    (void)worker;
    tell_gone(container_of(job, struct weir_stream, job));
}

static void on_closed(struct stream *inner)
{
    tell_gone(container_of(inner, struct weir_stream, stream));
}

// fault: NULL for a normal end.
static void end(struct weir_stream *stream, const struct fault *fault)
{
    enum stream_state_of before = stream->state;
    if (before == STREAM_GONE) {
        return;
    }
    if (fault != NULL) {
        stream->fault = *fault;
    }
    stream->state = STREAM_GONE;
    timer_cancel(&stream->deadline);
    list_remove(&stream->job.node);
    reach_cancel(stream->reach);
    stream->reach = NULL;
    if (before == STREAM_JOINED) {
        pair_cut(&stream->pair);
    } else if (before == STREAM_JOINING) {
        return; // on_detached follows
    } else if (stream->opened) {
        stream_close(&stream->stream, !stream->ended_in || !stream->ended_out, on_closed);
    } else {
        worker_defer(stream->agent->worker, &stream->job, on_gone);
    }
}

static void end_with(struct weir_stream *stream, enum weir_agent_error error, const char *text)
{
    struct fault fault;
    fault_set(&fault, error, "%s", text);
    end(stream, &fault);
}

void stream_cut(struct weir_stream *stream, const struct fault *fault)
{
    end(stream, fault);
}

void weir_stream_close(struct weir_stream *stream)
{
    end(stream, NULL);
}

// ---- Joined

static void on_moved(struct pair *pair, uint64_t up, uint64_t down)
{
    struct weir_stream *stream = container_of(pair, struct weir_stream, pair);
    if (stream->visit != NULL) {
        visit_stream_moved(stream->visit, up, down);
    }
}

static void on_pair_ended(struct pair *pair, enum pair_end how)
{
    struct weir_stream *stream = container_of(pair, struct weir_stream, pair);
    if (how != PAIR_DONE && stream->state != STREAM_GONE) {
        bool local = how == PAIR_BACK_READ || how == PAIR_BACK_WRITE;
        fault_set(&stream->fault, local ? WEIR_AGENT_ERROR_LOCAL : WEIR_AGENT_ERROR_LOST, "%s",
            local ? "our side broke off" : "the other side broke off");
    }
    stream->state = STREAM_GONE;
    tell_gone(stream);
}

static void on_detached(struct stream *inner)
{
    struct weir_stream *stream = container_of(inner, struct weir_stream, stream);
    struct buf nothing = BUF_INIT(0);
    stream->opened = false;
    if (stream->state == STREAM_GONE) {
        stream_state_drop(&stream->detached);
        tell_gone(stream);
        return;
    }
    struct pair_options options = {
        .front = stream->detached,
        .back = {.fd = stream->join_fd},
        .front_unread = &stream->in,
        .back_unread = &nothing,
        .idle_ns = IDLE_NS,
        .half_idle_ns = HALF_IDLE_NS,
        .moved = on_moved,
        .ended = on_pair_ended,
    };
    stream->join_fd = -1;
    stream->state = STREAM_JOINED;
    pair_open(&stream->pair, stream->agent->worker, &options);
}

static void start_joining(struct weir_stream *stream)
{
    stream->state = STREAM_JOINING;
    stream_detach(&stream->stream, &stream->detached, on_detached);
}

void weir_stream_join(struct weir_stream *stream, int fd)
{
    if (stream->join_fd >= 0 || sys_adopt(fd) != WEIR_OK) {
        sys_close(fd);
        end_with(stream, WEIR_AGENT_ERROR_RESOURCES, "the socket cannot be used");
        return;
    }
    stream->join_fd = fd;
    if (stream->state == STREAM_OPEN) {
        start_joining(stream);
    }
}

// ---- Open

static void want(struct weir_stream *stream)
{
    bool write = stream->want_write || (stream->finish_wanted && !stream->ended_out);
    stream_want(&stream->stream,
        (stream->want_read ? (unsigned)WATCH_READ : 0) | (write ? (unsigned)WATCH_WRITE : 0));
}

static void break_off(struct weir_stream *stream)
{
    end_with(stream, WEIR_AGENT_ERROR_LOST, "the other side, or the engine, broke off");
}

static void try_finish(struct weir_stream *stream)
{
    enum weir_result result = stream_end(&stream->stream);
    if (result == WEIR_OK) {
        stream->ended_out = true;
        if (stream->ended_in) {
            end(stream, NULL);
        }
    } else if (result != WEIR_AGAIN) {
        break_off(stream);
    }
}

static void tell_ready(struct weir_stream *stream)
{
    if (stream->state == STREAM_OPEN && stream->events.ready != NULL) {
        stream->events.ready(stream->arg, stream);
    }
}

static void become_open(struct weir_stream *stream)
{
    stream->state = STREAM_OPEN;
    timer_cancel(&stream->deadline);
    stream_want(&stream->stream, WATCH_NONE);
    if (stream->visit != NULL) {
        visit_stream_open(stream->visit);
    }
    if (stream->events.opened != NULL) {
        stream->events.opened(stream->arg, stream);
    }
    if (stream->state == STREAM_OPEN && stream->join_fd >= 0) {
        start_joining(stream);
    } else if (stream->state == STREAM_OPEN) {
        if (stream->finish_wanted) {
            try_finish(stream);
        }
        tell_ready(stream);
        if (stream->state == STREAM_OPEN) {
            want(stream);
        }
    }
}

static void on_open_ready(struct weir_stream *stream, unsigned events)
{
    if ((events & WATCH_READ) != 0) {
        stream->want_read = false;
    }
    if ((events & WATCH_WRITE) != 0) {
        stream->want_write = false;
        if (stream->finish_wanted && !stream->ended_out) {
            try_finish(stream);
        }
    }
    tell_ready(stream);
    if (stream->state == STREAM_OPEN) {
        want(stream);
    }
}

static enum weir_stream_result result_before(const struct weir_stream *stream)
{
    return stream->state == STREAM_GONE ? WEIR_STREAM_FAILED : WEIR_STREAM_AGAIN;
}

enum weir_stream_result weir_stream_read(
    struct weir_stream *stream, void *bytes, size_t size, size_t *ret_len)
{
    if (stream->state != STREAM_OPEN) {
        return result_before(stream);
    }
    if (stream->in.len > 0) {
        size_t len = stream->in.len < size ? stream->in.len : size;
        memcpy(bytes, buf_slice(&stream->in).at, len);
        buf_consume(&stream->in, len);
        *ret_len = len;
        return WEIR_STREAM_OK;
    }
    if (stream->ended_in) {
        return WEIR_STREAM_END;
    }
    struct iovec part = {bytes, size};
    enum weir_result result = stream_read(&stream->stream, &part, 1, ret_len);
    if (result == WEIR_OK) {
        if (stream->visit != NULL) {
            visit_stream_moved(stream->visit, *ret_len, 0);
        }
        return WEIR_STREAM_OK;
    }
    if (result == WEIR_AGAIN) {
        stream->want_read = true;
        want(stream);
        return WEIR_STREAM_AGAIN;
    }
    if (result == WEIR_CLOSED) {
        stream->ended_in = true;
        if (stream->ended_out) {
            end(stream, NULL);
        }
        return WEIR_STREAM_END;
    }
    break_off(stream);
    return WEIR_STREAM_FAILED;
}

enum weir_stream_result weir_stream_write(
    struct weir_stream *stream, const void *bytes, size_t len, size_t *ret_len)
{
    if (stream->state != STREAM_OPEN) {
        stream->want_write = true;
        return result_before(stream);
    }
    if (stream->finish_wanted) {
        return WEIR_STREAM_FAILED;
    }
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    enum weir_result result = stream_write(&stream->stream, &part, 1, ret_len);
    if (result == WEIR_OK || result == WEIR_AGAIN) {
        if (result == WEIR_OK && stream->visit != NULL) {
            visit_stream_moved(stream->visit, 0, *ret_len);
        }
        if (result == WEIR_AGAIN || *ret_len < len) {
            stream->want_write = true;
            want(stream);
        }
        return result == WEIR_OK ? WEIR_STREAM_OK : WEIR_STREAM_AGAIN;
    }
    break_off(stream);
    return WEIR_STREAM_FAILED;
}

void weir_stream_finish(struct weir_stream *stream)
{
    stream->finish_wanted = true;
    if (stream->state == STREAM_OPEN && !stream->ended_out) {
        try_finish(stream);
    }
    if (stream->state == STREAM_OPEN) {
        want(stream);
    }
}

// ---- Reaching

static void take_answer(struct weir_stream *stream, const struct rstrm_message *message)
{
    struct fault fault;
    const struct rstrm_stream_rsp *answer = &message->stream_rsp;
    if (message->kind == RSTRM_STREAM_RSP && answer->error != NULL) {
        fault_of_engine(&fault, "the stream", answer->error);
        end(stream, &fault);
    } else if (message->kind == RSTRM_STREAM_RSP) {
        become_open(stream);
    } else if (message->kind != RSTRM_NONE) {
        end_with(stream, WEIR_AGENT_ERROR_PROTOCOL,
            "the engine broke the protocol: no answer to the dial");
    }
}

static void look_for_answer(struct weir_stream *stream)
{
    while (stream->state == STREAM_ASKING) {
        struct slice payload;
        struct rstrm_message message = {0};
        struct arena arena;
        enum weir_result result = rstrm_next_frame(buf_slice(&stream->in), &payload);
        if (result == WEIR_AGAIN) {
            return;
        }
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        if (result == WEIR_OK) {
            result = rstrm_decode(payload, &arena, &message);
        }
        if (result == WEIR_OK) {
            buf_consume(&stream->in, RSTRM_LENGTH_SIZE + payload.len);
            take_answer(stream, &message);
        } else {
            end_with(stream, WEIR_AGENT_ERROR_PROTOCOL,
                "the engine broke the protocol: a frame cannot be read");
        }
        arena_reset(&arena);
    }
}

static void read_answer(struct weir_stream *stream)
{
    struct iovec part = {stream->stream.worker->read_area, READ_PIECE};
    const void *bytes = part.iov_base;
    size_t len = 0;
    enum weir_result result = stream_read(&stream->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK) {
        result = buf_append(&stream->in, bytes, len);
    }
    if (result != WEIR_OK) {
        end_with(stream, WEIR_AGENT_ERROR_LOST, "the engine broke off instead of an answer");
    } else {
        look_for_answer(stream);
    }
}

static void on_ready(struct stream *inner, unsigned events)
{
    struct weir_stream *stream = container_of(inner, struct weir_stream, stream);
    if (stream->state == STREAM_ASKING) {
        read_answer(stream);
    } else if (stream->state == STREAM_OPEN) {
        on_open_ready(stream, events);
    }
}

static enum weir_result write_request(struct weir_stream *stream, struct buf *out)
{
    if (stream->visit != NULL) {
        return visit_greeting(stream->visit, out);
    }
    struct rstrm_message message = {
        .kind = RSTRM_STREAM_REQ,
        .stream_req = {&stream->agent->details, slice_str(stream->target),
            stream->zero_rtt ? RSTRM_TRUE : RSTRM_FALSE, RSTRM_ABSENT},
    };
    return rstrm_encode(out, &message);
}

// A fresh connection has room for it.
static bool send_request(struct weir_stream *stream)
{
    struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
    size_t written = 0;
    bool ok = write_request(stream, &out) == WEIR_OK;
    struct iovec part = {(char *)(uintptr_t)buf_slice(&out).at, out.len};
    ok = ok && stream_write(&stream->stream, &part, 1, &written) == WEIR_OK && written == out.len;
    buf_reset(&out);
    return ok;
}

static void on_reached(void *arg, const struct reach_result *result)
{
    struct weir_stream *stream = arg;
    stream->reach = NULL;
    if (result->fault.error != WEIR_AGENT_ERROR_NONE) {
        end(stream, &result->fault);
        return;
    }
    if (stream_open(&stream->stream, stream->agent->worker, result->state.fd, result->state.ssl,
            on_ready) != WEIR_OK) {
        end_with(stream, WEIR_AGENT_ERROR_RESOURCES, "out of memory or descriptors");
        return;
    }
    stream->opened = true;
    stream_accept_bare_end(&stream->stream);
    if (!send_request(stream)) {
        end_with(stream, WEIR_AGENT_ERROR_LOST, "the request could not be sent to the engine");
    } else if (stream->zero_rtt) {
        become_open(stream);
    } else {
        stream->state = STREAM_ASKING;
        stream_want(&stream->stream, WATCH_READ);
    }
}

static void reach_engine(struct weir_stream *stream)
{
    struct weir_agent *agent = stream->agent;
    stream->state = STREAM_REACHING;
    stream->reach = stream->visit != NULL
                        ? visit_reach_engine(stream->visit, on_reached, stream)
                        : reach_start(agent->worker,
                              &(struct reach_options){
                                  .what = agent->address,
                                  .host = agent->host,
                                  .port = agent->port,
                                  .tls = &agent->tls,
                                  .timeout_ns = time_from_ms(agent->options.connect_timeout_ms),
                                  .done = on_reached,
                                  .arg = stream,
                              });
    if (stream->reach == NULL) {
        end_with(stream, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
    }
}

// ---- Making one

static void on_deadline(struct timer *timer)
{
    end_with(container_of(timer, struct weir_stream, deadline), WEIR_AGENT_ERROR_TIMEOUT,
        "the engine did not answer in time");
}

static struct weir_stream *stream_new(struct weir_agent *agent)
{
    struct weir_stream *stream = mem_zalloc(sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->agent = agent;
    stream->join_fd = -1;
    list_init(&stream->node);
    list_init(&stream->job.node);
    timer_init(&stream->deadline, on_deadline);
    buf_init(&stream->in, RSTRM_FRAME_MAX + READ_PIECE);
    return stream;
}

struct weir_stream *stream_of_visit(struct visit *visit)
{
    struct weir_stream *stream = stream_new(visit->tunnel->agent);
    if (stream != NULL) {
        stream->visit = visit;
        stream->zero_rtt = true;
    }
    return stream;
}

void weir_stream_take(
    struct weir_stream *stream, const struct weir_stream_events *events, void *arg)
{
    if (stream->state == STREAM_OFFERED) {
        stream->events = *events;
        stream->arg = arg;
        stream->taken = true;
    }
}

void weir_stream_refuse(struct weir_stream *stream, const char *text)
{
    if (stream->state == STREAM_OFFERED) {
        stream->taken = false;
        fault_set(&stream->fault, WEIR_AGENT_ERROR_REFUSED, "%s", text);
    } else {
        end_with(stream, WEIR_AGENT_ERROR_REFUSED, text);
    }
}

bool stream_was_taken(struct weir_stream *stream, struct fault *ret_why)
{
    if (stream->taken || stream->state == STREAM_GONE) {
        if (stream->state == STREAM_OFFERED) {
            reach_engine(stream);
        }
        return true;
    }
    *ret_why = stream->fault;
    if (ret_why->error == WEIR_AGENT_ERROR_NONE) {
        fault_set(ret_why, WEIR_AGENT_ERROR_REFUSED, "nobody takes streams of this tunnel");
    }
    free_stream(stream);
    return false;
}

static void on_planned(struct worker *worker, struct job *job)
{
    (void)worker;
    reach_engine(container_of(job, struct weir_stream, job));
}

struct weir_stream *stream_at(struct list *node)
{
    return container_of(node, struct weir_stream, node);
}

struct weir_stream *weir_stream_dial(struct weir_agent *agent,
    const struct weir_stream_dial_options *options, const struct weir_stream_events *events,
    void *arg, char *problem, size_t size)
{
    struct weir_stream_dial_options whole = {0};
    memcpy(&whole, options, options->size < sizeof whole ? options->size : sizeof whole);
    if (whole.target == NULL || !text_is_sendable(whole.target, TARGET_LEN_MAX)) {
        snprintf(problem, size, "what is dialed is a tunnel's name or id");
        return NULL;
    }
    struct weir_stream *stream = agent->closing != AGENT_STAYS ? NULL : stream_new(agent);
    if (stream != NULL) {
        stream->target = mem_copy(whole.target, strlen(whole.target));
    }
    if (stream == NULL || stream->target == NULL) {
        snprintf(problem, size,
            agent->closing != AGENT_STAYS ? "the agent is closing" : "out of memory");
        if (stream != NULL) {
            free_stream(stream);
        }
        return NULL;
    }
    stream->state = STREAM_PLANNED;
    stream->zero_rtt = whole.zero_rtt;
    stream->events = *events;
    stream->arg = arg;
    list_push_back(&agent->streams, &stream->node);
    worker_arm_in(agent->worker, &stream->deadline,
        time_from_ms(whole.timeout_ms == 0 ? DIAL_MS : whole.timeout_ms));
    worker_defer(agent->worker, &stream->job, on_planned);
    return stream;
}
