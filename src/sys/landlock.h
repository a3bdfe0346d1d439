// SPDX-License-Identifier: Apache-2.0
// Which files the process may touch from some point on (landlock(7)). A kernel without Landlock
// makes everything here do nothing; the version says so.
//
// A rule is a file or directory as it is now, not its name: a file that is replaced by another one
// is reached through its directory, and so directories are what is allowed here.
#ifndef WEIR_SYS_LANDLOCK_H
#define WEIR_SYS_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

struct sys_landlock {
    int fd;           // of the ruleset; -1: none
    unsigned version; // of the kernel's interface; 0: it has none, or it is switched off
    bool low_ports;   // some that only root may bind to were allowed
};

// Begins a set of rules that allows nothing.
void sys_landlock_open(struct sys_landlock *landlock);
// Allows reading all in a directory and below it. Of a file: all in its directory, as it is named
// and as links lead there; where the directory itself is behind a link, what is beside it, too, so
// that the link may be pointed elsewhere. NULL, and what is not there, allows nothing.
void sys_landlock_read(struct sys_landlock *landlock, const char *path);
// Allows reading this file and no other, or all below this directory as it is now.
void sys_landlock_read_here(struct sys_landlock *landlock, const char *path);
// Allows reading, making, changing and removing all below a directory; of a device, writing. A
// directory that is not there may come later: that is, all in the one where it would be.
void sys_landlock_write(struct sys_landlock *landlock, const char *path);
// Allows binding TCP sockets to the ports from first to last.
void sys_landlock_bind(struct sys_landlock *landlock, uint16_t first, uint16_t last);
// From here on nothing else may be opened, no program started, no TCP socket bound to a port, and
// no process outside told a signal; as far as the version knows of these. It holds for this thread
// and those that it starts, for good. Wants no_new_privs.
enum weir_result sys_landlock_enter(struct sys_landlock *landlock) WEIR_MUST_CHECK;
void sys_landlock_close(struct sys_landlock *landlock);

#endif
