// SPDX-License-Identifier: Apache-2.0
// Shared by api.c (requests), listing.c (lists) and openapi.c (the document).
#ifndef WEIR_ENGINE_API_INTERNAL_H
#define WEIR_ENGINE_API_INTERNAL_H

#include "engine/api/api.h"
#include "engine/api/params.h"
#include "engine/control/token.h"

#define API_TYPE_JSON "application/json"
#define API_TYPE_TEXT "text/plain; charset=utf-8"
#define API_TYPE_EVENTS "text/event-stream"
#define API_TYPE_OPENAPI "application/vnd.oai.openapi+json;version=3.1"

enum api_flag {
    API_OPEN = 1,    // no token
    API_READ = 2,    // the permission to read
    API_WATCH = 4,   // the token may be in the query
    API_UPGRADE = 8, // a WebSocket
};

enum api_route_id {
#define API_ROUTE(symbol, ...) API_ROUTE_##symbol,
#include "engine/api/api_routes.def"
#undef API_ROUTE
    API_ROUTE_COUNT,
};

struct api_route {
    const char *path;
    const char *operation;
    const char *params;
    const char *content_type;
    const char *answer;
    const char *summary;
    unsigned flags; // enum api_flag
};
extern const struct api_route api_routes[API_ROUTE_COUNT];

// A request on its way through api.c.
struct api_request {
    struct exchange *exchange;
    const struct request_head *head;
    struct slice query;
    struct slice id;     // what stands for {id}
    unsigned route;      // enum api_route_id; API_ROUTE_COUNT: none
    struct token *token; // owned until it is taken; NULL on open routes
};

// ---- api.c
// The whole answer, for a request that nobody is the back of yet.
void api_answer(
    struct api_request *request, unsigned status, const char *content_type, struct slice body);
// {"error": "..."}.
void api_error(struct api_request *request, unsigned status, const char *text);
// Counts an answer that is given otherwise.
void api_count(const struct api_request *request, unsigned status);
// The JSON of the query's "params"; empty when there is none. False: it has been answered.
#define API_PARAMS_SIZE 16384
bool api_params(struct api_request *request, char text[API_PARAMS_SIZE], struct slice *ret_text);

// ---- listing.c
// Answers with all clients or all tunnels that the filter and the token let through.
void listing_start(struct api_request *request, enum filter_kind kind);

// ---- openapi.c
void openapi_write(struct buf *out);

#endif
