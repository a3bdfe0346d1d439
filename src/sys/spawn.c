// SPDX-License-Identifier: Apache-2.0
// fork and exec by hand: posix_spawn can neither change the user nor say which step failed. Between
// the two only async-signal-safe calls are made; everything that allocates or looks up is done
// before. The child reports a failed step by writing its errno into a close-on-exec pipe; an exec
// that worked closes that pipe, and the parent reads its end.
#include "sys/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/errors.h"
#include "sys/fault.h"

#define GROUPS_MAX 256

extern char **environ;

struct identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    int group_count;
};

struct child_plan {
    const struct sys_spawn_options *options;
    char **environment;
    const struct identity *identity; // NULL: stay who we are
    int null_fd;
    int output_fd;
    int report_fd;
};

// ---- In the child

static _Noreturn void fail(const struct child_plan *plan)
{
    int error = errno;
    ssize_t written = write(plan->report_fd, &error, sizeof error);
    (void)written; // the parent then sees an end of file, and later an exit status
    _exit(127);
}

static void reset_signals(void)
{
    sigset_t none;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &standard, NULL); // fails for the two that cannot be caught
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void run_child(const struct child_plan *plan)
{
    const struct identity *identity = plan->identity;
    reset_signals();
    const int *stdio = plan->options->stdio;
    int in = stdio == NULL ? plan->null_fd : *stdio;
    int out = stdio == NULL ? plan->output_fd : *stdio;
    if (setsid() < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        (stdio == NULL && dup2(out, 2) < 0)) {
        fail(plan);
    }
    // Not every descriptor of the libraries is close-on-exec. report_fd is, and stays until exec.
    if (plan->report_fd != 3 && dup3(plan->report_fd, 3, O_CLOEXEC) < 0) {
        fail(plan);
    }
    struct child_plan moved = *plan;
    moved.report_fd = 3;
    (void)close_range(4, ~0u, 0); // an older kernel: what is close-on-exec goes anyway
    if (identity != NULL && (setgroups((size_t)identity->group_count, identity->groups) != 0 ||
                                setgid(identity->gid) != 0 || setuid(identity->uid) != 0)) {
        fail(&moved);
    }
    if (plan->options->cwd != NULL && chdir(plan->options->cwd) != 0) {
        fail(&moved);
    }
    // exec takes pointers to what it does not change.
    char *const *argv = (char *const *)(uintptr_t)plan->options->argv;
    execvpe(argv[0], argv, plan->environment);
    fail(&moved);
}

// ---- In the parent

static enum weir_result find_identity(const char *name, struct identity *ret_identity)
{
    struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return WEIR_NOT_FOUND;
    }
    ret_identity->uid = user->pw_uid;
    ret_identity->gid = user->pw_gid;
    ret_identity->group_count = GROUPS_MAX;
    if (getgrouplist(name, user->pw_gid, ret_identity->groups, &ret_identity->group_count) < 0) {
        return WEIR_TOO_LARGE;
    }
    return WEIR_OK;
}

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

// What the child reports before it becomes the program; 0 when it did.
static int read_report(int fd)
{
    int error = 0;
    ssize_t got;
    do {
        got = read(fd, &error, sizeof error);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof error ? error : 0;
}

static enum weir_result start(
    struct child_plan *plan, int output_fd, int report_fd, struct sys_child *ret_child)
{
    pid_t pid = fork();
    if (pid == 0) {
        run_child(plan);
    }
    close(plan->report_fd);
    plan->report_fd = -1;
    if (pid < 0) {
        return sys_result_of_errno(errno);
    }
    int error = read_report(report_fd);
    int handle = error == 0 ? pidfd_open(pid, 0) : -1;
    if (handle < 0) {
        enum weir_result result = sys_result_of_errno(error != 0 ? error : errno);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return result;
    }
    *ret_child = (struct sys_child){.pid = pid, .handle = handle, .output = output_fd};
    return WEIR_OK;
}

enum weir_result sys_spawn(const struct sys_spawn_options *options, struct sys_child *ret_child)
{
    struct identity identity;
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    if (options->user != NULL) {
        enum weir_result result = find_identity(options->user, &identity);
        if (result != WEIR_OK) {
            return result;
        }
    }
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
        struct child_plan plan = {options, environment, options->user == NULL ? NULL : &identity,
            null_fd, output[1], report[1]};
        fcntl(output[0], F_SETFL, O_NONBLOCK);
        result = start(&plan, output[0], report[0], ret_child);
        report[1] = plan.report_fd;
    }
    if (result == WEIR_OK) {
        output[0] = -1; // the caller's
    }
    mem_free(environment);
    close_pair(output);
    close_pair(report);
    if (null_fd >= 0) {
        close(null_fd);
    }
    return result;
}

void sys_child_signal(const struct sys_child *child, int signal)
{
    kill(-child->pid, signal);
}

enum weir_result sys_child_reap(const struct sys_child *child, struct sys_exit *ret_exit)
{
    siginfo_t info = {0};
    id_t id = (id_t)child->handle;
    if (waitid(P_PIDFD, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return sys_result_of_errno(errno);
    }
    if (info.si_pid == 0) {
        return WEIR_AGAIN;
    }
    // The dead leader still holds the group's number, so nobody else can be hit.
    sys_child_signal(child, SIGKILL);
    if (waitid(P_PIDFD, id, &info, WEXITED | WNOHANG) != 0) {
        return sys_result_of_errno(errno);
    }
    bool exited = info.si_code == CLD_EXITED;
    *ret_exit = (struct sys_exit){
        .code = exited ? info.si_status : 0,
        .signal = exited ? 0 : info.si_status,
    };
    return WEIR_OK;
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
