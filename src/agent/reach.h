// SPDX-License-Identifier: Apache-2.0
// A connection to be had: to the engine (TCP, TLS) or to a local service (TCP, Unix). A name
// becomes addresses, which are tried one after the other; all of it within one deadline.
#ifndef WEIR_AGENT_REACH_H
#define WEIR_AGENT_REACH_H

#include "agent/agent_tls.h"
#include "agent/fault.h"
#include "stream/stream.h"

struct reach;

struct reach_result {
    struct stream_state state;  // the callee's, when there is no fault
    struct sys_address address; // that it leads to
    struct fault fault;
};
// Once, never from inside a call, unless cancelled.
typedef void reach_fn(void *arg, const struct reach_result *result);

// Borrowed until done, or cancelled.
struct reach_options {
    const char *what; // "edge.example.com:443", for texts
    const char *host; // a name, an address without brackets, "localhost"
    uint16_t port;
    const char *unix_path;           // instead of both
    const struct sys_address *known; // the one to take, without asking for the name; or NULL
    struct agent_tls *tls;           // NULL: plain, and its faults are WEIR_AGENT_ERROR_LOCAL
    uint64_t timeout_ns;
    // Keep the connection when it is there, for reach_take; done tells only that it failed, or that
    // so much time passed without anybody taking it.
    uint64_t hold_ns;
    reach_fn *done;
    void *arg;
};

// NULL without memory: done is not called then.
struct reach *reach_start(
    struct worker *worker, const struct reach_options *options) WEIR_MUST_CHECK;
// One that is held and not failed: done is called with it, as after reach_start.
void reach_take(struct reach *reach, reach_fn *done, void *arg);
bool reach_is_held(const struct reach *reach);
// done is not called any more. NULL is fine.
void reach_cancel(struct reach *reach);

#endif
