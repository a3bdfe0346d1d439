// SPDX-License-Identifier: Apache-2.0
// The plain HTTP port (spec section 6.7): sends visitors of our own names to https, and serves
// /.well-known/acme-challenge/ from a directory when there is one. Nothing is ever proxied.
#ifndef WEIR_ENGINE_REDIRECT_H
#define WEIR_ENGINE_REDIRECT_H

#include "base/result.h"

struct engine_shard;

// Opens shard->redirect on a listening socket, which is taken over, also on failure.
enum weir_result redirect_open(struct engine_shard *shard, int fd) WEIR_MUST_CHECK;

#endif
