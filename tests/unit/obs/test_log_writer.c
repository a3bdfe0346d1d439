// SPDX-License-Identifier: Apache-2.0
// Rates, and what happens when nobody reads. The waits here are for events; their bounds are the
// log's own.
#include "obs/log.h"

#include "log_world.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/time.h"
#include "sys/clock.h"
#include "sys/file.h"

#define RATE 10 // of LOG_CLIENT_FRAME_REJECTED
#define THREADS 4
#define LINES_A_THREAD 500

// The linker puts this in front of sys_write_some: it hangs while a test holds the gate, as a write
// to a stopped terminal does.
enum weir_result __wrap_sys_write_some(int fd, const void *bytes, size_t len, size_t *ret_len);
enum weir_result __real_sys_write_some(int fd, const void *bytes, size_t len, size_t *ret_len);

static pthread_mutex_t write_gate = PTHREAD_MUTEX_INITIALIZER;

enum weir_result __wrap_sys_write_some(int fd, const void *bytes, size_t len, size_t *ret_len)
{
    pthread_mutex_lock(&write_gate);
    pthread_mutex_unlock(&write_gate);
    return __real_sys_write_some(fd, bytes, len, ret_len);
}

static const struct {
    const char *name;
    enum log_level level;
    unsigned rate;
} events[LOG_EVENT_COUNT] = {
#define LOG_EVENT(symbol, name, level, rate) [LOG_##symbol] = {name, LOG_##level, rate},
#include "obs/events.def"
#undef LOG_EVENT
};

static void flood(unsigned lines)
{
    for (unsigned i = 0; i < lines; i++) {
        world_log(LOG_CLIENT_FRAME_REJECTED);
    }
}

// Adds up what all lines say was suppressed, and counts the lines themselves.
static void add_up(char *text, uint64_t *ret_written, uint64_t *ret_suppressed)
{
    *ret_written = *ret_suppressed = 0;
    char *rest = text;
    for (json_t *entry; (entry = world_next(&rest)) != NULL; json_decref(entry)) {
        if (strcmp(world_event(entry), "log_lines_suppressed") == 0) {
            assert_string_equal(
                json_string_value(world_detail(entry, "event")), "client_frame_rejected");
        } else {
            (*ret_written)++;
        }
        *ret_suppressed += world_number(entry, "suppressed");
    }
    free(text);
}

// ---- Rates

static void test_flood_is_cut_and_told(void **state)
{
    (void)state;
    int fd = world_open();
    uint64_t counted = log_counted(LOG_WARN);
    uint64_t suppressed_before = log_suppressed();
    assert_int_equal(log_start(1000, fd), WEIR_OK);
    uint64_t began_ns = sys_now_ns();
    flood(2000);
    uint64_t took_ns = sys_now_ns() - began_ns;
    log_stop();
    uint64_t written;
    uint64_t suppressed;
    add_up(world_take(fd), &written, &suppressed);
    assert_true(written >= RATE);
    assert_true(written <= RATE + RATE * took_ns / NS_PER_S + 1);
    assert_int_equal(written + suppressed, 2000);
    assert_int_equal(log_suppressed() - suppressed_before, suppressed);
    assert_int_equal(log_counted(LOG_WARN) - counted, 2000); // the log's own line is none
}

static void test_events_have_their_own_rates(void **state)
{
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(1000, fd), WEIR_OK);
    flood(RATE * 3);
    for (unsigned i = 0; i < RATE; i++) {
        world_log(LOG_DAEMON_FRAME_REJECTED);
    }
    log_stop();
    char *text = world_take(fd);
    char *rest = text;
    unsigned seen = 0;
    for (json_t *entry; (entry = world_next(&rest)) != NULL; json_decref(entry)) {
        seen += strcmp(world_event(entry), "daemon_frame_rejected") == 0;
    }
    assert_int_equal(seen, RATE);
    free(text);
}

static void test_next_line_carries_the_count(void **state)
{
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(1000, fd), WEIR_OK);
    flood(RATE);
    struct log_line line;
    uint64_t refused = 0;
    for (log_begin(&line, LOG_CLIENT_FRAME_REJECTED); !line.wanted;
         log_begin(&line, LOG_CLIENT_FRAME_REJECTED)) {
        refused++;
        sched_yield();
    }
    log_text(&line, "reason", "the next");
    log_end(&line);
    log_stop();
    char *text = world_take(fd);
    char *rest = text;
    bool found = false;
    for (json_t *entry; (entry = world_next(&rest)) != NULL; json_decref(entry)) {
        if (world_detail(entry, "reason") != NULL) {
            assert_int_equal(world_number(entry, "suppressed"), refused);
            found = true;
        } else {
            assert_null(world_detail(entry, "suppressed"));
        }
    }
    assert_true(found && refused > 0);
    free(text);
}

static bool wait_readable(int fd, int timeout_ms)
{
    struct pollfd waited = {.fd = fd, .events = POLLIN};
    return poll(&waited, 1, timeout_ms) == 1;
}

// The event never comes again, and its count comes all the same.
static void test_count_comes_by_itself(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(log_start(1000, ends[1]), WEIR_OK);
    flood(RATE * 2);
    static char text[65536];
    size_t len = 0;
    while (strstr(text, "log_lines_suppressed") == NULL || text[len - 1] != '\n') {
        assert_true(wait_readable(ends[0], 10000));
        ssize_t got = read(ends[0], text + len, sizeof text - 1 - len);
        assert_true(got > 0);
        len += (size_t)got;
        text[len] = '\0';
    }
    log_stop();
    close(ends[0]);
    close(ends[1]);
    uint64_t written;
    uint64_t suppressed;
    add_up(strdup(text), &written, &suppressed);
    assert_int_equal(written + suppressed, RATE * 2);
}

// ---- Nobody reads

static unsigned fill(const char *padding)
{
    unsigned passed = 0;
    for (size_t event = 0; event < LOG_EVENT_COUNT; event++) {
        for (unsigned i = 0; i < events[event].rate; i++) {
            struct log_line line;
            log_begin(&line, (enum log_event)event);
            log_text(&line, "padding", padding);
            passed += line.wanted;
            log_end(&line);
        }
    }
    return passed;
}

static unsigned count_lines(int fd)
{
    unsigned lines = 0;
    static char chunk[65536];
    for (ssize_t got; (got = read(fd, chunk, sizeof chunk)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            lines += chunk[i] == '\n';
        }
    }
    return lines;
}

static void test_stuck_reader(void **state)
{
    (void)state;
    static char padding[1800];
    memset(padding, 'x', sizeof padding - 1);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    uint64_t lost = log_lost();
    assert_int_equal(log_start(100, ends[1]), WEIR_OK);
    unsigned passed = fill(padding);
    assert_true(log_lost() > lost); // more than the queue holds, and nobody waited
    uint64_t began_ns = sys_now_ns();
    log_stop();
    uint64_t took_ns = sys_now_ns() - began_ns;
    assert_true(took_ns >= 2 * NS_PER_S && took_ns < 4 * NS_PER_S);
    close(ends[1]);
    unsigned read_lines = count_lines(ends[0]);
    close(ends[0]);
    assert_true(read_lines > 0);
    assert_int_equal(read_lines + (log_lost() - lost), passed);
}

static void *read_all(void *argument)
{
    int *fd = argument;
    static unsigned lines;
    lines = count_lines(*fd);
    return &lines;
}

// A reader that wakes up while the log stops still gets everything that was queued.
static void test_late_reader(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    uint64_t lost = log_lost();
    assert_int_equal(log_start(100, ends[1]), WEIR_OK);
    unsigned passed = fill("short");
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_all, &ends[0]), 0);
    log_stop();
    close(ends[1]);
    void *lines;
    pthread_join(reader, &lines);
    close(ends[0]);
    assert_int_equal(log_lost(), lost);
    assert_int_equal(*(unsigned *)lines, passed);
}

static void test_reader_is_gone(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    uint64_t lost = log_lost();
    assert_int_equal(log_start(10, ends[1]), WEIR_OK);
    world_log(LOG_RELAY_STARTED);
    world_log(LOG_RELAY_STOPPING);
    struct log_summary summary;
    log_summarise(&summary);
    assert_int_equal(summary.total, 2);
    log_stop();
    assert_int_equal(log_lost() - lost, 2);
    close(ends[1]);
}

static void test_writer_hangs_in_a_write(void **state)
{
    (void)state;
    int fd = world_open();
    uint64_t lost = log_lost();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    pthread_mutex_lock(&write_gate);
    world_log(LOG_RELAY_STARTED);
    world_log(LOG_RELAY_STOPPING);
    uint64_t began_ns = sys_now_ns();
    log_stop();
    uint64_t took_ns = sys_now_ns() - began_ns;
    assert_true(took_ns >= 2 * NS_PER_S && took_ns < 4 * NS_PER_S);
    assert_int_equal(log_start(10, fd), WEIR_IN_USE);
    world_log(LOG_RELAY_STOPPED);
    pthread_mutex_unlock(&write_gate);
    // The thread comes back, notices that it was given up, and clears up.
    enum weir_result result;
    while ((result = log_start(10, fd)) == WEIR_IN_USE) {
        sched_yield();
    }
    assert_int_equal(result, WEIR_OK);
    log_stop();
    assert_int_equal(log_lost() - lost, 1); // the first was in the write, and got through
    char *text = world_take(fd);
    char *rest = text;
    json_t *entry = world_next(&rest);
    assert_string_equal(world_event(entry), "relay_started");
    json_decref(entry);
    assert_null(world_next(&rest));
    free(text);
}

// ---- Many threads

static const enum log_event thread_events[THREADS] = {
    LOG_CLIENT_CONNECTED, LOG_CLIENT_FRAME_REJECTED, LOG_DAEMON_CONNECTED, LOG_CLIENT_CONNECTED};

static void *log_many(void *argument)
{
    unsigned thread = *(const unsigned *)argument;
    for (unsigned i = 0; i < LINES_A_THREAD; i++) {
        struct log_line line;
        log_begin(&line, thread_events[thread]);
        log_u64(&line, "thread", thread);
        log_u64(&line, "number", i);
        log_end(&line);
        if (i % 50 == 0) {
            struct buf out = BUF_INIT(LINES_SIZE);
            struct log_summary summary;
            log_summarise(&summary);
            weir_assert(log_dump(&out, i % 100 == 0) == WEIR_OK); // not cmocka's thread
            buf_reset(&out);
        }
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    int fd = world_open();
    uint64_t lost = log_lost();
    assert_int_equal(log_start(64, fd), WEIR_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    log_stop();
    assert_int_equal(log_lost(), lost);
    char *text = world_take(fd);
    char *rest = text;
    uint64_t sum = 0;
    int64_t newest[THREADS] = {-1, -1, -1, -1};
    for (json_t *entry; (entry = world_next(&rest)) != NULL; json_decref(entry)) {
        sum += world_number(entry, "suppressed");
        if (world_detail(entry, "thread") == NULL) {
            continue;
        }
        sum++;
        int64_t *before = &newest[world_number(entry, "thread")];
        assert_true((int64_t)world_number(entry, "number") > *before); // in order
        *before = (int64_t)world_number(entry, "number");
    }
    assert_int_equal(sum, THREADS * LINES_A_THREAD); // written or told of
    free(text);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < LOG_EVENT_COUNT; i++) {
        assert_true(events[i].rate >= 1);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(events[i].name, events[j].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_flood_is_cut_and_told),
        cmocka_unit_test(test_events_have_their_own_rates),
        cmocka_unit_test(test_next_line_carries_the_count),
        cmocka_unit_test(test_count_comes_by_itself),
        cmocka_unit_test(test_stuck_reader),
        cmocka_unit_test(test_late_reader),
        cmocka_unit_test(test_reader_is_gone),
        cmocka_unit_test(test_writer_hangs_in_a_write),
        cmocka_unit_test(test_many_threads),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("log_writer", tests, NULL, NULL);
}
