// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_CLOCK_H
#define WEIR_SYS_CLOCK_H

#include <stdint.h>

// Monotonic nanoseconds.
uint64_t sys_now_ns(void);
// The same, and goes on while the machine is suspended.
uint64_t sys_boot_ns(void);
// Milliseconds since 1970.
uint64_t sys_wall_ms(void);

#endif
