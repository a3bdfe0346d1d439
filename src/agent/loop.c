// SPDX-License-Identifier: Apache-2.0
// Invariant: what callers hand over (posts, delayed calls, caught signals) is freed by the loop,
// and none of it is called once `closing` is set.
#include "agent/embed.h"
#include "agent/internal.h"
#include "base/mem.h"
#include "base/time.h"
#include "loop/resolver.h"
#include "loop/signal_watch.h"
#include "sys/process.h"

#define SETTLE_TURNS_MAX 1000 // an end takes a handful

const char *weir_agent_library_version(void)
{
    return WEIR_VERSION;
}

static void init(struct weir_agent_loop *loop, struct worker *worker)
{
    loop->worker = worker;
    list_init(&loop->agents);
    list_init(&loop->calls);
    list_init(&loop->catches);
    list_init(&loop->trusts);
}

struct weir_agent_loop *weir_agent_loop_new(void)
{
    struct weir_agent_loop *loop = mem_zalloc(sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    if (crew_init(&loop->crew, 1) != WEIR_OK) {
        crew_fini(&loop->crew);
        mem_free(loop);
        return NULL;
    }
    init(loop, &loop->crew.workers[0]);
    loop->own = true;
    return loop;
}

struct weir_agent_loop *weir_agent_loop_embed(struct worker *worker)
{
    struct weir_agent_loop *loop = mem_zalloc(sizeof *loop);
    if (loop != NULL) {
        init(loop, worker);
    }
    return loop;
}

struct worker *weir_agent_loop_worker(struct weir_agent_loop *loop)
{
    return loop->worker;
}

static enum weir_result on_start(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
    return WEIR_OK;
}

static void on_stop(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
}

bool weir_agent_loop_run(struct weir_agent_loop *loop)
{
    struct crew_hooks hooks = {on_start, on_stop, loop};
    bool was_blocked = sys_block_pipe_signal();
    enum weir_result result = loop->own ? crew_run(&loop->crew, &hooks) : WEIR_INVALID;
    if (!was_blocked) {
        sys_unblock_pipe_signal();
    }
    return result == WEIR_OK;
}

void weir_agent_loop_stop(struct weir_agent_loop *loop)
{
    if (loop->own) {
        crew_stop(&loop->crew);
    }
}

// ---- Posts

struct posted {
    struct job job;
    struct weir_agent_loop *loop;
    weir_agent_call_fn *fn;
    void *arg;
};

static void on_posted(struct worker *worker, struct job *job)
{
    struct posted posted = *container_of(job, struct posted, job);
    (void)worker;
    mem_free(container_of(job, struct posted, job));
    if (!posted.loop->closing) {
        posted.fn(posted.arg);
    }
}

bool weir_agent_loop_post(struct weir_agent_loop *loop, weir_agent_call_fn *fn, void *arg)
{
    struct posted *posted = mem_alloc(sizeof *posted);
    if (posted == NULL) {
        return false;
    }
    *posted = (struct posted){.loop = loop, .fn = fn, .arg = arg};
    worker_post(loop->worker, &posted->job, on_posted);
    return true;
}

// ---- Delayed calls

struct later {
    struct list node; // in loop->calls
    struct timer timer;
    weir_agent_call_fn *fn;
    void *arg;
};

static void on_due(struct timer *timer)
{
    struct later *later = container_of(timer, struct later, timer);
    weir_agent_call_fn *fn = later->fn;
    void *arg = later->arg;
    list_remove(&later->node);
    mem_free(later);
    fn(arg);
}

bool weir_agent_loop_after(
    struct weir_agent_loop *loop, uint32_t delay_ms, weir_agent_call_fn *fn, void *arg)
{
    struct later *later = mem_alloc(sizeof *later);
    if (later == NULL) {
        return false;
    }
    *later = (struct later){.fn = fn, .arg = arg};
    timer_init(&later->timer, on_due);
    list_push_back(&loop->calls, &later->node);
    worker_arm_in(loop->worker, &later->timer, delay_ms * NS_PER_MS);
    return true;
}

static void free_calls(struct weir_agent_loop *loop)
{
    for (struct list *node = list_pop_front(&loop->calls); node != NULL;
         node = list_pop_front(&loop->calls)) {
        struct later *later = container_of(node, struct later, node);
        timer_cancel(&later->timer);
        mem_free(later);
    }
}

// ---- Signals

struct caught {
    struct list node; // in loop->catches
    struct signal_watch watch;
    weir_agent_call_fn *fn;
    void *arg;
};

static void on_signal(struct signal_watch *watch, int number)
{
    struct caught *caught = container_of(watch, struct caught, watch);
    (void)number;
    caught->fn(caught->arg);
}

bool weir_agent_loop_catch(
    struct weir_agent_loop *loop, int signal_number, weir_agent_call_fn *fn, void *arg)
{
    struct caught *caught = mem_zalloc(sizeof *caught);
    if (caught == NULL) {
        return false;
    }
    if (signal_watch_open(&caught->watch, loop->worker, &signal_number, 1, on_signal) != WEIR_OK) {
        mem_free(caught);
        return false;
    }
    caught->fn = fn;
    caught->arg = arg;
    list_push_back(&loop->catches, &caught->node);
    return true;
}

static void close_catches(struct weir_agent_loop *loop)
{
    list_for_each (node, &loop->catches) {
        signal_watch_close(&container_of(node, struct caught, node)->watch);
    }
}

// After a turn behind close_catches.
static void free_catches(struct weir_agent_loop *loop)
{
    for (struct list *node = list_pop_front(&loop->catches); node != NULL;
         node = list_pop_front(&loop->catches)) {
        mem_free(container_of(node, struct caught, node));
    }
}

// ---- The end

void weir_agent_loop_free(struct weir_agent_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    loop->closing = true;
    free_calls(loop);
    close_catches(loop);
    network_watch_close(&loop->network);
    list_for_each_safe (node, &loop->agents) {
        agent_cut(container_of(node, struct weir_agent, node));
    }
    for (int i = 0; !list_empty(&loop->agents); i++) {
        weir_assert(i < SETTLE_TURNS_MAX);
        worker_settle(loop->worker);
    }
    worker_settle(loop->worker);
    free_catches(loop);
    agent_tls_free_trusts(&loop->trusts);
    if (loop->own) {
        resolver_fini(loop->worker);
        worker_settle(loop->worker);
        crew_fini(&loop->crew);
    }
    mem_free(loop);
}
