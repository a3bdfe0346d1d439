// SPDX-License-Identifier: Apache-2.0
// Questions to a running monitor, over HTTP.
#ifndef WEIR_APP_HEALTH_FETCH_H
#define WEIR_APP_HEALTH_FETCH_H

#include "http/client.h"

struct health_server {
    const char *base;  // "http://127.0.0.1:8988", "unix:/run/user/1000/portoser.sock"
    const char *token; // NULL: none
    uint64_t timeout_ns;
    char found[128]; // base, when it is the Unix socket of this user's monitor
};

// What is asked of it.
struct health_question {
    const char *method;
    const char *path; // with its query
    struct slice body;
};
extern const struct health_question health_dashboard;

// --server and --token, else PORTOSER_URL and PORTOSER_TOKEN, else the monitor of this user, at its
// Unix socket, else that of this machine. Either may be NULL. True: it was named, so that no other
// will do.
bool health_server_find(const char *url, const char *token, struct health_server *ret_server);
// From that of this user on to that of this machine. False: it is that already, or was named.
bool health_server_next(struct health_server *server);
// The path of a server at a Unix socket; NULL: it is none.
const char *health_server_socket(const struct health_server *server);

// On a worker: as http_call_start.
struct http_call *health_fetch_start(struct worker *worker, const struct health_server *server,
    const struct health_question *question, http_call_fn *done, void *arg) WEIR_MUST_CHECK;
// English for an answer that is not what was asked for; at most size bytes.
void health_fetch_describe(const struct health_server *server,
    const struct http_call_result *result, char *problem, size_t size);

// UNREACHABLE: there is none, or what answers is none. REFUSED: it wants another token. MISTAKEN:
// it does not know what was asked for, or cannot do it; problem is what it says.
enum health_fetched { FETCHED, FETCH_UNREACHABLE, FETCH_REFUSED, FETCH_MISTAKEN };
// The same, with a crew of its own, waiting for the answer. The document is appended to out.
enum health_fetched health_fetch(const struct health_server *server,
    const struct health_question *question, struct buf *out, char *problem, size_t size);

#endif
