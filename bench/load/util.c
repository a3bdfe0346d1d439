// SPDX-License-Identifier: Apache-2.0
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void util_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void util_die_errno(const char *what)
{
    util_die("%s: %s", what, strerror(errno));
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        util_die_errno("clock_gettime");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t util_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void *util_alloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        util_die("out of memory");
    return memory;
}

uint64_t util_random(void)
{
    static uint64_t state;
    if (state == 0)
        state = util_now_ns() ^ ((uint64_t)getpid() << 32);
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void util_random_base64(char *out, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 10 == 0)
            bits = util_random();
        out[i] = digits[bits & 63];
        bits >>= 6;
    }
}

uint64_t util_process_cpu_ns(pid_t pid)
{
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    if (error != 0)
        util_die("no CPU clock for process %d", (int)pid);
    return clock_ns(clock);
}

uint64_t util_other_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec now;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void util_process_split_ns(pid_t pid, uint64_t *ret_user, uint64_t *ret_system)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        util_die_errno(path);
    unsigned long user;
    unsigned long kernel;
    // The second field is the program's name in parentheses and may hold spaces; the names of the
    // programs measured here hold neither those nor parentheses.
    int got = fscanf(
        file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    fclose(file);
    if (got != 2)
        util_die("%s is not understood", path);
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    *ret_user = user * tick_ns;
    *ret_system = kernel * tick_ns;
}
