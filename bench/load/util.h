// SPDX-License-Identifier: Apache-2.0
// What every part of the load generator needs: dying with a sentence, time, memory, randomness,
// and the CPU time of another process.
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Ends the program with status 1 after one line on stderr. A bench that goes on after something
// unexpected measures nothing, so every failure ends here.
_Noreturn void util_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The same for a failed system call: `what` and the text of errno.
_Noreturn void util_die_errno(const char *what);

// Monotonic time in nanoseconds.
uint64_t util_now_ns(void);

// Zeroed memory; dies when there is none.
void *util_alloc(size_t count, size_t size);

// Fast generator (splitmix64), good enough for masks and for bytes that must not compress.
uint64_t util_random(void);

// Writes `len` random base64url characters, without a terminator.
void util_random_base64(char *out, size_t len);

// CPU time all threads of `pid` have used, in nanoseconds: the same sum as utime + stime of
// /proc/PID/stat, without the 10 ms steps.
uint64_t util_process_cpu_ns(pid_t pid);
// The same of one that may have ended, a database's helper, say: 0 then.
uint64_t util_other_cpu_ns(pid_t pid);

// utime and stime of /proc/PID/stat, in nanoseconds.
void util_process_split_ns(pid_t pid, uint64_t *ret_user, uint64_t *ret_system);

#endif
