// SPDX-License-Identifier: Apache-2.0
// A server confines itself before it has its first client: it becomes its user, gives up what root
// could do, and can reach only files and system calls that its parts need. In this order, each
// layer is made with what the next one takes away:
//
//   user -> capabilities, no_new_privs -> Landlock (files) -> seccomp (system calls)
#ifndef WEIR_SYS_SANDBOX_H
#define WEIR_SYS_SANDBOX_H

#include "sys/landlock.h"
#include "sys/privileges.h"
#include "sys/seccomp.h"

struct sys_sandbox {
    unsigned parts;                    // enum sys_part
    const struct sys_identity *become; // NULL: stay who we are
    // Allows what the parts read and write besides what every process of ours does.
    void (*reach)(void *arg, struct sys_landlock *landlock);
    void *arg;
};

// What holds now. A layer that the machine does not have is none that fails.
struct sys_sandbox_state {
    unsigned landlock_version; // 0: the kernel has none
    unsigned kept;             // enum sys_privilege: all that is left of root
    enum weir_result capabilities;
    enum weir_result landlock; // why not: WEIR_OK with a version means that it holds
    enum weir_result seccomp;
};

// Before the process has other threads than those of its runtime. What fails in its result: it is
// not the user, or may still gain privileges. About all else the state tells.
enum weir_result sys_sandbox_enter(
    const struct sys_sandbox *sandbox, struct sys_sandbox_state *ret_state) WEIR_MUST_CHECK;

#endif
