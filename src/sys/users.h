// SPDX-License-Identifier: Apache-2.0
// Who users of this machine are. A directory service may take its time to say so: that is asked on
// a thread of its own, and remembered for who needs the answer at once.
#ifndef WEIR_SYS_USERS_H
#define WEIR_SYS_USERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/result.h"

#define SYS_USER_GROUPS_MAX 256

struct sys_identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[SYS_USER_GROUPS_MAX];
    int group_count;
    char home[256]; // "": none, or longer
};

// Asks the system and remembers the answer for the process; any thread but one that must not wait.
// WEIR_NOT_FOUND: there is no such user; WEIR_TOO_LARGE: one with too many groups.
enum weir_result sys_user_learn(const char *name) WEIR_MUST_CHECK;
// What was learned last. False: nothing was. Any thread, never waits for the system.
bool sys_user_recall(const char *name, struct sys_identity *ret_identity);

// The name of the user that this process is; WEIR_NOT_FOUND: its number has none.
enum weir_result sys_user_own_name(char *name, size_t size) WEIR_MUST_CHECK;
bool sys_user_is_root(void);
// Whether somebody gets to what path, an absolute one, names: may search every directory above it.
// Owner, group and others are looked at, longer lists of rights (acl(5)) are not.
bool sys_user_gets_to(const struct sys_identity *who, const char *path);
// The same, and may read it.
bool sys_user_reads(const struct sys_identity *who, const char *path);

#endif
