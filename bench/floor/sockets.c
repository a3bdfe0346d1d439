// SPDX-License-Identifier: Apache-2.0
#include "sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util.h"

static int open_one(const char *port, struct sockaddr_in *ret_address)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        util_die_errno("socket");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        util_die_errno("setsockopt");
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return fd;
}

int sockets_listen(const char *port)
{
    struct sockaddr_in address;
    int fd = open_one(port, &address); // what is accepted inherits the options
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0)
        util_die_errno("listen");
    return fd;
}

int sockets_connect(const char *port)
{
    struct sockaddr_in address;
    int fd = open_one(port, &address);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        util_die_errno("connect");
    return fd;
}

int sockets_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        util_die_errno("accept");
    return fd;
}

void sockets_unblock(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        util_die_errno("O_NONBLOCK");
}
