// SPDX-License-Identifier: Apache-2.0
#include "sys/host.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/statvfs.h>
#include <unistd.h>

void sys_hostname(char name[SYS_HOSTNAME_SIZE])
{
    if (gethostname(name, SYS_HOSTNAME_SIZE) != 0) {
        name[0] = '\0';
    }
    name[SYS_HOSTNAME_SIZE - 1] = '\0';
}

static bool is_address(const struct sockaddr *address, const struct ip *ip)
{
    struct ip found;
    if (address == NULL) {
        return false;
    }
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        found = ip_from_v4((const uint8_t *)&v4.sin_addr);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        found = ip_from_v6(v6.sin6_addr.s6_addr);
    } else {
        return false;
    }
    return ip_eq(&found, ip);
}

bool sys_is_own_address(const struct ip *ip)
{
    struct ifaddrs *list = NULL;
    bool own = false;
    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (const struct ifaddrs *at = list; at != NULL && !own; at = at->ifa_next) {
        own = is_address(at->ifa_addr, ip);
    }
    freeifaddrs(list);
    return own;
}

enum weir_result sys_disk_look(const char *path, struct sys_disk *ret_disk)
{
    struct statvfs system;
    if (statvfs(path, &system) != 0) {
        return WEIR_IO;
    }
    *ret_disk = (struct sys_disk){
        .total_bytes = (uint64_t)system.f_blocks * system.f_frsize,
        .used_bytes = (uint64_t)(system.f_blocks - system.f_bfree) * system.f_frsize,
    };
    return WEIR_OK;
}
