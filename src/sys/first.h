// SPDX-License-Identifier: Apache-2.0
// The first process of a container inherits whoever loses his parent, and nobody else takes their
// exit status: without care each stays a zombie.
#ifndef WEIR_SYS_FIRST_H
#define WEIR_SYS_FIRST_H

// Returns at once in a process that is not the first of its container. In the first one, returns in
// a child that goes on in its place; the first one itself stays behind, hands signals on, takes
// exit statuses, and ends as that child does. To be called before there is a thread.
void sys_step_back_if_first(void);

#endif
