// SPDX-License-Identifier: Apache-2.0
// libuv runs a turn as timers, prepare, poll, check, closing. weir hangs its own order on two of
// those: "prepare" runs posts, due timers and sets the alarm; "check" runs deferred work. The
// async handle only ends the poll: what was posted runs in the next turn's prepare.
#include "loop/worker.h"

#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/entropy.h"

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
        uv_async_send(&worker->wake);
    }
}

void worker_defer(struct worker *worker, struct job *job, job_fn *run)
{
    job->run = run;
    list_push_back(&worker->deferred, &job->node);
}

static void take_all(struct list *from, struct list *ret_jobs)
{
    list_init(ret_jobs);
    for (struct list *node = list_pop_front(from); node != NULL; node = list_pop_front(from)) {
        list_push_back(ret_jobs, node);
    }
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
    take_all(&worker->posts, &jobs);
    pthread_mutex_unlock(&worker->posts_lock);
    run_all(worker, &jobs);
}

// Deferred work that defers again runs in the next turn, so that sockets get theirs.
static void run_deferred(struct worker *worker)
{
    struct list jobs;
    take_all(&worker->deferred, &jobs);
    run_all(worker, &jobs);
}

static void on_wake(uv_async_t *wake)
{
    (void)wake;
}

static void on_alarm(uv_timer_t *alarm)
{
    struct worker *worker = alarm->data;
    worker->alarm_ns = TIME_NEVER;
}

static void set_alarm(struct worker *worker)
{
    uint64_t next_ns = list_empty(&worker->deferred) ? wheel_next_ns(&worker->wheel) : 0;
    if (next_ns == worker->alarm_ns) {
        return;
    }
    worker->alarm_ns = next_ns;
    if (next_ns == TIME_NEVER) {
        uv_timer_stop(&worker->alarm);
        return;
    }
    uint64_t now_ns = worker_now(worker);
    uint64_t delay_ms = next_ns <= now_ns ? 0 : (next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    uv_update_time(&worker->loop);
    // A running loop's timer with a callback can always be started.
    (void)uv_timer_start(&worker->alarm, on_alarm, delay_ms, 0);
}

static void before_poll(uv_prepare_t *handle)
{
    struct worker *worker = handle->data;
    worker->now_known = false;
    run_posts(worker);
    wheel_advance(&worker->wheel, worker_now(worker));
    if (atomic_load(&worker->stopping)) {
        uv_stop(&worker->loop);
    }
    set_alarm(worker);
    worker->now_known = false;
}

static void after_poll(uv_check_t *handle)
{
    struct worker *worker = handle->data;
    run_deferred(worker);
}

static void open_handles(struct worker *worker)
{
    uv_prepare_init(&worker->loop, &worker->before_poll);
    uv_check_init(&worker->loop, &worker->after_poll);
    uv_timer_init(&worker->loop, &worker->alarm);
    worker->before_poll.data = worker->after_poll.data = worker->alarm.data = worker;
    uv_prepare_start(&worker->before_poll, before_poll);
    uv_check_start(&worker->after_poll, after_poll);
    worker->alarm_ns = TIME_NEVER;
}

static enum weir_result worker_init(struct worker *worker, struct crew *crew, unsigned index)
{
    worker->crew = crew;
    worker->index = index;
    worker->metrics = &crew->metrics[index];
    list_init(&worker->deferred);
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
    if (uv_loop_init(&worker->loop) != 0) {
        return WEIR_DESCRIPTORS;
    }
    worker->loop.data = worker;
    if (uv_async_init(&worker->loop, &worker->wake, on_wake) != 0) {
        return WEIR_DESCRIPTORS;
    }
    open_handles(worker);
    return WEIR_OK;
}

void worker_settle(struct worker *worker)
{
    uv_run(&worker->loop, UV_RUN_NOWAIT);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

// The loop is closed only when it was made: its data pointer says so.
static void worker_fini(struct worker *worker)
{
    if (worker->crew == NULL) {
        return;
    }
    if (worker->loop.data != NULL) {
        run_all(worker, &worker->deferred);
        uv_walk(&worker->loop, close_handle, NULL);
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        weir_assert(uv_loop_close(&worker->loop) == 0);
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
    uv_run(&worker->loop, UV_RUN_DEFAULT);
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
        uv_async_send(&crew->workers[i].wake);
    }
}
