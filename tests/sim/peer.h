// SPDX-License-Identifier: Apache-2.0
// Between peers.c, talk.c and agents.c: what a peer is.
#ifndef WEIR_SIM_PEER_H
#define WEIR_SIM_PEER_H

#include "base/buf.h"
#include "base/time.h"
#include "engine/control/tunnel.h"
#include "sim.h"

#define PEERS_MAX 256
#define TARGETS_MAX 64
#define PIECE_MAX 8192
#define STEP_NS (20 * NS_PER_MS)

enum kind { AGENT, BACK, DIALER, VISITOR, BROWSER };
enum shape { PRIVATE, RAW, WEB, SHAPE_COUNT };

struct talk {
    bool waits;        // for a frame before the other's bytes
    bool early;        // says something before that frame
    bool shakes_hands; // and cannot end before it has heard anything
    size_t total;      // to be said, with the number
    size_t said;       // of it
    size_t snaps;      // resets when so much is said
    size_t stalls;     // does nothing any more when so much is said
    bool ends;         // says so behind the last byte
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
    bool serves;  // HTTP
    bool speaks_h2;
    bool encrypts; // has TLS of its own inside of its stream
    bool mute;         // a service that does nothing any more
    bool leaves;       // a service that ends behind its last answer
    bool snaps;        // the same, by a reset
    struct web_h2 *h2; // of services and browsers that speak it; owned
    // Of browsers.
    char host[TUNNEL_HOST_SIZE];
    unsigned requests_wanted;
    unsigned requests_sent;
    unsigned answers;
};

struct target {
    char id[TUNNEL_ID_SIZE];
    char name[32];
    char host[TUNNEL_HOST_SIZE];
    struct peer *agent;
    enum shape shape;
    bool h2c;
    bool encrypts;
    bool closed; // the agent has been told
};

struct town {
    struct peer *peers[PEERS_MAX];
    size_t count;
    size_t agents;
    struct target targets[TARGETS_MAX];
    size_t target_count;
    uint64_t until_ns; // agents come back and break out, and browsers ask
    bool leaving;
};
extern struct town town;

// NULL: there are enough. It makes its first step when the delay is over.
struct peer *peer_spawn(enum kind kind, uint64_t delay_ns);
void peer_finish(struct peer *peer, bool reset);
void peer_keep(struct buf *buf, const void *bytes, size_t len);
// Queues a frame.
void peer_say(struct peer *peer, const struct rstrm_message *message);
// The caller's. ttl_s 0: for good.
struct buf peer_token(unsigned subject, uint64_t ttl_s);

// ---- talk.c: dialers, visitors and streams of agents, once they have begun.

void talk_start(struct peer *peer);
// Some of what it has to say comes in one piece with its first frame.
void talk_at_once(struct peer *peer, struct arrival *arrival);
void talk_step(struct peer *peer);
// A service's own TLS begins, when its stream is there.
void talk_encrypt(struct peer *peer);
// At the end of the world.
void talk_check(const struct peer *peer);

// A byte that number says at a place.
char talk_byte(uint64_t number, size_t place);

// ---- web.c: browsers, and streams of agents that serve them.

#define WEB_REQUESTS_MAX 16
#define WEB_UP UINT64_C(0x100000) // tags of bodies that go up

size_t web_some_size(void);
// Of a browser's request.
uint64_t web_tag(const struct peer *peer, unsigned nth);
void web_send_out(struct peer *peer);
// False when the connection is over.
bool web_take_in(struct peer *peer);

void browser_start(struct peer *peer);
void browser_step(struct peer *peer);
void browser_check(const struct peer *peer);
// Of one that has been bound, as far as it knows.
void service_step(struct peer *peer);

// ---- web_h2.c: the same two in h2.

void browser_h2_step(struct peer *peer);
void service_h2_step(struct peer *peer);
// NULL is fine.
void web_h2_free(struct web_h2 *web);

// ---- agents.c: control channels, and the connections that agents make for streams.

void agent_spawn(unsigned subject, uint64_t delay_ns);
void agent_begin(struct peer *agent);
void agent_step(struct peer *agent);
void back_begin(struct peer *back);

#endif
