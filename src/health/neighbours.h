// SPDX-License-Identifier: Apache-2.0
// A relay and an engine that the monitor's page shows beside its services. The monitor asks them in
// the reader's stead, so that their tokens stay here, and asks each thing once a second at most,
// however many read it.
#ifndef WEIR_HEALTH_NEIGHBOURS_H
#define WEIR_HEALTH_NEIGHBOURS_H

#include "http/client.h"
#include "http/server.h"

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
struct health;
struct api_ticket;

// places: NEIGHBOUR_COUNT of them, borrowed. NULL without memory.
struct neighbours *neighbours_new(
    struct worker *worker, const struct neighbour_place *places) WEIR_MUST_CHECK;
// Ends what is under way; those who wait get no answer. NULL is fine.
void neighbours_free(struct neighbours *neighbours);

const char *neighbour_name(enum neighbour neighbour);
// Whether there is one.
bool neighbours_has(const struct neighbours *neighbours, enum neighbour neighbour);

enum neighbour_answer {
    NEIGHBOUR_WAITS,   // the answer is given later
    NEIGHBOUR_NOTHING, // there is no such neighbour, or it has no such thing
    NEIGHBOUR_MEMORY,
};
// Answers the request with what the neighbour says about `what` ("state", "tunnels"), or with 502
// and why it says nothing. ticket is copied.
enum neighbour_answer neighbours_ask(struct neighbours *neighbours, enum neighbour neighbour,
    struct slice what, struct http_conn *conn, const struct api_ticket *ticket) WEIR_MUST_CHECK;

#endif
