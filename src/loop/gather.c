// SPDX-License-Identifier: Apache-2.0
// Each part travels to its worker and back as a job. The gather is freed when the last part is
// home, whatever became of the question meanwhile.
#include "loop/gather.h"

#include "base/mem.h"

struct part {
    struct job job;
    struct gather *gather;
};

struct gather {
    struct worker *asking;
    struct timer deadline;
    gather_render_fn *render;
    gather_done_fn *done; // NULL once answered or cancelled
    void *arg;
    struct buf *pieces;
    struct part *parts;
    unsigned count;
    unsigned away;
};

static void gather_free(struct gather *gather)
{
    timer_cancel(&gather->deadline);
    for (unsigned i = 0; gather->pieces != NULL && i < gather->count; i++) {
        buf_reset(&gather->pieces[i]);
    }
    mem_free(gather->pieces);
    mem_free(gather->parts);
    mem_free(gather);
}

static void answer(struct gather *gather, bool complete)
{
    gather_done_fn *done = gather->done;
    gather->done = NULL;
    timer_cancel(&gather->deadline);
    if (done == NULL) {
        return;
    }
    if (complete) {
        done(gather->arg, gather->pieces, gather->count, true);
    } else {
        done(gather->arg, NULL, 0, false); // the pieces are still being written
    }
}

static void on_home(struct worker *worker, struct job *job)
{
    struct gather *gather = container_of(job, struct part, job)->gather;
    (void)worker;
    if (--gather->away == 0) {
        answer(gather, true);
        gather_free(gather);
    }
}

static void on_arrival(struct worker *worker, struct job *job)
{
    struct part *part = container_of(job, struct part, job);
    struct gather *gather = part->gather;
    gather->render(worker, &gather->pieces[part - gather->parts]);
    worker_post(gather->asking, &part->job, on_home);
}

static void on_deadline(struct timer *timer)
{
    answer(container_of(timer, struct gather, deadline), false);
}

struct gather *gather_start(struct worker *worker, size_t piece_max, uint64_t timeout_ns,
    gather_render_fn *render, gather_done_fn *done, void *arg)
{
    struct crew *crew = worker->crew;
    struct gather *gather = mem_zalloc(sizeof *gather);
    if (gather == NULL) {
        return NULL;
    }
    *gather = (struct gather){.asking = worker,
        .render = render,
        .done = done,
        .arg = arg,
        .count = crew->count,
        .away = crew->count};
    timer_init(&gather->deadline, on_deadline);
    gather->pieces = mem_zalloc(crew->count * sizeof *gather->pieces);
    gather->parts = mem_zalloc(crew->count * sizeof *gather->parts);
    if (gather->pieces == NULL || gather->parts == NULL) {
        gather_free(gather);
        return NULL;
    }
    worker_arm_in(worker, &gather->deadline, timeout_ns);
    for (unsigned i = 0; i < crew->count; i++) {
        buf_init(&gather->pieces[i], piece_max);
        gather->parts[i].gather = gather;
        worker_post(&crew->workers[i], &gather->parts[i].job, on_arrival);
    }
    return gather;
}

void gather_cancel(struct gather *gather)
{
    gather->done = NULL;
    timer_cancel(&gather->deadline);
}
