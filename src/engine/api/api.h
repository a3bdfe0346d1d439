// SPDX-License-Identifier: Apache-2.0
// The Engine API (spec section 8): a back for requests to the engine's own host. Routes are rows of
// api_routes.def.
#ifndef WEIR_ENGINE_API_H
#define WEIR_ENGINE_API_H

#include "engine/edge/exchange.h"

// Answers the request, at once or (lists that do not fit, watchers) as the front takes it.
void api_start(struct exchange *exchange, const struct request_head *head);

#endif
