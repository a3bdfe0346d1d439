// SPDX-License-Identifier: Apache-2.0
#include "sys/terminal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct sys_terminal *_Atomic guarded;
static const char *_Atomic guarded_text;

void sys_terminal_guard(const struct sys_terminal *terminal, const char *text)
{
    guarded_text = text;
    guarded = terminal;
}

void sys_terminal_rescue(void)
{
    const struct sys_terminal *terminal = guarded;
    const char *text = guarded_text;
    if (terminal != NULL && terminal->raw && text != NULL) {
        // Nothing can be done about an error here.
        (void)!write(terminal->fd, text, strlen(text));
        tcsetattr(terminal->fd, TCSANOW, &terminal->before);
        fcntl(terminal->fd, F_SETFL, terminal->flags);
    }
}

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
    if (guarded == terminal) {
        guarded = NULL;
    }
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
