// SPDX-License-Identifier: Apache-2.0
// The dashboard document of a running monitor, over HTTP.
#ifndef WEIR_APP_HEALTH_FETCH_H
#define WEIR_APP_HEALTH_FETCH_H

#include "http/client.h"

struct health_server {
    const char *base;  // "http://127.0.0.1:8988"
    const char *token; // NULL: none
    uint64_t timeout_ns;
};

// On a worker: as http_call_start, for the document.
struct http_call *health_fetch_start(struct worker *worker, const struct health_server *server,
    http_call_fn *done, void *arg) WEIR_MUST_CHECK;
// English for an outcome that is no document; at most size bytes.
void health_fetch_describe(const struct health_server *server,
    const struct http_call_result *result, char *problem, size_t size);

enum health_fetched { FETCHED, FETCH_UNREACHABLE, FETCH_REFUSED };
// The same, with a crew of its own, waiting for the answer. The document is appended to out.
enum health_fetched health_fetch(
    const struct health_server *server, struct buf *out, char *problem, size_t size);

#endif
