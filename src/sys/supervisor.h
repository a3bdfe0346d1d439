// SPDX-License-Identifier: Apache-2.0
// What a service manager passes to a service and is told by it: sd_listen_fds(3), sd_notify(3).
#ifndef WEIR_SYS_SUPERVISOR_H
#define WEIR_SYS_SUPERVISOR_H

#include <stdbool.h>

#include "sys/socket.h"

// Takes what was passed out of the environment, so that no child believes it is meant. Before there
// are threads; again it finds nothing more.
void sys_supervisor_open(void);

// The listening sockets that were passed under a name (FileDescriptorName=), in their order, which
// are the caller's from here on: non-blocking, close-on-exec. Returns how many there are, and max
// at most are taken. Before there are threads.
unsigned sys_supervisor_take(const char *name, int *fds, unsigned max);
// The name of a socket that nobody has taken; NULL when there is none. nth counts those, from 0.
const char *sys_supervisor_left(unsigned nth);

// Tells it lines of KEY=VALUE; nothing when nobody wants to know. Any thread.
void sys_supervisor_tell(const char *state);
// The same before what is in effect is read anew, with the time that it wants to see with it.
void sys_supervisor_tell_reload(void);

#endif
