// SPDX-License-Identifier: Apache-2.0
#include "relay/takeover.h"

#include "base/mem.h"
#include "base/time.h"
#include "obs/log.h"

#define LOOK_INTERVAL_NS (50 * NS_PER_MS)

struct takeover {
    struct timer timer;
    struct peer *candidate;
    uint64_t asked_ns;
    uint64_t deadline_ns;
    int64_t generation; // the candidate's, or -1
};

// The two outcomes. Both end with the takeover freed.
static void old_answers(struct takeover *takeover)
{
    struct peer *candidate = takeover->candidate;
    takeover_cancel(candidate);
    candidate->cell->candidate = NULL;
    peer_refuse_daemon(candidate);
}

static void old_is_gone(struct takeover *takeover)
{
    peer_replace_daemon(takeover->candidate->cell);
}

static void on_look(struct timer *timer)
{
    struct takeover *takeover = container_of(timer, struct takeover, timer);
    struct cell *cell = takeover->candidate->cell;
    struct worker *worker = cell->shard->worker;
    if (cell->daemon->ws.last_activity_ns > takeover->asked_ns) {
        old_answers(takeover);
    } else if (worker_now(worker) >= takeover->deadline_ns) {
        old_is_gone(takeover);
    } else {
        worker_arm_in(worker, &takeover->timer, LOOK_INTERVAL_NS);
    }
}

bool takeover_begin(struct peer *candidate, const struct claims *claims)
{
    struct cell *cell = candidate->cell;
    struct worker *worker = cell->shard->worker;
    struct takeover *takeover = mem_zalloc(sizeof *takeover);
    if (takeover == NULL) {
        return false;
    }
    takeover->candidate = candidate;
    takeover->generation = claims->has_generation ? claims->generation : -1;
    takeover->asked_ns = worker_now(worker);
    takeover->deadline_ns =
        takeover->asked_ns + time_from_ms(cell->shard->relay->config->takeover_timeout_ms);
    timer_init(&takeover->timer, on_look);
    worker_arm_in(worker, &takeover->timer, LOOK_INTERVAL_NS);
    candidate->takeover = takeover;
    cell->candidate = candidate;
    ws_pause(&candidate->ws);
    ws_ping(&cell->daemon->ws);
    return true;
}

void takeover_won(struct peer *candidate)
{
    const struct takeover *takeover = candidate->takeover;
    if (takeover != NULL && takeover->generation >= 0) {
        candidate->cell->generation = takeover->generation;
    }
    takeover_cancel(candidate);
}

void takeover_cancel(struct peer *candidate)
{
    struct takeover *takeover = candidate->takeover;
    if (takeover != NULL) {
        timer_cancel(&takeover->timer);
        mem_free(takeover);
        candidate->takeover = NULL;
    }
}
