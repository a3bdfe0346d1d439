// SPDX-License-Identifier: Apache-2.0
// Who may open a WebSocket (spec section 5.1). The handshake of whoever may not fails with 403:
// there is no connection yet that an application's close code could go over.
#include "health/api.h"
#include "health/api_internal.h"
#include "base/ip.h"

static bool origin_fits(const struct api_request *request)
{
    const struct health *health = request->health;
    bool open = health->options.tokens_path == NULL || health->options.public_read;
    return !open || ip_is_loopback(&health->address.ip) || sockets_same_origin(request->http->head);
}

void api_upgrade(struct http_request *http)
{
    struct api_request request = {.http = http, .health = http_owner(http->conn)};
    struct health *health = request.health;
    const struct socket_kind *kind = sockets_find(http->path);
    enum role role = api_role(&request);
    if (kind == NULL) {
        api_handle(http);
        return;
    }
    health->requests++;
    if ((role == ROLE_NOBODY && !health->options.public_read) || !origin_fits(&request)) {
        api_answer_error(&request, 403, "Missing authentication token");
        return;
    }
    enum weir_result result = sockets_take(&health->sockets, kind, http, role);
    if (result != WEIR_OK) {
        bool bad = result == WEIR_MALFORMED;
        api_answer_error(&request, bad ? 400 : 503,
            bad ? "This is no WebSocket handshake" : "No more connections are taken");
    }
}
