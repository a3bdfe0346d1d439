// SPDX-License-Identifier: Apache-2.0
// Invariants
//
// 1. At most STDIO_INPUT_SIZE bytes are held: nothing is read from stdin before the stream took
// them.
// 2. Standard input may be a file, which cannot be watched: then it is always ready. Otherwise it
// is
//    read only when it is: it blocks, and stays so, because others share it.
#include "cli/forward/stdio_pump.h"

#include <unistd.h>

#include "sys/file.h"
#include "sys/socket.h"

#define OUTPUT_SIZE 65536

static void pump_input(struct stdio_pump *pump);

static void on_again(struct worker *worker, struct job *job)
{
    (void)worker;
    pump_input(container_of(job, struct stdio_pump, again));
}

// True: there may be more; false: nothing now, or never again.
static bool read_input(struct stdio_pump *pump)
{
    size_t len = 0;
    if (pump->keys_open && !sys_wait_readable(STDIN_FILENO, 0)) {
        return false;
    }
    enum weir_result result = sys_read_some(STDIN_FILENO, pump->input, STDIO_INPUT_SIZE, &len);
    if (result == WEIR_OK) {
        pump->input_at = 0;
        pump->input_len = len;
        return true;
    }
    pump->input_ended = result != WEIR_AGAIN;
    return false;
}

static bool write_input(struct stdio_pump *pump)
{
    while (pump->input_at < pump->input_len) {
        size_t len = 0;
        if (pump->ops->write(pump->arg, pump->input + pump->input_at,
                pump->input_len - pump->input_at, &len) != WEIR_STREAM_OK) {
            return false; // it becomes ready, or ends
        }
        pump->input_at += len;
    }
    return true;
}

// One piece a turn.
static void pump_input(struct stdio_pump *pump)
{
    if (!pump->flows || pump->finished) {
        return;
    }
    bool taken = write_input(pump);
    bool more = taken && !pump->input_ended && read_input(pump);
    if (more) {
        taken = write_input(pump);
    }
    if (taken && pump->input_ended) {
        pump->finished = true;
        pump->ops->finish(pump->arg);
    }
    if (pump->keys_open) {
        watch_want(&pump->keys, taken && !pump->input_ended ? WATCH_READ : WATCH_NONE);
    } else if (more && taken) {
        worker_defer(pump->worker, &pump->again, on_again);
    }
}

static void on_keys(struct watch *watch, unsigned events)
{
    (void)events;
    pump_input(container_of(watch, struct stdio_pump, keys));
}

static void pump_output(struct stdio_pump *pump)
{
    char bytes[OUTPUT_SIZE];
    size_t len = 0;
    enum weir_stream_result result = WEIR_STREAM_OK;
    while (!pump->output_ended && result == WEIR_STREAM_OK) {
        result = pump->ops->read(pump->arg, bytes, sizeof bytes, &len);
        if (result == WEIR_STREAM_OK && sys_write_all(STDOUT_FILENO, bytes, len) != WEIR_OK) {
            pump->ops->close(pump->arg);
            return;
        }
    }
    if (result == WEIR_STREAM_END) {
        pump->output_ended = true;
        sys_close(STDOUT_FILENO); // who reads it sees the end, too
    }
}

void stdio_pump_open(
    struct stdio_pump *pump, struct worker *worker, const struct stdio_ops *ops, void *arg)
{
    pump->worker = worker;
    pump->ops = ops;
    pump->arg = arg;
    list_init(&pump->again.node);
    pump->keys_open = watch_open(worker, &pump->keys, STDIN_FILENO, on_keys) == WEIR_OK;
}

void stdio_pump_ready(struct stdio_pump *pump)
{
    pump->flows = true;
    pump_output(pump);
    pump_input(pump);
}

void stdio_pump_stop(struct stdio_pump *pump)
{
    pump->flows = false;
}

static void on_keys_closed(struct watch *watch)
{
    (void)watch; // its memory outlives the loop
}

void stdio_pump_close(struct stdio_pump *pump)
{
    stdio_pump_stop(pump);
    if (pump->keys_open) {
        pump->keys_open = false;
        watch_close(&pump->keys, on_keys_closed);
    }
}
