// SPDX-License-Identifier: Apache-2.0
// A worker is a thread with its own loop. Everything that belongs to a worker is touched by its
// thread only; others reach it by posting.
//
// The order inside one turn is part of this interface:
//   posts -> timers -> sockets -> deferred work -> closed watches
// Time is read once a phase. Memory of closed watches goes last, when all callbacks of the turn
// ran.
#ifndef WEIR_LOOP_WORKER_H
#define WEIR_LOOP_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "base/result.h"
#include "base/siphash.h"
#include "loop/timer.h"
#include "obs/metrics.h"

struct worker;

// Work handed to a worker, or put off to the end of its turn. Embedded in the object it concerns,
// which the receiver owns from then on.
struct job;
typedef void job_fn(struct worker *worker, struct job *job);
struct job {
    struct list node;
    job_fn *run;
};

// Slots of worker->rooms.
enum worker_room {
    ROOM_OUTBOX,
    ROOM_HTTP_CLIENT,
    ROOM_HTTP_ONCE,
    ROOM_RESOLVER,
    ROOM_RELAY,
    ROOM_PLATFORM,
    ROOM_ENGINE,
    ROOM_HEALTH,
    ROOM_COUNT,
};

struct worker {
    struct crew *crew;             // borrowed, outlives the worker
    struct metrics_shard *metrics; // borrowed from the crew
    unsigned index;
    struct siphash_key seed; // for this worker's hash maps
    void *read_area;         // owned; one buffer for all connections at read time
    void *wire_area;         // owned; the same for what goes out, and came in, encrypted
    void *rooms[ROOM_COUNT]; // what the parts keep per worker

    struct wheel wheel;
    uint64_t now_ns;
    bool now_known;
    struct list deferred;
    int epoll_fd;        // owned
    struct list changed; // watches: what they wait for
    struct list closing; // watches

    pthread_t thread;
    pthread_mutex_t posts_lock;
    struct list posts;
    int bell_fd; // owned; rung for posts, and to stop
    _Atomic bool stopping;
};

#define WORKER_READ_AREA_SIZE (256 * 1024)
#define WORKER_WIRE_AREA_SIZE (130 * 1024)

uint64_t worker_now(struct worker *worker);
void worker_arm(struct worker *worker, struct timer *timer, uint64_t deadline_ns);
static inline void worker_arm_in(struct worker *worker, struct timer *timer, uint64_t delay_ns)
{
    worker_arm(worker, timer, worker_now(worker) + delay_ns);
}
// Any thread; never fails, never waits for the receiver. Posts from one thread arrive in order.
void worker_post(struct worker *worker, struct job *job, job_fn *run);
// Own thread only: runs after this turn's sockets.
void worker_defer(struct worker *worker, struct job *job, job_fn *run);

// One turn that waits for nothing. While a part stops (see crew_hooks) it lets closing watches and
// deferred work finish.
void worker_settle(struct worker *worker);

// ---- All workers of the process.

struct crew {
    struct worker *workers; // owned
    unsigned count;
    struct metrics_shard *metrics; // owned
    uint64_t started_ns;
    uint64_t started_wall_ms;
};

// start is called on each worker's own thread before its first turn; stop on the thread of crew_run
// when all workers have ended, whether their start went well or not.
struct crew_hooks {
    enum weir_result (*start)(struct worker *worker, void *arg);
    void (*stop)(struct worker *worker, void *arg);
    void *arg;
};

enum weir_result crew_init(struct crew *crew, unsigned count) WEIR_MUST_CHECK;
// Runs worker 0 on the calling thread and the others on theirs until crew_stop; returns when all
// have ended. A worker that cannot start ends the crew with its result.
enum weir_result crew_run(struct crew *crew, const struct crew_hooks *hooks) WEIR_MUST_CHECK;
// Any thread: every worker ends after its current turn.
void crew_stop(struct crew *crew);
void crew_fini(struct crew *crew);

#endif
