// SPDX-License-Identifier: Apache-2.0
// The certificate of a worker, and its changes (spec section 3.4).
#ifndef WEIR_ENGINE_ENGINE_TLS_H
#define WEIR_ENGINE_ENGINE_TLS_H

#include "engine/shard.h"

// Loads the pair, and those of extensions.certs, for the first time. problem (size bytes) says in
// English why not; a further pair that cannot be used is only logged.
enum weir_result engine_load_certificate(
    struct engine_shard *shard, char *problem, size_t size) WEIR_MUST_CHECK;
// Before a handshake: takes changed files over, or complains about them, once.
void engine_refresh_certificate(struct engine_shard *shard);
// After a reload: the same at once, with the paths of the configuration.
void engine_reload_certificate(struct engine_shard *shard);

#endif
