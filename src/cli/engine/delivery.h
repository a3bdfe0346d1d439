// SPDX-License-Identifier: Apache-2.0
// Events as HTTP requests, one after the other in their order (spec engine, section 9): an event
// leaves the queue when a 2xx was read, and is sent again until then, with full jitter. An event
// that was acknowledged is never sent again.
#ifndef WEIR_CLI_DELIVERY_H
#define WEIR_CLI_DELIVERY_H

#include <jansson.h>

#include "cli/engine/event_id.h"
#include "cli/engine/webhook.h"
#include "http/client.h"

#define DELIVERY_EVENTS_MAX 1024
#define DELIVERY_BYTES_MAX ((size_t)16 << 20)
#define DELIVERY_URL_SIZE 4096

struct delivery_options {
    const char *url;            // http or https
    bool signed_shape;          // of section 9.1, not the raw event
    const char *const *secrets; // borrowed, with signed_shape
    size_t secret_count;
    const char *webhook_id;
    const char *ca_file; // NULL: the system's authorities
    bool insecure;
    bool retry;              // false: the first failure is the end
    uint64_t retry_for_ns;   // how long one event may take
    void (*room)(void *arg); // the queue was full, and is half empty again
    // It is the end: refused tells whether trying again could not help. Plain English.
    void (*failed)(void *arg, const char *problem, bool refused);
    void (*retrying)(void *arg, const char *problem, uint64_t wait_ns);
    void *arg;
};

struct delivery {
    struct delivery_options options;
    struct worker *worker;
    struct http_tls_profile tls;
    struct list queue;
    size_t count;
    size_t bytes;
    struct timer again;
    struct http_call *call; // under way; NULL: none
    unsigned redirects;     // of this attempt
    bool was_full;
    bool closed;
    char url[DELIVERY_URL_SIZE]; // where this attempt goes now
};

// What is sent of one event: also for whoever wants to see it.
struct delivery_request {
    char *body; // owned
    char event_id[EVENT_ID_SIZE * 2];
    char event_type[EVENT_ID_SIZE];
    char delivery_id[EVENT_ID_SIZE];
};
// False without memory; fini in any case.
bool delivery_request_init(
    struct delivery_request *request, const json_t *event, bool signed_shape) WEIR_MUST_CHECK;
void delivery_request_fini(struct delivery_request *request);
// The headers of section 9.1 as a JSON object, at this second; NULL without memory.
json_t *delivery_headers(const struct delivery_options *options,
    const struct delivery_request *request, uint64_t seconds) WEIR_MUST_CHECK;

void delivery_open(
    struct delivery *delivery, struct worker *worker, const struct delivery_options *options);
// Takes the request over, also when memory runs out.
enum weir_result delivery_add(
    struct delivery *delivery, struct delivery_request *request) WEIR_MUST_CHECK;
// The queue is at its bound: nothing more is to be added until `room` is called.
bool delivery_is_full(struct delivery *delivery);
// Gives up what waits. Nothing is called any more. Fine for a zeroed delivery, and twice.
void delivery_close(struct delivery *delivery);

#endif
