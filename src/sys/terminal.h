// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_TERMINAL_H
#define WEIR_SYS_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct sys_terminal {
    struct termios before;
    int fd;
    int flags; // of the open file, which others may share
    bool raw;
};

// Before anybody makes fd non-blocking. Keys come one by one, without echo; signals keys still
// signal. False: fd is no terminal.
bool sys_terminal_enter(struct sys_terminal *terminal, int fd);
// As it was. Fine when it was not entered, and twice.
void sys_terminal_leave(struct sys_terminal *terminal);
// Should the process crash meanwhile, sys_terminal_rescue gives the terminal back: text (static
// storage) is written to it, and it is as it was. One terminal at a time; leaving ends it.
void sys_terminal_guard(const struct sys_terminal *terminal, const char *text);
// From a signal handler, too.
void sys_terminal_rescue(void);
// Rows and columns; 24 x 80 when they cannot be told.
void sys_terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns);

#endif
