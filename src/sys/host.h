// SPDX-License-Identifier: Apache-2.0
// What this machine is called, and where it is reached.
#ifndef WEIR_SYS_HOST_H
#define WEIR_SYS_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/result.h"

#define SYS_HOSTNAME_SIZE 256
// The host name as the kernel has it; "" when it cannot be told.
void sys_hostname(char name[SYS_HOSTNAME_SIZE]);
// An address of one of the interfaces that are configured right now.
bool sys_is_own_address(const struct ip *ip);

// What the file system holds that path is on, as df counts it.
struct sys_disk {
    uint64_t total_bytes;
    uint64_t used_bytes;
};
enum weir_result sys_disk_look(const char *path, struct sys_disk *ret_disk) WEIR_MUST_CHECK;

#endif
