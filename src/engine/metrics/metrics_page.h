// SPDX-License-Identifier: Apache-2.0
// The listener for Prometheus (spec section 10): plain HTTP, one path, a bearer token; and /healthz
// and /readyz for who asks from this machine.
#ifndef WEIR_ENGINE_METRICS_PAGE_H
#define WEIR_ENGINE_METRICS_PAGE_H

#include "engine/shard.h"

// On one worker: serves shard->metrics_server. Owns fd, a listening socket, also on failure.
enum weir_result engine_metrics_serve(struct engine_shard *shard, int fd) WEIR_MUST_CHECK;

#endif
