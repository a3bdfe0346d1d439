// SPDX-License-Identifier: Apache-2.0
// Who talks to the engine: agents, the connections they make for streams, dialers and visitors.
// Each makes a step when its time has come; what it does then, and how far it gets, is chance.
#include <stdio.h>
#include <stdlib.h>

#include "engine/control/directory.h"
#include "engine/control/token.h"
#include "engine/edge/census.h"
#include "engine/edge/visitor_raw.h"
#include "engine/shard.h"
#include "peer.h"
#include "sys/clock.h"

#define RESTLESS_NS (20 * NS_PER_S)

struct town town;

struct peer *peer_spawn(enum kind kind, uint64_t delay_ns)
{
    if (town.count == PEERS_MAX) {
        return NULL;
    }
    struct peer *peer = calloc(1, sizeof *peer);
    sim_check(peer != NULL, "no memory for a peer");
    peer->kind = kind;
    peer->number = town.count + 1;
    peer->wake_ns = sim_now() + delay_ns;
    peer->wire.fd = peer->wire.engine_fd = -1;
    buf_init(&peer->in, 4 * RSTRM_FRAME_MAX);
    buf_init(&peer->out, 4 * RSTRM_FRAME_MAX);
    town.peers[town.count++] = peer;
    return peer;
}

void peer_finish(struct peer *peer, bool reset)
{
    wire_close(&peer->wire, reset);
    peer->over = true;
}

// ---- Memory. A fault hits once, so that whoever meets it here tries again.

void peer_keep(struct buf *buf, const void *bytes, size_t len)
{
    enum weir_result result = buf_append(buf, bytes, len);
    if (result == WEIR_MEMORY) {
        result = buf_append(buf, bytes, len);
    }
    sim_check(result == WEIR_OK, "a buffer of a peer");
}

void peer_say(struct peer *peer, const struct rstrm_message *message)
{
    if (peer->over || peer->out.len > RSTRM_FRAME_MAX) {
        return;
    }
    enum weir_result result = rstrm_encode(&peer->out, message);
    if (result == WEIR_MEMORY) {
        result = rstrm_encode(&peer->out, message);
    }
    sim_check(result == WEIR_OK, "a frame of a peer");
}

struct buf peer_token(unsigned subject, uint64_t ttl_s)
{
    char name[16];
    struct buf text = BUF_INIT(4096);
    snprintf(name, sizeof name, "s%u", subject);
    struct token_request request = {.subject = slice_str(name), .ttl_s = ttl_s};
    while (token_mint(&request, sim_secret(), sys_wall_ms(), &text) != WEIR_OK) {
        buf_reset(&text);
    }
    return text;
}

// ---- Callers

static const struct target *choose_target(enum shape shape)
{
    const struct target *found = NULL;
    for (size_t i = 0; i < town.target_count; i++) {
        const struct target *target = &town.targets[i];
        if (target->shape == shape && (found == NULL || sim_chance(50))) {
            found = target;
        }
    }
    return found;
}

static void dial_target(struct peer *peer, const struct target *target)
{
    struct arrival arrival;
    struct buf token = peer_token(9, 0);
    if (!sim_calm() && sim_chance(5)) {
        buf_consume(&token, 1);
        peer->wrong = true;
    }
    struct rstrm_client_details details = {.token = buf_slice(&token)};
    talk_start(peer);
    peer->zero_rtt = sim_chance(50);
    peer->talk.waits = !peer->zero_rtt;
    wire_open(&peer->wire, &arrival);
    talk_at_once(peer, &arrival);
    const char *name = target == NULL ? "nobody" : sim_chance(50) ? target->name : target->id;
    dial_start(sim_any_shard(), &arrival,
        &(struct rstrm_stream_req){
            .client_details = &details,
            .tunnel_id_name = slice_str(name),
            .zero_rtt = peer->zero_rtt ? RSTRM_TRUE : RSTRM_FALSE,
        });
    buf_reset(&arrival.unread);
    buf_reset(&token);
}

static void visit_target(struct peer *peer, const struct target *target)
{
    struct arrival arrival;
    struct engine_shard *shard = sim_any_shard();
    struct tunnel *tunnel =
        target == NULL ? NULL : directory_by_host(shard, slice_str(target->host));
    if (tunnel == NULL) {
        peer->over = true;
        return;
    }
    talk_start(peer);
    if (tunnel->passthrough) {
        wire_open_plain(&peer->wire, &arrival);
    } else {
        wire_open(&peer->wire, &arrival);
    }
    if (!arrival_take_seat(shard, &arrival)) {
        stream_state_drop(&arrival.state);
        peer_finish(peer, false);
        return;
    }
    peer->talk.shakes_hands = tunnel->passthrough;
    visitor_raw_start(shard, &arrival, tunnel);
    census_leave(arrival.seat);
}

static void browse_target(struct peer *peer, const struct target *target)
{
    struct arrival arrival;
    if (target == NULL) {
        peer->over = true;
        return;
    }
    memcpy(peer->host, target->host, sizeof peer->host);
    browser_start(peer);
    peer->speaks_h2 = sim_chance(50);
    wire_open(&peer->wire, &arrival);
    memcpy(arrival.sni, target->host, sizeof arrival.sni);
    arrival.tls_version = TLS1_3_VERSION; // says the gate
    if (peer->speaks_h2) {
        edge_h2_start(sim_any_shard(), &arrival);
    } else {
        edge_h1_start(sim_any_shard(), &arrival);
    }
}

// False: there is nobody to call yet.
static bool begin_caller(struct peer *peer)
{
    static const enum shape shapes[] = {[DIALER] = PRIVATE, [VISITOR] = RAW, [BROWSER] = WEB};
    const struct target *target = choose_target(shapes[peer->kind]);
    if (target == NULL && (sim_calm() || sim_chance(80))) {
        return false;
    }
    peer->agent = target == NULL ? NULL : target->agent;
    if (peer->kind == DIALER) {
        dial_target(peer, target);
    } else if (peer->kind == VISITOR) {
        visit_target(peer, target);
    } else {
        browse_target(peer, target);
    }
    return true;
}

// ---- All of them

void peers_begin(void)
{
    memset(&town, 0, sizeof town);
    town.until_ns = sim_now() + RESTLESS_NS;
    size_t agents = 1 + sim_below(4);
    size_t callers = 2 + sim_below(sim_chance(80) ? 16 : 64);
    for (size_t i = 0; i < agents; i++) {
        agent_spawn((unsigned)sim_below(2), sim_below(200 * NS_PER_MS));
    }
    for (size_t i = 0; i < callers; i++) {
        (void)peer_spawn((enum kind)(DIALER + sim_below(3)), sim_below(NS_PER_S));
    }
}

static void step(struct peer *peer)
{
    peer->wake_ns = sim_now() + sim_below(STEP_NS);
    if (!peer->begun) {
        peer->begun = true;
        switch (peer->kind) {
        case AGENT:
            agent_begin(peer);
            break;
        case BACK:
            back_begin(peer);
            break;
        case DIALER:
        case VISITOR:
        case BROWSER:
            peer->begun = begin_caller(peer);
            break;
        }
    } else if (peer->kind == AGENT) {
        agent_step(peer);
    } else if (peer->kind == BROWSER && peer->speaks_h2) {
        browser_h2_step(peer);
    } else if (peer->kind == BROWSER) {
        browser_step(peer);
    } else {
        talk_step(peer);
    }
}

bool peers_step(void)
{
    bool busy = false;
    size_t count = town.count;
    size_t first = sim_below(count);
    for (size_t i = 0; i < count; i++) {
        struct peer *peer = town.peers[(first + i) % count];
        busy = busy || (peer->kind != AGENT && !peer->over && !peer->serves);
        if (!peer->over && peer->wake_ns <= sim_now()) {
            step(peer);
        }
    }
    return busy;
}

void peers_expect_the_end(void)
{
    town.leaving = true;
}

void peers_leave(void)
{
    peers_expect_the_end();
    for (size_t i = 0; i < town.count; i++) {
        struct peer *peer = town.peers[i];
        if (peer->kind != AGENT || peer->over || !peer->begun) {
            peer->over = true;
        } else if (sim_chance(50)) {
            peer_say(peer, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
        } else {
            peer_finish(peer, sim_chance(50));
        }
    }
}

void peers_check(void)
{
    for (size_t i = 0; i < town.count; i++) {
        if (town.peers[i]->kind == BROWSER) {
            browser_check(town.peers[i]);
        } else if (town.peers[i]->kind != AGENT && !town.peers[i]->serves) {
            talk_check(town.peers[i]);
        }
    }
}

void peers_end(void)
{
    for (size_t i = 0; i < town.count; i++) {
        struct peer *peer = town.peers[i];
        wire_close(&peer->wire, false);
        buf_reset(&peer->in);
        buf_reset(&peer->out);
        web_h2_free(peer->h2);
        free(peer);
    }
}
