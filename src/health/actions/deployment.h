// SPDX-License-Identifier: Apache-2.0
// Moves of services that somebody asked for (spec section 5.2): the operator's own deploy command
// is run for each, one after the other, and whoever watches the sockets sees it. One deployment at
// a time. On the monitor's worker.
#ifndef WEIR_HEALTH_DEPLOYMENT_H
#define WEIR_HEALTH_DEPLOYMENT_H

#include <stdbool.h>
#include <stddef.h>

#define DEPLOYMENT_MOVES_MAX 100

struct health;
struct deployment;
struct api_request;

struct deployment_move {
    const char *service; // copied
    const char *machine; // where it goes; copied
};

// Begins, and answers the request when all is done, or one move failed. intelligent: there is one
// move, and what is answered and told has the shape of intelligent-execute. Refuses with 409 while
// another one runs. health->options.deploy_command is there.
void deployment_begin(struct api_request *request, const struct deployment_move *moves,
    size_t count, bool intelligent);
// Kills what runs; nobody is answered, connections are gone. Fine when nothing runs.
void deployment_stop(struct health *health);

#endif
