// SPDX-License-Identifier: Apache-2.0
// The two ends of a demo session, without I/O: texts of frames in, texts of frames out. They speak
// the version 3 handshake (spec section 12) and envelopes, as a daemon and a client do.
#ifndef WEIR_APP_DEMO_PEER_H
#define WEIR_APP_DEMO_PEER_H

#include "base/buf.h"
#include "proto/noise.h"

struct demo_session {
    struct noise_state noise;
    struct noise_keypair static_pair;
    struct noise_keypair ephemeral;
    uint8_t key[32];
    uint64_t seq;
    char session_id[64]; // "" until there is a session
};

// ---- The daemon's side. static_pair is set by the caller.
// Answers a key exchange: appends the response frame to out. False when frame is none for us.
bool demo_answer_init(struct demo_session *daemon, struct slice frame, struct buf *out);

// ---- The client's side.
// Begins a session with the daemon that has this static key.
bool demo_begin(struct demo_session *client, const uint8_t daemon_static[NOISE_POINT_LEN],
    struct buf *out);
// Reads the response; true when the session stands.
bool demo_finish(struct demo_session *client, struct slice frame);

// ---- Both.
bool demo_seal(struct demo_session *session, struct slice plain, struct buf *out);
// Appends the plain text of an envelope. False: not ours, or it does not open.
bool demo_open(struct demo_session *session, struct slice frame, struct buf *plain);
void demo_wipe(struct demo_session *session);

#endif
