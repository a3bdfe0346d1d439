// SPDX-License-Identifier: Apache-2.0
// Which system calls the process may make from some point on (seccomp(2)).
#ifndef WEIR_SYS_SECCOMP_H
#define WEIR_SYS_SECCOMP_H

#include "base/result.h"

// What runs in the process; a bit each.
enum sys_part {
    SYS_PART_RELAY = 1,
    SYS_PART_ENGINE = 2,
    SYS_PART_PLATFORM = 4,
    SYS_PART_HEALTH = 8,
};

struct sys_seccomp {
    void *library;
    void *thread_context; // answers clone3
    void *context;        // all others
};

// Makes a filter for what one of the parts may do (sandbox_calls.def), while the library that does
// it can still be read. WEIR_NOT_FOUND: there is no libseccomp.so.2. To be closed in any case.
enum weir_result sys_seccomp_open(struct sys_seccomp *filter, unsigned parts) WEIR_MUST_CHECK;
// Any other call fails with EPERM from here on, in all threads, for good, and the kernel's audit
// log hears of it; one of another architecture ends the process. Wants no_new_privs.
enum weir_result sys_seccomp_enter(struct sys_seccomp *filter) WEIR_MUST_CHECK;
void sys_seccomp_close(struct sys_seccomp *filter);

#endif
