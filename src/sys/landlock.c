// SPDX-License-Identifier: Apache-2.0
// The structures and rights are written down here as the kernel documents them: the headers of a
// distribution know fewer than the kernel that runs. What a version does not know is left out of
// the question (userspace-api/landlock.rst, "Compatibility").
#include "sys/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/slice.h"
#include "sys/errors.h"

#define VERSION_QUESTION 1 // LANDLOCK_CREATE_RULESET_VERSION
#define RULE_PATH 1        // LANDLOCK_RULE_PATH_BENEATH
#define RULE_PORT 2        // LANDLOCK_RULE_NET_PORT
#define LOW_PORTS 1024

#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE (UINT64_C(3) << 4) // directories, files
#define FS_MAKE_CHAR (UINT64_C(1) << 6)
#define FS_MAKE_PLAIN (UINT64_C(7) << 7) // directories, files, sockets
#define FS_MAKE_FIFO (UINT64_C(1) << 10)
#define FS_MAKE_BLOCK (UINT64_C(1) << 11)
#define FS_MAKE_SYM (UINT64_C(1) << 12)
#define FS_REFER (UINT64_C(1) << 13)     // version 2
#define FS_TRUNCATE (UINT64_C(1) << 14)  // version 3
#define FS_IOCTL_DEV (UINT64_C(1) << 15) // version 5
#define NET_BIND_TCP (UINT64_C(1) << 0)  // version 4
#define SCOPE_SIGNAL (UINT64_C(1) << 1)  // version 6

#define FS_FIRST                                                                                   \
    (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_REMOVE | FS_MAKE_CHAR |          \
        FS_MAKE_PLAIN | FS_MAKE_FIFO | FS_MAKE_BLOCK | FS_MAKE_SYM)
#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE (FS_READ | FS_WRITE_FILE | FS_REMOVE | FS_MAKE_PLAIN | FS_REFER | FS_TRUNCATE)
// What rules for something that is no directory may hold.
#define FS_OF_FILES (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct port_rule {
    uint64_t allowed;
    uint64_t port;
};

struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

static uint64_t known_rights(unsigned version)
{
    return FS_FIRST | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0) |
           (version >= 5 ? FS_IOCTL_DEV : 0);
}

static size_t ruleset_size(unsigned version)
{
    return version >= 6   ? sizeof(struct ruleset)
           : version >= 4 ? offsetof(struct ruleset, scoped)
                          : offsetof(struct ruleset, net);
}

void sys_landlock_open(struct sys_landlock *landlock)
{
    *landlock = (struct sys_landlock){.fd = -1};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_QUESTION);
    if (version < 1) {
        return;
    }
    const struct ruleset rules = {
        .fs = known_rights((unsigned)version), .net = NET_BIND_TCP, .scoped = SCOPE_SIGNAL};
    long fd = syscall(SYS_landlock_create_ruleset, &rules, ruleset_size((unsigned)version), 0);
    if (fd >= 0) {
        *landlock = (struct sys_landlock){.fd = (int)fd, .version = (unsigned)version};
    }
}

// What cannot be allowed stays forbidden.
static void allow(const struct sys_landlock *landlock, const char *path, uint64_t rights)
{
    struct stat status;
    int fd = landlock->fd < 0 ? -1 : open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &status) == 0) {
        struct path_rule rule = {.fd = fd,
            .allowed = rights & known_rights(landlock->version) &
                       (S_ISDIR(status.st_mode) ? ~UINT64_C(0) : FS_OF_FILES)};
        (void)syscall(SYS_landlock_add_rule, landlock->fd, RULE_PATH, &rule, 0);
    }
    close(fd);
}

// Cuts the last part off; false when nothing but the root is left.
static bool cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        strcpy(path, "."); // there is room: it is as long as a name at least
        return true;
    }
    *slash = '\0';
    return slash != path;
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

// All in the directory of a file. In the root this one alone.
static void allow_around(const struct sys_landlock *landlock, const char *path)
{
    char directory[PATH_MAX];
    if (is_directory(path)) {
        allow(landlock, path, FS_READ);
    } else if (slice_to_text(slice_str(path), directory, sizeof directory)) {
        bool below_root = cut(directory);
        allow(landlock, below_root ? directory : path, FS_READ);
    }
}

static void allow_beside(const struct sys_landlock *landlock, const char *path)
{
    char directory[PATH_MAX];
    char real[PATH_MAX];
    if (path[0] != '/' || !slice_to_text(slice_str(path), directory, sizeof directory) ||
        (!is_directory(path) && !cut(directory)) || realpath(directory, real) == NULL) {
        return;
    }
    size_t len = strlen(directory);
    while (len > 1 && directory[len - 1] == '/') {
        directory[--len] = '\0';
    }
    if (strcmp(directory, real) != 0 && cut(real)) {
        allow(landlock, real, FS_READ);
    }
}

void sys_landlock_read(struct sys_landlock *landlock, const char *path)
{
    char real[PATH_MAX];
    if (path == NULL || path[0] == '\0') {
        return;
    }
    allow_around(landlock, path);
    allow_beside(landlock, path);
    if (realpath(path, real) != NULL) {
        allow_around(landlock, real);
    }
}

void sys_landlock_read_here(struct sys_landlock *landlock, const char *path)
{
    allow(landlock, path, FS_READ);
}

void sys_landlock_write(struct sys_landlock *landlock, const char *path)
{
    char there[PATH_MAX];
    struct stat status;
    if (path == NULL || !slice_to_text(slice_str(path), there, sizeof there)) {
        return;
    }
    bool found = stat(there, &status) == 0 && !S_ISREG(status.st_mode);
    while (!found && cut(there)) {
        found = is_directory(there);
    }
    if (found) {
        allow(landlock, there, FS_WRITE);
    }
}

void sys_landlock_bind(struct sys_landlock *landlock, uint16_t first, uint16_t last)
{
    landlock->low_ports = landlock->low_ports || first < LOW_PORTS;
    for (unsigned port = first; landlock->version >= 4 && port <= last; port++) {
        const struct port_rule rule = {.allowed = NET_BIND_TCP, .port = port};
        (void)syscall(SYS_landlock_add_rule, landlock->fd, RULE_PORT, &rule, 0);
    }
}

enum weir_result sys_landlock_enter(struct sys_landlock *landlock)
{
    if (landlock->fd >= 0 && syscall(SYS_landlock_restrict_self, landlock->fd, 0) != 0) {
        return sys_result_of_errno(errno);
    }
    return WEIR_OK;
}

void sys_landlock_close(struct sys_landlock *landlock)
{
    if (landlock->fd >= 0) {
        close(landlock->fd);
        landlock->fd = -1;
    }
}
