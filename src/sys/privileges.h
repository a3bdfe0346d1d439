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
// What may be kept of root; a bit each.
enum sys_privilege {
    SYS_BIND_LOW = 1,  // to bind to ports below 1024
    SYS_NET_ADMIN = 2, // to attach a filter to a socket, where the kernel wants it for that
};

// The second step. Before other threads touch anything of their own. What is kept (enum
// sys_privilege) is there until sys_drop_capabilities.
enum weir_result sys_become(const struct sys_identity *identity, unsigned keep) WEIR_MUST_CHECK;

// No program that is started from here on gets more than this process has (no_new_privs), and root
// itself gets nothing back that it gives up. For this thread and those it starts, like the next.
enum weir_result sys_forbid_new_privileges(void) WEIR_MUST_CHECK;
// But for those to keep that are there.
enum weir_result sys_drop_capabilities(unsigned keep) WEIR_MUST_CHECK;
// Which of them this thread has.
unsigned sys_privileges_kept(void);
// Whether this kernel lets only the network's administrator attach filters to sockets
// (sys/last_call.h), and we are one.
bool sys_filters_want_privilege(void);

#endif
