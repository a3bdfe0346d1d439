// SPDX-License-Identifier: Apache-2.0
#include "sys/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

// The C library gives freed memory back beyond 128 KiB. Fifty frames of 16 KiB that came in two pieces
// then cost two to three page faults each, which is more than the rest of their way.
#define HEAP_KEEP (16 * 1024 * 1024)
#define HEAP_PIECE_MAX (1024 * 1024) // larger ones are the system's, and go back to it at once

void sys_hold_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

enum weir_result sys_own_path(char *path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", path, size);
    if (len < 0) {
        return WEIR_IO;
    }
    if ((size_t)len >= size) {
        return WEIR_TOO_LARGE;
    }
    path[len] = '\0';
    return WEIR_OK;
}

uint64_t sys_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return before;
    }
    return limit.rlim_cur;
}

unsigned sys_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : (unsigned)count;
}

uint64_t sys_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    unsigned long size = 0;
    unsigned long resident = 0;
    int fields = fscanf(file, "%lu %lu", &size, &resident);
    fclose(file);
    return fields == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t sys_open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    uint64_t count = 0;
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count < 3 ? 0 : count - 3; // ".", ".." and the directory itself
}

uint64_t sys_descriptor_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

double sys_cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void sys_trim_heap(void)
{
    malloc_trim(0);
}

void sys_limit_heaps(unsigned count)
{
    mallopt(M_ARENA_MAX, (int)count);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
    mallopt(M_MMAP_THRESHOLD, HEAP_PIECE_MAX);
}

static sigset_t pipe_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

bool sys_block_pipe_signal(void)
{
    sigset_t set = pipe_signal();
    sigset_t before;
    return pthread_sigmask(SIG_BLOCK, &set, &before) != 0 || sigismember(&before, SIGPIPE) == 1;
}

void sys_unblock_pipe_signal(void)
{
    static const struct timespec at_once;
    sigset_t set = pipe_signal();
    (void)sigtimedwait(&set, NULL, &at_once); // there need not be one
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
