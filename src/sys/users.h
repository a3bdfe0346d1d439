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
};

// Asks the system and remembers the answer for the process; any thread but one that must not wait.
// WEIR_NOT_FOUND: there is no such user; WEIR_TOO_LARGE: one with too many groups.
enum weir_result sys_user_learn(const char *name) WEIR_MUST_CHECK;
// What was learned last. False: nothing was. Any thread, never waits for the system.
bool sys_user_recall(const char *name, struct sys_identity *ret_identity);

#endif
