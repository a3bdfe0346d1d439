// SPDX-License-Identifier: Apache-2.0
// Calls to the HTTP API of an engine (spec engine, section 8), as a profile says.
#ifndef WEIR_CLI_ENGINE_API_H
#define WEIR_CLI_ENGINE_API_H

#include "cli/context/profile.h"
#include "http/client.h"

#define ENGINE_API_TIMEOUT_NS (10 * UINT64_C(1000000000))
#define ENGINE_API_ANSWER_MAX ((size_t)64 << 20)
#define ENGINE_API_TARGET_SIZE 12288 // a path with parameters
#define ENGINE_API_PLACE_SIZE 320

struct engine_api {
    const struct profile *profile; // borrowed; with an engine
    struct http_tls_profile tls;
    char origin[ENGINE_API_PLACE_SIZE];     // "https://edge.example.com:443"
    char connect_to[ENGINE_API_PLACE_SIZE]; // where it really is; "": there
    char authorization[8448];               // a secret; "": none
};

void engine_api_init(struct engine_api *api, const struct profile *profile);
// "/api/tunnels?params=..." of a JSON text, or without parameters for NULL. False: too long.
bool engine_api_target(const char *path, const char *params, char target[ENGINE_API_TARGET_SIZE]);
// As http_call_start, a GET. chunk: NULL, or for an answer that does not end (see
// http_call_options); it has no deadline then.
struct http_call *engine_api_start(struct worker *worker, const struct engine_api *api,
    const char *target, void (*chunk)(void *arg, struct slice bytes), http_call_fn *done,
    void *arg) WEIR_MUST_CHECK;
// English for an outcome other than 200, made plain: what happened, and what to do.
#define ENGINE_API_PROBLEM_SIZE 1024
void engine_api_describe(const struct engine_api *api, const struct http_call_result *result,
    char problem[ENGINE_API_PROBLEM_SIZE]);
// The same for a status alone, 401 and 403 above all; "" when there is nothing to say.
const char *engine_api_advice(unsigned status);
// The exit code for it: refused, unavailable, ...
int engine_api_exit_code(const struct http_call_result *result);

// One GET, waited for. WEIR_OK: the answer was 200, and its body is appended to out. Otherwise
// problem says why, and *ret_exit which exit code it is.
enum weir_result engine_api_fetch(const struct engine_api *api, const char *target, struct buf *out,
    char problem[ENGINE_API_PROBLEM_SIZE], int *ret_exit) WEIR_MUST_CHECK;

#endif
