// SPDX-License-Identifier: Apache-2.0
// A request whose answer a store has to give: from the handler until it is answered, or its peer
// has gone. Shared by the files of the service, and nobody else.
#ifndef WEIR_PLATFORM_ERRAND_H
#define WEIR_PLATFORM_ERRAND_H

#include "platform/ask.h"
#include "platform/service.h"

struct errand {
    struct platform_service *service;
    struct list node;       // in service->errands
    struct http_conn *conn; // NULL: the peer has gone
    struct platform_ask ask;
    struct store_call *call; // under way, its arg is the errand; NULL: none
    // Of a pull and of a publish.
    struct list queue;    // in service->pulls, ->pending or ->publishing
    struct timer timer;   // a pull's end of waiting
    uint64_t deadline_ns; // of waiting
    bool again;           // something was published while the store was asked
};

// Takes the question over; answers the request at hand, now or later.
void errand_start(
    struct platform_service *service, struct http_conn *conn, struct platform_ask *ask);
// Answers and ends it. reason NULL: body is the answer.
void errand_answer(struct errand *errand, unsigned status, struct slice body);
void errand_refuse(struct errand *errand, unsigned status, const char *reason);
// The store could not.
void errand_fail(struct errand *errand, enum weir_result result);
// Ends it without a word.
void errand_free(struct errand *errand);

// ---- The bus (bus.c).

void bus_publish(struct errand *errand);
void bus_pull(struct errand *errand);
// Frames were published for that relay, or, when it is empty, for any.
void bus_told(void *service, struct slice relay_id);
// Pulls that wait are answered.
void bus_release(struct platform_service *service);

// ---- Signing keys (service_keys.c).

// Asks the store for them.
void service_keys_refresh(struct platform_service *service);
void service_keys_stop(struct platform_service *service);

// ---- Routes (service_routes.c).

void service_handle(struct http_request *request);
size_t service_body_limit(struct http_server *server, const struct http1_head *head);
// Counts an answer by its class.
void service_count_answer(struct platform_service *service, unsigned status);

static inline void service_add(
    struct platform_service *service, enum platform_metric metric, int64_t amount)
{
    service->metrics.values[metric] += amount;
}

#endif
