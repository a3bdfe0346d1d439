// SPDX-License-Identifier: Apache-2.0
// Who talks to the engine: agents, the connections they make for streams, dialers and visitors.
// Each makes a step when its time has come; what it does then, and how far it gets, is chance.
//
// A talker (a dialer, visitor, or stream of an agent) first says its number and then bytes that
// follow from the number and their place, so that its other side knows whose bytes it has, that
// none is missing, and that none is of somebody else:
//
// 1. Two talkers that heard one another name one another, and nobody else names either.
// 2. Who meets an end, and not a reset, has all that the other had to say.
// 3. Who came with a wrong secret hears nothing of anybody.
// 4. An agent is asked for streams of tunnels that it has, and has not closed.
// 5. In a calm world everybody hears all of somebody, who is of the agent he asked for.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"
#include "engine/census.h"
#include "engine/directory.h"
#include "engine/shard.h"
#include "engine/token.h"
#include "engine/visitor_raw.h"
#include "sim.h"
#include "sys/clock.h"

#define PEERS_MAX 256
#define TARGETS_MAX 64
#define AGENTS_MAX 12 // with those that come back
#define NUMBER_LEN 8
#define PIECE_MAX 8192
#define NEVER SIZE_MAX
#define COME_BACK_NS (20 * NS_PER_S)
#define STEP_NS (20 * NS_PER_MS)

enum kind { AGENT, BACK, DIALER, VISITOR };

struct talk {
    bool waits;    // for a frame before the other's bytes
    bool early;    // says something before that frame
    size_t total;  // to be said, with the number
    size_t said;   // of it
    size_t snaps;  // resets when so much is said
    size_t stalls; // does nothing any more when so much is said
    bool ends;     // says so behind the last byte
    bool ended;
    size_t heard;
    uint64_t other; // its number; 0: not heard yet
    bool met_end;   // and no reset
};

struct peer {
    enum kind kind;
    uint64_t number; // index + 1
    uint64_t wake_ns;
    struct wire wire;
    bool begun;
    bool over;
    struct buf in;  // frames that are not complete
    struct buf out; // frames that are not sent
    struct talk talk;
    // Of agents.
    unsigned subject;
    unsigned rage; // percent of steps that break something
    uint32_t beat_ms;
    uint64_t beats;
    unsigned asked_tunnels;
    unsigned tunnels_wanted;
    // Of backs and callers.
    struct peer *agent; // whose; the callers' is known when they begin
    char id[TUNNEL_ID_SIZE];
    char secret[128];
    bool zero_rtt;
    bool wrong;   // has no right to a stream
    bool accepts; // says so on the control channel when it begins
};

struct target {
    char id[TUNNEL_ID_SIZE];
    char name[32];
    char host[TUNNEL_HOST_SIZE];
    struct peer *agent;
    bool closed; // the agent has been told
};

static struct {
    struct peer *peers[PEERS_MAX];
    size_t count;
    size_t agents;
    struct target targets[TARGETS_MAX];
    size_t target_count;
    uint64_t until_ns; // agents come back
    bool leaving;
} town;

static struct peer *spawn(enum kind kind, uint64_t delay_ns)
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

// ---- Memory. A fault hits once, so that whoever meets it here tries again.

static void keep(struct buf *buf, const void *bytes, size_t len)
{
    enum weir_result result = buf_append(buf, bytes, len);
    if (result == WEIR_MEMORY) {
        result = buf_append(buf, bytes, len);
    }
    sim_check(result == WEIR_OK, "a buffer of a peer");
}

static void say(struct peer *peer, const struct rstrm_message *message)
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

static struct buf make_token(unsigned subject, uint64_t ttl_s)
{
    char name[16];
    struct buf text = BUF_INIT(4096);
    snprintf(name, sizeof name, "s%u", subject);
    struct token_request request = {.subject = slice_str(name), .ttl_s = ttl_s};
    while (token_mint(&request, SLICE(SIM_SECRET), sys_wall_ms(), &text) != WEIR_OK) {
        buf_reset(&text);
    }
    return text;
}

// ---- Talking

static char byte_at(uint64_t number, size_t place)
{
    if (place < NUMBER_LEN) {
        return (char)(number >> (8 * place));
    }
    uint64_t z = (number * UINT64_C(0x9e3779b97f4a7c15)) ^ (place >> 3);
    z = (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (char)((z ^ (z >> 32)) >> (8 * (place & 7)));
}

static void start_talk(struct peer *peer)
{
    struct talk *talk = &peer->talk;
    size_t size = sim_chance(70) ? 3000 : 200000;
    bool calm = sim_calm();
    talk->total = NUMBER_LEN + sim_below(size);
    talk->snaps = calm || sim_chance(85) ? NEVER : sim_below(talk->total);
    talk->stalls = calm || sim_chance(90) ? NEVER : sim_below(talk->total);
    talk->ends = calm || sim_chance(90);
    talk->early = sim_chance(50);
}

static void finish_peer(struct peer *peer, bool reset)
{
    wire_close(&peer->wire, reset);
    peer->over = true;
}

static size_t fill(const struct peer *peer, char *bytes, size_t len_max)
{
    const struct talk *talk = &peer->talk;
    size_t len = talk->total - talk->said;
    len = len < len_max ? len : len_max;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = byte_at(peer->number, talk->said + i);
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
    if (talk->said == talk->total && talk->ends && !talk->ended) {
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
        sim_check(bytes[i] == byte_at(talk->other, talk->heard), "a byte that nobody has sent");
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
    hear(peer, buf_slice(&peer->in).at, peer->in.len);
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
            keep(&peer->in, bytes, len);
            take_answer(peer);
        } else {
            hear(peer, bytes, len);
        }
        break;
    case WIRE_END:
        peer->talk.met_end = true;
        if (peer->talk.ended || peer->talk.heard == 0) {
            finish_peer(peer, false);
        }
        break;
    case WIRE_RESET:
        finish_peer(peer, false);
        break;
    }
}

static void talk_step(struct peer *peer)
{
    struct talk *talk = &peer->talk;
    if (talk->said >= talk->stalls) {
        return;
    }
    if (talk->said >= talk->snaps) {
        finish_peer(peer, true);
        return;
    }
    talk_on(peer);
    if (!talk->met_end) {
        listen_on(peer);
    } else if (talk->ended) {
        finish_peer(peer, false);
    } else if (peer->wire.reset_by_engine) {
        finish_peer(peer, false); // nobody takes the rest
    }
}

// Some of what it has to say comes in one piece with its first frame.
static void speak_at_once(struct peer *peer, struct arrival *arrival)
{
    char bytes[PIECE_MAX];
    if (peer->talk.early && sim_chance(50)) {
        size_t len = fill(peer, bytes, 1 + sim_below(sizeof bytes));
        keep(&arrival->unread, bytes, len);
        peer->talk.said += len;
    }
}

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
    say(agent, &(struct rstrm_message){
                   .kind = RSTRM_CLOSE_TUNNEL_REQ, .close_tunnel_req.tunnel_id = slice_str(id)});
}

// ---- Streams of agents

static void begin_back(struct peer *peer)
{
    struct arrival arrival;
    struct rstrm_client_details details = {.token = slice_str(peer->secret)};
    if (peer->accepts) {
        say(peer->agent, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_RSP,
                             .proxy_conn_rsp.stream_id = slice_str(peer->id)});
    }
    start_talk(peer);
    peer->talk.waits = !peer->zero_rtt;
    wire_open(&peer->wire, &arrival);
    speak_at_once(peer, &arrival);
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
    struct peer *back = spawn(BACK, delay_ns);
    if (back != NULL) {
        back->agent = agent;
        back->zero_rtt = sim_chance(50);
        sim_check(slice_to_text(request->stream_id, back->id, sizeof back->id) &&
                      slice_to_text(request->secret, back->secret, sizeof back->secret),
            "names of a stream");
    }
    return back;
}

static void accept_stream(struct peer *agent, struct slice stream_id)
{
    say(agent, &(struct rstrm_message){
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
        say(agent, &(struct rstrm_message){.kind = RSTRM_PROXY_CONN_RSP,
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

static void spawn_agent(unsigned subject, uint64_t delay_ns)
{
    static const uint32_t beats[] = {0, 0, 1000, 10000};
    static const unsigned rages[] = {0, 0, 1, 4};
    struct peer *agent = town.agents == AGENTS_MAX ? NULL : spawn(AGENT, delay_ns);
    if (agent == NULL) {
        return;
    }
    town.agents++;
    agent->subject = subject;
    agent->rage = sim_calm() ? 0 : rages[sim_below(4)];
    agent->beat_ms = sim_calm() ? 0 : beats[sim_below(4)];
    agent->tunnels_wanted = sim_calm() ? 2 : 1 + (unsigned)sim_below(4);
}

static void begin_agent(struct peer *agent)
{
    struct arrival arrival;
    struct buf token = make_token(agent->subject, sim_calm() || sim_chance(80) ? 0 : 1);
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
        sim_calm() ? (unsigned)agent->number * 10 + agent->asked_tunnels : (unsigned)sim_below(4);
    bool published = sim_calm() ? agent->asked_tunnels % 2 == 0 : which % 2 == 0;
    snprintf(name, sizeof name, "name-%u", which);
    snprintf(request, sizeof request, "r%u", agent->asked_tunnels);
    agent->asked_tunnels++;
    struct rstrm_tunnel_properties properties = {
        .name = slice_str(name),
        .type = SLICE("bytestream"),
        .publish = published ? RSTRM_TRUE : RSTRM_FALSE,
    };
    if (published) {
        properties.protocol = SLICE("tls");
        properties.tls_mode = SLICE("passthrough");
    }
    say(agent, &(struct rstrm_message){.kind = RSTRM_OPEN_TUNNEL_REQ,
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
        keep(&agent->out, trash, sizeof trash - 1);
        break;
    case TOO_LONG:
        keep(&agent->out, too_long, sizeof too_long - 1);
        break;
    case NOT_ITS_TURN:
        say(agent, &(struct rstrm_message){.kind = RSTRM_PROXY_RSP});
        break;
    case HALF_A_FRAME:
        keep(&agent->out, trash, 6);
        break;
    case SNAPS:
        finish_peer(agent, true);
        break;
    case ENDS:
        finish_peer(agent, false);
        break;
    case CLOSES:
        say(agent, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
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
        keep(&agent->in, bytes, len);
        take_frames(agent);
    } else if (news != WIRE_NOTHING) {
        sim_check(!sim_calm() || town.leaving, "a channel that ends in a calm world");
        finish_peer(agent, false);
        if (sim_now() < town.until_ns && sim_chance(70)) {
            spawn_agent(agent->subject, sim_below(NS_PER_S));
        }
    }
}

static void agent_step(struct peer *agent)
{
    if (agent->asked_tunnels < agent->tunnels_wanted) {
        ask_tunnel(agent);
    }
    if (agent->beat_ms > 0) {
        say(agent,
            &(struct rstrm_message){.kind = RSTRM_HEARTBEAT, .heartbeat.sequence = ++agent->beats});
    }
    if (sim_chance(agent->rage)) {
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

// ---- Callers

static const struct target *choose_target(bool published)
{
    const struct target *found = NULL;
    for (size_t i = 0; i < town.target_count; i++) {
        const struct target *target = &town.targets[i];
        if ((target->host[0] != '\0') == published && (found == NULL || sim_chance(50))) {
            found = target;
        }
    }
    return found;
}

static void dial_target(struct peer *peer, const struct target *target)
{
    struct arrival arrival;
    struct buf token = make_token(9, 0);
    if (!sim_calm() && sim_chance(5)) {
        buf_consume(&token, 1);
        peer->wrong = true;
    }
    struct rstrm_client_details details = {.token = buf_slice(&token)};
    start_talk(peer);
    peer->zero_rtt = sim_chance(50);
    peer->talk.waits = !peer->zero_rtt;
    wire_open(&peer->wire, &arrival);
    speak_at_once(peer, &arrival);
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
    start_talk(peer);
    wire_open(&peer->wire, &arrival);
    if (!arrival_take_seat(shard, &arrival)) {
        stream_state_drop(&arrival.state);
        finish_peer(peer, false);
        return;
    }
    visitor_raw_start(shard, &arrival, tunnel);
    census_leave(arrival.seat);
}

// False: there is nobody to call yet.
static bool begin_caller(struct peer *peer)
{
    const struct target *target = choose_target(peer->kind == VISITOR);
    if (target == NULL && (sim_calm() || sim_chance(80))) {
        return false;
    }
    peer->agent = target == NULL ? NULL : target->agent;
    if (peer->kind == DIALER) {
        dial_target(peer, target);
    } else {
        visit_target(peer, target);
    }
    return true;
}

// ---- All of them

void peers_begin(void)
{
    memset(&town, 0, sizeof town);
    town.until_ns = sim_now() + COME_BACK_NS;
    size_t agents = 1 + sim_below(4);
    size_t callers = 2 + sim_below(sim_chance(80) ? 16 : 64);
    for (size_t i = 0; i < agents; i++) {
        spawn_agent((unsigned)sim_below(2), sim_below(200 * NS_PER_MS));
    }
    for (size_t i = 0; i < callers; i++) {
        (void)spawn(sim_chance(50) ? DIALER : VISITOR, sim_below(NS_PER_S));
    }
}

static void step(struct peer *peer)
{
    peer->wake_ns = sim_now() + sim_below(STEP_NS);
    if (!peer->begun) {
        peer->begun = true;
        switch (peer->kind) {
        case AGENT:
            begin_agent(peer);
            break;
        case BACK:
            begin_back(peer);
            break;
        case DIALER:
        case VISITOR:
            peer->begun = begin_caller(peer);
            break;
        }
    } else if (peer->kind == AGENT) {
        agent_step(peer);
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
        busy = busy || (peer->kind != AGENT && !peer->over);
        if (!peer->over && peer->wake_ns <= sim_now()) {
            step(peer);
        }
    }
    return busy;
}

void peers_leave(void)
{
    town.leaving = true;
    for (size_t i = 0; i < town.count; i++) {
        struct peer *peer = town.peers[i];
        if (peer->kind != AGENT || peer->over || !peer->begun) {
            peer->over = true;
        } else if (sim_chance(50)) {
            say(peer, &(struct rstrm_message){.kind = RSTRM_CLOSE_CONTROL_CHANNEL_REQ});
        } else {
            finish_peer(peer, sim_chance(50));
        }
    }
}

static void check_talk(const struct peer *peer)
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

void peers_check(void)
{
    for (size_t i = 0; i < town.count; i++) {
        if (town.peers[i]->kind != AGENT) {
            check_talk(town.peers[i]);
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
        free(peer);
    }
}
