// SPDX-License-Identifier: Apache-2.0
// Changing who touches files makes the kernel forget that the process may be looked at: its own
// /proc/self would be root's. It is allowed again each time; a server that was started as its user
// from the beginning is no different.
#include "sys/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/errors.h"
#include "sys/fault.h"

#define CAPABILITIES_MAX 64

bool sys_is_root(void)
{
    return geteuid() == 0;
}

static uid_t files_uid; // between the two steps

unsigned sys_user_id(void)
{
    return files_uid != 0 ? files_uid : geteuid();
}

// The calls return what was before and no error: only a second look tells.
static bool use_files_of(uid_t uid, gid_t gid)
{
    setfsgid(gid);
    setfsuid(uid);
    return setfsgid((gid_t)-1) == (int)gid && setfsuid((uid_t)-1) == (int)uid;
}

enum weir_result sys_files_as(const struct sys_identity *identity)
{
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    if (setgroups((size_t)identity->group_count, identity->groups) != 0) {
        return sys_result_of_errno(errno);
    }
    bool done = use_files_of(identity->uid, identity->gid) && prctl(PR_SET_DUMPABLE, 1) == 0;
    files_uid = identity->uid;
    return done ? WEIR_OK : WEIR_PERMISSION;
}

enum weir_result sys_dir_make_for(const char *path, const struct sys_identity *identity)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    if (!use_files_of(0, 0)) {
        return WEIR_PERMISSION;
    }
    enum weir_result result = WEIR_OK;
    if (mkdir(path, 0700) != 0) {
        result = sys_result_of_errno(errno);
    } else if (lchown(path, identity->uid, identity->gid) != 0) {
        result = sys_result_of_errno(errno);
    }
    return use_files_of(identity->uid, identity->gid) ? result : WEIR_PERMISSION;
}

enum weir_result sys_become(const struct sys_identity *identity, bool bind)
{
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    if (prctl(PR_SET_KEEPCAPS, bind ? 1 : 0, 0, 0, 0) != 0 ||
        setgroups((size_t)identity->group_count, identity->groups) != 0 ||
        setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) != 0 ||
        prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) {
        return sys_result_of_errno(errno);
    }
    return geteuid() == identity->uid ? WEIR_OK : WEIR_PERMISSION;
}

enum weir_result sys_forbid_new_privileges(void)
{
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    // Who has no right to shorten the bounding set can gain nothing that is in it.
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++) {
        (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return sys_result_of_errno(errno);
    }
    return WEIR_OK;
}

enum weir_result sys_drop_capabilities(bool bind)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    if (syscall(SYS_capget, &head, sets) != 0) {
        return sys_result_of_errno(errno);
    }
    uint32_t kept = bind ? sets[0].permitted & UINT32_C(1) << CAP_NET_BIND_SERVICE : 0;
    uint32_t others = (sets[0].permitted | sets[0].inheritable) & ~kept;
    others |= sets[1].permitted | sets[1].inheritable;
    if (others == 0 && sets[0].effective == kept) {
        return WEIR_OK; // a service manager may forbid even to ask for less
    }
    const struct __user_cap_data_struct less[_LINUX_CAPABILITY_U32S_3] = {
        {.permitted = kept, .effective = kept}};
    return syscall(SYS_capset, &head, less) == 0 ? WEIR_OK : sys_result_of_errno(errno);
}

bool sys_may_bind_low(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &head, sets) == 0 &&
           (sets[0].effective & UINT32_C(1) << CAP_NET_BIND_SERVICE) != 0;
}
