// SPDX-License-Identifier: Apache-2.0
// weir-bench-splice FRONT-PORT BACK-PORT: what passing bytes on costs at least where nobody looks
// at them and nothing encrypts them: the kernel moves them from socket to pipe to socket. One
// connection at a time.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "util.h"

enum { PIPE_SIZE = 1024 * 1024 };

struct way {
    int from;
    int to;
    int pipe[2];
    size_t held; // bytes in the pipe
    bool ended;
    bool told;
};

static void way_open(struct way *way, int from, int to)
{
    *way = (struct way){.from = from, .to = to};
    if (pipe2(way->pipe, O_NONBLOCK | O_CLOEXEC) != 0)
        util_die_errno("pipe2");
    (void)fcntl(way->pipe[0], F_SETPIPE_SZ, PIPE_SIZE); // smaller where it is not allowed
}

static void way_close(struct way *way)
{
    close(way->pipe[0]);
    close(way->pipe[1]);
}

// False when the connection is broken.
static bool way_go_on(struct way *way)
{
    unsigned how = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    if (!way->ended && way->held == 0) {
        ssize_t in = splice(way->from, NULL, way->pipe[1], NULL, PIPE_SIZE, how);
        if (in < 0)
            return errno == EAGAIN;
        way->ended = in == 0;
        way->held = (size_t)in;
    }
    if (way->held > 0) {
        ssize_t out = splice(way->pipe[0], NULL, way->to, NULL, way->held, how);
        if (out < 0)
            return errno == EAGAIN;
        way->held -= (size_t)out;
    }
    if (way->ended && way->held == 0 && !way->told) {
        shutdown(way->to, SHUT_WR);
        way->told = true;
    }
    return true;
}

static short wanted(const struct way *from, const struct way *to)
{
    return (short)((!from->ended && from->held == 0 ? POLLIN : 0) | (to->held > 0 ? POLLOUT : 0));
}

static void carry(int front, int back)
{
    struct way up;
    struct way down;
    bool fine = true;
    way_open(&up, front, back);
    way_open(&down, back, front);
    while (fine && !(up.told && down.told)) {
        struct pollfd ends[] = {{.fd = front, .events = wanted(&up, &down)},
            {.fd = back, .events = wanted(&down, &up)}};
        if (poll(ends, 2, -1) < 0)
            util_die_errno("poll");
        bool is_up = (ends[0].revents & ~POLLOUT) != 0 || (ends[1].revents & POLLOUT) != 0;
        bool is_down = (ends[1].revents & ~POLLOUT) != 0 || (ends[0].revents & POLLOUT) != 0;
        fine = (!is_up || way_go_on(&up)) && (!is_down || way_go_on(&down));
        fine = fine && ((ends[0].revents | ends[1].revents) & POLLERR) == 0;
    }
    way_close(&up);
    way_close(&down);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: weir-bench-splice FRONT-PORT BACK-PORT\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = sockets_listen(argv[1]);
    for (;;) {
        int front = sockets_accept(listener);
        int back = sockets_connect(argv[2]);
        sockets_unblock(front);
        sockets_unblock(back);
        carry(front, back);
        close(front);
        close(back);
    }
}
