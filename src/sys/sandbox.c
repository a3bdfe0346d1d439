// SPDX-License-Identifier: Apache-2.0
// What every server of ours reads, whatever it serves:
//
// 1. Name services and certificate authorities. The files of /etc are replaced by others of the
//    same name, so that a rule for one of them would be lost; hence the whole directory. Who reads
//    there is still one user, and with most secrets of it not the one who may.
// 2. Libraries that the C library loads late, for names of hosts and users.
// 3. What the kernel says of this process and its limits. The nodes of /proc come and go, and a
//    rule for one of them would go with it; hence all. What other processes have there (memory,
//    environment, descriptors) the kernel shows nobody whom Landlock confines.
#include "sys/sandbox.h"

#include <stddef.h>

#ifndef WEIR_COVERAGE
#define WEIR_COVERAGE 0
#endif

static const char *const read_always[] = {
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/proc/self/exe", // for the names in a crash report
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/random",
    "/dev/urandom",
};

static void allow_common(struct sys_landlock *landlock)
{
    for (size_t i = 0; i < sizeof read_always / sizeof read_always[0]; i++) {
        sys_landlock_read_here(landlock, read_always[i]);
    }
    sys_landlock_write(landlock, "/dev/null");
    if (WEIR_COVERAGE) {
        sys_landlock_write(landlock, "/"); // its counts are written beside the objects
    }
}

// Who we are and what we may do, before what is needed to change it is taken away.
static enum weir_result give_up(
    const struct sys_sandbox *sandbox, unsigned keep, struct sys_sandbox_state *state)
{
    enum weir_result result = sys_forbid_new_privileges();
    if (result == WEIR_OK && sandbox->become != NULL) {
        result = sys_become(sandbox->become, keep);
    }
    state->capabilities = sys_drop_capabilities(keep);
    state->kept = keep & sys_privileges_kept();
    return result;
}

enum weir_result sys_sandbox_enter(
    const struct sys_sandbox *sandbox, struct sys_sandbox_state *ret_state)
{
    struct sys_seccomp filter;
    struct sys_landlock landlock;
    *ret_state = (struct sys_sandbox_state){.seccomp = sys_seccomp_open(&filter, sandbox->parts)};
    sys_landlock_open(&landlock);
    allow_common(&landlock);
    sandbox->reach(sandbox->arg, &landlock);
    ret_state->landlock_version = landlock.version;
    unsigned keep = (landlock.low_ports ? SYS_BIND_LOW : 0) |
                    (sys_filters_want_privilege() ? SYS_NET_ADMIN : 0);
    enum weir_result result = give_up(sandbox, keep, ret_state);
    if (result == WEIR_OK) {
        ret_state->landlock = sys_landlock_enter(&landlock);
    }
    if (result == WEIR_OK && ret_state->seccomp == WEIR_OK) {
        ret_state->seccomp = sys_seccomp_enter(&filter);
    }
    sys_landlock_close(&landlock);
    sys_seccomp_close(&filter);
    return result;
}
