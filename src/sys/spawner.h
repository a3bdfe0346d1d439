// SPDX-License-Identifier: Apache-2.0
// A process beside this one that starts programs for it: the one that talks to the network confines
// itself, and may start nothing then. From sys_spawner_open on, sys_spawn and what belongs to it
// (sys/spawn.h) are asked of the spawner, which is their parent, and which keeps what programs need
// and we gave up: set-user-id helpers, files, system calls. It ends with us.
#ifndef WEIR_SYS_SPAWNER_H
#define WEIR_SYS_SPAWNER_H

#include "sys/spawn.h"
#include "sys/users.h"

// Before there are threads, sockets or secrets that it should not have a copy of. become: the user
// that programs run as; NULL: ours.
enum weir_result sys_spawner_open(const struct sys_identity *become) WEIR_MUST_CHECK;
bool sys_spawner_is_open(void);
// What runs in containers ends with it. Idempotent.
void sys_spawner_close(void);

// ---- For sys/spawn.c. A spawner that is gone: WEIR_RESET.

enum weir_result sys_spawner_spawn(const struct sys_spawn_options *options,
    const struct sys_identity *identity, struct sys_child *ret_child) WEIR_MUST_CHECK;
enum sys_spawner_signal { SPAWNER_TERMINATE, SPAWNER_KILL, SPAWNER_ABANDON };
void sys_spawner_tell(const struct sys_child *child, enum sys_spawner_signal signal);
enum weir_result sys_spawner_reap(
    const struct sys_child *child, struct sys_exit *ret_exit) WEIR_MUST_CHECK;

// What both ends do in the end: a program of this very process.
enum weir_result sys_spawn_here(const struct sys_spawn_options *options,
    const struct sys_identity *identity, struct sys_child *ret_child) WEIR_MUST_CHECK;
void sys_child_tell_here(const struct sys_child *child, enum sys_spawner_signal signal);
enum weir_result sys_child_reap_here(
    const struct sys_child *child, struct sys_exit *ret_exit) WEIR_MUST_CHECK;

#endif
