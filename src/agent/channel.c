// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. The open response is the first frame that means anything; anything else before it is a breach.
// 2. `gone` is set once, by lose; from then on nothing is sent, read or told, and the memory goes
//    when the stream has closed.
// 3. With negotiated liveness any frame puts the deadline off; without, TCP alone finds a dead
// peer,
//    and a probe asks it whether what we sent was acknowledged.
#include "agent/internal.h"
#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"

#define READ_PIECE (64u * 1024)
#define IN_MAX (RSTRM_FRAME_MAX + READ_PIECE)
#define OUT_MAX (1024u * 1024)
#define PROBE_NS (5 * NS_PER_S)
#define SLEEP_NS (2 * NS_PER_S) // of the machine, between two heartbeats, to be worth a probe

// ---- The end

static void on_closed(struct stream *stream)
{
    struct channel *channel = container_of(stream, struct channel, stream);
    buf_reset(&channel->in);
    buf_reset(&channel->out);
    mem_free(channel);
}

void channel_drop(struct channel *channel, bool orderly)
{
    if (channel == NULL || channel->gone) {
        return;
    }
    channel->gone = true;
    timer_cancel(&channel->deadline);
    timer_cancel(&channel->beat);
    timer_cancel(&channel->probe);
    list_remove(&channel->flush.node);
    if (orderly) {
        stream_finish(&channel->stream);
    }
    stream_close(&channel->stream, !orderly, on_closed);
}

void channel_lose(struct channel *channel, const struct fault *fault)
{
    if (channel->gone) {
        return;
    }
    struct weir_agent *agent = channel->agent;
    channel_drop(channel, fault->error == WEIR_AGENT_ERROR_CLOSED);
    agent_channel_lost(agent, fault);
}

static void lose(struct channel *channel, enum weir_agent_error error, const char *text)
{
    struct fault fault;
    fault_set(&fault, error, "%s", text);
    channel_lose(channel, &fault);
}

static void breach(struct channel *channel, const char *why)
{
    struct fault fault;
    fault_set(&fault, WEIR_AGENT_ERROR_PROTOCOL, "the engine broke the protocol: %s", why);
    channel_lose(channel, &fault);
}

// ---- Sending

static void flush(struct channel *channel)
{
    while (channel->out.len > 0) {
        struct slice waiting = buf_slice(&channel->out);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t written = 0;
        enum weir_result result = stream_write(&channel->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            break;
        }
        if (result != WEIR_OK) {
            lose(channel, WEIR_AGENT_ERROR_LOST, "the connection to the engine broke");
            return;
        }
        buf_consume(&channel->out, written);
    }
    stream_want(&channel->stream, WATCH_READ | (channel->out.len > 0 ? (unsigned)WATCH_WRITE : 0));
}

static void on_flush(struct worker *worker, struct job *job)
{
    (void)worker;
    flush(container_of(job, struct channel, flush));
}

void channel_send(struct channel *channel, const struct rstrm_message *message)
{
    if (channel->gone) {
        return;
    }
    if (rstrm_encode(&channel->out, message) != WEIR_OK) {
        lose(channel, WEIR_AGENT_ERROR_RESOURCES, "the engine takes nothing, or memory ran out");
        return;
    }
    if (!list_linked(&channel->flush.node)) {
        worker_defer(channel->stream.worker, &channel->flush, on_flush);
    }
}

// ---- Liveness

static void beat(struct channel *channel)
{
    struct worker *worker = channel->stream.worker;
    struct rstrm_message message = {.kind = RSTRM_HEARTBEAT};
    message.heartbeat = liveness_beat(&channel->liveness, worker_now(worker));
    channel_send(channel, &message);
}

static uint64_t slept_ns(struct channel *channel)
{
    return sys_boot_ns() - worker_now(channel->stream.worker);
}

static void on_beat(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, beat);
    uint64_t slept = slept_ns(channel);
    worker_arm_in(channel->stream.worker, timer, time_from_ms(channel->liveness.interval_ms));
    if (slept > channel->awake_ns + SLEEP_NS) {
        channel->awake_ns = slept;
        channel_probe(channel);
    } else {
        beat(channel);
    }
}

void channel_probe(struct channel *channel)
{
    if (channel->gone || !channel->answered || timer_armed(&channel->probe)) {
        return;
    }
    channel->probe_heard_ns = channel->heard_ns;
    worker_arm_in(channel->stream.worker, &channel->probe, PROBE_NS);
    beat(channel);
}

static void on_probe(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, probe);
    struct sys_tcp_health health;
    bool heard = channel->heard_ns != channel->probe_heard_ns;
    if (!heard && !channel->liveness.negotiated) {
        heard = channel->out.len == 0 && sys_tcp_health(channel->stream.fd, &health) == WEIR_OK &&
                health.unacknowledged == 0;
    }
    if (!heard) {
        lose(channel, WEIR_AGENT_ERROR_TIMEOUT, "the engine gives no sign of life");
    }
}

static void on_deadline(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, deadline);
    lose(channel, WEIR_AGENT_ERROR_TIMEOUT,
        channel->answered ? "the engine fell silent" : "the engine did not answer in time");
}

static void put_off(struct channel *channel)
{
    if (channel->answered && channel->liveness.negotiated) {
        worker_arm_in(
            channel->stream.worker, &channel->deadline, time_from_ms(channel->liveness.timeout_ms));
    }
}

static void take_heartbeat(struct channel *channel, const struct rstrm_heartbeat *heartbeat)
{
    struct weir_agent *agent = channel->agent;
    const char *why = NULL;
    uint64_t round_trip_ns;
    uint64_t now_ns = worker_now(channel->stream.worker);
    if (liveness_heard(&channel->liveness, heartbeat, now_ns, &round_trip_ns, &why) != WEIR_OK) {
        breach(channel, why);
    } else if (round_trip_ns > 0 && agent->events.latency != NULL) {
        agent->events.latency(agent->arg, agent, (uint32_t)(round_trip_ns / 1000));
    }
}

// ---- Receiving

static void take_answer(
    struct channel *channel, const struct rstrm_open_control_channel_rsp *answer)
{
    struct worker *worker = channel->stream.worker;
    const char *why = NULL;
    struct fault fault;
    if (answer->error != NULL) {
        fault_of_engine(&fault, "the control channel", answer->error);
        channel_lose(channel, &fault);
        return;
    }
    if (answer->ok == NULL || answer->ok->client_id.len == 0) {
        breach(channel, "its answer to the control channel is empty");
        return;
    }
    if (liveness_agree(&channel->liveness, channel->agent->options.heartbeat_ms,
            answer->ok->liveness, &why) != WEIR_OK) {
        breach(channel, why);
        return;
    }
    channel->answered = true;
    timer_cancel(&channel->deadline);
    put_off(channel);
    channel->awake_ns = slept_ns(channel);
    worker_arm_in(worker, &channel->beat, time_from_ms(channel->liveness.interval_ms));
    if (channel->liveness.negotiated) {
        beat(channel);
    }
    agent_channel_open(channel->agent, answer->ok);
}

static void take_message(struct channel *channel, const struct rstrm_message *message)
{
    put_off(channel);
    if (message->kind == RSTRM_NONE) {
        return;
    }
    if (!channel->answered) {
        if (message->kind == RSTRM_OPEN_CONTROL_CHANNEL_RSP) {
            take_answer(channel, &message->open_control_channel_rsp);
        } else {
            breach(channel, "it says something else before it answers");
        }
    } else if (message->kind == RSTRM_HEARTBEAT) {
        take_heartbeat(channel, &message->heartbeat);
    } else {
        agent_frame(channel->agent, message);
    }
}

static void take_frame(struct channel *channel, struct slice payload)
{
    struct rstrm_message message;
    struct arena arena;
    arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
    enum weir_result result = rstrm_decode(payload, &arena, &message);
    if (result == WEIR_OK) {
        take_message(channel, &message);
    } else if (result == WEIR_MEMORY) {
        lose(channel, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
    } else {
        breach(channel, "a frame cannot be read");
    }
    arena_reset(&arena);
}

// Returns the bytes that were used.
static size_t take_frames(struct channel *channel, struct slice bytes)
{
    size_t used = 0;
    while (!channel->gone) {
        struct slice payload;
        enum weir_result result = rstrm_next_frame(slice_skip(bytes, used), &payload);
        if (result == WEIR_AGAIN) {
            break;
        }
        if (result != WEIR_OK) {
            breach(channel, "a frame is too long");
            break;
        }
        used += RSTRM_LENGTH_SIZE + payload.len;
        take_frame(channel, payload);
    }
    return used;
}

static void read_frames(struct channel *channel)
{
    struct iovec part = {channel->stream.worker->read_area, READ_PIECE};
    const char *bytes = part.iov_base;
    size_t len = 0;
    enum weir_result result = stream_read(&channel->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_CLOSED) {
        lose(channel, WEIR_AGENT_ERROR_CLOSED, "the engine closed the control channel");
        return;
    }
    if (result != WEIR_OK) {
        lose(channel, WEIR_AGENT_ERROR_LOST, "the connection to the engine broke");
        return;
    }
    channel->heard_ns = worker_now(channel->stream.worker);
    if (buf_append(&channel->in, bytes, len) != WEIR_OK) {
        lose(channel, WEIR_AGENT_ERROR_RESOURCES, "out of memory");
        return;
    }
    size_t used = take_frames(channel, buf_slice(&channel->in));
    if (!channel->gone) {
        buf_consume(&channel->in, used);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct channel *channel = container_of(stream, struct channel, stream);
    if ((events & WATCH_READ) != 0) {
        read_frames(channel);
    }
    if (!channel->gone) {
        flush(channel);
    }
}

struct channel *channel_start(
    struct weir_agent *agent, struct stream_state *state, struct buf *greeting)
{
    struct channel *channel = mem_zalloc(sizeof *channel);
    if (channel == NULL ||
        stream_open(&channel->stream, agent->worker, state->fd, state->ssl, on_ready) != WEIR_OK) {
        if (channel == NULL) {
            stream_state_drop(state);
        }
        buf_reset(greeting);
        mem_free(channel);
        return NULL;
    }
    channel->agent = agent;
    channel->out = *greeting;
    channel->out.len_max = OUT_MAX;
    buf_init(&channel->in, IN_MAX);
    list_init(&channel->flush.node);
    timer_init(&channel->deadline, on_deadline);
    timer_init(&channel->beat, on_beat);
    timer_init(&channel->probe, on_probe);
    worker_arm_in(
        agent->worker, &channel->deadline, time_from_ms(agent->options.connect_timeout_ms));
    worker_defer(agent->worker, &channel->flush, on_flush);
    stream_want(&channel->stream, WATCH_READ);
    return channel;
}
