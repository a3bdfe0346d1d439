// SPDX-License-Identifier: Apache-2.0
// For LD_PRELOAD: clocks that a test moves. Three offsets in nanoseconds, of the monotonic clock, of
// the one that counts a machine's sleep, and of the wall clock, lie in the file CLOCK_FILE.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000

enum { MONOTONIC, BOOT, WALL, COUNT };

static const volatile int64_t *offsets;

__attribute__((constructor)) static void map_offsets(void)
{
    const char *path = getenv("CLOCK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *at = mmap(NULL, COUNT * sizeof *offsets, PROT_READ, MAP_SHARED, fd, 0);
        offsets = at == MAP_FAILED ? NULL : at;
        close(fd);
    }
}

static int64_t offset_of(clockid_t id)
{
    switch (id) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return offsets[MONOTONIC];
    case CLOCK_BOOTTIME: // it goes on whenever the other one does
        return offsets[MONOTONIC] + offsets[BOOT];
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return offsets[WALL];
    default:
        return 0;
    }
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && offsets != NULL) {
        int64_t ns = now->tv_sec * NS_PER_S + now->tv_nsec + offset_of(id);
        now->tv_sec = ns / NS_PER_S;
        now->tv_nsec = ns % NS_PER_S;
    }
    return (int)result;
}
