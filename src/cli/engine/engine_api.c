// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/engine_api.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/loop.h"
#include "cli/plain.h"
#include "proto/json_scan.h"

#define BODY_SHOWN_MAX 300

static void write_place(
    char place[ENGINE_API_PLACE_SIZE], const char *scheme, const char *host, unsigned port)
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(place, ENGINE_API_PLACE_SIZE, "%s%s%s%s:%u", scheme, v6 ? "[" : "", host,
        v6 ? "]" : "", port);
}

void engine_api_init(struct engine_api *api, const struct profile *profile)
{
    *api = (struct engine_api){
        .profile = profile,
        .tls = {.verify = !profile->insecure_skip_verify, .ca_path = profile->ca_file},
    };
    write_place(api->origin, "https://", profile->server_name, profile->port);
    if (strcmp(profile->host, profile->server_name) != 0) {
        write_place(api->connect_to, "", profile->host, profile->port);
    }
    if (profile->token != NULL) {
        snprintf(api->authorization, sizeof api->authorization, "Authorization: Bearer %s",
            profile->token);
    }
}

static bool is_unreserved(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || strchr("-._~", byte) != NULL;
}

bool engine_api_target(const char *path, const char *params, char target[ENGINE_API_TARGET_SIZE])
{
    struct buf out = BUF_INIT(ENGINE_API_TARGET_SIZE - 1);
    buf_append_str(&out, path);
    buf_append_str(&out, params == NULL ? "" : "?params=");
    for (const char *at = params; at != NULL && *at != '\0'; at++) {
        if (is_unreserved(*at)) {
            buf_append_byte(&out, *at);
        } else {
            buf_printf(&out, "%%%02X", (unsigned)(unsigned char)*at);
        }
    }
    bool fits = !out.failed && slice_to_text(buf_slice(&out), target, ENGINE_API_TARGET_SIZE);
    buf_reset(&out);
    return fits;
}

struct http_call *engine_api_start(struct worker *worker, const struct engine_api *api,
    const char *target, void (*chunk)(void *arg, struct slice bytes), http_call_fn *done, void *arg)
{
    char url[ENGINE_API_PLACE_SIZE + ENGINE_API_TARGET_SIZE];
    const char *headers[] = {
        api->authorization[0] == '\0' ? "Accept: */*" : api->authorization, NULL};
    snprintf(url, sizeof url, "%s%s", api->origin, target);
    return http_call_start(worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .headers = headers,
            .tls = &api->tls,
            .connect_to = api->connect_to[0] == '\0' ? NULL : api->connect_to,
            .chunk = chunk,
            .timeout_ns = chunk == NULL ? ENGINE_API_TIMEOUT_NS : 0,
            .response_max = ENGINE_API_ANSWER_MAX,
            .keep_headers = true,
        },
        done, arg);
}

// ---- In words

const char *engine_api_advice(unsigned status)
{
    switch (status) {
    case 401:
        return "the token is not valid there: get a new one (weir token engine, with that engine's "
               "secret)";
    case 403:
        return "the token does not permit it: it needs tunnels.resources.read-only";
    case 404:
    case 421:
        return "is it an engine, and is this its host name (engine.host)?";
    case 429:
    case 503:
        return "it is busy: try again later";
    default:
        return "";
    }
}

// What the engine says: the member "error" of its JSON, or the start of its text.
static void append_body(struct buf *out, struct slice body)
{
    static const char *const names[] = {"error"};
    struct json_keys *keys = json_keys_new(names, 1);
    struct json_value value = {.kind = JSON_KIND_ABSENT};
    bool json =
        keys != NULL && json_scan(body, keys, &value) == WEIR_OK && json_value_is_string(&value);
    struct slice text = json ? value.text : body;
    if (text.len > BODY_SHOWN_MAX) {
        text.len = BODY_SHOWN_MAX;
    }
    text = slice_trim(text);
    if (text.len > 0) {
        buf_append_str(out, ": ");
        plain_append(out, text);
    }
    json_keys_free(keys);
}

void engine_api_describe(const struct engine_api *api, const struct http_call_result *result,
    char problem[ENGINE_API_PROBLEM_SIZE])
{
    struct buf out = BUF_INIT(ENGINE_API_PROBLEM_SIZE - 1);
    if (result->outcome == HTTP_CALL_ANSWERED) {
        const char *advice = engine_api_advice(result->status);
        buf_printf(&out, "the engine %s answers %u", api->profile->engine, result->status);
        append_body(&out, result->body);
        buf_printf(&out, "%s%s", advice[0] == '\0' ? "" : "; ", advice);
    } else {
        buf_printf(&out, "the engine %s cannot be reached: ", api->profile->engine);
        plain_append(&out, slice_str(result->outcome == HTTP_CALL_TIMEOUT     ? "no answer in time"
                                     : result->outcome == HTTP_CALL_TOO_LARGE ? "the answer is "
                                                                                "too large"
                                                                              : result->error));
        if (result->failure == WEIR_CRYPTO) {
            buf_append_str(&out, "; see weir doctor, and --engine-tls-ca-file for an authority of "
                                 "your own");
        }
    }
    if (!slice_to_text(buf_slice(&out), problem, ENGINE_API_PROBLEM_SIZE)) {
        snprintf(problem, ENGINE_API_PROBLEM_SIZE, "out of memory");
    }
    buf_reset(&out);
}

int engine_api_exit_code(const struct http_call_result *result)
{
    if (result->outcome != HTTP_CALL_ANSWERED) {
        return EXIT_UNAVAILABLE;
    }
    if (result->status == 200) {
        return EXIT_FINE;
    }
    bool refused = result->status == 401 || result->status == 403;
    return refused ? EXIT_REFUSED : result->status == 400 ? EXIT_USAGE : EXIT_UNAVAILABLE;
}

// ---- Waiting for one

struct fetch {
    struct cli_loop loop;
    const struct engine_api *api;
    const char *target;
    struct buf *out;
    char *problem;
    int exit_code;
    enum weir_result result;
};

static void on_done(void *arg, const struct http_call_result *result)
{
    struct fetch *fetch = arg;
    fetch->exit_code = engine_api_exit_code(result);
    fetch->result = WEIR_REFUSED;
    if (fetch->exit_code != EXIT_FINE) {
        engine_api_describe(fetch->api, result, fetch->problem);
    } else {
        fetch->result = buf_append_slice(fetch->out, result->body);
    }
    cli_loop_end(&fetch->loop, EXIT_FINE);
}

static void start(struct cli_loop *loop)
{
    struct fetch *fetch = loop->arg;
    if (engine_api_start(loop->worker, fetch->api, fetch->target, NULL, on_done, fetch) == NULL) {
        cli_loop_end(loop, EXIT_FAILED);
    }
}

enum weir_result engine_api_fetch(const struct engine_api *api, const char *target, struct buf *out,
    char problem[ENGINE_API_PROBLEM_SIZE], int *ret_exit)
{
    struct fetch fetch = {
        .loop = {.start = start},
        .api = api,
        .target = target,
        .out = out,
        .problem = problem,
        .exit_code = EXIT_FAILED,
        .result = WEIR_MEMORY,
    };
    fetch.loop.arg = &fetch;
    snprintf(problem, ENGINE_API_PROBLEM_SIZE, "it was interrupted");
    int code = cli_loop_run(&fetch.loop);
    *ret_exit = code == EXIT_FINE ? fetch.exit_code : code;
    return fetch.result;
}
