// SPDX-License-Identifier: Apache-2.0
// The clocks cannot fail on Linux; they are no part of the fault seam.
#include "sys/clock.h"

#include <time.h>

#include "base/time.h"

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t sys_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t sys_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / NS_PER_MS;
}

uint64_t sys_boot_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}
