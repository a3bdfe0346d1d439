// SPDX-License-Identifier: Apache-2.0
// Connections to the engine that have their handshake behind them, so that a stream that is asked
// for needs one round trip and no cryptography. The protocol allows it, because the first frame
// says what a connection is for; but an engine waits for that frame 10 s at most (spec
// section 4.5), so a spare that nobody needs gives way to a new one, and after a minute without
// traffic to none.
#include "agent/internal.h"
#include "base/time.h"

#define HOLD_NS (8 * NS_PER_S)
#define REACH_NS (10 * NS_PER_S)
#define TRAFFIC_NS (60 * NS_PER_S)

static void fill(struct spare *spare);

static void on_over(void *arg, const struct reach_result *result)
{
    struct spare *spare = arg;
    struct weir_agent *agent = spare->agent;
    bool stale = result->fault.error == WEIR_AGENT_ERROR_TIMEOUT;
    spare->reach = NULL;
    if (stale && worker_now(agent->worker) - agent->asked_ns < TRAFFIC_NS) {
        fill(spare);
    }
}

static void fill(struct spare *spare)
{
    struct weir_agent *agent = spare->agent;
    spare->began_ns = worker_now(agent->worker);
    // Without memory the next stream makes its own, or does not.
    spare->reach = reach_start(agent->worker, &(struct reach_options){
                                                  .what = agent->address,
                                                  .host = agent->host,
                                                  .port = agent->port,
                                                  .known = agent->peer_known ? &agent->peer : NULL,
                                                  .tls = &agent->tls,
                                                  .timeout_ns = REACH_NS,
                                                  .hold_ns = HOLD_NS,
                                                  .done = on_over,
                                                  .arg = spare,
                                              });
}

void spares_warm(struct weir_agent *agent)
{
    agent->asked_ns = worker_now(agent->worker);
    for (int32_t i = 0; i < agent->options.spare_connections; i++) {
        struct spare *spare = &agent->spares[i];
        spare->agent = agent;
        if (spare->reach == NULL) {
            fill(spare);
        }
    }
}

struct reach *spares_take(struct weir_agent *agent)
{
    struct spare *oldest = NULL;
    for (size_t i = 0; i < AGENT_SPARES_MAX; i++) {
        struct spare *spare = &agent->spares[i];
        if (spare->reach != NULL && reach_is_held(spare->reach) &&
            (oldest == NULL || spare->began_ns < oldest->began_ns)) {
            oldest = spare;
        }
    }
    struct reach *reach = oldest == NULL ? NULL : oldest->reach;
    if (oldest != NULL) {
        oldest->reach = NULL;
    }
    return reach;
}

void spares_drop(struct weir_agent *agent)
{
    for (size_t i = 0; i < AGENT_SPARES_MAX; i++) {
        reach_cancel(agent->spares[i].reach);
        agent->spares[i].reach = NULL;
    }
}
