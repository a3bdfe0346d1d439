// SPDX-License-Identifier: Apache-2.0
// An HTTP client on a worker: libcurl's multi interface on the worker's loop. Connections are kept
// alive and pooled per worker, or made for one call. Only http and https; a total deadline and a
// size cap per call; no proxy from the environment.
#ifndef WEIR_HTTP_CLIENT_H
#define WEIR_HTTP_CLIENT_H

#include <stdint.h>

#include "base/buf.h"
#include "loop/worker.h"

// How to trust and be trusted; paths may be NULL. Shared, immutable.
struct http_tls_profile {
    bool verify;
    const char *ca_path;
    const char *certificate_path; // client certificate, PEM
    const char *key_path;
    const char *key_passphrase;
};

struct http_call_options {
    const char *method;
    const char *url;
    const char *const *headers; // "name: value" lines, ended by NULL; "Expect:" is always removed
    struct slice body;          // copied; not sent with HEAD, and with GET only by a call of `once`
    const struct http_tls_profile *tls;
    const char *connect_to; // "host:port" to go to instead of the URL's; NULL: as the URL says
    const char *unix_path;  // a Unix socket to go to instead; NULL: none
    // The body as it comes, instead of in the result: for one that does not end. It may cancel
    // nothing, and response_max bounds what an answer other than 200 says. NULL: it is kept.
    void (*chunk)(void *arg, struct slice bytes);
    uint64_t timeout_ns; // for everything: name, connect, TLS, answer; 0: the caller has a deadline
    size_t response_max;
    bool keep_headers;
    bool once;             // a connection of its own, closed afterwards; no limit per host
    bool follow_redirects; // five at most, never from https to http
    bool head_only;        // answered as soon as the final head is there; no body
    bool cut_body;         // a body beyond response_max is cut off there instead of too large
};

enum http_call_outcome {
    HTTP_CALL_ANSWERED, // any status
    HTTP_CALL_TIMEOUT,
    HTTP_CALL_TOO_LARGE,
    HTTP_CALL_FAILED, // see error
};

struct http_call_header {
    struct slice name; // lower case
    struct slice value;
};
#define HTTP_CALL_HEADERS_MAX 64

// Seconds from the start of the call to the end of each phase; 0: it was not reached. After a
// redirect they are those of the last request.
struct http_call_timing {
    double name;
    double connect;
    double tls;
    double first_byte;
};

struct http_call_result {
    enum http_call_outcome outcome;
    unsigned status;
    struct slice body;                      // valid during the callback
    const char *error;                      // English; valid during the callback
    const struct http_call_header *headers; // with keep_headers
    size_t header_count;
    double seconds;
    // Of HTTP_CALL_FAILED: WEIR_NOT_FOUND (no such name), WEIR_REFUSED, WEIR_UNREACHABLE,
    // WEIR_CRYPTO (TLS), WEIR_RESET, WEIR_CLOSED (no answer), WEIR_PROTOCOL, WEIR_MEMORY, WEIR_IO.
    enum weir_result failure;
    struct http_call_timing timing;
    // Of the peer's certificate, also when it was refused; with `once` and tls only.
    uint64_t tls_not_after_s; // seconds since 1970; 0: none was seen
    const char *tls_problem;  // why it was refused, in OpenSSL's words; NULL: it was not
};

struct http_call;
// Never called from inside http_call_start.
typedef void http_call_fn(void *arg, const struct http_call_result *result);

// Process-wide, before threads; and after them.
enum weir_result http_client_global_init(void) WEIR_MUST_CHECK;
void http_client_global_fini(void);
// The clients of a worker, made on first use, end here; calls under way end without a callback.
void http_client_fini(struct worker *worker);

// NULL when memory ran out: no callback comes. Copies what it needs of the options, but for tls.
struct http_call *http_call_start(struct worker *worker, const struct http_call_options *options,
    http_call_fn *done, void *arg) WEIR_MUST_CHECK;
// Gives the call up: no callback comes. NULL is fine; not to be used after the callback.
void http_call_cancel(struct http_call *call);

#endif
