// SPDX-License-Identifier: Apache-2.0
// fork and exec by hand: posix_spawn can neither change the user nor say which step failed. Between
// the two only async-signal-safe calls are made; everything that allocates or looks up is done
// before. A step that failed writes its errno into a close-on-exec pipe, which is read when the
// process has ended; nobody waits for the start.
//
// A contained program has a keeper between it and us:
//
//   we ──► keeper ──► program ──► …          orphans of the program's are the keeper's children
//
// 1. The keeper is the reaper of all that comes of the program (PR_SET_CHILD_SUBREAPER): who starts
//    a session of its own and loses its parent becomes the keeper's child, not init's.
// 2. When the program has ended, the keeper kills its children, and theirs when they have become
//    its own, until it has none; then it ends. So its end is the end of them all.
// 3. SIGTERM to the keeper goes to the program's group; SIGUSR1, or our death, kills at once.
// 4. From the fork until its handlers are its own, a child has all signals blocked: our handlers'
//    pipe would hear one. The keeper's stay blocked, and are waited for.
#include "sys/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/errors.h"
#include "sys/fault.h"
#include "sys/spawner.h"
#include "sys/users.h"

extern char **environ;

struct child_plan {
    const struct sys_spawn_options *options;
    char **environment;
    const struct sys_identity *identity; // NULL: stay who we are
    pid_t parent;
    int null_fd;
    int output_fd;
    int report_fd;
};

// What goes through the report's pipe.
struct report {
    int error;  // errno of a step of the start; 0: the next is meant
    int status; // of the end, as waitpid has it
};

#define REPORT_FD 3
#define SWEEP_WAIT_NS 50000000

static void signal_group(pid_t leader, int number)
{
    if (kill(-leader, number) != 0) {
        kill(leader, number); // it has not made its group yet
    }
}

// ---- In the child

static void tell(int fd, struct report report)
{
    ssize_t written = write(fd, &report, sizeof report);
    (void)written; // nobody reads it any more
}

static _Noreturn void fail(int report_fd)
{
    tell(report_fd, (struct report){.error = errno});
    _exit(127);
}

static void reset_handlers(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &standard, NULL); // fails for the two that cannot be caught
    }
}

static void reset_signals(void)
{
    sigset_t none;
    reset_handlers();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// Before anything that may wait: as long as copies of our sockets are open, none of them is closed
// for its peer.
static void take_descriptors(const struct child_plan *plan)
{
    const int *stdio = plan->options->stdio;
    int in = stdio == NULL ? plan->null_fd : *stdio;
    int out = stdio == NULL ? plan->output_fd : *stdio;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || (stdio == NULL && dup2(out, 2) < 0)) {
        fail(plan->report_fd);
    }
    // Not every descriptor of the libraries is close-on-exec. The report's is, and stays until
    // exec.
    if (plan->report_fd != REPORT_FD && dup3(plan->report_fd, REPORT_FD, O_CLOEXEC) < 0) {
        fail(plan->report_fd);
    }
    (void)close_range(REPORT_FD + 1, ~0u, 0); // an older kernel: what is close-on-exec goes anyway
}

static _Noreturn void run_program(const struct child_plan *plan)
{
    const struct sys_identity *identity = plan->identity;
    reset_signals();
    if (setsid() < 0) {
        fail(REPORT_FD);
    }
    if (identity != NULL && (setgroups((size_t)identity->group_count, identity->groups) != 0 ||
                                setgid(identity->gid) != 0 || setuid(identity->uid) != 0)) {
        fail(REPORT_FD);
    }
    if (plan->options->cwd != NULL && chdir(plan->options->cwd) != 0) {
        fail(REPORT_FD);
    }
    // exec takes pointers to what it does not change.
    char *const *argv = (char *const *)(uintptr_t)plan->options->argv;
    execvpe(argv[0], argv, plan->environment);
    fail(REPORT_FD);
}

// ---- In the keeper

// Where the kernel does not tell, those in the program's group were killed, at least.
static void kill_children(void)
{
    char chunk[1024];
    pid_t pid = 0;
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    for (;;) {
        ssize_t len = fd < 0 ? 0 : read(fd, chunk, sizeof chunk);
        for (ssize_t i = 0; i < len; i++) {
            if (chunk[i] >= '0' && chunk[i] <= '9') {
                pid = pid * 10 + (chunk[i] - '0');
            } else if (pid > 0) {
                kill(pid, SIGKILL);
                pid = 0;
            }
        }
        if (len <= 0) {
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

// Takes all dead children; false when there is none left, alive or dead. The program's status is
// kept, and its group killed while its number is still taken.
static bool reap(pid_t program, int *status, bool *ended)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
            return false;
        }
        if (info.si_pid == 0) {
            return true;
        }
        int how = 0;
        if (info.si_pid == program) {
            kill(-program, SIGKILL);
        }
        if (waitpid(info.si_pid, &how, WNOHANG) == program) {
            *status = how;
            *ended = true;
        }
    }
}

static void wait_for_end(pid_t program, const sigset_t *awaited, int *status)
{
    bool ended = false;
    while (reap(program, status, &ended) && !ended) {
        int number = sigwaitinfo(awaited, NULL);
        if (number == SIGTERM || number == SIGUSR1) {
            signal_group(program, number == SIGTERM ? SIGTERM : SIGKILL);
        }
    }
}

static void sweep(pid_t program, const sigset_t *awaited)
{
    static const struct timespec while_ns = {.tv_nsec = SWEEP_WAIT_NS};
    int status;
    bool ended;
    while (reap(program, &status, &ended)) {
        kill_children();
        sigtimedwait(awaited, NULL, &while_ns);
    }
}

static _Noreturn void keep(const struct child_plan *plan)
{
    sigset_t awaited;
    int status = 0;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGUSR1);
    reset_handlers();
    // All stay blocked, SIGPIPE too: it ends when its children have.
    if (setsid() < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGUSR1) != 0) {
        fail(REPORT_FD);
    }
    if (getppid() != plan->parent) {
        _exit(127); // it died before it could be heard of
    }
    pid_t program = _Fork(); // the safe one here: nothing of ours is called back
    if (program == 0) {
        run_program(plan);
    }
    if (program < 0) {
        fail(REPORT_FD);
    }
    close(1);
    close(2);
    wait_for_end(program, &awaited, &status);
    tell(REPORT_FD, (struct report){.status = status});
    sweep(program, &awaited);
    _exit(0);
}

static _Noreturn void run_child(const struct child_plan *plan)
{
    take_descriptors(plan);
    if (plan->options->contained) {
        keep(plan);
    }
    run_program(plan);
}

// ---- In the parent

static bool names_same(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strncmp(a, b, len + 1) == 0;
}

// Ours with the given lines in the place of those of the same name. Only the array is owned.
static char **make_environment(const char *const *added)
{
    size_t count = 0;
    size_t added_count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    while (added != NULL && added[added_count] != NULL) {
        added_count++;
    }
    char **lines = mem_alloc((count + added_count + 1) * sizeof *lines);
    if (lines == NULL) {
        return NULL;
    }
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bool replaced = false;
        for (size_t a = 0; a < added_count && !replaced; a++) {
            replaced = names_same(added[a], environ[i]);
        }
        if (!replaced) {
            lines[used++] = environ[i];
        }
    }
    for (size_t a = 0; a < added_count; a++) {
        lines[used++] = (char *)(uintptr_t)added[a];
    }
    lines[used] = NULL;
    return lines;
}

static void close_pair(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static enum weir_result start(
    struct child_plan *plan, int output_fd, int report_fd, struct sys_child *ret_child)
{
    sigset_t all;
    sigset_t ours;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &ours);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(plan);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &ours, NULL);
    if (pid < 0) {
        return sys_result_of_errno(error);
    }
    int handle = pidfd_open(pid, 0);
    if (handle < 0) {
        enum weir_result result = sys_result_of_errno(errno);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return result;
    }
    *ret_child = (struct sys_child){.pid = pid,
        .handle = handle,
        .output = output_fd,
        .report = report_fd,
        .contained = plan->options->contained};
    return WEIR_OK;
}

enum weir_result sys_spawn(const struct sys_spawn_options *options, struct sys_child *ret_child)
{
    struct sys_identity known;
    const struct sys_identity *identity = options->user == NULL ? NULL : &known;
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    if (identity != NULL && !sys_user_recall(options->user, &known)) {
        return WEIR_NOT_FOUND;
    }
    return sys_spawner_is_open() ? sys_spawner_spawn(options, identity, ret_child)
                                 : sys_spawn_here(options, identity, ret_child);
}

enum weir_result sys_spawn_here(const struct sys_spawn_options *options,
    const struct sys_identity *identity, struct sys_child *ret_child)
{
    int output[2] = {-1, -1};
    int report[2] = {-1, -1};
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    enum weir_result result = WEIR_OK;
    if (null_fd < 0 || pipe2(output, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
        result = sys_result_of_errno(errno);
    }
    char **environment = make_environment(options->env);
    if (result == WEIR_OK && environment == NULL) {
        result = WEIR_MEMORY;
    }
    if (result == WEIR_OK) {
        struct child_plan plan = {options, environment, identity, getpid(),
            null_fd, output[1], report[1]};
        fcntl(output[0], F_SETFL, O_NONBLOCK);
        fcntl(report[0], F_SETFL, O_NONBLOCK);
        result = start(&plan, output[0], report[0], ret_child);
    }
    if (result == WEIR_OK) {
        output[0] = report[0] = -1; // the caller's
    }
    mem_free(environment);
    close_pair(output);
    close_pair(report);
    if (null_fd >= 0) {
        close(null_fd);
    }
    return result;
}

bool sys_child_runs(const struct sys_child *child)
{
    // exec closes the other end; a step that failed has written before.
    struct pollfd report = {.fd = child->report, .events = POLLIN};
    return poll(&report, 1, 0) == 1 && (report.revents & POLLIN) == 0;
}

static void tell_child(const struct sys_child *child, enum sys_spawner_signal signal)
{
    if (sys_spawner_is_open()) {
        sys_spawner_tell(child, signal);
    } else {
        sys_child_tell_here(child, signal);
    }
}

void sys_child_terminate(const struct sys_child *child)
{
    tell_child(child, SPAWNER_TERMINATE);
}

void sys_child_kill(const struct sys_child *child)
{
    tell_child(child, SPAWNER_KILL);
}

void sys_child_abandon(const struct sys_child *child)
{
    tell_child(child, SPAWNER_ABANDON);
}

void sys_child_tell_here(const struct sys_child *child, enum sys_spawner_signal signal)
{
    if (child->contained) {
        // The keeper itself is never killed: what it has not killed yet would live on.
        kill(child->pid, signal == SPAWNER_TERMINATE ? SIGTERM : SIGUSR1);
    } else {
        signal_group(child->pid, signal == SPAWNER_TERMINATE ? SIGTERM : SIGKILL);
    }
}

// What was told of the program in the place of who was waited for.
static void read_reports(const struct sys_child *child, int *error, int *status)
{
    struct report report;
    while (read(child->report, &report, sizeof report) == (ssize_t)sizeof report) {
        if (report.error != 0) {
            *error = report.error;
        } else {
            *status = report.status;
        }
    }
}

enum weir_result sys_child_reap(const struct sys_child *child, struct sys_exit *ret_exit)
{
    return sys_spawner_is_open() ? sys_spawner_reap(child, ret_exit)
                                 : sys_child_reap_here(child, ret_exit);
}

enum weir_result sys_child_reap_here(const struct sys_child *child, struct sys_exit *ret_exit)
{
    siginfo_t info = {0};
    id_t id = (id_t)child->handle;
    if (waitid(P_PIDFD, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return sys_result_of_errno(errno);
    }
    if (info.si_pid == 0) {
        return WEIR_AGAIN;
    }
    if (!child->contained) {
        // The dead leader still holds the group's number, so nobody else can be hit.
        kill(-child->pid, SIGKILL);
    }
    int error = 0;
    int status = 0;
    if (waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return sys_result_of_errno(errno);
    }
    read_reports(child, &error, &status);
    *ret_exit = (struct sys_exit){
        .started = error == 0 ? WEIR_OK : sys_result_of_errno(error),
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
    };
    return WEIR_OK;
}

void sys_child_close(struct sys_child *child)
{
    if (child->handle >= 0) {
        close(child->handle);
        close(child->report);
        child->handle = child->report = -1;
    }
}

// ---- Other processes

enum weir_result sys_process_look(int pid, struct sys_process *ret_process)
{
    char path[64];
    char line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (len <= 0) {
        return error == ENOENT || error == ESRCH || len == 0 ? WEIR_NOT_FOUND
                                                             : sys_result_of_errno(error);
    }
    // "4711 (name) S …": the name may hold parentheses and blanks.
    line[len] = '\0';
    char *open_at = strchr(line, '(');
    char *close_at = strrchr(line, ')');
    if (open_at == NULL || close_at == NULL || close_at < open_at || close_at[1] != ' ') {
        return WEIR_MALFORMED;
    }
    size_t name_len = (size_t)(close_at - open_at - 1);
    name_len = name_len < SYS_PROCESS_NAME_SIZE ? name_len : SYS_PROCESS_NAME_SIZE - 1;
    memcpy(ret_process->name, open_at + 1, name_len);
    ret_process->name[name_len] = '\0';
    ret_process->state = close_at[2];
    return WEIR_OK;
}

int sys_pid_max(void)
{
    FILE *file = fopen("/proc/sys/kernel/pid_max", "re");
    int max = 4194304;
    if (file == NULL) {
        return max;
    }
    if (fscanf(file, "%d", &max) != 1) {
        max = 4194304;
    }
    fclose(file);
    return max;
}
