// SPDX-License-Identifier: Apache-2.0
// The filter is made by libseccomp, which is loaded for that moment only: what it keeps in memory
// is of no use to a server afterwards, and a process that is not confined needs none of it.
//
// 1. clone may make threads and nothing else. clone3 keeps its flags where no filter can see them,
//    so it is answered as by a kernel that has none (ENOSYS), and the C library takes clone. That
//    happens at every new thread, and is no news for the audit log: a filter of its own does it.
// 2. No memory is ever writable and executable, and none becomes executable that was not when it
//    was mapped. The C library still maps what it loads late (name services).
// 3. The rules are a binary tree: a relay makes few kinds of calls, and makes them often. The
//    kernel remembers which calls are allowed whatever their arguments are (Linux 5.11).
#include "sys/seccomp.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/sockios.h>

#include "sys/errors.h"
#include "sys/fault.h"
#include "sys/process.h"

#define LIBRARY "libseccomp.so.2"
#define KIND_MASK 0xf  // of a socket's type, without its flags
#define LOW 0xffffffff // arguments that the kernel takes as 32 bits

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED true
#else
#define SANITIZED false
#endif
#ifndef WEIR_COVERAGE
#define WEIR_COVERAGE 0
#endif

// ---- The library

static struct {
    __typeof__(seccomp_init) *init;
    __typeof__(seccomp_release) *release;
    __typeof__(seccomp_attr_set) *attr_set;
    __typeof__(seccomp_rule_add_array) *rule_add_array;
    __typeof__(seccomp_load) *load;
} library;

static const struct {
    const char *name;
    void **place;
} symbols[] = {
    {"seccomp_init", (void **)&library.init},
    {"seccomp_release", (void **)&library.release},
    {"seccomp_attr_set", (void **)&library.attr_set},
    {"seccomp_rule_add_array", (void **)&library.rule_add_array},
    {"seccomp_load", (void **)&library.load},
};

static void *open_library(void)
{
    void *handle = sys_fault_now() ? NULL : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    for (unsigned i = 0; handle != NULL && i < sizeof symbols / sizeof symbols[0]; i++) {
        *symbols[i].place = dlsym(handle, symbols[i].name);
        if (*symbols[i].place == NULL) {
            dlclose(handle);
            handle = NULL;
        }
    }
    return handle;
}

// ---- Rules

struct call {
    int number;
    unsigned parts;
};

static const struct call calls[] = {
#define CALL(name, parts) {SCMP_SYS(name), parts},
#include "sys/sandbox_calls.def"
#undef CALL
};

// Under AddressSanitizer the search for leaks at the end starts a process that looks at ours;
// ThreadSanitizer sets its shadow memory up as threads come.
static const int sanitizer_calls[] = {
    SCMP_SYS(clone),
    SCMP_SYS(ptrace),
    SCMP_SYS(wait4),
    SCMP_SYS(prctl),
    SCMP_SYS(mprotect),
    SCMP_SYS(mmap),
    SCMP_SYS(kill),
    SCMP_SYS(ioctl),
    SCMP_SYS(prlimit64),
    SCMP_SYS(setrlimit),
    SCMP_SYS(getdents),
    SCMP_SYS(personality),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(mincore),
    SCMP_SYS(sched_setaffinity),
};

// A call whose argument is one of these.
struct condition {
    int number;
    unsigned argument;
    uint64_t mask;
    uint64_t value;
};

static const struct condition conditions[] = {
    {SCMP_SYS(clone), 0, CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD},
    {SCMP_SYS(mmap), 2, PROT_WRITE | PROT_EXEC, 0},
    {SCMP_SYS(mmap), 2, PROT_WRITE | PROT_EXEC, PROT_WRITE},
    {SCMP_SYS(mmap), 2, PROT_WRITE | PROT_EXEC, PROT_EXEC},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(prctl), 0, LOW, PR_SET_NAME},
    {SCMP_SYS(prctl), 0, LOW, PR_SET_VMA},
    {SCMP_SYS(prctl), 0, LOW, PR_GET_DUMPABLE},
    {SCMP_SYS(prlimit64), 2, UINT64_MAX, 0}, // asked, not set
    {SCMP_SYS(ioctl), 1, LOW, FIONBIO},
    {SCMP_SYS(ioctl), 1, LOW, FIONREAD},
    {SCMP_SYS(ioctl), 1, LOW, TCGETS}, // whether it is a terminal
    {SCMP_SYS(ioctl), 1, LOW, TIOCGWINSZ},
    {SCMP_SYS(ioctl), 1, LOW, SIOCOUTQ},
};

// Sockets by family, kind and, of the kernel's, protocol.
static const struct {
    int family;
    int kind;
    int protocol; // -1: any
} sockets[] = {
    {AF_INET, SOCK_STREAM, -1},
    {AF_INET, SOCK_DGRAM, -1},
    {AF_INET6, SOCK_STREAM, -1},
    {AF_INET6, SOCK_DGRAM, -1},
    {AF_UNIX, SOCK_STREAM, -1},
    {AF_UNIX, SOCK_DGRAM, -1},
    {AF_UNIX, SOCK_SEQPACKET, -1},
    {AF_NETLINK, SOCK_RAW, NETLINK_ROUTE},
    {AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE},
    {AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG},
};

// What a machine does not have is no error of ours.
static void note(int *error, int answer)
{
    if (*error == 0 && answer != 0 && answer != -EDOM) {
        *error = answer;
    }
}

static void add_calls(scmp_filter_ctx context, unsigned parts, int *error)
{
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if ((calls[i].parts & parts) != 0 || WEIR_COVERAGE) {
            note(error, library.rule_add_array(context, SCMP_ACT_ALLOW, calls[i].number, 0, NULL));
        }
    }
    for (unsigned i = 0; SANITIZED && i < sizeof sanitizer_calls / sizeof sanitizer_calls[0]; i++) {
        note(error, library.rule_add_array(context, SCMP_ACT_ALLOW, sanitizer_calls[i], 0, NULL));
    }
}

static bool is_free(int number)
{
    bool is = false;
    for (unsigned i = 0; SANITIZED && i < sizeof sanitizer_calls / sizeof sanitizer_calls[0]; i++) {
        is = is || sanitizer_calls[i] == number;
    }
    return is;
}

static void add_conditions(scmp_filter_ctx context, int *error)
{
    for (unsigned i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        const struct condition *row = &conditions[i];
        struct scmp_arg_cmp argument =
            SCMP_CMP64(row->argument, SCMP_CMP_MASKED_EQ, row->mask, row->value);
        if (!is_free(row->number)) {
            note(error, library.rule_add_array(context, SCMP_ACT_ALLOW, row->number, 1, &argument));
        }
    }
}

static void add_sockets(scmp_filter_ctx context, int *error)
{
    static const int numbers[] = {SCMP_SYS(socket), SCMP_SYS(socketpair)};
    for (unsigned i = 0; i < 2 * (sizeof sockets / sizeof sockets[0]); i++) {
        unsigned row = i / 2;
        struct scmp_arg_cmp arguments[] = {
            SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, LOW, (uint64_t)sockets[row].family),
            SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, KIND_MASK, (uint64_t)sockets[row].kind),
            SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, LOW, (uint64_t)sockets[row].protocol),
        };
        note(error, library.rule_add_array(context, SCMP_ACT_ALLOW, numbers[i % 2],
                        sockets[row].protocol < 0 ? 2 : 3, arguments));
    }
}

// ---- The filter

// Attributes that an older library or kernel does not know change nothing about what is forbidden.
static void set_attributes(scmp_filter_ctx context, uint32_t log)
{
    (void)library.attr_set(context, SCMP_FLTATR_CTL_NNP, 0); // done before
    (void)library.attr_set(context, SCMP_FLTATR_CTL_LOG, log);
    (void)library.attr_set(context, SCMP_FLTATR_CTL_SSB, 1); // no code of others runs here
    (void)library.attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)library.attr_set(context, SCMP_FLTATR_API_SYSRAWRC, 1);
    (void)library.attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    (void)library.attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1);
}

static int make_filter(scmp_filter_ctx context, unsigned parts)
{
    int error = 0;
    set_attributes(context, 1);
    add_calls(context, parts, &error);
    add_conditions(context, &error);
    add_sockets(context, &error);
    note(&error, library.rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(clone3), 0, NULL));
    return error;
}

static int make_thread_filter(scmp_filter_ctx context)
{
    set_attributes(context, 0);
    return library.rule_add_array(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
}

enum weir_result sys_seccomp_open(struct sys_seccomp *filter, unsigned parts)
{
    *filter = (struct sys_seccomp){.library = open_library()};
    if (filter->library == NULL) {
        return WEIR_NOT_FOUND;
    }
    filter->context = library.init(SCMP_ACT_ERRNO(EPERM));
    filter->thread_context = library.init(SCMP_ACT_ALLOW);
    if (filter->context == NULL || filter->thread_context == NULL) {
        return WEIR_MEMORY;
    }
    int error = make_filter(filter->context, parts);
    note(&error, make_thread_filter(filter->thread_context));
    return error == 0 ? WEIR_OK : sys_result_of_errno(-error);
}

enum weir_result sys_seccomp_enter(struct sys_seccomp *filter)
{
    int error = library.load(filter->thread_context);
    if (error == 0) {
        error = library.load(filter->context); // takes no other behind it
    }
    return error == 0 ? WEIR_OK : sys_result_of_errno(-error);
}

void sys_seccomp_close(struct sys_seccomp *filter)
{
    if (filter->context != NULL) {
        library.release(filter->context);
    }
    if (filter->thread_context != NULL) {
        library.release(filter->thread_context);
    }
    if (filter->library != NULL) {
        dlclose(filter->library);
        sys_trim_heap();
    }
    *filter = (struct sys_seccomp){0};
}
