// SPDX-License-Identifier: Apache-2.0
#include "sys/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>

bool sys_terminal_enter(struct sys_terminal *terminal, int fd)
{
    struct termios raw;
    if (tcgetattr(fd, &raw) != 0) {
        return false;
    }
    if (!terminal->raw) {
        terminal->before = raw;
        terminal->flags = fcntl(fd, F_GETFL);
    }
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    terminal->fd = fd;
    terminal->raw = tcsetattr(fd, TCSANOW, &raw) == 0;
    return terminal->raw;
}

void sys_terminal_leave(struct sys_terminal *terminal)
{
    if (terminal->raw) {
        terminal->raw = false;
        tcsetattr(terminal->fd, TCSANOW, &terminal->before);
        fcntl(terminal->fd, F_SETFL, terminal->flags);
    }
}

void sys_terminal_size(int fd, unsigned *ret_rows, unsigned *ret_columns)
{
    struct winsize size;
    bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    *ret_rows = known ? size.ws_row : 24;
    *ret_columns = known ? size.ws_col : 80;
}
