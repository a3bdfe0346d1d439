// SPDX-License-Identifier: Apache-2.0
// An exec check: a program runs, and its exit status is what was expected. Also everything that
// runs on another machine, a process check included: the program is ssh then.
//
//   user is looked up (if it names one) ──► running ──► ended: reap, judge
//                                              │ deadline
//      ┌───────────────────────────────────────┘
//      ▼
//   asked to end (SIGTERM) ──1 s──► killed (SIGKILL) ──1 s──► judged without it
//
// 1. A program of the registry is contained (sys/spawn.h): nothing it started is left when it has
//    ended. ssh is not, because the connection it shares goes on in the background; it has a
//    process group of its own, which is killed as a whole.
// 2. After a kill the check may be over before the program is: then it lingers (room->lingering)
//    until it is reaped, so that no zombie stays.
// 3. Of the output only the last line is kept; the rest is read and dropped, so that no program
//    waits for us.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/checks/check_internal.h"
#include "health/checks/remote.h"
#include "loop/resolver.h"
#include "loop/swarm.h"
#include "loop/watch.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "sys/spawn.h"
#include "sys/spawner.h"

#define GRACE_NS NS_PER_S
#define READS_PER_TURN 16
#define LINE_SIZE 160
#define SSH_FAILED 255

enum exec_state { EXEC_RUNNING, EXEC_TERMINATED, EXEC_KILLED, EXEC_ENDED };

struct exec_check {
    struct check base;
    struct list node; // in room->lingering, from the end until gone
    enum exec_state state;
    struct resolve *user; // its user is looked up; NULL: no more
    bool started;         // there is a child
    bool remote;          // it is ssh
    bool expired;
    struct sys_child child;
    struct sys_exit exit;
    struct watch exit_watch;
    struct watch output_watch;
    bool exit_watching;
    bool output_watching;
    char line[LINE_SIZE]; // the newest line, while it comes in
    size_t line_len;
    char last_line[LINE_SIZE]; // the newest whole line that is not blank
};

// ---- Output

static void end_line(struct exec_check *exec)
{
    exec->line[exec->line_len] = '\0';
    struct slice text = slice_trim(slice_of(exec->line, exec->line_len));
    if (text.len > 0) {
        (void)slice_to_text(text, exec->last_line, sizeof exec->last_line); // it fits: a part
    }
    exec->line_len = 0;
}

static void take_output(struct exec_check *exec, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\0') {
            end_line(exec);
        } else if (exec->line_len < LINE_SIZE - 1) {
            exec->line[exec->line_len++] = bytes[i];
        }
    }
}

// False: nothing more will come.
static bool read_output(struct exec_check *exec)
{
    char chunk[4096];
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t len = 0;
        enum weir_result result = sys_read_some(exec->child.output, chunk, sizeof chunk, &len);
        if (result != WEIR_OK) {
            return result == WEIR_AGAIN;
        }
        take_output(exec, chunk, len);
    }
    return true;
}

// ---- The end

static void on_watch_gone(struct exec_check *exec)
{
    if (!exec->exit_watching && !exec->output_watching && exec->state == EXEC_ENDED) {
        list_remove(&exec->node);
        check_gone(&exec->base);
    }
}

static void on_exit_closed(struct watch *watch)
{
    struct exec_check *exec = container_of(watch, struct exec_check, exit_watch);
    exec->exit_watching = false;
    on_watch_gone(exec);
}

static void on_output_closed(struct watch *watch)
{
    struct exec_check *exec = container_of(watch, struct exec_check, output_watch);
    exec->output_watching = false;
    on_watch_gone(exec);
}

static void close_output(struct exec_check *exec)
{
    if (exec->child.output >= 0) {
        if (exec->output_watching) {
            watch_close(&exec->output_watch, on_output_closed);
        }
        sys_close(exec->child.output);
        exec->child.output = -1;
    }
}

// The program is no more, or given up: what was open for it goes.
static void close_child(struct exec_check *exec)
{
    if (exec->state == EXEC_ENDED) {
        return;
    }
    exec->state = EXEC_ENDED;
    close_output(exec);
    if (exec->exit_watching) {
        watch_close(&exec->exit_watch, on_exit_closed);
    }
    sys_child_close(&exec->child);
}

// Waits for the program, which takes no time but in the kernel's worst moments.
static void kill_now(struct exec_check *exec)
{
    sys_child_kill(&exec->child);
    if (!sys_wait_readable(exec->child.handle, GRACE_NS)) {
        sys_child_abandon(&exec->child);
        (void)sys_wait_readable(exec->child.handle, GRACE_NS); // or it stays until we end
    }
    enum weir_result ignored = sys_child_reap(&exec->child, &exec->exit);
    (void)ignored; // nobody asks how it ended
    close_child(exec);
}

static void cannot_run(struct check *check, bool remote, enum weir_result why)
{
    bool spawner_has_ended = why == WEIR_RESET && sys_spawner_is_open();
    check_end(check, remote ? OUTCOME_SSH : OUTCOME_EXIT, "cannot run %s: %s",
        remote ? "ssh" : check->spec->command[0],
        spawner_has_ended ? "weir-spawner, which starts programs, has ended; start weir again"
                          : weir_result_text(why));
}

static void judge_exit(struct exec_check *exec)
{
    struct check *check = &exec->base;
    const char *line = exec->last_line;
    const char *colon = line[0] == '\0' ? "" : ": ";
    int expected = check->spec->type == CHECK_EXEC ? (int)check->spec->expected_exit : 0;
    check->record.code = exec->exit.code;
    if (exec->exit.started != WEIR_OK) {
        cannot_run(check, exec->remote, exec->exit.started);
    } else if (exec->expired) {
        check_end_timeout(check, "");
    } else if (exec->exit.signal != 0) {
        check_end(check, OUTCOME_EXIT, "killed by signal %d (%s)%s%s", exec->exit.signal,
            strsignal(exec->exit.signal), colon, line);
    } else if (exec->remote && exec->exit.code == SSH_FAILED) {
        check_end(check, OUTCOME_SSH, "ssh: %s", line[0] == '\0' ? "exit 255" : line);
    } else if (check->spec->type == CHECK_PROCESS) {
        check_end(check, exec->exit.code == 0 ? OUTCOME_PASS : OUTCOME_PROCESS, "%s",
            line[0] == '\0' ? "the process cannot be looked at" : line);
    } else if (exec->exit.code != expected) {
        check_end(check, OUTCOME_EXIT, "exit %d, expected %d%s%s", exec->exit.code, expected, colon,
            line);
    } else {
        check_end(check, OUTCOME_PASS, "exit %d%s%s", exec->exit.code, colon, line);
    }
}

static void on_exit(struct watch *watch, unsigned events)
{
    struct exec_check *exec = container_of(watch, struct exec_check, exit_watch);
    (void)events;
    enum weir_result result = sys_child_reap(&exec->child, &exec->exit);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (exec->child.output >= 0) {
        (void)read_output(exec); // what it said last
    }
    end_line(exec);
    close_child(exec);
    if (!exec->base.ended) {
        judge_exit(exec);
    }
}

static void on_output(struct watch *watch, unsigned events)
{
    struct exec_check *exec = container_of(watch, struct exec_check, output_watch);
    (void)events;
    if (!read_output(exec)) {
        close_output(exec);
    }
}

// ---- The start

static enum weir_result spawn(struct exec_check *exec)
{
    struct check *check = &exec->base;
    const struct check_spec *spec = check->spec;
    if (!exec->remote) {
        return sys_spawn(&(struct sys_spawn_options){.argv = spec->command,
                             .env = spec->env,
                             .cwd = spec->cwd,
                             .user = spec->user,
                             .contained = true},
            &exec->child);
    }
    struct remote_command command;
    enum weir_result result = remote_command_make(&command, check->service, check->room->ssh_dir);
    if (result == WEIR_OK) {
        result = sys_spawn(&(struct sys_spawn_options){.argv = command.argv}, &exec->child);
    }
    remote_command_fini(&command);
    return result;
}

static void run(struct exec_check *exec)
{
    struct check *check = &exec->base;
    struct worker *worker = check->room->worker;
    enum weir_result result = spawn(exec);
    if (result != WEIR_OK) {
        cannot_run(check, exec->remote, result);
        return;
    }
    // Only a loop without descriptors refuses a watch; the program is ended then.
    exec->state = EXEC_RUNNING;
    exec->started = true;
    result = watch_open(worker, &exec->exit_watch, exec->child.handle, on_exit);
    exec->exit_watching = result == WEIR_OK;
    if (result == WEIR_OK) {
        result = watch_open(worker, &exec->output_watch, exec->child.output, on_output);
        exec->output_watching = result == WEIR_OK;
    }
    if (result != WEIR_OK) {
        kill_now(exec);
        check_end_result(check, "exec", result);
        return;
    }
    watch_want(&exec->exit_watch, WATCH_READ);
    watch_want(&exec->output_watch, WATCH_READ);
}

static void on_user(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct exec_check *exec = arg;
    (void)ips;
    (void)count;
    exec->user = NULL;
    if (result == WEIR_OK) {
        run(exec);
    } else {
        cannot_run(&exec->base, false, result);
    }
}

static void start(struct check *check)
{
    struct exec_check *exec = (struct exec_check *)check;
    list_init(&exec->node);
    exec->remote = check_lane(check->service) == LANE_SSH;
    exec->state = EXEC_ENDED;
    if (exec->remote || check->spec->user == NULL) {
        run(exec);
        return;
    }
    exec->user = resolve_user_start(check->room->worker, check->spec->user, on_user, exec);
    if (exec->user == NULL) {
        cannot_run(check, false, WEIR_MEMORY);
    }
}

static void expire(struct check *check)
{
    struct exec_check *exec = (struct exec_check *)check;
    if (exec->user != NULL) {
        check_end_timeout(check, "looking up the user");
        return;
    }
    exec->expired = true;
    if (exec->state == EXEC_RUNNING) {
        exec->state = EXEC_TERMINATED;
        sys_child_terminate(&exec->child);
        worker_arm_in(check->room->worker, &check->deadline, GRACE_NS);
    } else if (exec->state == EXEC_TERMINATED) {
        exec->state = EXEC_KILLED;
        sys_child_kill(&exec->child);
        worker_arm_in(check->room->worker, &check->deadline, GRACE_NS);
    } else {
        sys_child_abandon(&exec->child); // the kernel does not let go of it
        check_end_timeout(check, "");
    }
}

static void stop(struct check *check)
{
    struct exec_check *exec = (struct exec_check *)check;
    if (exec->user != NULL) {
        resolve_cancel(exec->user);
        exec->user = NULL;
    }
    if (!exec->started) {
        check_gone(check);
        return;
    }
    // Its watches close, or wait for the end of the program.
    list_push_back(&check->room->lingering, &exec->node);
    if (exec->state != EXEC_ENDED) {
        exec->state = EXEC_KILLED;
        sys_child_kill(&exec->child);
    }
    on_watch_gone(exec);
}

const struct check_kind check_exec = {sizeof(struct exec_check), start, expire, stop};

void check_room_init(struct check_room *room, struct worker *worker, const char *ssh_dir)
{
    *room = (struct check_room){.worker = worker, .ssh_dir = ssh_dir};
    list_init(&room->lingering);
}

void check_room_fini(struct check_room *room)
{
    list_for_each (node, &room->lingering) {
        struct exec_check *exec = container_of(node, struct exec_check, node);
        if (exec->state != EXEC_ENDED) {
            kill_now(exec);
        }
    }
    swarm_free(room->swarm);
    room->swarm = NULL;
    worker_settle(room->worker);
    weir_assert(list_empty(&room->lingering));
}
