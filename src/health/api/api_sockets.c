// SPDX-License-Identifier: Apache-2.0
// Who may open a WebSocket (spec section 5.1). The handshake of whoever may not fails with 403:
// there is no connection yet that an application's close code could go over.
#include "health/api/api.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

void api_upgrade(struct http_request *http)
{
    struct api_request request;
    api_begin(&request, http);
    struct health *health = request.health;
    const struct socket_kind *kind = sockets_find(http->path, &request.path);
    if (kind == NULL) {
        api_handle(http);
        return;
    }
    if (!api_host_fits(http) || !api_origin_fits(http)) {
        api_answer_error(&request, 403,
            "Pages of this origin may not listen; CORS_ALLOWED_ORIGINS names those that may");
        return;
    }
    enum role role = api_role(&request);
    if (role == ROLE_NOBODY) {
        api_answer_error(&request, 403, "Missing authentication token");
        return;
    }
    enum weir_result result = sockets_take(&health->sockets, kind, &request.path, http, role);
    if (result != WEIR_OK) {
        bool bad = result == WEIR_MALFORMED;
        api_answer_error(&request, bad ? 400 : 503,
            bad ? "This is no WebSocket handshake" : "No more connections are taken");
        return;
    }
    uint64_t now_ns = sys_now_ns();
    api_stats_add(
        &health->stats, API_ROW_COUNT, false, 101, now_ns - request.ticket.begun_ns, now_ns);
}
