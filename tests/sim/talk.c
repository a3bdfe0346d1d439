// SPDX-License-Identifier: Apache-2.0
// A talker (a dialer, visitor, or stream of an agent) first says its number and then bytes that
// follow from the number and their place, so that its other side knows whose bytes it has, that
// none is missing, and that none is of somebody else:
//
// 1. Two talkers that heard one another name one another, and nobody else names either.
// 2. Who meets an end, and not a reset, has all that the other had to say.
// 3. Who came with a wrong secret hears nothing of anybody.
// 4. In a calm world everybody hears all of somebody, who is of the agent he asked for.
#include "peer.h"

#define NUMBER_LEN 8
#define NEVER SIZE_MAX

char talk_byte(uint64_t number, size_t place)
{
    if (place < NUMBER_LEN) {
        return (char)(number >> (8 * place));
    }
    uint64_t z = (number * UINT64_C(0x9e3779b97f4a7c15)) ^ (place >> 3);
    z = (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (char)((z ^ (z >> 32)) >> (8 * (place & 7)));
}

void talk_start(struct peer *peer)
{
    struct talk *talk = &peer->talk;
    size_t size = sim_chance(70) ? 3000 : 200000;
    bool calm = sim_calm();
    talk->total = NUMBER_LEN + sim_below(size);
    talk->snaps = calm || sim_chance(85) ? NEVER : sim_below(talk->total);
    talk->stalls = calm || sim_chance(90) ? NEVER : sim_below(talk->total);
    talk->ends = calm || sim_chance(90);
    talk->early = sim_chance(50) && !peer->serves && !peer->encrypts;
}

static size_t fill(const struct peer *peer, char *bytes, size_t len_max)
{
    const struct talk *talk = &peer->talk;
    size_t len = talk->total - talk->said;
    len = len < len_max ? len : len_max;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = talk_byte(peer->number, talk->said + i);
    }
    return len;
}

static void talk_on(struct peer *peer)
{
    struct talk *talk = &peer->talk;
    char bytes[PIECE_MAX];
    if (talk->waits && !talk->early) {
        return;
    }
    if (talk->said < talk->total) {
        size_t len = fill(peer, bytes, 1 + sim_below(sizeof bytes));
        talk->said += wire_send(&peer->wire, bytes, len);
    }
    bool may_end = !talk->shakes_hands || talk->heard > 0;
    if (talk->said == talk->total && talk->ends && !talk->ended && may_end) {
        talk->ended = true;
        wire_finish(&peer->wire);
    }
}

static void hear(struct peer *peer, const char *bytes, size_t len)
{
    struct talk *talk = &peer->talk;
    sim_check(!peer->wrong || len == 0, "bytes for one who has no right to them");
    for (size_t i = 0; i < len; i++, talk->heard++) {
        if (talk->heard < NUMBER_LEN) {
            talk->other |= (uint64_t)(uint8_t)bytes[i] << (8 * talk->heard);
            continue;
        }
        sim_check(bytes[i] == talk_byte(talk->other, talk->heard), "a byte that nobody has sent");
    }
}

// What it waits for: the answer to a StreamReq or a ProxyReq.
static void take_answer(struct peer *peer)
{
    struct slice payload;
    struct rstrm_message message;
    struct arena arena;
    if (rstrm_next_frame(buf_slice(&peer->in), &payload) != WEIR_OK) {
        return;
    }
    arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
    enum weir_result result = rstrm_decode(payload, &arena, &message);
    if (result == WEIR_MEMORY) {
        result = rstrm_decode(payload, &arena, &message);
    }
    enum rstrm_kind kind = peer->kind == DIALER ? RSTRM_STREAM_RSP : RSTRM_PROXY_RSP;
    sim_check(result == WEIR_OK && message.kind == kind, "another answer than it waits for");
    const struct rstrm_error *error =
        kind == RSTRM_STREAM_RSP ? message.stream_rsp.error : message.proxy_rsp.error;
    sim_check(error != NULL || !peer->wrong, "a stream for one who has no right to it");
    peer->wrong = error != NULL;
    arena_reset(&arena);
    buf_consume(&peer->in, RSTRM_LENGTH_SIZE + payload.len);
    peer->talk.waits = false;
    if (peer->encrypts) {
        talk_encrypt(peer);
    } else if (!peer->serves) {
        hear(peer, buf_slice(&peer->in).at, peer->in.len);
        buf_reset(&peer->in);
    }
}

// What came behind the answer is of it already.
void talk_encrypt(struct peer *peer)
{
    inside_begin(&peer->wire, peer->speaks_h2, buf_slice(&peer->in));
    buf_reset(&peer->in);
}

static void listen_on(struct peer *peer)
{
    char bytes[PIECE_MAX];
    size_t len = 0;
    enum wire_news news = wire_receive(&peer->wire, bytes, 1 + sim_below(sizeof bytes), &len);
    switch (news) {
    case WIRE_NOTHING:
        break;
    case WIRE_BYTES:
        if (peer->talk.waits) {
            peer_keep(&peer->in, bytes, len);
            take_answer(peer);
        } else {
            hear(peer, bytes, len);
        }
        break;
    case WIRE_END:
        peer->talk.met_end = true;
        if (peer->talk.ended || peer->talk.heard == 0) {
            peer_finish(peer, false);
        }
        break;
    case WIRE_RESET:
        peer_finish(peer, false);
        break;
    }
}

void talk_step(struct peer *peer)
{
    struct talk *talk = &peer->talk;
    if (peer->serves && !talk->waits) {
        if (peer->speaks_h2) {
            service_h2_step(peer);
        } else {
            service_step(peer);
        }
        return;
    }
    if (talk->said >= talk->stalls) {
        return;
    }
    if (talk->said >= talk->snaps) {
        peer_finish(peer, true);
        return;
    }
    talk_on(peer);
    if (!talk->met_end) {
        listen_on(peer);
    } else if (talk->ended) {
        peer_finish(peer, false);
    } else if (peer->wire.reset_by_engine) {
        peer_finish(peer, false); // nobody takes the rest
    }
}

// Some of what it has to say comes in one piece with its first frame.
void talk_at_once(struct peer *peer, struct arrival *arrival)
{
    char bytes[PIECE_MAX];
    if (peer->talk.early && sim_chance(50)) {
        size_t len = fill(peer, bytes, 1 + sim_below(sizeof bytes));
        peer_keep(&arrival->unread, bytes, len);
        peer->talk.said += len;
    }
}

// ---- The verdict

void talk_check(const struct peer *peer)
{
    const struct talk *talk = &peer->talk;
    if (talk->heard < NUMBER_LEN) {
        sim_check(!sim_calm(), "somebody heard nobody in a calm world");
        sim_check(talk->heard == 0 || !talk->met_end, "an end within a number");
        return;
    }
    sim_check(talk->other >= 1 && talk->other <= town.count, "a number that nobody has");
    const struct peer *other = town.peers[talk->other - 1];
    sim_check((peer->kind == BACK) != (other->kind == BACK) && other->kind != AGENT,
        "two who cannot meet");
    sim_check(other->talk.heard < NUMBER_LEN || other->talk.other == peer->number,
        "two who do not name one another");
    if (talk->met_end) {
        sim_check(other->talk.ended && talk->heard == other->talk.total, "an end before its time");
    }
    if (sim_calm()) {
        sim_check(talk->met_end, "a reset in a calm world");
        sim_check(peer->agent == other->agent, "a stream of another agent");
    }
    for (size_t i = 0; i < town.count; i++) {
        const struct peer *third = town.peers[i];
        sim_check(third == peer || third->kind == AGENT || third->talk.heard < NUMBER_LEN ||
                      third->talk.other != talk->other,
            "two hear the same one");
    }
}
