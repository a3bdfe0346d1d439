// SPDX-License-Identifier: Apache-2.0
#include "app/platform_server.h"

#include "base/time.h"

static struct slice header_of(const struct http_request *request, struct slice name)
{
    const struct http1_header *header = http1_find(request->head, name);
    return header == NULL ? SLICE_EMPTY : header->value;
}

static void handle(struct http_request *request)
{
    const struct platform_server *server = http_owner(request->conn);
    struct platform_request question = {
        .method = request->head->method,
        .path = request->path,
        .authorization = header_of(request, SLICE("authorization")),
        .internal_key = header_of(request, SLICE("x-relay-internal-key")),
        .body = request->body,
    };
    struct http_answer answer = {.content_type = "application/json", .status = 500};
    struct buf body;
    buf_init(&body, PLATFORM_ANSWER_LEN_MAX);
    if (platform_handle(server->platform, &question, &body, &answer.status) == WEIR_OK) {
        answer.body = buf_slice(&body);
    } else {
        answer.body = SLICE("{\"ok\":false,\"reason\":\"INTERNAL_ERROR\"}");
        answer.status = 500;
    }
    http_answer(request->conn, &answer);
    buf_reset(&body);
}

// A broken request to the platform is answered; there is nobody to tell.
static void on_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    (void)server;
    (void)peer;
    (void)failure;
}

static const struct http_route no_routes[] = {{NULL, NULL, NULL}};

enum weir_result platform_server_open(struct platform_server *server, struct worker *worker,
    const struct platform *platform, int fd)
{
    server->platform = platform;
    server->options = (struct http_options){
        .routes = no_routes,
        .not_found = handle,
        .failed = on_failed,
        .setup_timeout_ns = 10 * NS_PER_S,
        .idle_timeout_ns = 60 * NS_PER_S,
        .body_max = PLATFORM_BODY_LEN_MAX,
        .owner = server,
    };
    return http_server_open(&server->server, worker, &server->options, fd);
}

void platform_server_close(struct platform_server *server)
{
    http_server_close(&server->server);
}
