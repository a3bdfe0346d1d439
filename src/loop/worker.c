// SPDX-License-Identifier: Apache-2.0
// A turn: what was posted, then due timers, then wishes of watches that changed, then one wait for
// descriptors and their callbacks, then deferred work, then the memory of closed watches.
//
// Invariants:
// 1. The bell rings only to end the wait: what was posted runs in the next turn.
// 2. A turn reports SYS_READY_MAX descriptors at most; the kernel keeps the others, in turn.
// 3. Work that work brings about runs in the next turn, which then waits for nothing.
#include "loop/worker.h"

#include "base/mem.h"
#include "base/time.h"
#include "loop/watch.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/socket.h"

uint64_t worker_now(struct worker *worker)
{
    if (!worker->now_known) {
        worker->now_ns = sys_now_ns();
        worker->now_known = true;
    }
    return worker->now_ns;
}

void worker_arm(struct worker *worker, struct timer *timer, uint64_t deadline_ns)
{
    wheel_arm(&worker->wheel, timer, deadline_ns);
}

void worker_post(struct worker *worker, struct job *job, job_fn *run)
{
    job->run = run;
    pthread_mutex_lock(&worker->posts_lock);
    bool first = list_empty(&worker->posts);
    list_push_back(&worker->posts, &job->node);
    pthread_mutex_unlock(&worker->posts_lock);
    if (first) {
        sys_bell_ring(worker->bell_fd);
    }
}

void worker_defer(struct worker *worker, struct job *job, job_fn *run)
{
    job->run = run;
    list_push_back(&worker->deferred, &job->node);
}

static void run_all(struct worker *worker, struct list *jobs)
{
    for (struct list *node = list_pop_front(jobs); node != NULL; node = list_pop_front(jobs)) {
        struct job *job = container_of(node, struct job, node);
        job->run(worker, job);
    }
}

static void run_posts(struct worker *worker)
{
    struct list jobs;
    pthread_mutex_lock(&worker->posts_lock);
    list_take_all(&worker->posts, &jobs);
    pthread_mutex_unlock(&worker->posts_lock);
    run_all(worker, &jobs);
}

// Deferred work that defers again runs in the next turn, so that sockets get theirs.
static void run_deferred(struct worker *worker)
{
    struct list jobs;
    list_take_all(&worker->deferred, &jobs);
    run_all(worker, &jobs);
}

static uint64_t time_to_wait(struct worker *worker)
{
    if (!list_empty(&worker->deferred) || !list_empty(&worker->closing)) {
        return 0;
    }
    uint64_t next_ns = wheel_next_ns(&worker->wheel);
    if (next_ns == TIME_NEVER) {
        return TIME_NEVER;
    }
    uint64_t now_ns = worker_now(worker);
    return next_ns <= now_ns ? 0 : next_ns - now_ns;
}

static void run_sockets(struct worker *worker, uint64_t timeout_ns)
{
    struct sys_ready ready[SYS_READY_MAX];
    size_t count = sys_epoll_wait(worker->epoll_fd, ready, timeout_ns);
    for (size_t i = 0; i < count; i++) {
        if (ready[i].owner == worker) {
            sys_bell_silence(worker->bell_fd);
        } else {
            watch_dispatch(ready[i].owner, ready[i].events);
        }
    }
}

// False after the last turn, which begins when the worker was told to stop.
static bool run_turn(struct worker *worker, bool may_wait)
{
    worker->now_known = false;
    run_posts(worker);
    wheel_advance(&worker->wheel, worker_now(worker));
    bool last = atomic_load(&worker->stopping);
    uint64_t timeout_ns = may_wait && !last ? time_to_wait(worker) : 0;
    worker->now_known = false;
    watch_flush_changes(worker);
    run_sockets(worker, timeout_ns);
    run_deferred(worker);
    watch_finish_closing(worker);
    return !last;
}

static enum weir_result open_descriptors(struct worker *worker)
{
    enum weir_result result = sys_epoll_open(&worker->epoll_fd);
    if (result == WEIR_OK) {
        result = sys_bell_open(&worker->bell_fd);
    }
    return result != WEIR_OK
               ? result
               : sys_epoll_add(worker->epoll_fd, worker->bell_fd, SYS_READY_READ, worker);
}

static enum weir_result worker_init(struct worker *worker, struct crew *crew, unsigned index)
{
    worker->crew = crew;
    worker->index = index;
    worker->metrics = &crew->metrics[index];
    worker->epoll_fd = worker->bell_fd = -1;
    list_init(&worker->deferred);
    list_init(&worker->changed);
    list_init(&worker->closing);
    list_init(&worker->posts);
    pthread_mutex_init(&worker->posts_lock, NULL);
    wheel_init(&worker->wheel, sys_now_ns());
    worker->read_area = mem_alloc(WORKER_READ_AREA_SIZE);
    worker->wire_area = mem_alloc(WORKER_WIRE_AREA_SIZE);
    if (worker->read_area == NULL || worker->wire_area == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = sys_entropy(&worker->seed, sizeof worker->seed);
    if (result != WEIR_OK) {
        return result;
    }
    return open_descriptors(worker);
}

void worker_settle(struct worker *worker)
{
    (void)run_turn(worker, false); // whether it stops is the crew's to know
}

static void worker_fini(struct worker *worker)
{
    if (worker->crew == NULL) {
        return;
    }
    while (!list_empty(&worker->deferred) || !list_empty(&worker->closing)) {
        run_deferred(worker);
        watch_finish_closing(worker);
    }
    if (worker->bell_fd >= 0) {
        sys_close(worker->bell_fd);
    }
    if (worker->epoll_fd >= 0) {
        sys_close(worker->epoll_fd);
    }
    pthread_mutex_destroy(&worker->posts_lock);
    mem_free(worker->read_area);
    mem_free(worker->wire_area);
}

enum weir_result crew_init(struct crew *crew, unsigned count)
{
    *crew = (struct crew){.count = count};
    crew->started_ns = sys_now_ns();
    crew->started_wall_ms = sys_wall_ms();
    crew->metrics = metrics_shards_new(count);
    crew->workers = mem_zalloc(count * sizeof *crew->workers);
    if (crew->metrics == NULL || crew->workers == NULL) {
        return WEIR_MEMORY;
    }
    for (unsigned i = 0; i < count; i++) {
        enum weir_result result = worker_init(&crew->workers[i], crew, i);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

void crew_fini(struct crew *crew)
{
    for (unsigned i = 0; crew->workers != NULL && i < crew->count; i++) {
        worker_fini(&crew->workers[i]);
    }
    mem_free(crew->workers);
    metrics_shards_free(crew->metrics);
    *crew = (struct crew){0};
}

struct run {
    struct worker *worker;
    const struct crew_hooks *hooks;
    enum weir_result result;
};

static void *run_worker(void *arg)
{
    struct run *run = arg;
    struct worker *worker = run->worker;
    run->result = run->hooks->start(worker, run->hooks->arg);
    if (run->result != WEIR_OK) {
        crew_stop(worker->crew);
    }
    while (run_turn(worker, true)) {
    }
    return NULL;
}

static unsigned start_threads(struct crew *crew, struct run *runs)
{
    unsigned started = 1;
    for (; started < crew->count; started++) {
        struct worker *worker = &crew->workers[started];
        if (pthread_create(&worker->thread, NULL, run_worker, &runs[started]) != 0) {
            crew_stop(crew);
            break;
        }
    }
    return started;
}

// Single-threaded from here: what was still on its way between workers arrives before any of them
// gives up what it keeps.
static void wind_down(struct crew *crew, const struct crew_hooks *hooks)
{
    for (unsigned i = 0; i < crew->count; i++) {
        run_posts(&crew->workers[i]);
        run_deferred(&crew->workers[i]);
    }
    for (unsigned i = 0; i < crew->count; i++) {
        hooks->stop(&crew->workers[i], hooks->arg);
    }
    // What they told one another in the end finds nobody, and is freed by whoever looks for one.
    for (unsigned i = 0; i < crew->count; i++) {
        run_posts(&crew->workers[i]);
    }
}

enum weir_result crew_run(struct crew *crew, const struct crew_hooks *hooks)
{
    struct run *runs = mem_zalloc(crew->count * sizeof *runs);
    if (runs == NULL) {
        return WEIR_MEMORY;
    }
    for (unsigned i = 0; i < crew->count; i++) {
        runs[i] = (struct run){.worker = &crew->workers[i], .hooks = hooks};
    }
    unsigned started = start_threads(crew, runs);
    run_worker(&runs[0]);
    for (unsigned i = 1; i < started; i++) {
        pthread_join(crew->workers[i].thread, NULL);
    }
    wind_down(crew, hooks);
    enum weir_result result = started == crew->count ? WEIR_OK : WEIR_MEMORY;
    for (unsigned i = 0; result == WEIR_OK && i < crew->count; i++) {
        result = runs[i].result;
    }
    mem_free(runs);
    return result;
}

void crew_stop(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++) {
        atomic_store(&crew->workers[i].stopping, true);
        sys_bell_ring(crew->workers[i].bell_fd);
    }
}
