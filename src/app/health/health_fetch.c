// SPDX-License-Identifier: Apache-2.0
#include "app/health/health_fetch.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/health/health_setup.h"
#include "base/time.h"
#include "sys/socket.h"

#define SERVER_DEFAULT "http://127.0.0.1:8988"
#define UNIX_PREFIX "unix:"
#define SERVER_TIMEOUT_NS (5 * NS_PER_S)
#define URL_SIZE 8192
#define HEADER_SIZE 4200
#define DOCUMENT_MAX (64 * 1024 * 1024)

static const struct http_tls_profile trusting_the_system = {.verify = true};

const struct health_question health_dashboard = {
    .method = "GET", .path = "/api/health/dashboard?refresh=true", .body = {"", 0}};

static const char *option_or_variable(const char *value, const char *name)
{
    const char *other = value != NULL ? value : getenv(name);
    return other == NULL || other[0] == '\0' ? NULL : other;
}

// Somebody listens at this user's socket.
static bool find_socket(struct health_server *server)
{
    size_t len = strlen(UNIX_PREFIX);
    int fd;
    memcpy(server->found, UNIX_PREFIX, len + 1);
    if (!health_setup_socket(server->found + len, sizeof server->found - len) ||
        sys_connect_unix(server->found + len, &fd) != WEIR_OK) {
        return false;
    }
    sys_close(fd);
    return true;
}

const char *health_server_socket(const struct health_server *server)
{
    size_t len = strlen(UNIX_PREFIX);
    return strncmp(server->base, UNIX_PREFIX, len) == 0 ? server->base + len : NULL;
}

bool health_server_next(struct health_server *server)
{
    bool was_found = server->base == server->found;
    server->base = was_found ? SERVER_DEFAULT : server->base;
    return was_found;
}

bool health_server_find(const char *url, const char *token, struct health_server *ret_server)
{
    const char *named = option_or_variable(url, "PORTOSER_URL");
    *ret_server = (struct health_server){
        .base = named,
        .token = option_or_variable(token, "PORTOSER_TOKEN"),
        .timeout_ns = named == NULL ? SERVER_TIMEOUT_NS / 5 : SERVER_TIMEOUT_NS,
    };
    if (named == NULL) {
        ret_server->base = find_socket(ret_server) ? ret_server->found : SERVER_DEFAULT;
    }
    return named != NULL;
}

struct http_call *health_fetch_start(struct worker *worker, const struct health_server *server,
    const struct health_question *question, http_call_fn *done, void *arg)
{
    char url[URL_SIZE];
    char authorization[HEADER_SIZE];
    const char *headers[] = {"Accept: application/json", NULL, NULL, NULL};
    size_t count = 1;
    const char *socket = health_server_socket(server);
    const char *base = socket == NULL ? server->base : "http://localhost";
    size_t base_len = strlen(base);
    while (base_len > 0 && base[base_len - 1] == '/') {
        base_len--;
    }
    snprintf(url, sizeof url, "%.*s%s", (int)base_len, base, question->path);
    if (question->body.len > 0) {
        headers[count++] = "Content-Type: application/json";
    }
    if (server->token != NULL) {
        snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", server->token);
        headers[count] = authorization;
    }
    return http_call_start(worker,
        &(struct http_call_options){
            .method = question->method,
            .url = url,
            .unix_path = socket,
            .headers = headers,
            .body = question->body,
            .tls = &trusting_the_system,
            .timeout_ns = server->timeout_ns,
            .response_max = DOCUMENT_MAX,
        },
        done, arg);
}

// What a refusal's envelope says; false: it is none.
static bool read_detail(struct slice body, char *problem, size_t size)
{
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const char *detail = json_string_value(json_object_get(root, "detail"));
    bool found = detail != NULL && json_object_get(root, "error") != NULL;
    if (found) {
        snprintf(problem, size, "%s", detail);
    }
    json_decref(root);
    return found;
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
    const struct health_question *question;
    struct buf *out;
    char *problem;
    size_t size;
    enum health_fetched fetched;
};

static void on_done(void *arg, const struct http_call_result *result)
{
    struct fetch *fetch = arg;
    bool answered = result->outcome == HTTP_CALL_ANSWERED;
    if (answered && result->status / 100 == 2 &&
        buf_append_slice(fetch->out, result->body) == WEIR_OK) {
        fetch->fetched = FETCHED;
    } else if (answered && result->status != 401 && result->status != 403 &&
               read_detail(result->body, fetch->problem, fetch->size)) {
        fetch->fetched = FETCH_MISTAKEN;
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
    return health_fetch_start(worker, fetch->server, fetch->question, on_done, fetch) == NULL
               ? WEIR_INVALID
               : WEIR_OK;
}

static void stop(struct worker *worker, void *arg)
{
    (void)arg;
    http_client_fini(worker);
    worker_settle(worker);
}

enum health_fetched health_fetch(const struct health_server *server,
    const struct health_question *question, struct buf *out, char *problem, size_t size)
{
    struct fetch fetch = {.server = server,
        .question = question,
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
