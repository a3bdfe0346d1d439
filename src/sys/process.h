// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_PROCESS_H
#define WEIR_SYS_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

// Opens what is missing of standard input, output and error, as /dev/null: the next file or socket
// must not become one of them.
void sys_hold_standard_descriptors(void);
// Where the running program is. WEIR_TOO_LARGE: it does not fit; WEIR_IO: the kernel does not say.
enum weir_result sys_own_path(char *path, size_t size) WEIR_MUST_CHECK;
// Raises the soft limit of open descriptors to the hard one; returns what holds now.
uint64_t sys_raise_descriptor_limit(void);
unsigned sys_cpu_count(void);
// What the kernel says of this process; 0 when it does not.
uint64_t sys_resident_bytes(void);
uint64_t sys_open_descriptors(void);
uint64_t sys_descriptor_limit(void);
double sys_cpu_seconds(void);
// Gives freed memory at the heap's top back to the system.
void sys_trim_heap(void);
// Bounds the C library's arenas so that idle threads do not each keep a heap of their own, and has
// them keep some MiB of freed memory: what traffic gives back in one turn it needs in the next.
void sys_limit_heaps(unsigned count);
// For libraries, which may not ignore SIGPIPE for the whole process: blocks it for this thread;
// whether it was blocked before. Unblocking swallows one that came meanwhile.
bool sys_block_pipe_signal(void);
void sys_unblock_pipe_signal(void);

#endif
