// SPDX-License-Identifier: Apache-2.0
// A pair has two streams, up and down, and a pool of ready-made frames in two forms: masked as
// they go out, and plain as they come in. Frame number n of a stream is pool slot n % slots, so a
// run of frames is one contiguous stretch of memory and one write, and the generator costs less
// than what it measures.
//
// Invariants of a stream: received <= next <= allowed <= received + STAMPS; `offset` bytes of frame
// `next` are out already, and nothing else may be written while offset > 0.
#include "traffic.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "util.h"

enum {
    STAMPS = 1 << 16,         // frames under way in one stream, at most
    SLOTS_MAX = 2048,         // frames in a pool
    POOL_BYTES = 1024 * 1024, // all pools together aim at this, to stay in the cache
    WRITE_MAX = 256 * 1024,
    READ_SIZE = 256 * 1024,
    CHECK_FIRST = 256,
    CHECK_EVERY = 64,
    STALL_MS = 2000
};

struct pool {
    unsigned slots;
    size_t frame_size;
    uint8_t *wire;
    uint8_t *plain;
};

struct stream {
    struct conn *from;
    uint64_t allowed;
    uint64_t next;
    size_t offset;
    bool blocked; // the last write was cut short; TLS wants the same bytes again first
    uint64_t received;
    uint64_t *stamps_ns;
};

struct pair {
    struct pool pool;
    struct stream up;
    struct stream down;
};

struct traffic {
    struct fleet *fleet;
    const struct traffic_options *options;
    struct pair *pairs;
    unsigned pair_count;
    uint64_t received;
    uint64_t progress_ns; // when a frame last arrived
    uint64_t due_ns;      // open loop: of the next frame
    uint64_t due_step_ns;
    uint64_t due_index;
    uint8_t *buffer;
    struct traffic_result *result;
};

static void pool_fill(struct pool *p, size_t size, unsigned pair, unsigned slots)
{
    p->slots = slots;
    p->frame_size = ws_frame_size(size);
    p->wire = util_alloc(slots, p->frame_size);
    p->plain = util_alloc(slots, size);
    for (unsigned i = 0; i < slots; i++) {
        frames_envelope((char *)p->plain + i * size, size, pair, i + 1);
        ws_frame_write(p->wire + i * p->frame_size, WS_TEXT, p->plain + i * size, size);
    }
}

static void stream_allow(struct stream *s, uint64_t when_ns)
{
    if (s->allowed - s->received >= STAMPS)
        util_die("connection %u: the relay cannot keep up with this rate", s->from->index);
    s->stamps_ns[s->allowed++ % STAMPS] = when_ns;
}

// Writes what is allowed until the kernel's buffer is full.
static void stream_pump(struct stream *s, const struct pool *p)
{
    for (;;) {
        if (s->offset == 0 && !s->blocked && !conn_flush_pong(s->from))
            return;
        if (s->next == s->allowed)
            return;
        unsigned slot = (unsigned)(s->next % p->slots);
        uint64_t run = s->allowed - s->next;
        if (run > p->slots - slot)
            run = p->slots - slot;
        size_t len = (size_t)run * p->frame_size - s->offset;
        if (len > WRITE_MAX)
            len = WRITE_MAX;
        size_t put = conn_write(s->from, p->wire + slot * p->frame_size + s->offset, len);
        s->next += (s->offset + put) / p->frame_size;
        s->offset = (s->offset + put) % p->frame_size;
        s->blocked = put < len;
        if (s->blocked)
            return;
    }
}

static void check_bytes(struct traffic *t, const struct conn *c, const struct pool *p,
    uint64_t number, const struct ws_piece *piece)
{
    const struct ws_reader *r = &c->in;
    if (r->opcode != WS_TEXT || !r->fin || r->len != t->options->size)
        util_die("connection %u: expected frame %llu, got opcode %u, %llu bytes: %.*s", c->index,
            (unsigned long long)number, r->opcode, (unsigned long long)r->len, (int)piece->len,
            (const char *)piece->data);
    if (number >= CHECK_FIRST && number % CHECK_EVERY != 0)
        return;
    size_t slot = (size_t)(number % p->slots);
    const uint8_t *want = r->masked ? p->wire + (slot + 1) * p->frame_size - t->options->size
                                    : p->plain + slot * t->options->size;
    if (memcmp(piece->data, want + piece->offset, piece->len) != 0)
        util_die("connection %u: frame %llu has other bytes than were sent", c->index,
            (unsigned long long)number);
}

static void frame_arrived(struct traffic *t, struct pair *pair, bool at_daemon, uint64_t now_ns)
{
    struct stream *in = at_daemon ? &pair->up : &pair->down;
    uint64_t stamp_ns = in->stamps_ns[in->received++ % STAMPS];
    t->received++;
    t->progress_ns = now_ns;
    bool echo = t->options->direction == TRAFFIC_ECHO;
    if (echo && at_daemon) {
        stream_allow(&pair->down, stamp_ns);
        return;
    }
    hist_add(&t->result->latency_ns, now_ns - stamp_ns);
    if (t->options->rate == 0)
        stream_allow(echo ? &pair->up : in, now_ns);
}

static void parse_input(struct traffic *t, struct conn *c, size_t len, uint64_t now_ns)
{
    struct pair *pair = &t->pairs[c->index / 2];
    bool at_daemon = fleet_is_daemon(t->fleet, c);
    struct stream *in = at_daemon ? &pair->up : &pair->down;
    const uint8_t *data = t->buffer;
    struct ws_piece piece;
    while (ws_read(&c->in, &data, &len, &piece)) {
        fleet_check_mask(t->fleet, c);
        if (c->in.opcode >= WS_CLOSE) {
            conn_take_control(c, &piece);
            continue;
        }
        if (in->received == in->next && in->offset == 0)
            util_die("connection %u: a frame nobody sent", c->index);
        check_bytes(t, c, &pair->pool, in->received, &piece);
        if (piece.last)
            frame_arrived(t, pair, at_daemon, now_ns);
    }
}

static void conn_ready(struct traffic *t, struct conn *c)
{
    struct pair *pair = &t->pairs[c->index / 2];
    size_t got;
    do {
        got = conn_read(c, t->buffer, READ_SIZE);
        parse_input(t, c, got, util_now_ns());
        stream_pump(&pair->up, &pair->pool);
        stream_pump(&pair->down, &pair->pool);
    } while (got == READ_SIZE);
}

static void send_due(struct traffic *t)
{
    uint64_t now_ns = util_now_ns();
    for (; t->due_ns <= now_ns; t->due_ns += t->due_step_ns, t->due_index++) {
        bool both = t->options->direction == TRAFFIC_BOTH;
        uint64_t turn = both ? t->due_index / 2 : t->due_index;
        struct pair *pair = &t->pairs[turn % t->pair_count];
        bool down = both ? t->due_index % 2 == 1 : t->options->direction == TRAFFIC_DOWN;
        struct stream *s = down ? &pair->down : &pair->up;
        hist_add(&t->result->lateness_ns, now_ns - t->due_ns);
        stream_allow(s, t->due_ns);
        stream_pump(s, &pair->pool);
    }
}

// The open loop spins: a sleep would end later than it should by more than a relay adds.
static void turn(struct traffic *t)
{
    struct fleet *f = t->fleet;
    int ready = fleet_wait(f, t->options->rate > 0 ? 0 : STALL_MS);
    for (int i = 0; i < ready; i++)
        conn_ready(t, f->events[i].data.ptr);
    if (t->options->rate > 0)
        send_due(t);
    if (util_now_ns() - t->progress_ns > STALL_MS * 1000000ull)
        util_die("no frame arrived for %d ms: something was lost", STALL_MS);
}

static void run_until(struct traffic *t, uint64_t end_ns)
{
    while (util_now_ns() < end_ns)
        turn(t);
}

static void start_streams(struct traffic *t)
{
    const struct traffic_options *o = t->options;
    t->progress_ns = t->due_ns = util_now_ns();
    if (o->rate > 0) {
        t->due_step_ns = (uint64_t)(1e9 / o->rate);
        return;
    }
    for (unsigned i = 0; i < t->pair_count; i++) {
        struct pair *pair = &t->pairs[i];
        for (unsigned k = 0; k < o->inflight; k++) {
            if (o->direction != TRAFFIC_DOWN)
                stream_allow(&pair->up, t->progress_ns);
            if (o->direction == TRAFFIC_DOWN || o->direction == TRAFFIC_BOTH)
                stream_allow(&pair->down, t->progress_ns);
        }
        stream_pump(&pair->up, &pair->pool);
        stream_pump(&pair->down, &pair->pool);
    }
}

static void make_pairs(struct traffic *t)
{
    const struct traffic_options *o = t->options;
    t->pair_count = t->fleet->count / 2;
    t->pairs = util_alloc(t->pair_count, sizeof *t->pairs);
    size_t slots = POOL_BYTES / (o->size * t->pair_count);
    slots = slots < 8 ? 8 : slots > SLOTS_MAX ? SLOTS_MAX : slots;
    for (unsigned i = 0; i < t->pair_count; i++) {
        struct pair *pair = &t->pairs[i];
        pool_fill(&pair->pool, o->size, i, (unsigned)slots);
        pair->down.from = &t->fleet->conns[2 * i];
        pair->up.from = &t->fleet->conns[2 * i + 1];
        pair->up.stamps_ns = util_alloc(STAMPS, sizeof *pair->up.stamps_ns);
        pair->down.stamps_ns = util_alloc(STAMPS, sizeof *pair->down.stamps_ns);
    }
}

static void free_pairs(struct traffic *t)
{
    for (unsigned i = 0; i < t->pair_count; i++) {
        struct pair *pair = &t->pairs[i];
        free(pair->pool.wire);
        free(pair->pool.plain);
        free(pair->up.stamps_ns);
        free(pair->down.stamps_ns);
    }
    free(t->pairs);
    free(t->buffer);
}

static void read_clocks(const struct traffic *t, struct traffic_result *r)
{
    r->window_ns = util_now_ns();
    r->frames = t->received;
    r->generator_cpu_ns = util_process_cpu_ns(getpid());
    for (unsigned i = 0; i < t->options->other_count; i++)
        r->others_cpu_ns[i] = util_other_cpu_ns(t->options->others[i]);
    if (t->options->server == 0)
        return;
    r->server_cpu_ns = util_process_cpu_ns(t->options->server);
    util_process_split_ns(t->options->server, &r->server_user_ns, &r->server_system_ns);
}

void traffic_run(
    struct fleet *f, const struct traffic_options *options, struct traffic_result *ret_result)
{
    struct traffic t = {.fleet = f, .options = options, .result = ret_result};
    t.buffer = util_alloc(1, READ_SIZE);
    make_pairs(&t);
    start_streams(&t);
    run_until(&t, util_now_ns() + options->warmup_ns);
    struct traffic_result begin = {0};
    hist_reset(&ret_result->latency_ns);
    hist_reset(&ret_result->lateness_ns);
    read_clocks(&t, &begin);
    run_until(&t, begin.window_ns + options->window_ns);
    read_clocks(&t, ret_result);
    ret_result->frames -= begin.frames;
    ret_result->window_ns -= begin.window_ns;
    ret_result->server_cpu_ns -= begin.server_cpu_ns;
    ret_result->server_user_ns -= begin.server_user_ns;
    ret_result->server_system_ns -= begin.server_system_ns;
    ret_result->generator_cpu_ns -= begin.generator_cpu_ns;
    for (unsigned i = 0; i < options->other_count; i++)
        // What has ended meanwhile counts for nothing.
        ret_result->others_cpu_ns[i] -= begin.others_cpu_ns[i] < ret_result->others_cpu_ns[i]
                                            ? begin.others_cpu_ns[i]
                                            : ret_result->others_cpu_ns[i];
    free_pairs(&t);
}
