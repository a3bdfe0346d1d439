// SPDX-License-Identifier: Apache-2.0
// The plain HTTP side of a relay's listener: /health, /state, /logs, /metrics (spec section 3).
//
// /health needs no token. The others answer 404, exactly like an unknown path, unless
// RELAY_ENABLE_ADMIN_HTTP is on, and 401 without the admin token.
#ifndef WEIR_ADMIN_ROUTES_H
#define WEIR_ADMIN_ROUTES_H

#include "http/server.h"

// Ended by a row without a path; static storage.
extern const struct http_route admin_routes[];
void admin_not_found(struct http_request *request);

#endif
