// SPDX-License-Identifier: Apache-2.0
// Programs of a process that may start none itself: it has entered the strictest profile that has
// programs before any of them is asked for.
#include "sys/spawner.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "sys/file.h"
#include "sys/sandbox.h"

#define PATIENCE_NS (60 * NS_PER_S)

static void reach_nothing(void *arg, struct sys_landlock *landlock)
{
    (void)arg;
    (void)landlock;
}

// ---- What a program did

struct seen {
    enum weir_result spawned;
    struct sys_exit exit;
    char output[256];
};

static void read_output(int fd, char *output, size_t size)
{
    size_t total = 0;
    size_t len = 0;
    enum weir_result result = WEIR_OK;
    while (result != WEIR_CLOSED && total + 1 < size && sys_wait_readable(fd, PATIENCE_NS)) {
        result = sys_read_some(fd, output + total, size - 1 - total, &len);
        total += result == WEIR_OK ? len : 0;
    }
    output[total] = '\0';
}

static struct seen run(const struct sys_spawn_options *options)
{
    struct seen seen = {.output = ""};
    struct sys_child child;
    seen.spawned = sys_spawn(options, &child);
    if (seen.spawned == WEIR_OK) {
        read_output(child.output, seen.output, sizeof seen.output);
        (void)sys_wait_readable(child.handle, PATIENCE_NS);
        enum weir_result reaped = sys_child_reap(&child, &seen.exit);
        seen.spawned = reaped != WEIR_OK ? reaped : seen.exit.started;
        close(child.output);
        sys_child_close(&child);
    }
    return seen;
}

// ---- The rows. Each is tried by a child that is confined; it gives what is wrong.

static const char *try_output(void)
{
    const char *const argv[] = {"sh", "-c", "echo \"$A $B\"; pwd; exit 7", NULL};
    const char *const env[] = {"A=first", "B=second line", NULL};
    struct seen seen = run(&(struct sys_spawn_options){.argv = argv, .env = env, .cwd = "/usr"});
    return seen.spawned != WEIR_OK || seen.exit.code != 7          ? "no exit code"
           : strcmp(seen.output, "first second line\n/usr\n") != 0 ? seen.output
                                                                   : NULL;
}

static const char *try_contained(void)
{
    const char *const argv[] = {"sh", "-c", "sleep 600 & echo begun", NULL};
    struct seen seen = run(&(struct sys_spawn_options){.argv = argv, .contained = true});
    return seen.spawned != WEIR_OK || strcmp(seen.output, "begun\n") != 0 ? "it did not run" : NULL;
}

static const char *try_no_program(void)
{
    const char *const argv[] = {"/nowhere/there", NULL};
    struct sys_child child;
    struct sys_exit exit;
    if (sys_spawn(&(struct sys_spawn_options){.argv = argv}, &child) != WEIR_OK) {
        return "no process";
    }
    (void)sys_wait_readable(child.handle, PATIENCE_NS);
    bool told = !sys_child_runs(&child) && sys_child_reap(&child, &exit) == WEIR_OK &&
                exit.started == WEIR_NOT_FOUND;
    close(child.output);
    sys_child_close(&child);
    return told ? NULL : "nobody was told";
}

static const char *end_with(void (*end)(const struct sys_child *child), bool contained, int number)
{
    const char *const argv[] = {"sleep", "600", NULL};
    struct sys_child child;
    struct sys_exit exit;
    if (sys_spawn(&(struct sys_spawn_options){.argv = argv, .contained = contained}, &child) !=
        WEIR_OK) {
        return "no process";
    }
    bool running = sys_child_reap(&child, &exit) == WEIR_AGAIN;
    if (!contained) {
        (void)sys_wait_readable(child.report, PATIENCE_NS); // until it has its own signals
    }
    end(&child);
    bool ended = sys_wait_readable(child.handle, PATIENCE_NS) &&
                 sys_child_reap(&child, &exit) == WEIR_OK && exit.signal == number;
    close(child.output);
    sys_child_close(&child);
    return running && ended ? NULL : "it did not end as it was told";
}

static const char *try_terminate(void)
{
    return end_with(sys_child_terminate, false, SIGTERM);
}

static const char *try_kill(void)
{
    return end_with(sys_child_kill, false, SIGKILL);
}

static const char *try_kill_contained(void)
{
    return end_with(sys_child_kill, true, SIGKILL);
}

// Who is no child of the spawner's is told nothing.
static const char *try_stranger(void)
{
    struct sys_child stranger = {.pid = getppid(), .handle = -1, .contained = true};
    struct sys_exit exit;
    sys_child_kill(&stranger); // would end the test
    return sys_child_reap(&stranger, &exit) == WEIR_NOT_FOUND ? NULL : "it was waited for";
}

static const char *try_too_much(void)
{
    static char word[256 * 1024];
    memset(word, 'x', sizeof word - 1);
    const char *const argv[] = {"true", word, NULL};
    struct sys_child child;
    return sys_spawn(&(struct sys_spawn_options){.argv = argv}, &child) == WEIR_TOO_LARGE
               ? NULL
               : "it was started";
}

static const char *try_unlearned_user(void)
{
    const char *const argv[] = {"true", NULL};
    struct sys_child child;
    struct sys_spawn_options options = {.argv = argv, .user = "nobody-knows-this-one"};
    return sys_spawn(&options, &child) == WEIR_NOT_FOUND ? NULL : "it was started";
}

static const char *try_many(void)
{
    const char *const argv[] = {"true", NULL};
    for (unsigned i = 0; i < 100; i++) {
        struct seen seen = run(&(struct sys_spawn_options){.argv = argv, .contained = i % 2 == 0});
        if (seen.spawned != WEIR_OK || seen.exit.code != 0) {
            return "one of many did not run";
        }
    }
    return NULL;
}

static const char *try_it_ourselves(void)
{
    char *const argv[] = {"true", NULL};
    char *const none[] = {NULL};
    return execve("/bin/true", argv, none) < 0 && errno == EPERM ? NULL : "it was allowed";
}

static const struct {
    const char *name;
    const char *(*attempt)(void);
} attempts[] = {
    {"output, variables, directory, exit code", try_output},
    {"what it started ends with it", try_contained},
    {"no such program", try_no_program},
    {"SIGTERM", try_terminate},
    {"SIGKILL", try_kill},
    {"SIGKILL of a contained one", try_kill_contained},
    {"a stranger", try_stranger},
    {"an argument that is too long", try_too_much},
    {"a user that was not learned", try_unlearned_user},
    {"one after the other", try_many},
    {"without the spawner", try_it_ourselves},
};

static int try_all(void)
{
    struct sys_sandbox_state state;
    const struct sys_sandbox sandbox = {.parts = SYS_PART_HEALTH, .reach = reach_nothing};
    int wrong = 0;
    signal(SIGPIPE, SIG_IGN);
    if (sys_spawner_open(NULL) != WEIR_OK || sys_sandbox_enter(&sandbox, &state) != WEIR_OK) {
        return 1;
    }
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        const char *problem = attempts[i].attempt();
        if (problem != NULL) {
            fprintf(stderr, "%s: %s\n", attempts[i].name, problem);
            wrong++;
        }
    }
    sys_spawner_close();
    return wrong;
}

static void who_may_start_nothing_has_it_started(void **state)
{
    int status = 0;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(try_all());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

// ---- Without room for its descriptors

#define TOO_MANY 20

static int try_without_room(const char *argument)
{
    const char *const argv[] = {"sleep", argument, NULL};
    const struct rlimit few = {5, 5};
    int wrong = sys_spawner_open(NULL) == WEIR_OK && setrlimit(RLIMIT_NOFILE, &few) == 0 ? 0 : 1;
    for (unsigned i = 0; i < TOO_MANY && wrong == 0; i++) {
        struct sys_child child;
        wrong = sys_spawn(&(struct sys_spawn_options){.argv = argv, .contained = true}, &child) !=
                WEIR_DESCRIPTORS;
    }
    sys_spawner_close();
    return wrong;
}

static bool runs_with(const char *pid, const char *argument)
{
    char path[300];
    char words[256];
    size_t len = 0;
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        len = fread(words, 1, sizeof words, file);
        fclose(file);
    }
    return memmem(words, len, argument, strlen(argument)) != NULL;
}

static unsigned count_running(const char *argument)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc");
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += runs_with(entry->d_name, argument);
    }
    closedir(directory);
    return count;
}

static void what_cannot_be_handed_over_does_not_run(void **state)
{
    static const struct timespec while_ns = {.tv_nsec = 20 * NS_PER_MS};
    char argument[32];
    int status = 0;
    (void)state;
    snprintf(argument, sizeof argument, "600.%09d", getpid());
    pid_t pid = fork();
    if (pid == 0) {
        _exit(try_without_room(argument));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (unsigned i = 0; i < 1000 && count_running(argument) > 0; i++) {
        nanosleep(&while_ns, NULL);
    }
    assert_int_equal(count_running(argument), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_start_nothing_has_it_started),
        cmocka_unit_test(what_cannot_be_handed_over_does_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
