// SPDX-License-Identifier: Apache-2.0
// Invariants
//
// 1. A connection is freed when its pair has ended, or when its place was not reached.
// 2. The stream of standard input and output ends once: break_off and look_for_end are the two
// ways.
#include "cli/forward/joiner.h"

#include <stdio.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/command.h"
#include "cli/forward/stdio_pump.h"
#include "cli/loop.h"
#include "stream/listener.h"
#include "stream/pair.h"

#define OPEN_NS (10 * NS_PER_S) // spec section 11.4
#define IDLE_NS (24 * 3600 * NS_PER_S)
#define HALF_IDLE_NS (3600 * NS_PER_S)
#define CONNECTIONS_MAX 512

struct joiner {
    const struct joiner_options *options;
    struct target target;
    struct cli_loop loop;
    struct listener listener;
    bool listening;
    struct list connections; // of the listener
    size_t connection_count;
    // of standard input and output
    struct reach *reach;
    struct stream stream;
    struct stdio_pump pump;
    unsigned wanted; // readiness that a call has missed
    bool open;
    bool ended_in;
    bool ended_out;
};

struct connection {
    struct list node;
    struct joiner *joiner;
    struct reach *reach; // NULL: it was reached
    struct pair pair;
    int fd; // -1: the pair's
};

static void complain(const char *text)
{
    fprintf(stderr, "%s nc: %s\n", command_program(), text);
}

static struct reach *reach(struct joiner *joiner, reach_fn *done, void *arg)
{
    return target_reach(joiner->loop.worker, &joiner->target,
        &(struct reach_options){
            .what = joiner->options->target, .timeout_ns = OPEN_NS, .done = done, .arg = arg});
}

// ---- Standard input and output

static void on_stream_closed(struct stream *stream)
{
    (void)stream; // its memory outlives the loop
}

static void end(struct joiner *joiner, bool hard, int exit_code)
{
    if (joiner->open) {
        joiner->open = false;
        stdio_pump_stop(&joiner->pump);
        stream_close(&joiner->stream, hard, on_stream_closed);
        cli_loop_end(&joiner->loop, exit_code);
    }
}

static void break_off(struct joiner *joiner)
{
    if (joiner->open) {
        complain("the other side broke off");
        end(joiner, true, EXIT_FAILED);
    }
}

static void look_for_end(struct joiner *joiner)
{
    if (joiner->ended_in && joiner->ended_out) {
        end(joiner, false, EXIT_FINE);
    }
}

static enum weir_stream_result outcome(
    struct joiner *joiner, enum weir_result result, enum watch_event missed)
{
    if (result == WEIR_OK) {
        return WEIR_STREAM_OK;
    }
    if (result == WEIR_AGAIN) {
        joiner->wanted |= missed;
        stream_want(&joiner->stream, joiner->wanted);
        return WEIR_STREAM_AGAIN;
    }
    break_off(joiner);
    return WEIR_STREAM_FAILED;
}

static enum weir_stream_result read_stream(void *arg, void *bytes, size_t size, size_t *ret_len)
{
    struct joiner *joiner = arg;
    struct iovec part = {bytes, size};
    if (!joiner->open) {
        return WEIR_STREAM_FAILED;
    }
    enum weir_result result = stream_read(&joiner->stream, &part, 1, ret_len);
    if (result == WEIR_CLOSED) {
        joiner->ended_in = true;
        look_for_end(joiner);
        return WEIR_STREAM_END;
    }
    return outcome(joiner, result, WATCH_READ);
}

static enum weir_stream_result write_stream(
    void *arg, const void *bytes, size_t len, size_t *ret_len)
{
    struct joiner *joiner = arg;
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    if (!joiner->open) {
        return WEIR_STREAM_FAILED;
    }
    return outcome(joiner, stream_write(&joiner->stream, &part, 1, ret_len), WATCH_WRITE);
}

static void finish_stream(void *arg)
{
    struct joiner *joiner = arg;
    if (joiner->open) {
        stream_finish(&joiner->stream);
        joiner->ended_out = true;
        look_for_end(joiner);
    }
}

static void close_stream(void *arg)
{
    end(arg, true, EXIT_FINE);
}

static void on_stream_ready(struct stream *stream, unsigned events)
{
    struct joiner *joiner = container_of(stream, struct joiner, stream);
    joiner->wanted &= ~events;
    stream_want(stream, joiner->wanted);
    stdio_pump_ready(&joiner->pump);
}

static void on_place_reached(void *arg, const struct reach_result *result)
{
    struct joiner *joiner = arg;
    joiner->reach = NULL;
    if (result->fault.error != WEIR_AGENT_ERROR_NONE) {
        complain(result->fault.text);
        cli_loop_end(&joiner->loop, EXIT_FAILED);
    } else if (stream_open(&joiner->stream, joiner->loop.worker, result->state.fd,
                   result->state.ssl, on_stream_ready) != WEIR_OK) {
        complain("out of memory or descriptors");
        cli_loop_end(&joiner->loop, EXIT_FAILED);
    } else {
        joiner->open = true;
        stdio_pump_ready(&joiner->pump);
    }
}

static bool start_stdio(struct joiner *joiner)
{
    static const struct stdio_ops ops = {read_stream, write_stream, finish_stream, close_stream};
    stdio_pump_open(&joiner->pump, joiner->loop.worker, &ops, joiner);
    joiner->reach = reach(joiner, on_place_reached, joiner);
    if (joiner->reach == NULL) {
        complain("out of memory");
    }
    return joiner->reach != NULL;
}

// ---- A listener

static void forget(struct connection *connection)
{
    struct joiner *joiner = connection->joiner;
    if (joiner->connection_count-- == CONNECTIONS_MAX && joiner->listening) {
        listener_resume(&joiner->listener);
    }
    list_remove(&connection->node);
    if (connection->fd >= 0) {
        sys_close_hard(connection->fd);
    }
    mem_free(connection);
}

static void on_pair_moved(struct pair *pair, uint64_t up, uint64_t down)
{
    (void)pair; // nobody counts here
    (void)up;
    (void)down;
}

static void on_pair_ended(struct pair *pair, enum pair_end how)
{
    struct connection *connection = container_of(pair, struct connection, pair);
    if (how != PAIR_DONE && how != PAIR_CUT) {
        fprintf(stderr, "%s nc: a connection ended %s\n", command_program(), pair_end_text(how));
    }
    forget(connection);
}

static void on_reached(void *arg, const struct reach_result *result)
{
    struct connection *connection = arg;
    struct buf nothing = BUF_INIT(0);
    connection->reach = NULL;
    if (result->fault.error != WEIR_AGENT_ERROR_NONE) {
        complain(result->fault.text);
        forget(connection);
        return;
    }
    struct pair_options options = {
        .front = {.fd = connection->fd},
        .back = result->state,
        .front_unread = &nothing,
        .back_unread = &nothing,
        .idle_ns = IDLE_NS,
        .half_idle_ns = HALF_IDLE_NS,
        .moved = on_pair_moved,
        .ended = on_pair_ended,
    };
    connection->fd = -1;
    pair_open(&connection->pair, connection->joiner->loop.worker, &options);
}

static void on_accepted(struct listener *listener, int fd, const struct sys_address *peer)
{
    struct joiner *joiner = listener->owner;
    struct connection *connection = mem_zalloc(sizeof *connection);
    (void)peer;
    if (connection == NULL) {
        sys_close_hard(fd);
        complain("out of memory");
        return;
    }
    connection->joiner = joiner;
    connection->fd = fd;
    list_init(&connection->node);
    list_push_back(&joiner->connections, &connection->node);
    if (++joiner->connection_count == CONNECTIONS_MAX) {
        listener_pause(listener);
    }
    connection->reach = reach(joiner, on_reached, connection);
    if (connection->reach == NULL) {
        complain("out of memory");
        forget(connection);
    }
}

static bool start_listener(struct joiner *joiner)
{
    struct sys_address address = *joiner->options->listen;
    char ip[IP_TEXT_SIZE];
    int fd;
    enum weir_result result = sys_listen_alone(&address, &fd);
    if (result == WEIR_OK) {
        result = listener_open(&joiner->listener, joiner->loop.worker, fd, on_accepted, joiner);
    }
    ip_to_text(&address.ip, ip);
    joiner->listening = result == WEIR_OK;
    fprintf(stderr, "%s nc: %s %s port %u%s%s\n", command_program(),
        joiner->listening ? "listening at" : "cannot listen at", ip, address.port,
        joiner->listening ? ", for " : ": ",
        joiner->listening ? joiner->options->target : weir_result_text(result));
    return joiner->listening;
}

// ---- Life

static void start(struct cli_loop *loop)
{
    struct joiner *joiner = loop->arg;
    if (!(joiner->options->listen == NULL ? start_stdio(joiner) : start_listener(joiner))) {
        cli_loop_end(loop, EXIT_FAILED);
    }
}

static void stop(struct cli_loop *loop)
{
    struct joiner *joiner = loop->arg;
    if (joiner->listening) {
        joiner->listening = false;
        listener_close(&joiner->listener);
    }
    reach_cancel(joiner->reach);
    end(joiner, true, EXIT_FAILED);
    stdio_pump_close(&joiner->pump);
    list_for_each_safe (node, &joiner->connections) {
        struct connection *connection = container_of(node, struct connection, node);
        if (connection->fd >= 0) {
            reach_cancel(connection->reach);
            forget(connection);
        } else {
            pair_cut(&connection->pair);
        }
    }
    worker_settle(loop->worker);
}

int joiner_run(const struct joiner_options *options)
{
    struct joiner *joiner = mem_zalloc(sizeof *joiner);
    if (joiner == NULL || !target_parse(options->target, &joiner->target)) {
        fprintf(stderr, "%s nc: %s%s\n", command_program(), joiner == NULL ? "" : options->target,
            joiner == NULL ? "out of memory"
                           : ": no place to connect to; allowed: HOST:PORT, unix:/PATH");
        mem_free(joiner);
        return joiner == NULL ? EXIT_FAILED : EXIT_USAGE;
    }
    joiner->options = options;
    list_init(&joiner->connections);
    joiner->loop = (struct cli_loop){.start = start, .stop = stop, .arg = joiner};
    int exit_code = cli_loop_run(&joiner->loop);
    mem_free(joiner);
    return exit_code;
}
