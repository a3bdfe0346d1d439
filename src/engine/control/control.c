// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. control_end is the only exit: idempotent, first reason wins; when it returns the channel is in
//    no map, its tunnels are in no directory, and nobody waits for streams of it.
// 2. The open response is the first frame; frames leave in the order they were queued, those of one
//    turn in as few TLS records as they need.
// 3. Frames are handled in the order they came; while WAITING none is.
// 4. Dead channels are found by what was agreed: the negotiated timeout; or 90 s once an agent has
//    sent a heartbeat; and by TCP (keep-alive, unacknowledged data) always.
#include "engine/control/control.h"

#include "base/mem.h"
#include "base/time.h"
#include "engine/control/directory.h"
#include "engine/edge/parting.h"
#include "obs/log.h"
#include "sys/clock.h"

#define READ_PIECE (64u * 1024)
#define IN_MAX (RSTRM_FRAME_MAX + READ_PIECE)
// An agent that does not read is dead weight: all asks at once and some answers fit well.
#define OUT_MAX (1024u * 1024)

#define EXPIRY_LOOK_NS (3600 * NS_PER_S) // the wall clock may be set

// Spec section 4.6.
#define LEGACY_SILENCE_NS (90 * NS_PER_S)
#define LEGACY_HEARTBEAT_NS (5 * NS_PER_S)

struct close_row {
    const char *label;
    bool graceful;
    const char *text;
};

static const struct close_row close_rows[] = {
#define CONTROL_CLOSE(symbol, label, graceful, text) {label, graceful, text},
#include "engine/close_reasons.def"
#undef CONTROL_CLOSE
};

// ---- Finding

static struct slice number_key(const uint64_t *number)
{
    return slice_of((const char *)number, sizeof *number);
}

struct control *control_find(struct engine_shard *shard, uint64_t number)
{
    struct map_node *node = map_find(&shard->channels, number_key(&number));
    return node == NULL ? NULL : container_of(node, struct control, node);
}

// ---- The end

void control_discard(struct control *control)
{
    buf_reset(&control->in);
    buf_reset(&control->out);
    map_fini(&control->asks);
    token_free(control->token);
    client_unref(control->client);
    mem_free(control);
}

static void free_control(struct control *control)
{
    struct engine_shard *shard = control->shard;
    control_discard(control);
    engine_note_departure(shard);
}

static void on_closed(struct stream *stream)
{
    free_control(container_of(stream, struct control, stream));
}

static void log_end_of(const struct control *control, enum control_close reason)
{
    struct log_line line;
    log_begin(&line, LOG_CONTROL_CHANNEL_CLOSED);
    log_text(&line, "clientId", control->client->id);
    log_text(&line, "reason", close_rows[reason].label);
    log_text(&line, "text", close_rows[reason].text);
    log_u64(&line, "seconds", (worker_now(control->shard->worker) - control->opened_ns) / NS_PER_S);
    log_u64(&line, "tunnels", control->tunnel_count);
    log_end(&line);
}

// Detached: what is still queued is said, then close_notify and FIN.
static void on_detached(struct stream *stream)
{
    struct control *control = container_of(stream, struct control, stream);
    if (control->shard->stopping) {
        stream_state_drop(&control->farewell);
    } else {
        parting_start(control->shard, &control->farewell, &control->out);
    }
    free_control(control);
}

void control_end(struct control *control, enum control_close reason)
{
    struct engine_shard *shard = control->shard;
    if (control->state == CONTROL_GONE) {
        return;
    }
    log_end_of(control, reason);
    control->state = CONTROL_GONE;
    engine_count_nth(shard, ENGINE_CONTROL_CHANNEL_CLOSES_CLIENT, reason);
    engine_add(shard, ENGINE_CONTROL_CHANNELS, -1);
    map_remove(&shard->channels, &control->node);
    timer_cancel(&control->check);
    timer_cancel(&control->expiry);
    list_remove(&control->flush.node);
    list_remove(&control->resume.node);
    control_remove_tunnels(control);
    control_drop_asks(control, NULL);
    directory_remove_client(shard->engine->directory, control->client);
    if (close_rows[reason].graceful) {
        stream_detach(&control->stream, &control->farewell, on_detached);
    } else {
        stream_close(&control->stream, true, on_closed);
    }
}

void controls_drain(struct engine_shard *shard)
{
    struct map_node *node = map_next(&shard->channels, NULL);
    while (node != NULL) {
        struct map_node *next = map_next(&shard->channels, node);
        control_end(container_of(node, struct control, node), CONTROL_CLOSE_SHUTDOWN);
        node = next;
    }
}

// ---- Sending

// True when everything is written; false when there is more, or the channel has ended.
static bool write_out(struct control *control)
{
    while (control->out.len > 0) {
        struct slice waiting = buf_slice(&control->out);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t written = 0;
        enum weir_result result = stream_write(&control->stream, &part, 1, &written);
        if (result == WEIR_AGAIN) {
            return false;
        }
        if (result != WEIR_OK) {
            control_end(control, CONTROL_CLOSE_EOF);
            return false;
        }
        buf_consume(&control->out, written);
    }
    return true;
}

static void want(struct control *control)
{
    unsigned events = control->state == CONTROL_OPEN ? (unsigned)WATCH_READ : 0;
    stream_want(&control->stream, events | (control->out.len > 0 ? (unsigned)WATCH_WRITE : 0));
}

static void flush(struct control *control)
{
    (void)write_out(control);
    if (control->state != CONTROL_GONE) {
        want(control);
    }
}

static void on_flush(struct worker *worker, struct job *job)
{
    (void)worker;
    flush(container_of(job, struct control, flush));
}

void control_send(struct control *control, const struct rstrm_message *message)
{
    if (control->state == CONTROL_GONE) {
        return;
    }
    if (rstrm_encode(&control->out, message) != WEIR_OK) {
        control_end(control, CONTROL_CLOSE_ERROR);
        return;
    }
    if (!list_linked(&control->flush.node)) {
        worker_defer(control->shard->worker, &control->flush, on_flush);
    }
}

void control_poke(struct control *control)
{
    static const char empty_frame[RSTRM_LENGTH_SIZE];
    if (buf_append(&control->out, empty_frame, sizeof empty_frame) != WEIR_OK) {
        control_end(control, CONTROL_CLOSE_ERROR);
        return;
    }
    flush(control);
}

// ---- Receiving

// Handles the frames at the front and returns how many bytes they were. One that has to wait stays,
// and is handled again; so does one that ends the channel, whose length may be none.
static size_t use_frames(struct control *control, struct slice bytes)
{
    size_t used = 0;
    while (control->state == CONTROL_OPEN) {
        struct slice payload;
        struct rstrm_message message;
        struct arena arena;
        enum weir_result result = rstrm_next_frame(slice_skip(bytes, used), &payload);
        if (result == WEIR_AGAIN) {
            break;
        }
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        if (result == WEIR_OK) {
            result = rstrm_decode(payload, &arena, &message);
        }
        if (result == WEIR_OK) {
            control_handle_frame(control, &message);
        } else {
            control_end(
                control, result == WEIR_MEMORY ? CONTROL_CLOSE_ERROR : CONTROL_CLOSE_PROTOCOL);
        }
        arena_reset(&arena);
        if (control->state == CONTROL_OPEN) {
            used += RSTRM_LENGTH_SIZE + payload.len;
        }
    }
    return used;
}

static void use_input(struct control *control)
{
    buf_consume(&control->in, use_frames(control, buf_slice(&control->in)));
}

static void read_frames(struct control *control)
{
    struct iovec part = {control->stream.worker->read_area, READ_PIECE};
    const char *bytes = part.iov_base;
    size_t len = 0;
    enum weir_result result = stream_read(&control->stream, &part, 1, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result != WEIR_OK) {
        control_end(control, CONTROL_CLOSE_EOF);
        return;
    }
    control->heard_ns = worker_now(control->shard->worker);
    size_t used = 0;
    if (control->in.len == 0) {
        used = use_frames(control, slice_of(bytes, len));
    }
    if (control->state == CONTROL_GONE) {
        return;
    }
    bool waited = control->in.len > 0;
    if (used < len && buf_append(&control->in, bytes + used, len - used) != WEIR_OK) {
        control_end(control, CONTROL_CLOSE_ERROR);
        return;
    }
    if (waited) {
        use_input(control);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct control *control = container_of(stream, struct control, stream);
    if ((events & WATCH_READ) != 0 && control->state == CONTROL_OPEN) {
        read_frames(control);
    }
    if (control->state != CONTROL_GONE) {
        flush(control);
    }
}

static void on_resume(struct worker *worker, struct job *job)
{
    struct control *control = container_of(job, struct control, resume);
    control->state = CONTROL_OPEN;
    control->heard_ns = worker_now(worker);
    use_input(control);
    if (control->state != CONTROL_GONE) {
        flush(control);
    }
}

void control_resume(struct control *control)
{
    worker_defer(control->shard->worker, &control->resume, on_resume);
}

// ---- Liveness

static uint64_t silence_max(const struct control *control)
{
    if (control->heartbeat_ns > 0) {
        return control->silence_max_ns;
    }
    return control->beats ? LEGACY_SILENCE_NS : TIME_NEVER;
}

uint64_t control_heartbeat_ns(const struct control *control)
{
    return control->heartbeat_ns > 0 ? control->heartbeat_ns : LEGACY_HEARTBEAT_NS;
}

static void on_check(struct timer *timer)
{
    struct control *control = container_of(timer, struct control, check);
    uint64_t max_ns = silence_max(control);
    uint64_t now_ns = worker_now(control->shard->worker);
    if (control->state == CONTROL_OPEN && max_ns != TIME_NEVER &&
        now_ns - control->heard_ns >= max_ns) {
        control_end(control, CONTROL_CLOSE_TIMEOUT);
        return;
    }
    uint64_t next_ns = max_ns == TIME_NEVER ? LEGACY_SILENCE_NS : max_ns;
    worker_arm(control->shard->worker, timer,
        max_ns == TIME_NEVER || control->state != CONTROL_OPEN ? now_ns + next_ns
                                                               : control->heard_ns + next_ns);
}

static bool is_withdrawn(const struct control *control)
{
    return !token_signed_with(
        control->token, slice_str(control->shard->engine->config->jwt_secret));
}

static void arm_expiry(struct control *control)
{
    uint64_t expires_ms = token_expires_ms(control->token);
    uint64_t now_ms = sys_wall_ms();
    uint64_t left_ms = expires_ms > now_ms ? expires_ms - now_ms : 0;
    if (expires_ms != TIME_NEVER) { // tokens may live longer than nanoseconds count
        worker_arm_in(control->shard->worker, &control->expiry,
            left_ms < EXPIRY_LOOK_NS / NS_PER_MS ? time_from_ms(left_ms) : EXPIRY_LOOK_NS);
    }
}

static void end_with_word(struct control *control, struct slice word, enum control_close reason)
{
    control_send(control, &(struct rstrm_message){
                              .kind = RSTRM_SERVER_MESSAGE, .server_message.message = word});
    control_end(control, reason);
}

static void on_expiry(struct timer *timer)
{
    struct control *control = container_of(timer, struct control, expiry);
    if (is_withdrawn(control)) {
        end_with_word(control, SLICE("The token is not valid any more."), CONTROL_CLOSE_WITHDRAWN);
    } else if (token_expires_ms(control->token) <= sys_wall_ms()) {
        end_with_word(control, SLICE("The token has expired."), CONTROL_CLOSE_EXPIRED);
    } else {
        arm_expiry(control);
    }
}

void controls_withdraw(struct engine_shard *shard)
{
    uint64_t step_ns = shard->channels.count == 0 ? 0 : NS_PER_S / shard->channels.count;
    uint64_t after_ns = 0;
    struct map_node *node = NULL;
    while ((node = map_next(&shard->channels, node)) != NULL) {
        struct control *control = container_of(node, struct control, node);
        if (is_withdrawn(control)) {
            worker_arm_in(shard->worker, &control->expiry, after_ns);
            after_ns += step_ns;
        }
    }
}

// ---- Beginning

void control_init(struct control *control, struct engine_shard *shard)
{
    control->shard = shard;
    control->opened_ns = control->heard_ns = worker_now(shard->worker);
    control->number = atomic_fetch_add(&shard->engine->channel_numbers, 1);
    buf_init(&control->in, IN_MAX);
    buf_init(&control->out, OUT_MAX);
    timer_init(&control->check, on_check);
    timer_init(&control->expiry, on_expiry);
    list_init(&control->flush.node);
    list_init(&control->resume.node);
    list_init(&control->tunnels);
    list_init(&control->waiting_asks);
    map_init(&control->asks, &shard->worker->seed);
}

enum weir_result control_begin(struct control *control, struct stream_state *state)
{
    struct engine_shard *shard = control->shard;
    enum weir_result result =
        map_insert(&shard->channels, &control->node, number_key(&control->number));
    if (result != WEIR_OK) {
        stream_state_drop(state);
        return result;
    }
    result = stream_open(&control->stream, shard->worker, state->fd, state->ssl, on_ready);
    if (result != WEIR_OK) {
        map_remove(&shard->channels, &control->node);
        return result;
    }
    engine_add(shard, ENGINE_CONTROL_CHANNELS, 1);
    on_check(&control->check);
    arm_expiry(control);
    if (control->in.len > 0) {
        control_resume(control);
    }
    want(control);
    return WEIR_OK;
}
