// SPDX-License-Identifier: Apache-2.0
// A registered connection: a daemon, a client or a worker (spec section 5).
#ifndef WEIR_RELAY_PEER_H
#define WEIR_RELAY_PEER_H

#include "relay/cell.h"
#include "relay/claims.h"

struct channel_list; // the channels a session-events client may see
struct peer_flow;    // what slows a peer down; see flow.h
struct takeover;     // of a daemon that came back; see takeover.h
struct client_line;  // frames on their way to another relay; see backplane/outgoing.h
struct peer_expiry;  // the end of its token's life

// What a claim says, kept behind the peer.
enum peer_text {
    PEER_WORKSPACE,
    PEER_CLIENT,
    PEER_MACHINE,
    PEER_INSTALL,
    PEER_USER,
    PEER_EXECUTOR,
    PEER_TEXT_COUNT,
};

// What daemons and workers have, and clients, of which there are many more, do not.
struct peer_backend {
    struct bucket invalid; // what invalid frames of this connection may cost
    struct list requests;  // of a worker, under way
    unsigned request_count;
};

// Most peers are clients at rest: what only some need at some time is allocated then.
struct peer {
    struct ws ws;
    struct shard *shard;   // borrowed, outlives the peer
    struct cell *cell;     // NULL for workers, and before registration
    struct list node;      // in shard->peers
    struct list cell_node; // in cell->clients
    struct list owned;     // entries of the cell's tables
    struct limiter_key *own_rate;       // client: its own; daemon, worker: the workspace's
    struct limiter_key *workspace_rate; // client only
    struct peer_backend *backend;       // behind the peer; NULL for a client
    struct peer_flow *flow;             // owned; NULL until needed
    struct channel_list *channels;      // owned; session-events clients only
    struct takeover *takeover;          // owned; of a candidate
    struct client_line *line;           // owned; clients only, NULL until needed
    struct peer_expiry *expiry;         // owned; NULL: no end is set
    uint64_t connected_wall_ms;
    uint64_t frames_in;
    struct ip ip;
    uint16_t texts[PEER_TEXT_COUNT]; // bytes from the peer on; 0: not claimed
    uint8_t role;                    // enum role
    uint8_t scope;                   // enum scope
    uint8_t profile;                 // enum frame_profile
    bool registered;                 // counted as opened
};

// NULL when it was not claimed; workspace and client are always there.
static inline const char *peer_text(const struct peer *peer, enum peer_text text)
{
    return peer->texts[text] == 0 ? NULL : (const char *)peer + peer->texts[text];
}

// The policy all peers of a relay share.
void peer_policy_init(struct ws_policy *policy, const struct relay_config *config);

// Takes an admitted upgrade's stream: sends preface (the 101), checks the claims and registers
// (sections 5.1, 5.3). The slot in the ledger is the peer's from here on, also on failure, which
// only memory or descriptors can cause: the stream is dropped then.
struct admitted {
    struct stream_state stream;
    struct slice preface;
    struct slice unread;
    const struct claims *claims;
    struct slice workspace; // of the query
    struct slice target;    // of the query; may be empty
    struct slice redirect; // URL of the relay that has the daemon, to be told; may be empty
    enum role role;
    struct ip ip;
};
enum weir_result peer_open(struct shard *shard, struct admitted *admitted) WEIR_MUST_CHECK;

static inline struct peer *peer_of(struct ws *ws)
{
    return container_of(ws, struct peer, ws);
}
static inline bool peer_is_open(const struct peer *peer)
{
    return ws_is_open(&peer->ws);
}

// Adds workspaceId, runtimeTargetId, clientId and ip, as far as known.
struct log_line;
void peer_log_identity(struct log_line *line, const struct peer *peer);
// A warning about a frame: event with identity and reason.
void peer_log_frame(const struct peer *peer, int event, const char *reason);

// The end of a take-over (see takeover.h): the candidate is refused because the daemon answers; or
// takes the place of the cell's daemon, which is closed.
void peer_refuse_daemon(struct peer *candidate);
void peer_replace_daemon(struct cell *cell);

#endif
