// SPDX-License-Identifier: Apache-2.0
// Where the relay and the engine are that the monitor's page shows (health/page/neighbours.h): named by
// options, or parts of the same process.
#ifndef WEIR_APP_HEALTH_NEIGHBOURS_H
#define WEIR_APP_HEALTH_NEIGHBOURS_H

#include "app/parts/engine_part.h"
#include "app/parts/relay_part.h"
#include "health/page/neighbours.h"

// Of the command line; each may be NULL.
struct health_neighbour_options {
    const char *relay; // an URL
    const char *relay_token_file;
    const char *relay_ca_file;
    const char *engine; // an URL
    const char *engine_token_file;
    const char *engine_ca_file;
    const char *engine_metrics; // an URL
};

// Fills places (NEIGHBOUR_COUNT), which borrow the names of CA files. False after saying on standard
// error what is wrong.
bool health_neighbours_read(
    const struct health_neighbour_options *options, struct neighbour_place *places);
// Of parts that have started. admin_token: the relay's. Without memory there is none.
void health_neighbours_relay(
    struct neighbour_place *place, const struct relay *relay, const char *admin_token);
void health_neighbours_engine(struct neighbour_place *place, const struct engine *engine,
    const struct engine_config *config);

#endif
