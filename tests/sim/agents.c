// SPDX-License-Identifier: Apache-2.0
// Agents answer what they are asked in every way there is, and break out in every way there is. An
// agent is asked for streams of tunnels that it has, and has not closed.
#include <stdio.h>

#include "engine/control/control.h"
#include "peer.h"

#define AGENTS_MAX 12 // with those that come back

// ---- Tunnels

static struct target *find_target(struct slice id)
{
    for (size_t i = 0; i < town.target_count; i++) {
        if (slice_eq(slice_str(town.targets[i].id), id)) {
            return &town.targets[i];
        }
    }
    return NULL;
}

// The last that it has asked for, or NULL.
static const struct target *own_target(const struct peer *agent)
{
    const struct target *own = NULL;
    for (size_t i = 0; i < town.target_count; i++) {
        const struct target *target = &town.targets[i];
        own = target->agent == agent && !target->closed ? target : own;
    }
    return own;
}

static void close_tunnel(struct peer *agent, const struct target *target)
{
    const char *id = target == NULL ? "none" : target->id;
    peer_say(agent, &(struct rstrm_message){.kind = RSTRM_CLOSE_TUNNEL_REQ,
                        .close_tunnel_req.tunnel_id = slice_str(id)});
}

// ---- Streams of agents

void back_begin(struct peer *peer)
{
    struct arrival arrival;
    struct rstrm_client_details details = {.token = slice_str(peer->secret)};
    if (peer->accepts) {
        peer_say(peer->agent, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_RSP,
                                  .proxy_conn_rsp.stream_id = slice_str(peer->id)});
    }
    talk_start(peer);
    peer->talk.waits = !peer->zero_rtt;
    wire_open(&peer->wire, &arrival);
    talk_at_once(peer, &arrival);
    if (peer->encrypts && peer->zero_rtt) {
        talk_encrypt(peer);
    }
    proxied_arrived(sim_any_shard(), &arrival,
        &(struct rstrm_proxy_req){
            .client_details = &details,
            .stream_id = slice_str(peer->id),
            .zero_rtt = peer->zero_rtt ? RSTRM_TRUE : RSTRM_FALSE,
        });
    buf_reset(&arrival.unread);
}

static struct peer *spawn_back(
    struct peer *agent, const struct rstrm_proxy_conn_req *request, uint64_t delay_ns)
{
    struct peer *back = peer_spawn(BACK, delay_ns);
    if (back != NULL) {
        const struct target *target = find_target(request->tunnel_id);
        back->agent = agent;
        back->serves = target != NULL && target->shape == WEB;
        back->encrypts = target != NULL && target->encrypts;
        back->speaks_h2 = back->serves && (target->h2c || (back->encrypts && sim_chance(50)));
        back->mute = back->serves && !sim_calm() && sim_chance(3);
        back->zero_rtt = sim_chance(50);
        sim_check(slice_to_text(request->stream_id, back->id, sizeof back->id) &&
                      slice_to_text(request->secret, back->secret, sizeof back->secret),
            "names of a stream");
    }
    return back;
}

static void accept_stream(struct peer *agent, struct slice stream_id)
{
    peer_say(agent, &(struct rstrm_message){
                        .kind = RSTRM_PROXY_CONN_RSP, .proxy_conn_rsp.stream_id = stream_id});
}

static void answer_well(struct peer *agent, const struct rstrm_proxy_conn_req *request)
{
    struct peer *back = spawn_back(agent, request, sim_below(STEP_NS));
    if (back != NULL && sim_chance(50)) {
        back->accepts = true;
    } else if (sim_chance(60)) {
        accept_stream(agent, request->stream_id);
    }
}

enum answer {
    WELL,
    REFUSES,
    ONLY_SAYS_SO,
    NOTHING,
    WRONG_SECRET,
    TWICE,
    LATE,
    CLOSES_IT,
    ANSWER_COUNT
};

static void answer_stream(struct peer *agent, const struct rstrm_proxy_conn_req *request)
{
    struct rstrm_error no = {RSTRM_CODE_SERVICE_UNAVAILABLE, SLICE("no")};
    enum answer answer = sim_calm() || sim_chance(60) ? WELL : (enum answer)sim_below(ANSWER_COUNT);
    struct peer *back = NULL;
    switch (answer) {
    case WELL:
        answer_well(agent, request);
        break;
    case REFUSES:
        peer_say(agent, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_RSP,
                            .proxy_conn_rsp = {.stream_id = request->stream_id, .error = &no}});
        break;
    case ONLY_SAYS_SO:
        accept_stream(agent, request->stream_id);
        break;
    case WRONG_SECRET:
        back = spawn_back(agent, request, sim_below(STEP_NS));
        if (back != NULL) {
            back->secret[sim_below(strlen(back->secret))] ^= 1;
            back->wrong = true;
        }
        break;
    case TWICE:
        answer_well(agent, request);
        answer_well(agent, request);
        break;
    case LATE:
        (void)spawn_back(agent, request, sim_below(40 * NS_PER_S));
        break;
    case CLOSES_IT:
        close_tunnel(agent, find_target(request->tunnel_id));
        break;
    case NOTHING:
    case ANSWER_COUNT:
        break;
    }
}

// ---- Agents

void agent_spawn(unsigned subject, uint64_t delay_ns)
{
    static const uint32_t beats[] = {0, 0, 1000, 10000};
    static const unsigned rages[] = {0, 0, 1, 4};
    struct peer *agent = town.agents == AGENTS_MAX ? NULL : peer_spawn(AGENT, delay_ns);
    if (agent == NULL) {
        return;
    }
    town.agents++;
    agent->subject = subject;
    agent->rage = sim_calm() ? 0 : rages[sim_below(4)];
    agent->beat_ms = sim_calm() ? 0 : beats[sim_below(4)];
    agent->tunnels_wanted = sim_calm() ? SHAPE_COUNT : 1 + (unsigned)sim_below(5);
}

void agent_begin(struct peer *agent)
{
    struct arrival arrival;
    struct buf token = peer_token(agent->subject, sim_calm() || sim_chance(80) ? 0 : 1);
    if (!sim_calm() && sim_chance(5)) {
        buf_consume(&token, 1);
    }
    struct rstrm_liveness liveness = {.heartbeat_interval_ms = agent->beat_ms};
    bool good = sim_calm() || sim_chance(95);
    struct rstrm_client_details details = {
        .token = buf_slice(&token),
        .protocol_version = good ? SLICE("1.4.5") : SLICE("2.0"),
    };
    wire_open(&agent->wire, &arrival);
    control_start(sim_any_shard(), &arrival,
        &(struct rstrm_open_control_channel_req){
            .client_details = &details,
            .liveness = agent->beat_ms > 0 ? &liveness : NULL,
        });
    buf_reset(&arrival.unread);
    buf_reset(&token);
}

// Names are few, so that agents meet over them; of a calm world everybody has his own.
static void ask_tunnel(struct peer *agent)
{
    char name[32];
    char request[16];
    unsigned which =
        sim_calm() ? (unsigned)agent->number * 9 + agent->asked_tunnels : (unsigned)sim_below(6);
    enum shape shape = (enum shape)(which % SHAPE_COUNT);
    snprintf(name, sizeof name, "name-%u", which);
    snprintf(request, sizeof request, "r%u", agent->asked_tunnels);
    agent->asked_tunnels++;
    struct rstrm_tunnel_properties properties = {
        .name = slice_str(name),
        .type = SLICE("bytestream"),
        .publish = shape == PRIVATE ? RSTRM_FALSE : RSTRM_TRUE,
    };
    bool encrypts = sim_encrypted() && sim_chance(50);
    if (shape == RAW) {
        properties.protocol = SLICE("tls");
        properties.tls_mode =
            sim_chance(50) && !encrypts ? SLICE("passthrough") : SLICE("terminated");
    } else if (shape == WEB) {
        properties.protocol = SLICE("http");
        properties.http_version = sim_chance(50) && !encrypts ? SLICE("h2c") : SLICE_EMPTY;
    }
    properties.upstream_tls = encrypts && shape != PRIVATE ? RSTRM_TRUE : RSTRM_ABSENT;
    peer_say(agent, &(struct rstrm_message){.kind = RSTRM_OPEN_TUNNEL_REQ,
                        .open_tunnel_req = {slice_str(request), &properties}});
}

static void note_tunnel(struct peer *agent, const struct rstrm_open_tunnel_rsp *answer)
{
    const struct rstrm_tunnel_properties *properties = answer->tunnel_properties;
    sim_check(properties != NULL || !sim_calm(), "no tunnel in a calm world");
    if (properties == NULL || town.target_count == TARGETS_MAX) {
        return;
    }
    struct target *target = &town.targets[town.target_count++];
    target->agent = agent;
    target->shape = properties->hostname.len == 0                   ? PRIVATE
                    : slice_eq(properties->protocol, SLICE("http")) ? WEB
                                                                    : RAW;
    target->encrypts = properties->upstream_tls == RSTRM_TRUE;
    target->h2c = slice_eq(properties->http_version, SLICE("h2c"));
    sim_check(slice_to_text(properties->id, target->id, sizeof target->id) &&
                  slice_to_text(properties->name, target->name, sizeof target->name) &&
                  slice_to_text(properties->hostname, target->host, sizeof target->host),
        "names of a tunnel");
}

static void take_request(struct peer *agent, const struct rstrm_proxy_conn_req *request)
{
    const struct target *target = find_target(request->tunnel_id);
    sim_check(
        target == NULL || target->agent == agent, "a stream of another's tunnel is asked for");
    sim_check(target == NULL || !target->closed, "a stream of a closed tunnel is asked for");
    answer_stream(agent, request);
}

// Also of tunnels that were not its own, and are still open.
static void note_closed(const struct peer *agent, const struct rstrm_close_tunnel *answer)
{
    struct target *target = find_target(answer->tunnel_id);
    if (target != NULL && target->agent == agent) {
        target->closed = true;
    }
}

static void take_frame(struct peer *agent, const struct rstrm_message *message)
{
    switch ((int)message->kind) {
    case RSTRM_OPEN_TUNNEL_RSP:
        note_tunnel(agent, &message->open_tunnel_rsp);
        break;
    case RSTRM_PROXY_CONN_REQ:
        take_request(agent, &message->proxy_conn_req);
        break;
    case RSTRM_CLOSE_TUNNEL_RSP:
        note_closed(agent, &message->close_tunnel_rsp);
        break;
    default:
        break;
    }
}

static void take_frames(struct peer *agent)
{
    struct slice payload;
    while (rstrm_next_frame(buf_slice(&agent->in), &payload) == WEIR_OK) {
        struct rstrm_message message;
        struct arena arena;
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        enum weir_result result = rstrm_decode(payload, &arena, &message);
        if (result == WEIR_MEMORY) {
            result = rstrm_decode(payload, &arena, &message);
        }
        sim_check(result == WEIR_OK, "a frame of the engine");
        take_frame(agent, &message);
        arena_reset(&arena);
        buf_consume(&agent->in, RSTRM_LENGTH_SIZE + payload.len);
    }
}

enum outburst {
    TRASH,
    TOO_LONG,
    NOT_ITS_TURN,
    HALF_A_FRAME,
    SNAPS,
    ENDS,
    CLOSES,
    CLOSES_TUNNEL,
    CLOSES_ANY,
    ANSWERS_ANY,
    DEAF,
    OUTBURST_COUNT
};

static void rage(struct peer *agent)
{
    static const char trash[] = "\0\0\0\5trash";
    static const char too_long[] = "\1\0\0\0";
    const struct target *any =
        town.target_count == 0 ? NULL : &town.targets[sim_below(town.target_count)];
    const struct target *own = own_target(agent);
    switch ((enum outburst)sim_below(OUTBURST_COUNT)) {
    case TRASH:
        peer_keep(&agent->out, trash, sizeof trash - 1);
        break;
    case TOO_LONG:
        peer_keep(&agent->out, too_long, sizeof too_long - 1);
        break;
    case NOT_ITS_TURN:
        peer_say(agent, &(struct rstrm_message){.kind = RSTRM_PROXY_RSP});
        break;
    case HALF_A_FRAME:
        peer_keep(&agent->out, trash, 6);
        break;
    case SNAPS:
        peer_finish(agent, true);
        break;
    case ENDS:
        peer_finish(agent, false);
        break;
    case CLOSES:
        peer_say(agent, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
        break;
    case CLOSES_TUNNEL:
        close_tunnel(agent, own);
        break;
    case CLOSES_ANY:
        close_tunnel(agent, any);
        break;
    case ANSWERS_ANY:
        accept_stream(agent, slice_str(town.peers[sim_below(town.count)]->id));
        break;
    case DEAF:
        agent->wake_ns += sim_below(5 * NS_PER_S);
        break;
    case OUTBURST_COUNT:
        break;
    }
}

static void read_frames(struct peer *agent)
{
    char bytes[PIECE_MAX];
    size_t len = 0;
    enum wire_news news = wire_receive(&agent->wire, bytes, 1 + sim_below(sizeof bytes), &len);
    if (news == WIRE_BYTES) {
        peer_keep(&agent->in, bytes, len);
        take_frames(agent);
    } else if (news != WIRE_NOTHING) {
        sim_check(!sim_calm() || town.leaving, "a channel that ends in a calm world");
        peer_finish(agent, false);
        if (sim_now() < town.until_ns && sim_chance(70)) {
            agent_spawn(agent->subject, sim_below(NS_PER_S));
        }
    }
}

void agent_step(struct peer *agent)
{
    if (agent->asked_tunnels < agent->tunnels_wanted) {
        ask_tunnel(agent);
    }
    if (agent->beat_ms > 0) {
        peer_say(agent,
            &(struct rstrm_message){.kind = RSTRM_HEARTBEAT, .heartbeat.sequence = ++agent->beats});
    }
    if (sim_now() < town.until_ns && sim_chance(agent->rage)) {
        rage(agent);
    }
    struct slice waiting = buf_slice(&agent->out);
    if (waiting.len > 0) {
        size_t len = sim_chance(50) ? waiting.len : 1 + sim_below(waiting.len);
        buf_consume(&agent->out, wire_send(&agent->wire, waiting.at, len));
    }
    if (!agent->over) {
        read_frames(agent);
    }
}
