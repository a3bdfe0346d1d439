// SPDX-License-Identifier: Apache-2.0
// Upstream streams that may serve another exchange: with their visitor, or
// (http.upstream_keepalive) with the worker, by tunnel. upstream_pool.c has the rule which one goes
// where.
#ifndef WEIR_ENGINE_UPSTREAM_POOL_H
#define WEIR_ENGINE_UPSTREAM_POOL_H

#include "engine/edge/exchange.h"

struct upstream;

// Makes a visitor ready for use. upstream_pool_close is its end.
void upstream_pool_open(struct visitor *visitor);
// The visitor leaves: closes what waits for it. Its exchanges have ended. Safe to repeat.
void upstream_pool_close(struct visitor *visitor);

// ---- For upstreams.

// What an exchange needs of a stream.
struct upstream_need {
    struct visitor *visitor;
    const struct tunnel *tunnel;
    bool raw;   // will turn into raw bytes: HTTP/1.1 only
    bool bound; // authenticates the connection: the visitor's own stream only
};

// One that fits, or NULL. One of HTTP/1.1 leaves the pool; one of h2 stays, it has room for more.
struct upstream *upstream_pool_take(const struct upstream_need *need);
// Puts one in, for whoever visitor is to it. False when it must end instead.
bool upstream_pool_give(struct upstream *upstream, struct visitor *visitor);
// Takes one out, wherever it is. Safe to repeat.
void upstream_pool_remove(struct upstream *upstream);

#endif
