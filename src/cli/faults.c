// SPDX-License-Identifier: Apache-2.0
#include "cli/faults.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sys/fault.h"

void faults_arm(void)
{
#if WEIR_FAULTS
    const char *allocation = getenv("WEIR_FAIL_ALLOCATION");
    const char *call = getenv("WEIR_FAIL_SYSCALL");
    if (allocation != NULL) {
        mem_fail_at(strtoul(allocation, NULL, 10));
    }
    if (call != NULL) {
        sys_fail_at(strtoul(call, NULL, 10));
    }
#endif
}

void faults_report(void)
{
#if WEIR_FAULTS
    if (getenv("WEIR_FAIL_ALLOCATION") != NULL || getenv("WEIR_FAIL_SYSCALL") != NULL) {
        fprintf(stderr, "weir: %lu allocations, %lu system calls\n", mem_count(), sys_call_count());
    }
#endif
}
