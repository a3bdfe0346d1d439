// SPDX-License-Identifier: Apache-2.0
#include "sys/fault.h"

#if WEIR_FAULTS
#include <stdatomic.h>

static atomic_ulong count;
static atomic_ulong fail_at;

void sys_fail_at(unsigned long nth)
{
    atomic_store(&count, 0);
    atomic_store(&fail_at, nth);
}

unsigned long sys_call_count(void)
{
    return atomic_load(&count);
}

bool sys_fault_now(void)
{
    unsigned long now = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) + 1;
    return now == atomic_load_explicit(&fail_at, memory_order_relaxed);
}
#else
void sys_fail_at(unsigned long nth)
{
    (void)nth;
}

unsigned long sys_call_count(void)
{
    return 0;
}
#endif
