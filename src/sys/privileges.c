// SPDX-License-Identifier: Apache-2.0
// Changing who touches files makes the kernel forget that the process may be looked at: its own
// /proc/self would be root's. It is allowed again each time; a server that was started as its user
// from the beginning is no different.
#include "sys/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

enum weir_result sys_become(const struct sys_identity *identity, unsigned keep)
{
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    if (prctl(PR_SET_KEEPCAPS, keep != 0 ? 1 : 0, 0, 0, 0) != 0 ||
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

static const struct {
    enum sys_privilege privilege;
    unsigned capability;
} capabilities[] = {
    {SYS_BIND_LOW, CAP_NET_BIND_SERVICE},
    {SYS_NET_ADMIN, CAP_NET_ADMIN},
};

struct capability_sets {
    struct __user_cap_data_struct words[_LINUX_CAPABILITY_U32S_3];
};

static bool get_capabilities(struct capability_sets *sets)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &head, sets->words) == 0;
}

static bool set_capabilities(const struct capability_sets *sets)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &head, sets->words) == 0;
}

enum weir_result sys_drop_capabilities(unsigned keep)
{
    struct capability_sets sets = {0};
    struct capability_sets less = {0};
    uint32_t kept = 0;
    if (sys_fault_now()) {
        return WEIR_PERMISSION;
    }
    if (!get_capabilities(&sets)) {
        return sys_result_of_errno(errno);
    }
    for (unsigned i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
        bool keeps = (keep & capabilities[i].privilege) != 0;
        kept |= keeps ? UINT32_C(1) << capabilities[i].capability : 0;
    }
    less.words[0].permitted = less.words[0].effective = kept & sets.words[0].permitted;
    if (memcmp(&less, &sets, sizeof less) == 0) {
        return WEIR_OK; // a service manager may forbid even to ask for less
    }
    return set_capabilities(&less) ? WEIR_OK : sys_result_of_errno(errno);
}

unsigned sys_privileges_kept(void)
{
    struct capability_sets sets = {0};
    unsigned kept = 0;
    bool known = get_capabilities(&sets);
    for (unsigned i = 0; known && i < sizeof capabilities / sizeof capabilities[0]; i++) {
        bool has = (sets.words[0].effective & UINT32_C(1) << capabilities[i].capability) != 0;
        kept |= has ? capabilities[i].privilege : 0;
    }
    return kept;
}

bool sys_filters_want_privilege(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)};
    const struct sock_fprog program = {sizeof code / sizeof code[0], code};
    struct capability_sets sets = {0};
    if ((sys_privileges_kept() & SYS_NET_ADMIN) == 0 || !get_capabilities(&sets)) {
        return false;
    }
    struct capability_sets without = sets;
    without.words[0].effective &= ~(UINT32_C(1) << CAP_NET_ADMIN);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused = fd >= 0 && set_capabilities(&without) &&
                   setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 &&
                   errno == EPERM;
    (void)set_capabilities(&sets); // as they were
    if (fd >= 0) {
        close(fd);
    }
    return refused;
}
