// SPDX-License-Identifier: Apache-2.0
// What a process may do beyond other processes of its user, and how it gives that up. A process
// started by root becomes its user in two steps: first it touches files as that user would, and can
// still bind to any port; later it is that user, and nothing brings root back.
#ifndef WEIR_SYS_PRIVILEGES_H
#define WEIR_SYS_PRIVILEGES_H

#include <stdbool.h>

#include "base/result.h"
#include "sys/users.h"

bool sys_is_root(void);
// Whose files are ours: the user that we are, or will be.
unsigned sys_user_id(void);

// The first step. From here on files are opened and made with the user's rights. For this thread
// and those it starts; for a process that is root.
enum weir_result sys_files_as(const struct sys_identity *identity) WEIR_MUST_CHECK;
// Between the two steps: makes a directory (its parent must be there), and gives it to the user;
// mode 0700. WEIR_EXISTS when something is there already.
enum weir_result sys_dir_make_for(
    const char *path, const struct sys_identity *identity) WEIR_MUST_CHECK;
// The second step. Before other threads touch anything of their own. bind: what is needed to bind
// to root's ports stays, until sys_drop_capabilities.
enum weir_result sys_become(const struct sys_identity *identity, bool bind) WEIR_MUST_CHECK;

// No program that is started from here on gets more than this process has (no_new_privs), and root
// itself gets nothing back that it gives up. For this thread and those it starts, like the next.
enum weir_result sys_forbid_new_privileges(void) WEIR_MUST_CHECK;
// bind: but for binding to root's ports, who may do that.
enum weir_result sys_drop_capabilities(bool bind) WEIR_MUST_CHECK;

// Whether this thread may bind to root's ports.
bool sys_may_bind_low(void);

#endif
