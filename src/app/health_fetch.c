// SPDX-License-Identifier: Apache-2.0
#include "app/health_fetch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define URL_SIZE 2048
#define HEADER_SIZE 4200
#define DOCUMENT_MAX (64 * 1024 * 1024)

static const struct http_tls_profile trusting_the_system = {.verify = true};

struct http_call *health_fetch_start(
    struct worker *worker, const struct health_server *server, http_call_fn *done, void *arg)
{
    char url[URL_SIZE];
    char authorization[HEADER_SIZE];
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    size_t base_len = strlen(server->base);
    while (base_len > 0 && server->base[base_len - 1] == '/') {
        base_len--;
    }
    snprintf(
        url, sizeof url, "%.*s/api/health/dashboard?refresh=true", (int)base_len, server->base);
    if (server->token != NULL) {
        snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", server->token);
        headers[1] = authorization;
    }
    return http_call_start(worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .headers = headers,
            .tls = &trusting_the_system,
            .timeout_ns = server->timeout_ns,
            .response_max = DOCUMENT_MAX,
        },
        done, arg);
}

void health_fetch_describe(const struct health_server *server,
    const struct http_call_result *result, char *problem, size_t size)
{
    if (result->outcome == HTTP_CALL_ANSWERED) {
        snprintf(problem, size, "the monitor at %s answers %u%s", server->base, result->status,
            result->status == 401   ? ": it wants a token (--token, PORTOSER_TOKEN)"
            : result->status == 403 ? ": the token may not read"
                                    : "");
    } else {
        snprintf(problem, size, "the monitor at %s cannot be reached: %s", server->base,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time" : result->error);
    }
}

// ---- Waiting for it

struct fetch {
    struct crew crew;
    const struct health_server *server;
    struct buf *out;
    char *problem;
    size_t size;
    enum health_fetched fetched;
};

static void on_done(void *arg, const struct http_call_result *result)
{
    struct fetch *fetch = arg;
    bool answered = result->outcome == HTTP_CALL_ANSWERED;
    if (answered && result->status == 200 &&
        buf_append_slice(fetch->out, result->body) == WEIR_OK) {
        fetch->fetched = FETCHED;
    } else {
        bool refused = answered && (result->status == 401 || result->status == 403);
        fetch->fetched = refused ? FETCH_REFUSED : FETCH_UNREACHABLE;
        health_fetch_describe(fetch->server, result, fetch->problem, fetch->size);
    }
    crew_stop(&fetch->crew);
}

static enum weir_result start(struct worker *worker, void *arg)
{
    struct fetch *fetch = arg;
    return health_fetch_start(worker, fetch->server, on_done, fetch) == NULL ? WEIR_INVALID
                                                                             : WEIR_OK;
}

static void stop(struct worker *worker, void *arg)
{
    (void)arg;
    http_client_fini(worker);
    worker_settle(worker);
}

enum health_fetched health_fetch(
    const struct health_server *server, struct buf *out, char *problem, size_t size)
{
    struct fetch fetch = {.server = server,
        .out = out,
        .problem = problem,
        .size = size,
        .fetched = FETCH_UNREACHABLE};
    struct crew_hooks hooks = {start, stop, &fetch};
    signal(SIGPIPE, SIG_IGN);
    snprintf(problem, size, "the address %s cannot be used", server->base);
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&fetch.crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&fetch.crew, &hooks);
        }
        crew_fini(&fetch.crew);
        http_client_global_fini();
    }
    return result == WEIR_OK ? fetch.fetched : FETCH_UNREACHABLE;
}
