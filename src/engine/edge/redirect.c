// SPDX-License-Identifier: Apache-2.0
// Every request is answered from its head alone.
//
// 1. A Location is made of our own name as we know it and of a target that the parser has let
//    through: printable bytes only, so that nothing in it can end the line.
// 2. Of a challenge only a token's characters (RFC 8555 section 8.1) reach the file system.
#include "engine/edge/redirect.h"

#include "engine/config/config.h"
#include "engine/edge/route.h"
#include "engine/shard.h"
#include "sys/file.h"

#define CHALLENGE_BYTES_MAX 4096
#define CHALLENGE_TOKEN_MAX 128
#define SETUP_TIMEOUT_NS (15 * NS_PER_S)
#define IDLE_TIMEOUT_NS (15 * NS_PER_S)

static const struct slice challenge_path = {
    "/.well-known/acme-challenge/", sizeof "/.well-known/acme-challenge/" - 1};

static struct engine_shard *shard_of(const struct http_request *request)
{
    return http_owner(request->conn);
}

static void answer_status(struct http_request *request, unsigned status, const char *headers)
{
    http_answer(request->conn,
        &(struct http_answer){.status = status, .headers = headers, .body = SLICE_EMPTY});
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i];
        bool good = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                    (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
        if (!good) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CHALLENGE_TOKEN_MAX;
}

static void answer_challenge(struct http_request *request, const char *directory)
{
    struct slice token = slice_skip(request->path, challenge_path.len);
    struct buf path = BUF_INIT(CONF_TEXT_LEN_MAX + CHALLENGE_TOKEN_MAX + 2);
    struct buf content = BUF_INIT(CHALLENGE_BYTES_MAX);
    bool found =
        is_token(token) && buf_printf(&path, "%s/%.*s", directory, SLICE_ARG(token)) == WEIR_OK;
    const char *name = found ? buf_text(&path) : NULL;
    if (!slice_eq(request->head->method, SLICE("GET"))) {
        answer_status(request, 405, "Allow: GET\r\n");
    } else if (name != NULL && sys_file_read(name, CHALLENGE_BYTES_MAX, &content) == WEIR_OK) {
        http_answer(request->conn,
            &(struct http_answer){
                .status = 200, .content_type = "text/plain", .body = buf_slice(&content)});
    } else {
        answer_status(request, 404, NULL);
    }
    buf_reset(&content);
    buf_reset(&path);
}

static void answer_redirect(struct http_request *request, struct slice host, struct slice target)
{
    struct engine_shard *shard = shard_of(request);
    const struct engine *engine = shard->engine;
    unsigned port = engine->config->public_port != 0 ? (unsigned)engine->config->public_port
                                                     : engine->address.port;
    struct buf line = BUF_INIT(HTTP1_HEAD_BYTES_MAX + HOSTNAME_SIZE + 64);
    buf_printf(&line, "Location: https://%.*s", SLICE_ARG(host));
    if (port != 443) {
        buf_printf(&line, ":%u", port);
    }
    buf_append_slice(&line, target);
    buf_append_str(&line, "\r\n");
    const char *headers = buf_text(&line);
    engine_count(shard, ENGINE_REDIRECTS);
    answer_status(request, headers == NULL || line.failed ? 500 : 308, headers);
    buf_reset(&line);
}

static void on_request(struct http_request *request)
{
    const struct engine_config *config = shard_of(request)->engine->config;
    struct http1_target target;
    char host[HOSTNAME_SIZE];
    size_t host_len = 0;
    if (http1_read_target(request->head, &target) != WEIR_OK || target.origin.len == 0 ||
        target.origin.at[0] != '/') {
        answer_status(request, 400, NULL);
        return;
    }
    switch (route_of(target.authority, slice_str(config->host), host, &host_len)) {
    case ROUTE_BAD:
        answer_status(request, 400, NULL);
        return;
    case ROUTE_OUTSIDE:
        answer_status(request, 421, NULL);
        return;
    case ROUTE_API:
    case ROUTE_TUNNEL:
        break;
    }
    if (config->acme_challenge_dir != NULL && slice_starts_with(request->path, challenge_path)) {
        answer_challenge(request, config->acme_challenge_dir);
    } else {
        answer_redirect(request, slice_of(host, host_len), target.origin);
    }
}

// Nobody waits for an account of those: the answers of the server say what was wrong.
static void on_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    (void)server;
    (void)peer;
    (void)failure;
}

static const struct http_route no_routes[] = {{NULL, NULL, NULL}};

enum weir_result redirect_open(struct engine_shard *shard, int fd)
{
    shard->redirect_options = (struct http_options){
        .routes = no_routes,
        .not_found = on_request,
        .failed = on_failed,
        .setup_timeout_ns = SETUP_TIMEOUT_NS,
        .idle_timeout_ns = IDLE_TIMEOUT_NS,
        .body_max = CHALLENGE_BYTES_MAX,
        .owner = shard,
    };
    return http_server_open(&shard->redirect, shard->worker, &shard->redirect_options, fd);
}
