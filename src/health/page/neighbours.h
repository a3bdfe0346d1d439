// SPDX-License-Identifier: Apache-2.0
// A relay and an engine that the monitor's page shows beside its services. The monitor asks them in
// its readers' stead, so that their tokens stay here: every other second while somebody looks, once
// for all who do. An engine is listened to as well: its events come when they happen.
#ifndef WEIR_HEALTH_NEIGHBOURS_H
#define WEIR_HEALTH_NEIGHBOURS_H

#include "http/client.h"
#include "loop/worker.h"

enum neighbour { NEIGHBOUR_RELAY, NEIGHBOUR_ENGINE, NEIGHBOUR_COUNT };
#define NEIGHBOUR_URL_SIZE 512
#define NEIGHBOUR_TOKEN_SIZE 4096

// Where it is. May be filled in until the first reader comes.
struct neighbour_place {
    char url[NEIGHBOUR_URL_SIZE];         // "https://host:port"; "": there is none
    char metrics_url[NEIGHBOUR_URL_SIZE]; // of an engine; "": it has none
    char connect_to[64];                  // "address:port" to go to instead; "": as the URL says
    char token[NEIGHBOUR_TOKEN_SIZE];     // "": none
    struct http_tls_profile tls;          // what it refers to outlives the monitor
};

struct neighbours;
struct page;

// places: NEIGHBOUR_COUNT of them, borrowed, as is the page. NULL without memory.
struct neighbours *neighbours_new(
    struct worker *worker, const struct neighbour_place *places, struct page *page) WEIR_MUST_CHECK;
// NULL is fine.
void neighbours_free(struct neighbours *neighbours);

// Somebody looks from now on: the page is told what they say. And nobody any more.
void neighbours_wake(struct neighbours *neighbours);
void neighbours_rest(struct neighbours *neighbours);

#endif
