// SPDX-License-Identifier: Apache-2.0
// A running process: one crew of workers that carries parts (a relay, an embedded platform, ...).
// The process owns what there is once: workers, signals, the log's start and end, limits. A part
// owns its configuration, its listeners and a piece of itself on every worker.
//
// The life of a process, and on which thread a part is called:
//
//   open           main thread, no worker runs yet; parts in their order
//   reach          main thread; parts in their order
//   start_worker   each worker's own thread, before its first turn; parts in their order
//   started        worker 0, when all parts have started there
//   reload         worker 0, at every SIGHUP
//   drain          worker 0, once, at the first SIGTERM or SIGINT; a second one ends the process
//   stop_worker    main thread when all workers have ended; parts in reverse
//   close          main thread; parts in reverse
//
// SIGTERM, SIGINT and SIGHUP are caught before the first open: one that comes before the workers
// turn is acted on when they do.
#ifndef WEIR_APP_PROCESS_H
#define WEIR_APP_PROCESS_H

#include "conf/conf.h"
#include "loop/worker.h"
#include "obs/log.h"
#include "sys/landlock.h"

struct part;

// A NULL pointer is a part that has nothing to do then. Problems are English, at most size bytes.
struct part_ops {
    const char *name;        // in the log
    bool spawns;             // starts programs: from a process beside this one
    unsigned sys_part;       // enum sys_part: which system calls it needs
    enum log_event stopping; // logged before drain and after close; LOG_EVENT_COUNT: none
    enum log_event stopped;
    // Memory and listening sockets for all workers of the crew, which outlives the part.
    enum weir_result (*open)(struct part *part, struct crew *crew, char *problem, size_t size);
    // Allows what it reads and writes later (NULL: nothing); the sandbox (app/sandbox.h) closes between open and
    // the first start_worker.
    void (*reach)(const struct part *part, struct sys_landlock *landlock);
    enum weir_result (*start_worker)(
        struct part *part, struct worker *worker, char *problem, size_t size);
    void (*started)(struct part *part);
    // Reads again what may have changed and returns what that is ("certificate"), or NULL when
    // there is nothing.
    const char *(*reload)(struct part *part);
    // Lets go of peers; the part calls part_drained when it has, in drain_max_ns at the latest.
    // NULL when it has nothing to let go of.
    void (*drain)(struct part *part);
    // Both are also called when opening or starting failed, or never came to this part.
    void (*stop_worker)(struct part *part, struct worker *worker);
    void (*close)(struct part *part);
};

// Embedded in what the part is; the fields are set before process_run.
struct part {
    const struct part_ops *ops;
    uint64_t descriptors;            // open files it may need when full
    const char *descriptors_setting; // which setting asks for them
    uint64_t drain_max_ns;
    struct process *process; // borrowed; set by process_run
    atomic_bool drained;
};

// Any thread, any number of times, only after drain. The last part that is drained ends the crew.
void part_drained(struct part *part);

struct process_options {
    struct part *const *parts; // in the order of their start
    size_t part_count;
    uint64_t workers;                     // 0: one per processor
    uint64_t max_logs;                    // lines kept for /logs
    const struct conf_problems *problems; // their warnings are logged; may be NULL
    void (*ready)(void *arg);             // worker 0, after the parts' started; may be NULL
    void *arg;
};

// Runs until the end; returns the exit code. Problems go to standard error, one a line.
int process_run(const struct process_options *options);

#endif
