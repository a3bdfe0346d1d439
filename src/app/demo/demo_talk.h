// SPDX-License-Identifier: Apache-2.0
// The relay session of `weir up --demo`: a daemon and a client on one worker that dial the relay
// as anybody would, shake hands with Noise through it, and echo end-to-end encrypted lines at a
// rate that rises and falls. What is lost is dialled again.
#ifndef WEIR_APP_DEMO_TALK_H
#define WEIR_APP_DEMO_TALK_H

#include "app/demo/demo_peer.h"
#include "platform/platform.h"
#include "stream/tls_context.h"
#include "stream/ws_client.h"

#define DEMO_TALK_WORKSPACE "weir-demo"
#define DEMO_TALK_TARGET "echo"

struct demo_talk;

struct demo_end {
    struct demo_talk *talk;
    const char *role;
    struct ws ws;
    struct ws_dial *dial; // under way, or NULL
    bool alive;           // ws is open, and its memory not given back by the transport yet
    bool told;            // that it cannot be reached, in the log
    struct demo_session session;
    struct buf token;
    struct timer again;
    char target[256]; // path and query
};

struct demo_talk_options {
    struct worker *worker;
    const struct platform *platform; // borrowed; mints the tokens
    struct sys_address address;      // of the relay
    const char *ca_path;             // of the relay's certificate; NULL: it has no TLS
    void (*ended)(void *arg);        // see demo_talk_finish
    void *arg;
};

struct demo_talk {
    struct demo_talk_options options; // worker NULL: not started
    struct ws_policy policy;
    SSL_CTX *tls; // owned
    struct demo_end daemon;
    struct demo_end client;
    struct timer beat;
    uint64_t started_ns;
    uint64_t echoed_ns; // the last echo, or the begin of the last attempt
    uint64_t sent;
    uint64_t echoes;
    unsigned echoes_due;
    bool ending;
};

// talk is zeroed before. On failure demo_talk_stop is to be called as well.
enum weir_result demo_talk_start(
    struct demo_talk *talk, const struct demo_talk_options *options) WEIR_MUST_CHECK;
// Whether echoes come, and in English how many there were.
bool demo_talk_lives(const struct demo_talk *talk, char *text, size_t size);
// Both say goodbye; ended is called when they have gone, perhaps at once.
void demo_talk_finish(struct demo_talk *talk);
// At once; the loop has to settle before the memory goes. Fine when it was not started, and twice.
void demo_talk_stop(struct demo_talk *talk);
void demo_talk_free(struct demo_talk *talk);

#endif
