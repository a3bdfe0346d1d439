// SPDX-License-Identifier: Apache-2.0
//   running ──deadline──► SIGTERM ──1 s──► SIGKILL ──1 s──► given up
//      └──────────┴──────ended: what it said last is told, then `ended`
//
// 1. `ended` is called once, from a watch or the deadline; or never, after program_kill.
// 2. The memory goes when both watches are closed: not before the end of the turn.
// 3. All output is read and what nobody wants dropped, so that no program waits for us.
#include "health/actions/program.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/utf8.h"
#include "loop/watch.h"
#include "sys/file.h"
#include "sys/socket.h"

#define GRACE_NS NS_PER_S
#define READS_PER_TURN 16
#define ARGS_MAX 4

enum program_state { PROGRAM_RUNNING, PROGRAM_TERMINATED, PROGRAM_KILLED };

struct program {
    struct worker *worker; // borrowed
    enum program_state state;
    struct sys_child child;
    struct watch exit_watch;
    struct watch output_watch;
    bool exit_watching;
    bool output_watching;
    bool expired;
    struct timer deadline;
    uint64_t timeout_ns;
    char line[PROGRAM_LINE_SIZE];
    size_t line_len;
    char last_line[PROGRAM_PROBLEM_SIZE / 2]; // the newest that is not blank
    void (*tell_line)(void *arg, struct slice text);
    void (*ended)(void *arg, const char *problem);
    void *arg;
};

// ---- Output

static void end_line(struct program *program)
{
    program->line[program->line_len] = '\0';
    program->line_len = 0;
    utf8_make_plain(program->line);
    struct slice text = slice_trim(slice_str(program->line));
    if (text.len == 0) {
        return;
    }
    size_t room = sizeof program->last_line - 1;
    (void)slice_to_text(slice_of(text.at, text.len > room ? room : text.len), program->last_line,
        sizeof program->last_line); // it fits
    if (program->tell_line != NULL) {
        program->tell_line(program->arg, slice_str(program->line));
    }
}

static void take_output(struct program *program, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\0') {
            end_line(program);
        } else if (program->line_len < PROGRAM_LINE_SIZE - 1) {
            program->line[program->line_len++] = bytes[i];
        }
    }
}

// False: nothing more will come.
static bool read_output(struct program *program)
{
    char chunk[4096];
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t len = 0;
        enum weir_result result = sys_read_some(program->child.output, chunk, sizeof chunk, &len);
        if (result != WEIR_OK) {
            return result == WEIR_AGAIN;
        }
        take_output(program, chunk, len);
    }
    return true;
}

// ---- The end

static void on_watch_gone(struct program *program)
{
    if (!program->exit_watching && !program->output_watching) {
        mem_free(program);
    }
}

static void on_exit_closed(struct watch *watch)
{
    struct program *program = container_of(watch, struct program, exit_watch);
    program->exit_watching = false;
    on_watch_gone(program);
}

static void on_output_closed(struct watch *watch)
{
    struct program *program = container_of(watch, struct program, output_watch);
    program->output_watching = false;
    on_watch_gone(program);
}

static void close_output(struct program *program)
{
    if (program->child.output < 0) {
        return;
    }
    if (program->output_watching) {
        watch_close(&program->output_watch, on_output_closed);
    }
    sys_close(program->child.output);
    program->child.output = -1;
}

// The memory goes when the watches are closed; at once when none was ever open.
static void let_go(struct program *program)
{
    timer_cancel(&program->deadline);
    close_output(program);
    if (program->exit_watching) {
        watch_close(&program->exit_watch, on_exit_closed);
    }
    sys_child_close(&program->child);
    on_watch_gone(program);
}

static const char *judge(
    const struct program *program, const struct sys_exit *how, char problem[PROGRAM_PROBLEM_SIZE])
{
    const char *colon = program->last_line[0] == '\0' ? "" : ": ";
    if (program->expired) {
        snprintf(problem, PROGRAM_PROBLEM_SIZE, "timeout after %.1f s%s%s",
            (double)program->timeout_ns / (double)NS_PER_S, colon, program->last_line);
    } else if (how->started != WEIR_OK) {
        snprintf(
            problem, PROGRAM_PROBLEM_SIZE, "cannot run sh: %s", weir_result_text(how->started));
    } else if (how->signal != 0) {
        snprintf(problem, PROGRAM_PROBLEM_SIZE, "killed by signal %d (%s)%s%s", how->signal,
            strsignal(how->signal), colon, program->last_line);
    } else if (how->code != 0) {
        snprintf(
            problem, PROGRAM_PROBLEM_SIZE, "exit %d%s%s", how->code, colon, program->last_line);
    } else {
        return NULL;
    }
    return problem;
}

static void finish(struct program *program, const struct sys_exit *how)
{
    char text[PROGRAM_PROBLEM_SIZE];
    const char *problem = judge(program, how, text);
    let_go(program); // its memory stays to the end of the turn
    program->ended(program->arg, problem);
}

static void on_exit(struct watch *watch, unsigned events)
{
    struct program *program = container_of(watch, struct program, exit_watch);
    struct sys_exit how = {0};
    (void)events;
    if (sys_child_reap(&program->child, &how) == WEIR_AGAIN) {
        return;
    }
    if (program->child.output >= 0) {
        (void)read_output(program); // what it said last
    }
    end_line(program);
    finish(program, &how);
}

static void on_output(struct watch *watch, unsigned events)
{
    struct program *program = container_of(watch, struct program, output_watch);
    (void)events;
    if (!read_output(program)) {
        close_output(program);
    }
}

static void on_deadline(struct timer *timer)
{
    struct program *program = container_of(timer, struct program, deadline);
    program->expired = true;
    if (program->state == PROGRAM_RUNNING) {
        program->state = PROGRAM_TERMINATED;
        sys_child_terminate(&program->child);
    } else if (program->state == PROGRAM_TERMINATED) {
        program->state = PROGRAM_KILLED;
        sys_child_kill(&program->child);
    } else {
        sys_child_abandon(&program->child); // the kernel does not let go of it
        finish(program, &(struct sys_exit){0});
        return;
    }
    worker_arm_in(program->worker, timer, GRACE_NS);
}

void program_kill(struct program *program)
{
    struct sys_exit ignored_exit;
    if (program == NULL) {
        return;
    }
    sys_child_kill(&program->child);
    if (!sys_wait_readable(program->child.handle, GRACE_NS)) {
        sys_child_abandon(&program->child);
        (void)sys_wait_readable(program->child.handle, GRACE_NS); // or it stays until we end
    }
    enum weir_result ignored = sys_child_reap(&program->child, &ignored_exit);
    (void)ignored; // nobody asks how it ended
    let_go(program);
}

// ---- The start

static enum weir_result spawn(struct program *program, const struct program_options *options)
{
    // sh's "$@" are the arguments behind its name, whatever characters are in them.
    const char *argv[4 + ARGS_MAX + 1] = {"sh", "-c", NULL, "weir"};
    char command[4096];
    int len = snprintf(
        command, sizeof command, "%s%s", options->command, options->args == NULL ? "" : " \"$@\"");
    if (len < 0 || (size_t)len >= sizeof command) {
        return WEIR_TOO_LARGE;
    }
    argv[2] = command;
    for (size_t i = 0; options->args != NULL && options->args[i] != NULL; i++) {
        weir_assert(i < ARGS_MAX);
        argv[4 + i] = options->args[i];
    }
    return sys_spawn(
        &(struct sys_spawn_options){.argv = argv, .env = options->env, .contained = true},
        &program->child);
}

static enum weir_result watch_it(struct program *program)
{
    enum weir_result result =
        watch_open(program->worker, &program->exit_watch, program->child.handle, on_exit);
    program->exit_watching = result == WEIR_OK;
    if (result == WEIR_OK) {
        result =
            watch_open(program->worker, &program->output_watch, program->child.output, on_output);
        program->output_watching = result == WEIR_OK;
    }
    return result;
}

struct program *program_start(struct worker *worker, const struct program_options *options,
    char problem[PROGRAM_PROBLEM_SIZE])
{
    struct program *program = mem_zalloc(sizeof *program);
    enum weir_result result = program == NULL ? WEIR_MEMORY : spawn(program, options);
    if (result != WEIR_OK) {
        snprintf(problem, PROGRAM_PROBLEM_SIZE, "cannot run sh: %s", weir_result_text(result));
        mem_free(program);
        return NULL;
    }
    program->worker = worker;
    program->tell_line = options->line;
    program->ended = options->ended;
    program->arg = options->arg;
    program->timeout_ns = options->timeout_ns;
    timer_init(&program->deadline, on_deadline);
    result = watch_it(program);
    if (result != WEIR_OK) { // only a loop without descriptors refuses a watch
        snprintf(problem, PROGRAM_PROBLEM_SIZE, "cannot watch sh: %s", weir_result_text(result));
        program_kill(program);
        return NULL;
    }
    worker_arm_in(worker, &program->deadline, options->timeout_ns);
    watch_want(&program->exit_watch, WATCH_READ);
    watch_want(&program->output_watch, WATCH_READ);
    return program;
}
