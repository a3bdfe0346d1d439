// SPDX-License-Identifier: Apache-2.0
// From an OpenTunnelReq to a tunnel in the directory: permission, scope, properties, conflicts.
#ifndef WEIR_ENGINE_REGISTRATION_H
#define WEIR_ENGINE_REGISTRATION_H

#include "engine/control/directory.h"
#include "engine/control/properties.h"
#include "engine/control/token.h"

struct registration {
    struct tunnel *tunnel; // a reference: registered, visible, open. NULL: refused
    // A reference: who has the host, port or name. The caller may end it when it is the same
    // identity's (spec section 5.6), and try again.
    struct tunnel *holder;
    struct tunnel_refusal refusal;
};

// asked may be NULL: all defaults. Counts nothing.
void registration_try(struct directory *directory, const struct directory_limits *limits,
    const struct rstrm_tunnel_properties *asked, const struct tunnel_rules *rules,
    const struct tunnel_owner *owner, const struct token *token, struct registration *ret_result);

// What the engine's configuration says, after engine_listen.
struct engine;
void registration_rules(const struct engine *engine, struct tunnel_rules *ret_rules,
    struct directory_limits *ret_limits);

#endif
