// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. drop() is the only way back to WAITING: it is legal in any state, and arms the timer.
// 2. The watch is made anew for every socket libpq shows, and whenever it may have made another:
//    while it connects it closes one and opens the next, under the same number.
// 3. The queue is in the order of deadlines, because all calls may wait equally long; the one that
//    runs is older than all of it.
// 4. A call leaves the link exactly once, by store_call_finish().
#include "platform/store/pg_link.h"

#include <stdio.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "base/time.h"
#include "sys/entropy.h"

#define STATE_TIMEOUT_NS (5 * NS_PER_S)
#define BACKOFF_MIN_NS (50 * NS_PER_MS)
#define BACKOFF_MAX_NS (2 * NS_PER_S)
#define NUMBER_SIZE 24

struct pg_watch {
    struct watch watch;
    struct pg_link *link;
};

static void drop(struct pg_link *link, const char *doing);
static void advance(struct pg_link *link);

// ---- The watch

static void on_watch_closed(struct watch *watch)
{
    mem_free(container_of(watch, struct pg_watch, watch));
}

static void unwatch(struct pg_link *link)
{
    if (link->watch != NULL) {
        watch_close(&link->watch->watch, on_watch_closed);
        link->watch = NULL;
    }
}

static void on_ready(struct watch *watch, unsigned events)
{
    (void)events;
    advance(container_of(watch, struct pg_watch, watch)->link);
}

static bool watch_socket(struct pg_link *link, unsigned events)
{
    unwatch(link);
    link->watch = mem_zalloc(sizeof *link->watch);
    if (link->watch == NULL) {
        return false;
    }
    link->watch->link = link;
    if (watch_open(link->options.worker, &link->watch->watch, postgres.socket(link->conn),
            on_ready) != WEIR_OK) {
        mem_free(link->watch);
        link->watch = NULL;
        return false;
    }
    watch_want(&link->watch->watch, events);
    return true;
}

// ---- What went wrong

// Messages of libpq end with a newline and may have several lines.
static void note(struct pg_link *link, const char *doing, const char *message)
{
    size_t len = (size_t)snprintf(link->problem, sizeof link->problem, "%s: %s", doing, message);
    len = len < sizeof link->problem ? len : sizeof link->problem - 1;
    while (len > 0 && link->problem[len - 1] == '\n') {
        link->problem[--len] = '\0';
    }
    for (char *at = strchr(link->problem, '\n'); at != NULL; at = strchr(at, '\n')) {
        *at = ' ';
    }
}

// ---- Deadlines of calls

static const struct store_call *oldest_call(const struct pg_link *link)
{
    if (link->running != NULL) {
        return link->running;
    }
    return list_empty(&link->queue) ? NULL
                                    : container_of(link->queue.next, struct store_call, node);
}

static void arm_for_calls(struct pg_link *link)
{
    const struct store_call *oldest = oldest_call(link);
    worker_arm(
        link->options.worker, &link->calls, oldest == NULL ? TIME_NEVER : oldest->deadline_ns);
}

static void on_call_deadline(struct timer *timer)
{
    struct pg_link *link = container_of(timer, struct pg_link, calls);
    uint64_t now_ns = worker_now(link->options.worker);
    struct store_call *running = link->running;
    if (running != NULL && running->deadline_ns <= now_ns) {
        link->running = NULL;
        store_call_finish(running, WEIR_TIMEOUT);
        note(link, "PostgreSQL", "no answer in time");
        drop(link, NULL);
    }
    while (!list_empty(&link->queue)) {
        struct store_call *call = container_of(link->queue.next, struct store_call, node);
        if (call->deadline_ns > now_ns) {
            break;
        }
        list_remove(&call->node);
        store_call_finish(call, WEIR_TIMEOUT);
    }
    arm_for_calls(link);
}

// ---- Losing the connection

static void forget_answer(struct store_call *call)
{
    buf_reset(&call->answer);
    buf_reset(&call->cells);
    call->row_count = 0;
    call->column_count = 0;
}

static void give_up_running(struct pg_link *link)
{
    struct store_call *call = link->running;
    link->running = NULL;
    if (call == NULL) {
        return;
    }
    if ((store_rows[call->statement].flags & STORE_ONCE) != 0) {
        store_call_finish(call, WEIR_UNREACHABLE);
    } else {
        forget_answer(call);
        list_push_front(&link->queue, &call->node);
    }
}

static uint64_t jittered(unsigned attempts)
{
    uint64_t random = 0;
    uint64_t bound = BACKOFF_MIN_NS << (attempts < 8 ? attempts : 8);
    bound = bound < BACKOFF_MAX_NS ? bound : BACKOFF_MAX_NS;
    return sys_entropy(&random, sizeof random) == WEIR_OK ? random % (bound + 1) : bound;
}

static void let_go(struct pg_link *link)
{
    unwatch(link);
    if (link->resolve != NULL) {
        resolve_cancel(link->resolve);
        link->resolve = NULL;
    }
    postgres.finish(link->conn);
    link->conn = NULL;
}

// doing NULL: the problem has been noted.
static void drop(struct pg_link *link, const char *doing)
{
    bool was_ready = link->state == PG_READY;
    if (doing != NULL) {
        const char *message =
            link->conn == NULL ? "out of memory" : postgres.errorMessage(link->conn);
        note(link, doing, message[0] == '\0' ? "the server closed the connection" : message);
    }
    let_go(link);
    give_up_running(link);
    link->state = PG_WAITING;
    worker_arm_in(link->options.worker, &link->timer, jittered(link->attempts++));
    if (was_ready && link->options.lost != NULL) {
        link->options.lost(link->options.arg);
    }
}

// ---- Connecting

// The default writes to standard error.
static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static void begin(struct pg_link *link, const char *address)
{
    const char *names[] = {"dbname", "hostaddr", "client_encoding", "fallback_application_name",
        "keepalives_idle", "keepalives_interval", "keepalives_count", "gssencmode", NULL};
    const char *values[] = {
        link->options.url, address, "UTF8", "weir platform", "15", "5", "3", "disable", NULL};
    link->state = PG_CONNECTING;
    worker_arm_in(link->options.worker, &link->timer, STATE_TIMEOUT_NS);
    link->conn = postgres.connectStartParams(names, values, 1);
    if (link->conn != NULL) {
        postgres.setNoticeProcessor(link->conn, ignore_notice, NULL);
    }
    if (link->conn == NULL || postgres.status(link->conn) == CONNECTION_BAD ||
        postgres.setnonblocking(link->conn, 1) != 0 || !watch_socket(link, WATCH_WRITE)) {
        drop(link, "cannot connect to PostgreSQL");
    }
}

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct pg_link *link = arg;
    char address[IP_TEXT_SIZE];
    link->resolve = NULL;
    if (result != WEIR_OK || count == 0) {
        char text[PLATFORM_STORE_PROBLEM_SIZE];
        snprintf(text, sizeof text, "the name %.100s was not found (%s)", link->options.host,
            weir_result_text(result));
        note(link, "cannot connect to PostgreSQL", text);
        drop(link, NULL);
        return;
    }
    ip_to_text(&ips[link->attempts % count], address);
    begin(link, address);
}

static void start(struct pg_link *link)
{
    if (link->options.host == NULL) {
        begin(link, NULL);
        return;
    }
    link->state = PG_RESOLVING;
    worker_arm_in(link->options.worker, &link->timer, STATE_TIMEOUT_NS);
    link->resolve = resolve_start(link->options.worker, link->options.host, on_resolved, link);
    if (link->resolve == NULL) {
        drop(link, "cannot connect to PostgreSQL");
    }
}

// Sends what waits, and waits for what that needs.
static void flush(struct pg_link *link)
{
    int left = postgres.flush(link->conn);
    if (left < 0) {
        drop(link, "cannot write to PostgreSQL");
    } else {
        watch_want(&link->watch->watch, left > 0 ? WATCH_READ | WATCH_WRITE : WATCH_READ);
    }
}

static void greet(struct pg_link *link)
{
    link->state = PG_GREETING;
    // The last poll may have been over a socket that was not watched yet.
    if (!watch_socket(link, WATCH_READ) ||
        postgres.sendQuery(link->conn, link->options.greeting) != 1) {
        drop(link, "cannot greet PostgreSQL");
        return;
    }
    flush(link);
}

static void poll_connecting(struct pg_link *link)
{
    switch (postgres.connectPoll(link->conn)) {
    case PGRES_POLLING_READING:
        if (!watch_socket(link, WATCH_READ)) {
            drop(link, "cannot connect to PostgreSQL");
        }
        break;
    case PGRES_POLLING_WRITING:
        if (!watch_socket(link, WATCH_WRITE)) {
            drop(link, "cannot connect to PostgreSQL");
        }
        break;
    case PGRES_POLLING_OK:
        greet(link);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
    default:
        drop(link, "cannot connect to PostgreSQL");
        break;
    }
}

// ---- Calls

static bool send_call(struct pg_link *link, struct store_call *call)
{
    const char *values[STORE_VALUES_MAX];
    char numbers[STORE_VALUES_MAX][NUMBER_SIZE];
    for (unsigned i = 0; i < call->value_count; i++) {
        const struct store_value *value = &call->values[i];
        values[i] = NULL;
        if (value->kind == STORE_TEXT) {
            values[i] = call->words.at + value->at;
        } else if (value->kind == STORE_NUMBER) {
            snprintf(numbers[i], NUMBER_SIZE, "%lld", (long long)value->number);
            values[i] = numbers[i];
        }
    }
    return postgres.sendQueryParams(link->conn, store_rows[call->statement].postgres,
               (int)call->value_count, NULL, values, NULL, NULL, 0) == 1;
}

static void next_call(struct pg_link *link)
{
    if (link->state != PG_READY || link->running != NULL) {
        return;
    }
    struct list *node = list_pop_front(&link->queue);
    if (node != NULL) {
        link->running = container_of(node, struct store_call, node);
        link->outcome = WEIR_OK;
    }
    arm_for_calls(link);
    if (node == NULL) {
        watch_want(&link->watch->watch, WATCH_READ);
    } else if (!send_call(link, link->running)) {
        drop(link, "cannot ask PostgreSQL");
    } else {
        flush(link);
    }
}

static void take_rows(struct store_call *call, const PGresult *rows)
{
    int columns = postgres.nfields(rows);
    call->column_count = (unsigned)columns;
    for (int row = 0; row < postgres.ntuples(rows); row++) {
        for (int column = 0; column < columns; column++) {
            const char *text =
                postgres.getisnull(rows, row, column) ? NULL : postgres.getvalue(rows, row, column);
            store_call_add_cell(
                call, text, text == NULL ? 0 : (size_t)postgres.getlength(rows, row, column));
        }
        call->row_count++;
    }
}

// A server that has become a copy of another one: the next connection may find the right one.
static bool wants_another_server(const PGresult *answer)
{
    const char *code = postgres.resultErrorField(answer, PG_DIAG_SQLSTATE);
    return code != NULL && strcmp(code, "25006") == 0;
}

// False: the connection is of no use any more.
static bool take_answer(struct pg_link *link, const PGresult *answer)
{
    ExecStatusType status = postgres.resultStatus(answer);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        if (link->running != NULL) {
            take_rows(link->running, answer);
            link->outcome = store_call_filled(link->running);
        }
        return true;
    }
    note(link, "PostgreSQL refused", postgres.resultErrorMessage(answer));
    link->outcome = WEIR_IO;
    // A greeting that fails leaves nothing to work with.
    return link->running != NULL && !wants_another_server(answer) &&
           postgres.status(link->conn) == CONNECTION_OK;
}

static void complete(struct pg_link *link)
{
    struct store_call *call = link->running;
    link->running = NULL;
    if (link->state == PG_GREETING) {
        link->state = PG_READY;
        timer_cancel(&link->timer);
        link->attempts = 0;
        link->connects++;
        link->problem[0] = '\0';
        if (link->options.ready != NULL) {
            link->options.ready(link->options.arg);
        }
    } else if (call != NULL) {
        if (link->outcome == WEIR_OK) {
            link->problem[0] = '\0';
        }
        store_call_finish(call, link->outcome);
    }
    next_call(link);
}

static void take_notifications(struct pg_link *link)
{
    PGnotify *notice;
    while ((notice = postgres.notifies(link->conn)) != NULL) {
        if (link->options.notified != NULL) {
            link->options.notified(link->options.arg, slice_str(notice->extra));
        }
        postgres.freemem(notice);
    }
}

static void read_answers(struct pg_link *link)
{
    if (postgres.consumeInput(link->conn) != 1) {
        drop(link, "the connection to PostgreSQL broke");
        return;
    }
    take_notifications(link);
    bool waits = link->running != NULL || link->state == PG_GREETING;
    while (waits && !postgres.isBusy(link->conn)) {
        PGresult *answer = postgres.getResult(link->conn);
        if (answer == NULL) {
            complete(link);
            return;
        }
        bool usable = take_answer(link, answer);
        postgres.clear(answer);
        if (!usable) {
            drop(link, NULL);
            return;
        }
    }
    if (postgres.status(link->conn) == CONNECTION_BAD) {
        drop(link, "the connection to PostgreSQL broke");
    } else if (waits) {
        flush(link);
    }
}

// ---- From the loop

static void advance(struct pg_link *link)
{
    if (link->state == PG_CONNECTING) {
        poll_connecting(link);
    } else {
        read_answers(link);
    }
}

static void on_timer(struct timer *timer)
{
    struct pg_link *link = container_of(timer, struct pg_link, timer);
    if (link->state == PG_WAITING) {
        start(link);
    } else {
        note(link, "cannot connect to PostgreSQL", "no answer in time");
        drop(link, NULL);
    }
}

// ---- For the store

void pg_link_open(struct pg_link *link, const struct pg_link_options *options)
{
    *link = (struct pg_link){.options = *options, .state = PG_WAITING, .opened = true};
    timer_init(&link->timer, on_timer);
    timer_init(&link->calls, on_call_deadline);
    list_init(&link->queue);
    worker_arm_in(options->worker, &link->timer, 0);
}

void pg_link_close(struct pg_link *link)
{
    if (!link->opened) {
        return;
    }
    link->opened = false;
    timer_cancel(&link->timer);
    timer_cancel(&link->calls);
    let_go(link);
    if (link->running != NULL) {
        store_call_free(link->running);
        link->running = NULL;
    }
    for (struct list *node = list_pop_front(&link->queue); node != NULL;
         node = list_pop_front(&link->queue)) {
        store_call_free(container_of(node, struct store_call, node));
    }
}

void pg_link_run(struct pg_link *link, struct store_call *call)
{
    list_push_back(&link->queue, &call->node);
    arm_for_calls(link);
    next_call(link);
}
