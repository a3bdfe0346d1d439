// SPDX-License-Identifier: Apache-2.0
// Asks every worker for a piece of text and brings the pieces back to the one who asked.
#ifndef WEIR_LOOP_GATHER_H
#define WEIR_LOOP_GATHER_H

#include "base/buf.h"
#include "loop/worker.h"

// On each worker: appends its piece.
typedef void gather_render_fn(struct worker *worker, struct buf *out);
// On the asking worker, once: the pieces in the workers' order; or, when the time passed first,
// none (count 0, complete false).
typedef void gather_done_fn(void *arg, const struct buf *pieces, unsigned count, bool complete);

struct gather;

// NULL when memory ran out: no callback comes. Never calls back synchronously.
struct gather *gather_start(struct worker *worker, size_t piece_max, uint64_t timeout_ns,
    gather_render_fn *render, gather_done_fn *done, void *arg) WEIR_MUST_CHECK;
// No callback comes. Not to be used after the callback.
void gather_cancel(struct gather *gather);

#endif
