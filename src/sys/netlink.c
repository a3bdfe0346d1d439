// SPDX-License-Identifier: Apache-2.0
#include "sys/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/errors.h"
#include "sys/fault.h"

#define MESSAGES_PER_CALL 16

enum weir_result sys_netlink_open(int *ret_fd)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                     RTMGRP_IPV6_ROUTE};
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        enum weir_result result = sys_result_of_errno(errno);
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return WEIR_OK;
}

bool sys_netlink_take(int fd)
{
    bool changed = false;
    char bytes[8192];
    for (int i = 0; i < MESSAGES_PER_CALL; i++) {
        ssize_t len = recv(fd, bytes, sizeof bytes, 0);
        if (len < 0) {
            // More came than the kernel keeps for us: a change all the same.
            return changed || errno == ENOBUFS;
        }
        changed = changed || len > 0;
    }
    return changed;
}
