// SPDX-License-Identifier: Apache-2.0
// A control channel as everybody sees it: made when it opens, never changed afterwards, shared by
// all workers.
#ifndef WEIR_ENGINE_CLIENT_H
#define WEIR_ENGINE_CLIENT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/list.h"
#include "engine/control/token.h"
#include "engine/control/tunnel.h"
#include "proto/rstrm.h"

// One allocation: texts lie behind the struct.
struct client {
    atomic_uint refs;
    char id[TUNNEL_ID_SIZE];
    char identity[TUNNEL_IDENTITY_SIZE];
    struct slice user_id; // of the token; "" without
    // What the agent says of itself; "" when it does not.
    struct slice agent;
    struct slice channel;
    struct slice version;
    struct slice os;
    struct slice arch;
    struct slice protocol_version;
    struct slice json; // owned; the object of spec section 8.5, online
    // The directory's.
    struct list node;
    bool listed;
};

// With a random id and one reference. NULL without memory or entropy. The details' token is not
// looked at. Texts of more than 255 bytes are cut.
struct client *client_new(
    const struct rstrm_client_details *details, const struct token *token) WEIR_MUST_CHECK;
struct client *client_ref(struct client *client);
// NULL is fine. Any thread.
void client_unref(struct client *client);
// Appends the object of spec section 8.5.
void client_write_json(const struct client *client, bool online, struct buf *out);

#endif
