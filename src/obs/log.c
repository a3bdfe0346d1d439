// SPDX-License-Identifier: Apache-2.0
// Where lines go. A finished line is copied once; the copy is shared by the queue of the writer
// thread and by the ring for /logs, and freed by whoever lets go of it last.
//
//    log_end -> ring  (newest ring_size lines; the oldest leaves)       -> log_dump
//           \-> queue (QUEUE_BYTES_MAX; what does not fit is lost)      -> writer -> fd
//
// 1. One mutex guards rates, queue, ring and state. Nobody holds it while writing, and what is done
//    under it does not grow with the ring.
// 2. The writer asks whether fd takes bytes before it writes, and never writes more than a pipe
//    takes at once. That keeps it from hanging in a pipe whose reader is stuck. A terminal whose
//    output is stopped may still hold it: log_stop gives up on the thread then (HUNG), and the
//    thread frees what is left if it ever comes back.
// 3. Non-blocking mode would be simpler, but it belongs to the open file, which the shell that
//    started us shares.
#include "obs/log_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "sys/clock.h"
#include "sys/file.h"

#define QUEUE_BYTES_MAX ((size_t)1 << 20)
#define STOP_TIMEOUT_NS (2 * NS_PER_S)
#define STOP_SLACK_NS (250 * NS_PER_MS) // for the writer to notice that its time is over
#define WAIT_NS (100 * NS_PER_MS)
#define REPORT_AFTER_NS (2 * NS_PER_S)
#define DUMP_BATCH 32

struct kept_line {
    struct list queued;
    unsigned holders;
    enum log_level level;
    uint64_t wall_ms;
    size_t brief_len;
    size_t len; // with the newline
    char text[];
};

struct rate {
    double tokens;
    uint64_t filled_ns; // 0: never used, and so full
    uint64_t suppressed;
    uint64_t suppressed_since_ns;
};

enum state { STOPPED, RUNNING, STOPPING, HUNG };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; // something for the writer to do
    pthread_cond_t ended;
    pthread_t writer;
    enum state state;
    bool writer_begun;
    bool writer_ended;
    bool unwritable; // and somebody was told; the writer's own
    int fd;
    uint64_t give_up_ns; // while STOPPING
    uint64_t report_ns;  // when to say what was suppressed
    struct list queue;
    size_t queue_bytes;
    size_t queue_count;
    struct kept_line **ring; // owned; line number n is at n % ring_size
    size_t ring_size;
    uint64_t ring_first; // numbers of the oldest line and of the next one
    uint64_t ring_end;
    struct rate rates[LOG_EVENT_COUNT];
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_uint least_level;
static atomic_uint least_written;
static atomic_uint_fast64_t counted[LOG_LEVEL_COUNT];
static atomic_uint_fast64_t suppressed_total;
static atomic_uint_fast64_t lost_total;

void log_set_level(enum log_level least)
{
    atomic_store_explicit(&least_level, least, memory_order_relaxed);
}

void log_write_from(enum log_level least)
{
    atomic_store_explicit(&least_written, least, memory_order_relaxed);
}

uint64_t log_counted(enum log_level level)
{
    return atomic_load_explicit(&counted[level], memory_order_relaxed);
}

uint64_t log_suppressed(void)
{
    return atomic_load_explicit(&suppressed_total, memory_order_relaxed);
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&lost_total, memory_order_relaxed);
}

static void count_lost(uint64_t lines)
{
    atomic_fetch_add_explicit(&lost_total, lines, memory_order_relaxed);
}

// Called with the lock held.
static void let_go(struct kept_line *line)
{
    if (--line->holders == 0) {
        mem_free(line);
    }
}

static void wait_until(pthread_cond_t *condition, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S),
        .tv_nsec = (long)(deadline_ns % NS_PER_S),
    };
    pthread_cond_timedwait(condition, &logger.lock, &deadline);
}

// ---- Rates

// One second's worth at once, then the event's rate.
static bool take_token(struct rate *rate, double limit, uint64_t now_ns)
{
    if (rate->filled_ns == 0) {
        rate->tokens = limit;
    } else if (now_ns > rate->filled_ns) {
        rate->tokens += (double)(now_ns - rate->filled_ns) / (double)NS_PER_S * limit;
        rate->tokens = rate->tokens > limit ? limit : rate->tokens;
    }
    rate->filled_ns = now_ns;
    if (rate->tokens < 1) {
        return false;
    }
    rate->tokens -= 1;
    return true;
}

static void suppress(struct rate *rate, uint64_t now_ns)
{
    atomic_fetch_add_explicit(&suppressed_total, 1, memory_order_relaxed);
    if (rate->suppressed++ > 0) {
        return;
    }
    rate->suppressed_since_ns = now_ns;
    if (logger.report_ns == TIME_NEVER) {
        logger.report_ns = now_ns + REPORT_AFTER_NS;
        pthread_cond_signal(&logger.changed);
    }
}

bool log_take_turn(enum log_event event, uint64_t *ret_suppressed)
{
    const struct log_event_row *row = &log_event_rows[event];
    struct rate *rate = &logger.rates[event];
    uint64_t now_ns = sys_now_ns();
    bool wanted = false;
    atomic_fetch_add_explicit(&counted[row->level], 1, memory_order_relaxed);
    if (row->level < atomic_load_explicit(&least_level, memory_order_relaxed)) {
        return false;
    }
    pthread_mutex_lock(&logger.lock);
    if (logger.state == RUNNING) {
        wanted = take_token(rate, row->lines_per_second, now_ns);
        if (wanted) {
            *ret_suppressed = rate->suppressed;
            rate->suppressed = 0;
        } else {
            suppress(rate, now_ns);
        }
    }
    pthread_mutex_unlock(&logger.lock);
    return wanted;
}

// What was suppressed up to since_ns and no line has told yet.
static uint64_t take_suppressed(enum log_event event, uint64_t since_ns)
{
    struct rate *rate = &logger.rates[event];
    uint64_t taken = 0;
    pthread_mutex_lock(&logger.lock);
    if (rate->suppressed > 0 && rate->suppressed_since_ns <= since_ns) {
        taken = rate->suppressed;
        rate->suppressed = 0;
    } else if (rate->suppressed > 0) {
        uint64_t due_ns = rate->suppressed_since_ns + REPORT_AFTER_NS;
        logger.report_ns = due_ns < logger.report_ns ? due_ns : logger.report_ns;
    }
    pthread_mutex_unlock(&logger.lock);
    return taken;
}

// Without the lock.
static void report_suppressed(uint64_t since_ns)
{
    for (size_t event = 0; event < LOG_EVENT_COUNT; event++) {
        uint64_t count = take_suppressed((enum log_event)event, since_ns);
        if (count == 0) {
            continue;
        }
        struct log_line line;
        log_open(&line, LOG_LOG_LINES_SUPPRESSED);
        log_text(&line, "event", log_event_rows[event].name);
        log_u64(&line, "suppressed", count);
        log_end(&line);
    }
}

// ---- Handing a line over

static struct kept_line *keep(const struct log_line *line)
{
    struct kept_line *kept = mem_alloc(sizeof *kept + line->len);
    if (kept == NULL) {
        return NULL;
    }
    list_init(&kept->queued);
    kept->holders = 1;
    kept->level = log_event_rows[line->event].level;
    kept->wall_ms = line->wall_ms;
    kept->brief_len = line->brief_len;
    kept->len = line->len;
    memcpy(kept->text, line->text, line->len);
    return kept;
}

// The next four with the lock held.
static struct kept_line **ring_slot(uint64_t number)
{
    return &logger.ring[number % logger.ring_size];
}

static void put_in_ring(struct kept_line *line)
{
    if (logger.ring_end - logger.ring_first == logger.ring_size) {
        let_go(*ring_slot(logger.ring_first++));
    }
    *ring_slot(logger.ring_end++) = line;
    line->holders++;
}

static void put_in_queue(struct kept_line *line)
{
    if (logger.queue_bytes + line->len > QUEUE_BYTES_MAX) {
        count_lost(1);
        return;
    }
    list_push_back(&logger.queue, &line->queued);
    logger.queue_bytes += line->len;
    logger.queue_count++;
    line->holders++;
    pthread_cond_signal(&logger.changed);
}

static struct kept_line *take_from_queue(void)
{
    struct kept_line *line = container_of(list_pop_front(&logger.queue), struct kept_line, queued);
    logger.queue_bytes -= line->len;
    logger.queue_count--;
    return line;
}

void log_hand_over(const struct log_line *line)
{
    struct kept_line *kept = keep(line);
    if (kept == NULL) {
        count_lost(1);
        return;
    }
    pthread_mutex_lock(&logger.lock);
    if (logger.state == RUNNING || logger.state == STOPPING) {
        put_in_ring(kept);
        if (kept->level >= atomic_load_explicit(&least_written, memory_order_relaxed)) {
            put_in_queue(kept);
        }
    } else {
        count_lost(1);
    }
    let_go(kept);
    pthread_mutex_unlock(&logger.lock);
}

// ---- The writer

static bool time_is_over(void)
{
    pthread_mutex_lock(&logger.lock);
    bool over =
        logger.state == HUNG || (logger.state == STOPPING && sys_now_ns() >= logger.give_up_ns);
    pthread_mutex_unlock(&logger.lock);
    return over;
}

// Once, where there may still be a reader.
static void complain(enum weir_result result)
{
    if (!logger.unwritable && sys_wait_writable(STDERR_FILENO, 0)) {
        fprintf(stderr, "weir: the log cannot be written, and its lines are lost: %s\n",
            result == WEIR_RESET ? "nobody reads it" : weir_result_text(result));
    }
    logger.unwritable = true;
}

static bool write_line(const struct kept_line *line)
{
    _Static_assert(sizeof((struct log_line *)NULL)->text <= 4096, "a pipe takes no more at once");
    size_t done = 0;
    while (done < line->len) {
        if (time_is_over()) {
            return false;
        }
        if (!sys_wait_writable(logger.fd, WAIT_NS)) {
            continue;
        }
        size_t len = 0;
        enum weir_result result =
            sys_write_some(logger.fd, line->text + done, line->len - done, &len);
        if (result != WEIR_OK && result != WEIR_AGAIN) {
            complain(result);
            return false;
        }
        done += len;
    }
    logger.unwritable = false;
    return true;
}

static void write_next(void)
{
    struct kept_line *line = take_from_queue();
    pthread_mutex_unlock(&logger.lock);
    bool written = write_line(line);
    pthread_mutex_lock(&logger.lock);
    let_go(line);
    if (!written) {
        count_lost(1);
    }
}

static void report(uint64_t since_ns)
{
    logger.report_ns = TIME_NEVER;
    pthread_mutex_unlock(&logger.lock);
    report_suppressed(since_ns);
    pthread_mutex_lock(&logger.lock);
}

static void release(void)
{
    count_lost(logger.queue_count);
    while (logger.queue_count > 0) {
        let_go(take_from_queue());
    }
    while (logger.ring_first < logger.ring_end) {
        let_go(*ring_slot(logger.ring_first++));
    }
    mem_free(logger.ring);
    logger.ring = NULL;
    pthread_cond_destroy(&logger.changed);
    pthread_cond_destroy(&logger.ended);
    logger.state = STOPPED;
}

static void *run_writer(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&logger.lock);
    while (logger.state == RUNNING) {
        if (logger.queue_count > 0) {
            write_next();
        } else if (logger.report_ns == TIME_NEVER) {
            pthread_cond_wait(&logger.changed, &logger.lock);
        } else if (sys_now_ns() < logger.report_ns) {
            wait_until(&logger.changed, logger.report_ns);
        } else {
            report(sys_now_ns() - REPORT_AFTER_NS);
        }
    }
    report(TIME_NEVER);
    while (logger.queue_count > 0 && logger.state == STOPPING && sys_now_ns() < logger.give_up_ns) {
        write_next();
    }
    logger.writer_ended = true;
    if (logger.state == HUNG) {
        release();
    } else {
        pthread_cond_signal(&logger.ended);
    }
    pthread_mutex_unlock(&logger.lock);
    return NULL;
}

// ---- Start and stop

static void init_conditions(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&logger.changed, &attributes);
    pthread_cond_init(&logger.ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

// With the lock held.
static enum weir_result open_queue(size_t ring_size, int fd)
{
    if (logger.state != STOPPED) {
        return WEIR_IN_USE;
    }
    if (ring_size == 0) {
        return WEIR_INVALID;
    }
    logger.ring = mem_zalloc(ring_size * sizeof(struct kept_line *));
    if (logger.ring == NULL) {
        return WEIR_MEMORY;
    }
    logger.ring_size = ring_size;
    logger.ring_first = logger.ring_end = 0;
    logger.fd = fd;
    logger.writer_begun = logger.writer_ended = false;
    logger.report_ns = TIME_NEVER;
    list_init(&logger.queue);
    memset(logger.rates, 0, sizeof logger.rates);
    init_conditions();
    logger.state = RUNNING;
    return WEIR_OK;
}

// With the lock held, and a state of RUNNING.
static enum weir_result begin_writing(void)
{
    if (!logger.writer_begun && pthread_create(&logger.writer, NULL, run_writer, NULL) != 0) {
        release();
        return WEIR_MEMORY;
    }
    logger.writer_begun = true;
    return WEIR_OK;
}

enum weir_result log_hold(size_t ring_size, int fd)
{
    pthread_mutex_lock(&logger.lock);
    enum weir_result result = open_queue(ring_size, fd);
    pthread_mutex_unlock(&logger.lock);
    return result;
}

enum weir_result log_begin_writing(void)
{
    pthread_mutex_lock(&logger.lock);
    enum weir_result result = logger.state == RUNNING ? begin_writing() : WEIR_INVALID;
    pthread_mutex_unlock(&logger.lock);
    return result;
}

enum weir_result log_start(size_t ring_size, int fd)
{
    enum weir_result result = log_hold(ring_size, fd);
    return result == WEIR_OK ? log_begin_writing() : result;
}

void log_stop(void)
{
    pthread_mutex_lock(&logger.lock);
    if (logger.state != RUNNING || begin_writing() != WEIR_OK) {
        pthread_mutex_unlock(&logger.lock);
        return;
    }
    logger.state = STOPPING;
    logger.give_up_ns = sys_now_ns() + STOP_TIMEOUT_NS;
    uint64_t patience_ns = logger.give_up_ns + STOP_SLACK_NS;
    pthread_cond_signal(&logger.changed);
    while (!logger.writer_ended && sys_now_ns() < patience_ns) {
        wait_until(&logger.ended, patience_ns);
    }
    pthread_t writer = logger.writer;
    bool ended = logger.writer_ended;
    if (ended) {
        release();
    } else {
        logger.state = HUNG;
    }
    pthread_mutex_unlock(&logger.lock);
    if (ended) {
        pthread_join(writer, NULL);
    } else {
        pthread_detach(writer);
    }
}

// ---- For the routes

void log_summarise(struct log_summary *ret_summary)
{
    *ret_summary = (struct log_summary){0};
    pthread_mutex_lock(&logger.lock);
    ret_summary->capacity = logger.ring_size;
    ret_summary->total = logger.ring_end - logger.ring_first;
    for (uint64_t number = logger.ring_first; number < logger.ring_end; number++) {
        ret_summary->counts[(*ring_slot(number))->level]++;
    }
    if (ret_summary->total > 0) {
        ret_summary->oldest_wall_ms = (*ring_slot(logger.ring_first))->wall_ms;
        ret_summary->newest_wall_ms = (*ring_slot(logger.ring_end - 1))->wall_ms;
    }
    pthread_mutex_unlock(&logger.lock);
}

// Holds the lines from *number on, but none from end on; *number moves past them.
static size_t hold_some(uint64_t *number, uint64_t end, struct kept_line *lines[DUMP_BATCH])
{
    size_t count = 0;
    pthread_mutex_lock(&logger.lock);
    *number = *number < logger.ring_first ? logger.ring_first : *number;
    while (count < DUMP_BATCH && *number < end && *number < logger.ring_end) {
        lines[count] = *ring_slot((*number)++);
        lines[count++]->holders++;
    }
    pthread_mutex_unlock(&logger.lock);
    return count;
}

static void let_go_of_some(struct kept_line *lines[DUMP_BATCH], size_t count)
{
    pthread_mutex_lock(&logger.lock);
    for (size_t i = 0; i < count; i++) {
        let_go(lines[i]);
    }
    pthread_mutex_unlock(&logger.lock);
}

static enum weir_result dump_line(
    struct buf *out, const struct kept_line *line, bool brief, bool first)
{
    enum weir_result result = first ? WEIR_OK : buf_append_byte(out, ',');
    if (result == WEIR_OK) {
        result = buf_append(out, line->text, brief ? line->brief_len : line->len - 1);
    }
    return result == WEIR_OK && brief ? buf_append_byte(out, '}') : result;
}

enum weir_result log_dump(struct buf *out, bool brief)
{
    pthread_mutex_lock(&logger.lock);
    uint64_t number = logger.ring_first;
    uint64_t end = logger.ring_end;
    pthread_mutex_unlock(&logger.lock);
    enum weir_result result = WEIR_OK;
    bool first = true;
    for (size_t count = 1; count > 0 && result == WEIR_OK;) {
        struct kept_line *lines[DUMP_BATCH];
        count = hold_some(&number, end, lines);
        for (size_t i = 0; i < count && result == WEIR_OK; i++) {
            result = dump_line(out, lines[i], brief, first);
            first = false;
        }
        let_go_of_some(lines, count);
    }
    return result;
}
