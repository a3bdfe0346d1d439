// SPDX-License-Identifier: Apache-2.0
// What the files of the agent share.
//
//   loop.c        the thread, posts, timers, signals, word of the network
//   agent.c       options, attempts and waits        agent_close.c   the end, in order
//   channel.c     one control channel                agent_frames.c  what its frames mean
//   tunnel.c      a tunnel over many channels        properties.c    its options and what it became
//   visit.c       a visitor's stream                 stream.c        streams of the program
//   spares.c      connections that are kept ready
//   reach.c, agent_tls.c   connections               liveness.c, backoff.h   rules, as pure data
#ifndef WEIR_AGENT_INTERNAL_H
#define WEIR_AGENT_INTERNAL_H

#include <weir/agent.h>

#include "agent/backoff.h"
#include "agent/fault.h"
#include "agent/liveness.h"
#include "agent/reach.h"
#include "base/map.h"
#include "loop/network_watch.h"
#include "stream/pair.h"

#define AGENT_UUID_SIZE 37
#define AGENT_SPARES_MAX 8
#define AGENT_QUEUE_MAX 1024 // streams that wait for their dial (spec section 4.14)

struct weir_agent_loop {
    struct crew crew;
    struct worker *worker; // of the crew, or of somebody else
    bool own;              // the crew is ours
    bool closing;
    struct list agents;
    struct list calls;   // struct later: due later
    struct list catches; // struct caught
    struct list trusts;  // TLS contexts
    struct network_watch network;
    bool network_tried;
};

// ---- channel.c

struct channel {
    struct stream stream;
    struct weir_agent *agent; // borrowed; NULL: nobody is interested any more
    bool answered;            // the engine has accepted us
    bool gone;
    struct buf in;
    struct buf out;
    struct job flush;
    struct timer deadline; // the engine's first word; then its next one
    struct timer beat;
    struct timer probe;
    struct liveness liveness;
    uint64_t heard_ns;
    uint64_t awake_ns;       // sleep of the machine until the last heartbeat
    uint64_t probe_heard_ns; // heard_ns when the probe began
};

// Takes state over; agent_channel_lost follows when it cannot be used. NULL without memory.
struct channel *channel_start(
    struct weir_agent *agent, struct stream_state *state, struct buf *greeting) WEIR_MUST_CHECK;
// May end the channel.
void channel_send(struct channel *channel, const struct rstrm_message *message);
// Asks for a sign of life; without one the channel is lost soon.
void channel_probe(struct channel *channel);
// Ends it; agent_channel_lost is called, from inside.
void channel_lose(struct channel *channel, const struct fault *fault);
// Ends it without a word to anybody. orderly: close_notify first. NULL is fine.
void channel_drop(struct channel *channel, bool orderly);

// ---- agent.c

enum agent_closing {
    AGENT_STAYS,
    AGENT_CLOSES_TUNNELS,
    AGENT_DRAINS,
    AGENT_CLOSES_CHANNEL,
    AGENT_LEAVES, // what is left is being cut
};

struct spare {
    struct weir_agent *agent;
    struct reach *reach; // NULL: there is none
    uint64_t began_ns;
};

struct weir_agent {
    struct weir_agent_loop *loop;
    struct worker *worker;
    struct list node;   // in loop->agents
    struct arena texts; // of the options
    struct weir_agent_options options;
    struct weir_agent_events events;
    void *arg;
    const char *host;
    const char *address; // "host:port", for people
    uint16_t port;
    struct rstrm_client_details details;
    struct agent_tls tls;
    struct sys_address peer; // where the engine was reached last
    bool peer_known;

    enum weir_agent_state state;
    struct backoff backoff;
    struct reach *reach;
    struct channel *channel;
    struct fault fault; // why WAITING or FAILED
    struct timer timer; // retry; of closing, its step
    struct job work;    // deferred: what was asked for by calls
    bool connect_wanted;
    bool nudged;
    uint64_t attempt_ns;
    uint64_t online_ns;

    struct list tunnels; // struct weir_tunnel
    struct map ids;      // struct weir_tunnel, by the engine's id
    struct list streams; // struct weir_stream
    struct list queue;   // struct visit
    size_t queue_len;
    size_t dialing;
    struct spare spares[AGENT_SPARES_MAX];
    uint64_t asked_ns; // when a stream was asked for last

    enum agent_closing closing;
    unsigned close_calls; // not acted on yet
    uint32_t drain_ms;
};

void agent_set_state(struct weir_agent *agent, enum weir_agent_state state, uint32_t retry_in_ms,
    const struct weir_agent_engine *engine);
void agent_plan_work(struct weir_agent *agent);
// By channel.c. The channel is no more.
void agent_channel_lost(struct weir_agent *agent, const struct fault *fault);
void agent_channel_open(struct weir_agent *agent, const struct rstrm_channel *channel);
void agent_free(struct weir_agent *agent);
// A UUID of version 4 (RFC 4122).
enum weir_result agent_uuid(char text[AGENT_UUID_SIZE]) WEIR_MUST_CHECK;
uint32_t agent_random(void);

// ---- spares.c

// There is traffic: keeps connections ready, until a minute has passed without.
void spares_warm(struct weir_agent *agent);
// One that is ready, or NULL. See reach_take.
struct reach *spares_take(struct weir_agent *agent) WEIR_MUST_CHECK;
void spares_drop(struct weir_agent *agent);

// ---- agent_close.c

void agent_begin_close(struct weir_agent *agent);
// Something has ended: perhaps the next step is due, or all is gone and the agent is freed.
void agent_close_step(struct weir_agent *agent);
void agent_close_timeout(struct weir_agent *agent);
// Everything ends at once.
void agent_cut(struct weir_agent *agent);

// ---- agent_frames.c

void agent_frame(struct weir_agent *agent, const struct rstrm_message *message);

// ---- properties.c

struct tunnel_texts { // of an answer; all in one arena
    struct arena arena;
    struct weir_tunnel_info info;
};

enum weir_result tunnel_options_copy(struct arena *arena, const struct weir_tunnel_options *from,
    struct weir_tunnel_options *to) WEIR_MUST_CHECK;
struct tunnel_lists { // what a request borrows
    struct slice alpns[64];
    struct slice ciphers[64];
    struct slice geoip[256];
    struct slice trusted_ips[256];
    struct rstrm_label labels[256];
};
void tunnel_request(const struct weir_tunnel_options *options, struct tunnel_lists *lists,
    struct rstrm_tunnel_properties *ret_properties);
// NULL, or what cannot be sent.
const char *tunnel_options_mistake(const struct weir_tunnel_options *options);
enum weir_result tunnel_texts_of(
    struct tunnel_texts *texts, const struct rstrm_tunnel_properties *properties) WEIR_MUST_CHECK;
bool text_is_sendable(const char *text, size_t len_max);

// ---- tunnel.c

enum tunnel_wire {
    TUNNEL_UNKNOWN, // to the engine
    TUNNEL_ASKED,
    TUNNEL_OPEN,
    TUNNEL_PARTING, // it was asked to close it
};

struct weir_tunnel {
    struct weir_agent *agent;
    struct list node; // in agent->tunnels
    struct arena texts;
    struct weir_tunnel_options options;
    struct weir_tunnel_events events;
    void *arg;
    // Where streams go.
    const char *target; // "localhost:8080", for people; NULL: to the program
    const char *target_host;
    const char *target_path; // of a Unix socket; NULL: TCP
    uint16_t target_port;

    enum weir_tunnel_state state;
    bool announced; // OPENING was told
    enum tunnel_wire wire;
    struct map_node id_node; // in agent->ids, while OPEN
    struct tunnel_texts told;
    char *hostname; // owned; that the engine chose, to be asked for again
    char request_id[AGENT_UUID_SIZE];
    struct timer timer; // the engine's answer, or the next attempt
    struct backoff backoff;
    struct fault fault;
    bool closing;
    bool close_asked;   // by the program
    bool cut;           // twice
    struct list visits; // struct visit
    struct weir_tunnel_counts counts;
};

void tunnel_work(struct weir_tunnel *tunnel); // the agent has come online, or it is new
void tunnel_channel_lost(struct weir_tunnel *tunnel, const struct fault *fault);
void tunnel_answered(struct weir_tunnel *tunnel, const struct rstrm_open_tunnel_rsp *answer);
// CloseTunnelRsp, asked for or not.
void tunnel_closed_by_engine(struct weir_tunnel *tunnel);
void tunnel_forget(struct weir_tunnel *tunnel); // its answer is not waited for any more
// The last stream has gone, or the engine has let go: perhaps it is over.
void tunnel_settle(struct weir_tunnel *tunnel);
void tunnel_begin_close(struct weir_tunnel *tunnel);

// ---- visit.c

struct visit {
    struct weir_tunnel *tunnel;
    struct list node;       // in tunnel->visits
    struct list queue_node; // in agent->queue
    struct weir_stream_info info;
    struct reach *local;
    struct reach *engine;
    struct stream_state local_state; // fd -1: not there yet
    struct stream_state engine_state;
    struct weir_stream *stream; // of the program; it does the rest
    struct pair pair;
    enum { VISIT_QUEUED, VISIT_DIALING, VISIT_FLOWS, VISIT_OVER } state;
    uint64_t greeting_len; // of the pair's bytes to the engine, ours
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t began_ns;
    struct slice secret; // in bytes
    char source[IP_TEXT_SIZE];
    char bytes[]; // stream id, secret
};

void visit_ask(struct weir_agent *agent, const struct rstrm_proxy_conn_req *request);
// As many of those that wait as may be under way at once.
void visits_start_queued(struct weir_agent *agent);
void visit_cut(struct visit *visit);
// The channel that asked for it is gone: those that are not flowing have nobody to go to.
void visits_forget(struct weir_tunnel *tunnel);
// By stream.c, of accepted streams; of a joined one no bytes are told before its end.
void visit_stream_open(struct visit *visit);
void visit_stream_moved(struct visit *visit, uint64_t in, uint64_t out);
void visit_stream_gone(struct visit *visit, const struct fault *fault);
struct reach *visit_reach_engine(struct visit *visit, reach_fn *done, void *arg) WEIR_MUST_CHECK;
enum weir_result visit_greeting(const struct visit *visit, struct buf *out) WEIR_MUST_CHECK;

// ---- stream.c

// A visitor's, not taken yet. NULL without memory.
struct weir_stream *stream_of_visit(struct visit *visit) WEIR_MUST_CHECK;
// Whether the program took it; when not, it is freed, and why is the program's word.
bool stream_was_taken(struct weir_stream *stream, struct fault *ret_why);
void stream_cut(struct weir_stream *stream, const struct fault *fault);
struct weir_stream *stream_at(struct list *node); // in agent->streams

#endif
