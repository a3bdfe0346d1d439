// SPDX-License-Identifier: Apache-2.0
// The seam for system-call faults: in builds with WEIR_FAULTS the Nth call made through sys/ fails
// with the given result, once. Compiled out of releases.
#ifndef WEIR_SYS_FAULT_H
#define WEIR_SYS_FAULT_H

#include "base/result.h"

// 0 turns it off. Called before threads exist.
void sys_fail_at(unsigned long nth);
// Calls counted since the last sys_fail_at; 0 in a release build.
unsigned long sys_call_count(void);

#if WEIR_FAULTS
// Counts a call; true when this is the one to fail.
bool sys_fault_now(void);
#else
static inline bool sys_fault_now(void)
{
    return false;
}
#endif

#endif
