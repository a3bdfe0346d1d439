// SPDX-License-Identifier: Apache-2.0
#include "app/platform_server.h"

#include <stdio.h>

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

static struct platform_server *server_of(struct part *part)
{
    return container_of(part, struct platform_server, part);
}

static enum weir_result start_worker(
    struct part *part, struct worker *worker, char *problem, size_t size)
{
    struct platform_server *server = server_of(part);
    if (worker->index != 0) {
        return WEIR_OK;
    }
    int fd = server->fd;
    server->fd = -1;
    snprintf(problem, size, "the platform cannot be served");
    return http_server_open(&server->server, worker, &server->options, fd);
}

static void stop_worker(struct part *part, struct worker *worker)
{
    if (worker->index == 0) {
        http_server_close(&server_of(part)->server);
    }
}

static void close_platform(struct part *part)
{
    struct platform_server *server = server_of(part);
    if (server->fd >= 0) {
        sys_close(server->fd);
        server->fd = -1;
    }
}

static const struct part_ops ops = {
    .name = "platform",
    .stopping = LOG_EVENT_COUNT,
    .stopped = LOG_EVENT_COUNT,
    .start_worker = start_worker,
    .stop_worker = stop_worker,
    .close = close_platform,
};

void platform_server_init(struct platform_server *server, const struct platform *platform, int fd)
{
    *server = (struct platform_server){
        .part.ops = &ops,
        .platform = platform,
        .fd = fd,
        .options =
            {
                .routes = no_routes,
                .not_found = handle,
                .failed = on_failed,
                .setup_timeout_ns = 10 * NS_PER_S,
                .idle_timeout_ns = 60 * NS_PER_S,
                .body_max = PLATFORM_BODY_LEN_MAX,
                .owner = server,
            },
    };
}
