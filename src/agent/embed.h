// SPDX-License-Identifier: Apache-2.0
// For programs of this tree that have a worker: agents on it, beside whatever else it does.
#ifndef WEIR_AGENT_EMBED_H
#define WEIR_AGENT_EMBED_H

#include <weir/agent.h>

#include "loop/worker.h"

// A loop on somebody's worker, to be freed on its thread before the worker stops (crew_hooks).
// weir_agent_loop_run and _stop are not for it. NULL without memory.
struct weir_agent_loop *weir_agent_loop_embed(struct worker *worker) WEIR_MUST_CHECK;
// The worker of any loop.
struct worker *weir_agent_loop_worker(struct weir_agent_loop *loop);

#endif
