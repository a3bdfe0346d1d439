// SPDX-License-Identifier: Apache-2.0
#include "engine/visitor.h"

#include <stdio.h>

#include "engine/config.h"
#include "engine/shard.h"
#include "engine/upstream_pool.h"

void visitor_init(
    struct visitor *visitor, struct engine_shard *shard, const struct arrival *arrival)
{
    const struct engine *engine = shard->engine;
    unsigned port = engine->config->public_port != 0 ? (unsigned)engine->config->public_port
                                                     : engine->address.port;
    *visitor = (struct visitor){
        .shard = shard,
        .peer = arrival->peer,
        .tls_version = arrival->tls_version,
    };
    memcpy(visitor->sni, arrival->sni, sizeof visitor->sni);
    ip_to_text(&visitor->peer.ip, visitor->peer_text);
    (void)snprintf(visitor->port_text, sizeof visitor->port_text, "%u", port);
    upstream_pool_open(visitor);
}
