// SPDX-License-Identifier: Apache-2.0
// Every profile is entered by a child, which then tries what must fail and what must not. What the
// kernel cannot forbid (it has no Landlock) is not asked for.
#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED true // its runtime needs some of the calls
#else
#define SANITIZED false
#endif

static char root[64]; // of the files of a test: read/, state/, other/

static const char *below(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

// ---- What is tried; each gives an errno, 0: it went well

static int error_of(long result)
{
    return result < 0 ? errno : 0;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int error = error_of(fd);
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

static int try_socket(int family, int kind, int protocol)
{
    int fd = socket(family, kind | SOCK_CLOEXEC, protocol);
    int error = error_of(fd);
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

static int read_what_is_named(void)
{
    return try_open(below("read/file"), O_RDONLY);
}

static int read_through_a_link(void)
{
    return try_open(below("link/file"), O_RDONLY);
}

// As when the link is pointed there later.
static int read_beside_where_a_link_leads(void)
{
    return try_open(below("releases/two/file"), O_RDONLY);
}

static int read_names(void)
{
    return try_open("/etc/passwd", O_RDONLY);
}

static int read_own_descriptors(void)
{
    return try_open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
}

static int read_elsewhere(void)
{
    return try_open(below("other/file"), O_RDONLY);
}

static int list_elsewhere(void)
{
    return try_open(below("other"), O_RDONLY | O_DIRECTORY);
}

static int write_what_is_read(void)
{
    return try_open(below("read/file"), O_WRONLY);
}

static int make_elsewhere(void)
{
    return try_open(below("other/new"), O_WRONLY | O_CREAT);
}

static int make_in_state(void)
{
    return try_open(below("state/new"), O_WRONLY | O_CREAT);
}

static int rename_in_state(void)
{
    char from[256];
    snprintf(from, sizeof from, "%s", below("state/file"));
    return error_of(rename(from, below("state/moved")));
}

static int move_out_of_state(void)
{
    char from[256];
    snprintf(from, sizeof from, "%s", below("state/file"));
    return error_of(rename(from, below("other/moved")));
}

static int start_a_program(void)
{
    char *const argv[] = {"true", NULL};
    char *const none[] = {NULL};
    return error_of(execve("/bin/true", argv, none));
}

static int start_a_process(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        _exit(0);
    }
    return error_of(pid);
}

static int look_into_another(void)
{
    return error_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int tell_another(void)
{
    return error_of(kill(getppid(), 0));
}

static int make_a_packet_socket(void)
{
    return try_socket(AF_PACKET, SOCK_RAW, 0);
}

static int make_a_raw_socket(void)
{
    return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int make_a_crypto_socket(void)
{
    return try_socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static int listen_to_the_audit(void)
{
    return try_socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
}

static int make_a_tcp_socket(void)
{
    return try_socket(AF_INET6, SOCK_STREAM, 0) == EAFNOSUPPORT
               ? try_socket(AF_INET, SOCK_STREAM, 0)
               : 0;
}

static int listen_to_the_network(void)
{
    return try_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int bind_to_a_port(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = error_of(bind(fd, (const struct sockaddr *)&any, sizeof any));
    close(fd);
    return error;
}

static int mount_something(void)
{
    return error_of(mount("none", below("other"), "tmpfs", 0, NULL));
}

static int have_namespaces(void)
{
    return error_of(unshare(CLONE_NEWUSER));
}

static int change_the_root(void)
{
    return error_of(chroot("/tmp"));
}

static int become_root(void)
{
    return error_of(syscall(SYS_setuid, 0));
}

static int own_a_file(void)
{
    return error_of(syscall(SYS_fchownat, AT_FDCWD, below("state/file"), 1, 1, 0));
}

static int load_a_program_into_the_kernel(void)
{
    union bpf_attr attributes = {0};
    return error_of(syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

static int load_a_module(void)
{
    return error_of(syscall(SYS_finit_module, -1, "", 0));
}

static int load_a_kernel(void)
{
    return error_of(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int use_the_kernels_keys(void)
{
    return error_of(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}

static int count_events(void)
{
    struct perf_event_attr attributes = {.size = sizeof attributes};
    return error_of(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

static int handle_page_faults(void)
{
    return error_of(syscall(SYS_userfaultfd, 1));
}

static int use_rings(void)
{
    char parameters[256] = {0};
    return error_of(syscall(SYS_io_uring_setup, 1, parameters));
}

static int set_the_clock(void)
{
    return error_of(syscall(SYS_settimeofday, NULL, NULL));
}

static int read_another_ones_memory(void)
{
    return error_of(syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0));
}

static int have_writable_code(void)
{
    void *at =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? errno : 0;
}

static int make_memory_code(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return error_of(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int be_looked_at_no_more(void)
{
    return error_of(prctl(PR_SET_DUMPABLE, 0));
}

static int have_a_second_filter(void)
{
    return error_of(syscall(SYS_seccomp, 0, 0, NULL));
}

static void *do_nothing(void *arg)
{
    return arg;
}

static int have_a_thread(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, do_nothing, NULL);
    if (error == 0) {
        pthread_join(thread, NULL);
    }
    return error;
}

// ---- The rows

enum {
    ALWAYS = 0,
    FILES = 1,
    NET = 4,
    SIGNALS = 6,
    BARE = 64
}; // version of Landlock; or no sanitizer

static const struct attempt {
    int (*attempt)(void);
    const char *name;
    unsigned wants;
    int other;  // what it gives, an errno: for who keeps nothing
    int keeper; // for who has a state directory
} attempts[] = {
#define ROW(function, wants, relay, platform)                                                      \
    {                                                                                              \
        function, #function, wants, relay, platform                                                \
    }
    ROW(read_what_is_named, ALWAYS, 0, 0),
    ROW(read_through_a_link, ALWAYS, 0, 0),
    ROW(read_beside_where_a_link_leads, ALWAYS, 0, 0),
    ROW(read_names, ALWAYS, 0, 0),
    ROW(read_own_descriptors, ALWAYS, 0, 0),
    ROW(make_a_tcp_socket, ALWAYS, 0, 0),
    ROW(listen_to_the_network, ALWAYS, 0, 0),
    ROW(have_a_thread, ALWAYS, 0, 0),
    ROW(read_elsewhere, FILES, EACCES, EACCES),
    ROW(list_elsewhere, FILES, EACCES, EACCES),
    ROW(write_what_is_read, FILES, EACCES, EACCES),
    ROW(make_elsewhere, FILES, EACCES, EACCES),
    ROW(make_in_state, FILES, EACCES, 0),
    ROW(move_out_of_state, FILES, EPERM, EACCES),
    ROW(rename_in_state, ALWAYS, EPERM, 0),
    ROW(bind_to_a_port, NET, EACCES, EACCES),
    ROW(start_a_program, ALWAYS, EPERM, EPERM),
    ROW(start_a_process, BARE, EPERM, EPERM),
    ROW(look_into_another, ALWAYS, EPERM, EPERM),
    ROW(tell_another, SANITIZED ? SIGNALS : ALWAYS, EPERM, EPERM),
    ROW(make_a_packet_socket, ALWAYS, EPERM, EPERM),
    ROW(make_a_raw_socket, ALWAYS, EPERM, EPERM),
    ROW(make_a_crypto_socket, ALWAYS, EPERM, EPERM),
    ROW(listen_to_the_audit, ALWAYS, EPERM, EPERM),
    ROW(mount_something, ALWAYS, EPERM, EPERM),
    ROW(have_namespaces, ALWAYS, EPERM, EPERM),
    ROW(change_the_root, ALWAYS, EPERM, EPERM),
    ROW(become_root, ALWAYS, EPERM, EPERM),
    ROW(own_a_file, ALWAYS, EPERM, EPERM),
    ROW(load_a_program_into_the_kernel, ALWAYS, EPERM, EPERM),
    ROW(load_a_module, ALWAYS, EPERM, EPERM),
    ROW(load_a_kernel, ALWAYS, EPERM, EPERM),
    ROW(use_the_kernels_keys, ALWAYS, EPERM, EPERM),
    ROW(count_events, ALWAYS, EPERM, EPERM),
    ROW(handle_page_faults, ALWAYS, EPERM, EPERM),
    ROW(use_rings, ALWAYS, EPERM, EPERM),
    ROW(set_the_clock, ALWAYS, EPERM, EPERM),
    ROW(read_another_ones_memory, ALWAYS, EPERM, EPERM),
    ROW(have_a_second_filter, ALWAYS, EPERM, EPERM),
    ROW(have_writable_code, BARE, EPERM, EPERM),
    ROW(make_memory_code, BARE, EPERM, EPERM),
    ROW(be_looked_at_no_more, BARE, EPERM, EPERM),
#undef ROW
};
#define ATTEMPT_COUNT (sizeof attempts / sizeof attempts[0])

static bool can_be_asked(const struct attempt *row, unsigned version)
{
    return row->wants == BARE ? !SANITIZED : row->wants <= version || row->wants == ALWAYS;
}

// ---- The children

static void reach(void *arg, struct sys_landlock *landlock)
{
    const unsigned *part = arg;
    sys_landlock_read(landlock, below("read/file"));
    sys_landlock_read(landlock, below("link/file"));
    sys_landlock_read(landlock, below("not-there/file"));
    if (*part != SYS_PART_RELAY && *part != SYS_PART_ENGINE) {
        sys_landlock_write(landlock, below("state"));
    }
}

// Tells what failed on standard error, and how many by its exit code.
static int try_all(unsigned part)
{
    struct sys_sandbox_state state;
    const struct sys_sandbox sandbox = {.parts = part, .reach = reach, .arg = &part};
    int wrong = 0;
    if (sys_sandbox_enter(&sandbox, &state) != WEIR_OK || state.seccomp != WEIR_OK ||
        state.landlock != WEIR_OK) {
        fprintf(stderr, "the sandbox was not entered\n");
        return 1;
    }
    for (size_t i = 0; i < ATTEMPT_COUNT; i++) {
        const struct attempt *row = &attempts[i];
        int expected = part == SYS_PART_RELAY || part == SYS_PART_ENGINE ? row->other : row->keeper;
        int error = can_be_asked(row, state.landlock_version) ? row->attempt() : expected;
        if (error != expected) {
            fprintf(
                stderr, "%s: %s instead of %s\n", row->name, strerror(error), strerror(expected));
            wrong++;
        }
    }
    return wrong;
}

static int in_a_child(int (*run)(unsigned part), unsigned part)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(run(part));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static int make_files(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/weir-sandbox-XXXXXX");
    assert_non_null(mkdtemp(root));
    static const char *const directories[] = {
        "read", "releases", "releases/one", "releases/two", "other", "state"};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        char file[128];
        assert_int_equal(mkdir(below(directories[i]), 0755), 0);
        snprintf(file, sizeof file, "%s/file", directories[i]);
        touch(below(file));
    }
    return symlink("releases/one", below("link"));
}

static int remove_files(void **state)
{
    static const char *const names[] = {"read/file", "releases/one/file", "releases/two/file",
        "releases/file", "other/file", "state/file", "state/moved", "state/new", "link", "read",
        "releases/one", "releases/two", "releases", "other", "state", ""};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)remove(below(names[i])); // not all of them are there
    }
    return 0;
}

static void a_relay_can_do_no_more_than_relay(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(try_all, SYS_PART_RELAY), 0);
}

static void an_engine_can_do_no_more(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(try_all, SYS_PART_ENGINE), 0);
}

static void a_platform_keeps_its_files_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(try_all, SYS_PART_PLATFORM), 0);
}

static void a_monitor_keeps_its_files_and_starts_nothing(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(try_all, SYS_PART_HEALTH), 0);
}

static void all_in_one_process_have_no_more(void **state)
{
    (void)state;
    unsigned all = SYS_PART_RELAY | SYS_PART_ENGINE | SYS_PART_PLATFORM | SYS_PART_HEALTH;
    assert_int_equal(in_a_child(try_all, all), 0);
}

// A crash must still be a crash.
static int crash(unsigned part)
{
    struct sys_sandbox_state state;
    const struct sys_sandbox sandbox = {.parts = part, .reach = reach, .arg = &part};
    signal(SIGABRT, SIG_DFL);
    if (sys_sandbox_enter(&sandbox, &state) == WEIR_OK) {
        abort();
    }
    return 0;
}

static void an_assertion_still_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(crash, SYS_PART_RELAY), -SIGABRT);
}

#ifdef __x86_64__
// Calls of the 32-bit machine would be other ones by their numbers.
static int call_as_another_machine(unsigned part)
{
    struct sys_sandbox_state state;
    const struct sys_sandbox sandbox = {.parts = part, .reach = reach, .arg = &part};
    if (sys_sandbox_enter(&sandbox, &state) == WEIR_OK) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory"); // getpid
    }
    return 0;
}

static void another_architecture_is_the_end(void **state)
{
    (void)state;
    int how = in_a_child(call_as_another_machine, SYS_PART_RELAY);
    // A kernel without 32-bit programs answers with SIGSEGV.
    assert_true(how == -SIGSYS || how == -SIGSEGV);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_relay_can_do_no_more_than_relay, make_files, remove_files),
        cmocka_unit_test_setup_teardown(an_engine_can_do_no_more, make_files, remove_files),
        cmocka_unit_test_setup_teardown(
            a_platform_keeps_its_files_and_no_others, make_files, remove_files),
        cmocka_unit_test_setup_teardown(
            a_monitor_keeps_its_files_and_starts_nothing, make_files, remove_files),
        cmocka_unit_test_setup_teardown(all_in_one_process_have_no_more, make_files, remove_files),
        cmocka_unit_test_setup_teardown(
            an_assertion_still_ends_the_process, make_files, remove_files),
#ifdef __x86_64__
        cmocka_unit_test_setup_teardown(another_architecture_is_the_end, make_files, remove_files),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
