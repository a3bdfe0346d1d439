// SPDX-License-Identifier: Apache-2.0
// A registered connection: a daemon, a client or a worker (spec section 5).
#ifndef WEIR_RELAY_PEER_H
#define WEIR_RELAY_PEER_H

#include "relay/cell.h"
#include "relay/claims.h"

struct channel_list; // the channels a session-events client may see
struct peer_flow;    // what slows a peer down; see flow.h
struct takeover;     // of a daemon that came back; see takeover.h

struct peer {
    struct ws ws;
    struct shard *shard; // borrowed, outlives the peer
    struct cell *cell;   // NULL for workers, and before registration
    struct list node;          // in shard->peers
    struct list cell_node;     // in cell->clients
    struct list owned;         // entries of the cell's tables
    struct list subscriptions; // see channels.h
    struct list blocked;       // peers that wait for this one to read; flow.h
    struct list blocked_on;
    struct list requests;      // of a worker, under way
    struct limiter_key *own_rate;       // client: its own; daemon, worker: the workspace's
    struct limiter_key *workspace_rate; // client only
    struct bucket invalid;              // what invalid frames of this connection may cost
    struct peer_flow *flow;             // owned; NULL until needed
    struct channel_list *channels;      // owned; session-events clients only
    struct takeover *takeover;          // owned; of a candidate
    char *strings;                      // owned; the next six point into it
    const char *workspace_id;
    const char *client_id;
    const char *machine_id; // NULL: not claimed, as the rest
    const char *install_id;
    const char *user_id;
    const char *executor_id;
    struct timer expiry;
    uint64_t connected_wall_ms;
    uint64_t frames_in;
    struct ip ip;
    uint16_t request_count;
    uint8_t role;    // enum role
    uint8_t scope;   // enum scope
    uint8_t profile; // enum frame_profile
    bool registered; // counted as opened
};

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
