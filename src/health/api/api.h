// SPDX-License-Identifier: Apache-2.0
// The HTTP API of a running monitor.
#ifndef WEIR_HEALTH_API_H
#define WEIR_HEALTH_API_H

#include "http/server.h"

// For struct http_options: everything is answered by api_handle.
extern const struct http_route api_no_routes[];
extern const char api_error_headers[]; // of answers that no handler gives
// http_owner is the struct health.
void api_handle(struct http_request *request);
// An upgrade: one of the WebSockets, or answered like any other request.
void api_upgrade(struct http_request *request);

#endif
