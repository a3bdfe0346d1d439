// SPDX-License-Identifier: Apache-2.0
//   running ──ended: read, told──► closing ──both watches closed──► freed
//      │ deadline: killed, told
//      ▼
//   killed ──ended──► closing
//
// 1. The callback is called once, by `tell`, which clears it.
// 2. ssh is in a process group of its own and is reaped whatever happens.
// 3. Output beyond OUTPUT_MAX is read and dropped.
#include "health/machines/device_probe.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/checks/remote.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/socket.h"

#define OUTPUT_MAX 65536
#define READS_PER_TURN 16
#define KILL_WAIT_NS NS_PER_S
#define PROBLEM_SIZE 128

struct device_probe {
    struct list node;
    char *machine; // owned
    device_probe_fn *done;
    void *arg;
    struct timer deadline;
    struct sys_child child;
    struct watch exit_watch;
    struct watch output_watch;
    bool exit_watching;
    bool output_watching;
    bool closing;
    struct buf output;
};

static void free_when_closed(struct device_probe *probe)
{
    if (probe->closing && !probe->exit_watching && !probe->output_watching) {
        list_remove(&probe->node);
        buf_reset(&probe->output);
        mem_free(probe->machine);
        mem_free(probe);
    }
}

static void on_exit_closed(struct watch *watch)
{
    struct device_probe *probe = container_of(watch, struct device_probe, exit_watch);
    probe->exit_watching = false;
    free_when_closed(probe);
}

static void on_output_closed(struct watch *watch)
{
    struct device_probe *probe = container_of(watch, struct device_probe, output_watch);
    probe->output_watching = false;
    free_when_closed(probe);
}

static void close_output(struct device_probe *probe)
{
    if (probe->child.output < 0) {
        return;
    }
    if (probe->output_watching) {
        watch_close(&probe->output_watch, on_output_closed);
    }
    sys_close(probe->child.output);
    probe->child.output = -1;
}

static void close_probe(struct device_probe *probe)
{
    if (probe->closing) {
        return;
    }
    probe->closing = true;
    timer_cancel(&probe->deadline);
    close_output(probe);
    if (probe->exit_watching) {
        watch_close(&probe->exit_watch, on_exit_closed);
    }
    sys_child_close(&probe->child);
}

// False: nothing more will come.
static bool read_output(struct device_probe *probe)
{
    char chunk[4096];
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t len = 0;
        enum weir_result result = sys_read_some(probe->child.output, chunk, sizeof chunk, &len);
        if (result != WEIR_OK) {
            return result == WEIR_AGAIN;
        }
        (void)buf_append(&probe->output, chunk, len); // what does not fit is dropped
    }
    return true;
}

static void tell(
    struct device_probe *probe, const struct device_sample *sample, const char *problem)
{
    device_probe_fn *done = probe->done;
    probe->done = NULL;
    if (done != NULL) {
        done(probe->arg, slice_str(probe->machine), sample, problem);
    }
}

// The last line of what ssh said.
static void describe(const struct device_probe *probe, int code, char problem[PROBLEM_SIZE])
{
    struct slice rest = slice_trim(buf_slice(&probe->output));
    struct slice line = SLICE_EMPTY;
    while (slice_split(&rest, '\n', &line)) {
    }
    line = slice_trim(line);
    if (line.len == 0) {
        snprintf(problem, PROBLEM_SIZE, "ssh: exit %d", code);
    } else {
        snprintf(problem, PROBLEM_SIZE, "ssh: %.*s", line.len > 100 ? 100 : (int)line.len, line.at);
    }
}

static void judge(struct device_probe *probe, const struct sys_exit *exit)
{
    struct device_sample sample = device_sample_empty(sys_wall_ms());
    char problem[PROBLEM_SIZE];
    if (exit->started != WEIR_OK) {
        snprintf(problem, sizeof problem, "ssh cannot be run: %s", weir_result_text(exit->started));
        tell(probe, NULL, problem);
    } else if (counters_read_script(buf_slice(&probe->output), &sample)) {
        tell(probe, &sample, "");
    } else {
        describe(probe, exit->code, problem);
        tell(probe, NULL, problem);
    }
}

static void on_exit(struct watch *watch, unsigned events)
{
    struct device_probe *probe = container_of(watch, struct device_probe, exit_watch);
    struct sys_exit exit;
    (void)events;
    if (sys_child_reap(&probe->child, &exit) == WEIR_AGAIN) {
        return;
    }
    if (probe->child.output >= 0) {
        (void)read_output(probe); // what it said last
    }
    close_probe(probe);
    judge(probe, &exit);
}

static void on_output(struct watch *watch, unsigned events)
{
    struct device_probe *probe = container_of(watch, struct device_probe, output_watch);
    (void)events;
    if (!read_output(probe)) {
        close_output(probe);
    }
}

static void on_deadline(struct timer *timer)
{
    struct device_probe *probe = container_of(timer, struct device_probe, deadline);
    sys_child_kill(&probe->child);
    tell(probe, NULL, "ssh: no answer in time");
}

static void kill_now(struct device_probe *probe)
{
    struct sys_exit exit;
    sys_child_kill(&probe->child);
    if (sys_wait_readable(probe->child.handle, KILL_WAIT_NS)) {
        enum weir_result ignored = sys_child_reap(&probe->child, &exit);
        (void)ignored; // nobody asks how it ended
    }
    close_probe(probe);
}

static enum weir_result spawn(struct device_probe *probe, struct worker *worker,
    const struct machine *machine, const char *ssh_dir)
{
    struct remote_command command;
    enum weir_result result = remote_script_make(&command, machine, counters_script, ssh_dir);
    if (result == WEIR_OK) {
        result = sys_spawn(&(struct sys_spawn_options){.argv = command.argv}, &probe->child);
    }
    remote_command_fini(&command);
    if (result != WEIR_OK) {
        return result;
    }
    result = watch_open(worker, &probe->exit_watch, probe->child.handle, on_exit);
    probe->exit_watching = result == WEIR_OK;
    if (result == WEIR_OK) {
        result = watch_open(worker, &probe->output_watch, probe->child.output, on_output);
        probe->output_watching = result == WEIR_OK;
    }
    if (result != WEIR_OK) {
        probe->done = NULL;
        kill_now(probe);
        return result; // its watches may still be closing
    }
    watch_want(&probe->exit_watch, WATCH_READ);
    watch_want(&probe->output_watch, WATCH_READ);
    worker_arm_in(worker, &probe->deadline, DEVICE_PROBE_TIMEOUT_S * NS_PER_S);
    return WEIR_OK;
}

struct device_probe *device_probe_start(struct worker *worker, struct list *probes,
    const struct machine *machine, const char *ssh_dir, device_probe_fn *done, void *arg,
    char *problem, size_t size)
{
    struct device_probe *probe = mem_zalloc(sizeof *probe);
    char *name = mem_copy(machine->name, strlen(machine->name));
    enum weir_result result = WEIR_MEMORY;
    if (probe != NULL && name != NULL) {
        probe->machine = name;
        probe->done = done;
        probe->arg = arg;
        timer_init(&probe->deadline, on_deadline);
        buf_init(&probe->output, OUTPUT_MAX);
        list_init(&probe->node);
        list_push_back(probes, &probe->node);
        result = spawn(probe, worker, machine, ssh_dir);
    }
    if (result == WEIR_OK) {
        return probe;
    }
    snprintf(problem, size, "ssh cannot be run: %s", weir_result_text(result));
    if (probe != NULL && probe->closing) {
        free_when_closed(probe);
        return NULL;
    }
    if (probe != NULL && name != NULL) {
        list_remove(&probe->node);
    }
    mem_free(name);
    mem_free(probe);
    return NULL;
}

void device_probes_stop(struct list *probes)
{
    list_for_each_safe (node, probes) {
        struct device_probe *probe = container_of(node, struct device_probe, node);
        probe->done = NULL;
        if (!probe->closing) {
            kill_now(probe);
        }
    }
}
