// SPDX-License-Identifier: Apache-2.0
// Word of changes of the machine's network: links, addresses, routes (rtnetlink(7)).
#ifndef WEIR_SYS_NETLINK_H
#define WEIR_SYS_NETLINK_H

#include "base/result.h"

// A descriptor that becomes readable with each change.
enum weir_result sys_netlink_open(int *ret_fd) WEIR_MUST_CHECK;
// Takes what has come; whether it was about a change at all.
bool sys_netlink_take(int fd);

#endif
