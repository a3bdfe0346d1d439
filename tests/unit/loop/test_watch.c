// SPDX-License-Identifier: Apache-2.0
#include "loop/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
// after its needs
#include <cmocka.h>

#define ENDS 2

// The ends that are read of some pipes, watched.
struct end {
    struct watch watch;
    int write_fd;
    int read_fd;
    unsigned calls;
    unsigned events; // of the last call
    bool closed;
    struct end *closes; // in its callback: itself or another
    struct job late;
};

static struct crew crew;
static struct end ends[ENDS];
static char story[16];

static struct worker *worker(void)
{
    return &crew.workers[0];
}

static void tell(const char *what)
{
    strncat(story, what, sizeof story - strlen(story) - 1);
}

static void on_closed(struct watch *watch)
{
    container_of(watch, struct end, watch)->closed = true;
    tell("C");
}

static void on_late(struct worker *at, struct job *job)
{
    (void)at;
    (void)job;
    tell("D");
}

static void on_posted(struct worker *at, struct job *job)
{
    (void)at;
    (void)job;
    tell("P");
}

static void on_ready(struct watch *watch, unsigned events)
{
    struct end *end = container_of(watch, struct end, watch);
    end->calls++;
    end->events = events;
    tell("S");
    if (end->closes != NULL) {
        worker_defer(worker(), &end->late, on_late);
        watch_close(&end->closes->watch, on_closed);
        ends[0].closes = ends[1].closes = NULL;
    }
}

static void say(const struct end *end)
{
    assert_int_equal(write(end->write_fd, "x", 1), 1);
}

static void hear(const struct end *end)
{
    char byte;
    assert_int_equal(read(end->read_fd, &byte, 1), 1);
}

static void turn(void)
{
    worker_settle(worker());
}

// The kernel has nothing to say that would keep the loop awake.
static bool is_quiet(void)
{
    struct sys_ready ready[SYS_READY_MAX];
    return sys_epoll_wait(worker()->epoll_fd, ready, 0) == 0;
}

static int setup(void **state)
{
    (void)state;
    story[0] = '\0';
    if (crew_init(&crew, 1) != WEIR_OK) {
        return -1;
    }
    for (int i = 0; i < ENDS; i++) {
        int fds[2];
        ends[i] = (struct end){0};
        if (pipe(fds) != 0 || watch_open(worker(), &ends[i].watch, fds[0], on_ready) != WEIR_OK) {
            return -1;
        }
        ends[i].read_fd = fds[0];
        ends[i].write_fd = fds[1];
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < ENDS; i++) {
        if (!ends[i].closed) {
            watch_close(&ends[i].watch, on_closed);
        }
        close(ends[i].read_fd);
        close(ends[i].write_fd);
    }
    crew_fini(&crew);
    return ends[0].closed && ends[1].closed ? 0 : -1;
}

static void order_inside_a_turn(void **state)
{
    struct job posted;
    (void)state;
    ends[0].closes = &ends[0];
    watch_want(&ends[0].watch, WATCH_READ);
    say(&ends[0]);
    worker_post(worker(), &posted, on_posted);
    turn();
    assert_string_equal(story, "PSDC");
}

static void what_is_ready_is_told_as_long_as_it_lasts(void **state)
{
    (void)state;
    watch_want(&ends[0].watch, WATCH_READ);
    say(&ends[0]);
    turn();
    turn();
    assert_int_equal(ends[0].calls, 2);
    assert_int_equal(ends[0].events, WATCH_READ);
    hear(&ends[0]);
    turn();
    assert_int_equal(ends[0].calls, 2);
}

static void what_nobody_wants_is_not_told_and_wakes_nobody(void **state)
{
    (void)state;
    say(&ends[0]);
    turn();
    turn();
    assert_int_equal(ends[0].calls, 0);
    assert_true(is_quiet());
    watch_want(&ends[0].watch, WATCH_READ);
    turn();
    assert_int_equal(ends[0].calls, 1);
    watch_want(&ends[0].watch, WATCH_NONE);
    watch_want(&ends[0].watch, WATCH_READ);
    turn();
    assert_int_equal(ends[0].calls, 2);
}

static void an_end_that_nobody_wants_wakes_nobody_and_is_told_later(void **state)
{
    (void)state;
    close(ends[0].write_fd);
    ends[0].write_fd = dup(STDERR_FILENO); // for the teardown
    turn();
    turn();
    turn();
    assert_int_equal(ends[0].calls, 0);
    assert_true(is_quiet());
    watch_want(&ends[0].watch, WATCH_READ | WATCH_HANGUP);
    turn();
    turn();
    assert_int_equal(ends[0].calls, 2);
    assert_int_equal(ends[0].events, WATCH_READ | WATCH_HANGUP);
}

static void an_end_is_no_error(void **state)
{
    (void)state;
    watch_want(&ends[0].watch, WATCH_BROKEN);
    turn();
    close(ends[0].write_fd);
    ends[0].write_fd = dup(STDERR_FILENO); // for the teardown
    turn();
    turn();
    assert_int_equal(ends[0].calls, 0);
    assert_true(is_quiet());
    watch_want(&ends[0].watch, WATCH_READ);
    turn();
    assert_int_equal(ends[0].calls, 1);
}

static void one_that_is_closed_in_its_turn_hears_no_more(void **state)
{
    (void)state;
    for (int i = 0; i < ENDS; i++) {
        watch_want(&ends[i].watch, WATCH_READ);
        ends[i].closes = &ends[ENDS - 1 - i];
        say(&ends[i]);
    }
    turn();
    assert_int_equal(ends[0].calls + ends[1].calls, 1);
    assert_true(ends[0].closed != ends[1].closed);
    turn();
    assert_int_equal(ends[0].calls + ends[1].calls, 2);
}

static void plain_files_cannot_be_watched(void **state)
{
    struct watch watch;
    FILE *file = tmpfile();
    (void)state;
    assert_non_null(file);
    assert_int_equal(watch_open(worker(), &watch, fileno(file), on_ready), WEIR_PERMISSION);
    fclose(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(order_inside_a_turn),
        TEST(what_is_ready_is_told_as_long_as_it_lasts),
        TEST(what_nobody_wants_is_not_told_and_wakes_nobody),
        TEST(an_end_that_nobody_wants_wakes_nobody_and_is_told_later),
        TEST(an_end_is_no_error),
        TEST(one_that_is_closed_in_its_turn_hears_no_more),
        TEST(plain_files_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
