// SPDX-License-Identifier: Apache-2.0
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "sys/errors.h"
#include "sys/fault.h"
#include "sys/privileges.h"

#define PATH_SIZE 4096
#define LOCK_RETRY_NS (20 * NS_PER_MS)

static enum weir_result read_into(int fd, size_t max, struct buf *out)
{
    char chunk[4096];
    size_t total = 0;
    for (;;) {
        size_t len;
        enum weir_result result = sys_read_some(fd, chunk, sizeof chunk, &len);
        if (result == WEIR_CLOSED) {
            return WEIR_OK;
        }
        if (result == WEIR_AGAIN) {
            continue;
        }
        if (result != WEIR_OK) {
            return result;
        }
        total += len;
        if (total > max) {
            return WEIR_TOO_LARGE;
        }
        result = buf_append(out, chunk, len);
        if (result != WEIR_OK) {
            return result;
        }
    }
}

enum reading { READ_ANY, READ_PLAIN, READ_SHARED };

static bool is_plain(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static enum weir_result read_file(
    const char *path, enum reading reading, size_t max, struct buf *out)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | (reading == READ_ANY ? 0 : O_NONBLOCK));
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    enum weir_result result = reading == READ_ANY || is_plain(fd) ? WEIR_OK : WEIR_INVALID;
    if (result == WEIR_OK && reading == READ_SHARED && flock(fd, LOCK_SH | LOCK_NB) != 0) {
        result = sys_result_of_errno(errno);
    }
    if (result == WEIR_OK) {
        result = read_into(fd, max, out);
    }
    close(fd);
    return result;
}

enum weir_result sys_file_read(const char *path, size_t max, struct buf *out)
{
    return read_file(path, READ_ANY, max, out);
}

enum weir_result sys_file_read_plain(const char *path, size_t max, struct buf *out)
{
    return read_file(path, READ_PLAIN, max, out);
}

enum weir_result sys_file_read_shared(const char *path, size_t max, struct buf *out)
{
    return read_file(path, READ_SHARED, max, out);
}

// Opens one part of a path below the directory at fd, which is closed.
static int open_part(int fd, struct slice part, bool last)
{
    char name[NAME_MAX + 1];
    bool usable = part.len > 0 && part.at[0] != '.' && slice_to_text(part, name, sizeof name);
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
    int below = usable ? openat(fd, name, flags) : -1;
    close(fd);
    return below;
}

enum weir_result sys_file_read_below(
    const char *directory, struct slice path, size_t max, struct buf *out)
{
    struct slice part;
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    int fd = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    while (fd >= 0 && slice_split(&path, '/', &part)) {
        fd = open_part(fd, part, path.at == NULL);
    }
    if (fd < 0) {
        return WEIR_NOT_FOUND;
    }
    enum weir_result result = is_plain(fd) ? read_into(fd, max, out) : WEIR_NOT_FOUND;
    close(fd);
    return result;
}

// What is there already is of a process that died, or was put in the way: neither its mode nor
// where it leads to is ours.
static enum weir_result write_and_sync(const char *path, struct slice content)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    enum weir_result result = sys_write_all(fd, content.at, content.len);
    if (result == WEIR_OK && fsync(fd) != 0) {
        result = sys_result_of_errno(errno);
    }
    close(fd);
    return result;
}

static enum weir_result put_in_place(const char *temporary, const char *path, bool replace)
{
    if ((replace ? rename(temporary, path) : link(temporary, path)) == 0) {
        return WEIR_OK;
    }
    return errno == EEXIST ? WEIR_IN_USE : sys_result_of_errno(errno);
}

static enum weir_result write_private(const char *path, struct slice content, bool replace)
{
    char temporary[PATH_SIZE];
    int len = snprintf(temporary, sizeof temporary, "%s.%d.new", path, (int)getpid());
    if (len < 0 || (size_t)len >= sizeof temporary) {
        return WEIR_TOO_LARGE;
    }
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    enum weir_result result = write_and_sync(temporary, content);
    if (result == WEIR_OK) {
        result = put_in_place(temporary, path, replace);
    }
    if (result != WEIR_OK || !replace) {
        unlink(temporary);
    }
    return result;
}

enum weir_result sys_file_write_private(const char *path, struct slice content)
{
    return write_private(path, content, true);
}

enum weir_result sys_file_create_private(const char *path, struct slice content)
{
    return write_private(path, content, false);
}

enum weir_result sys_file_lock(const char *path, uint64_t timeout_ns, int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    for (uint64_t waited_ns = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ns += LOCK_RETRY_NS) {
        enum weir_result result = sys_result_of_errno(errno);
        if (result != WEIR_AGAIN || waited_ns >= timeout_ns) {
            close(fd);
            return result == WEIR_AGAIN ? WEIR_TIMEOUT : result;
        }
        poll(NULL, 0, LOCK_RETRY_NS / NS_PER_MS);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

static enum weir_result make_one(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return WEIR_OK;
    }
    return sys_result_of_errno(errno);
}

enum weir_result sys_dir_make(const char *path)
{
    char partial[PATH_SIZE];
    if (!slice_to_text(slice_str(path), partial, sizeof partial)) {
        return WEIR_TOO_LARGE;
    }
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        enum weir_result result = make_one(partial);
        *slash = '/';
        if (result != WEIR_OK) {
            return result;
        }
    }
    return make_one(partial);
}

enum weir_result sys_dir_private(const char *path)
{
    struct stat st;
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    enum weir_result result = make_one(path);
    if (result != WEIR_OK) {
        return result;
    }
    if (lstat(path, &st) != 0) {
        return sys_result_of_errno(errno);
    }
    bool ours = S_ISDIR(st.st_mode) && st.st_uid == sys_user_id() && (st.st_mode & 077) == 0;
    return ours ? WEIR_OK : WEIR_PERMISSION;
}

void sys_dir_walk(const char *path, void (*found)(void *arg, const char *path), void *arg)
{
    DIR *directory = sys_fault_now() ? NULL : opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char whole[PATH_SIZE];
        int len = snprintf(whole, sizeof whole, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof whole) {
            found(arg, whole);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

bool sys_dir_is_writable(const char *path)
{
    return faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
}

bool sys_is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool sys_file_remove(const char *path)
{
    return remove(path) == 0;
}

enum weir_result sys_file_give(const char *path, uid_t uid, gid_t gid)
{
    return lchown(path, uid, gid) == 0 ? WEIR_OK : sys_result_of_errno(errno);
}

enum weir_result sys_file_permit(const char *path, unsigned mode)
{
    return chmod(path, (mode_t)mode) == 0 ? WEIR_OK : sys_result_of_errno(errno);
}

bool sys_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

unsigned sys_file_mode(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

bool sys_file_is_public(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0;
}

enum weir_result sys_absolute_path(const char *path, char *absolute, size_t size)
{
    char directory[PATH_SIZE] = "";
    if (path[0] != '/' && getcwd(directory, sizeof directory - 1) == NULL) {
        return sys_result_of_errno(errno);
    }
    int len = snprintf(absolute, size, "%s%s%s", directory, path[0] == '/' ? "" : "/", path);
    return len < 0 || (size_t)len >= size ? WEIR_TOO_LARGE : WEIR_OK;
}

bool sys_same_file(const char *path, const char *other)
{
    struct stat a;
    struct stat b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

enum weir_result sys_file_look_plain(const char *path, uint64_t max)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return sys_result_of_errno(errno);
    }
    if (!S_ISREG(st.st_mode)) {
        return WEIR_INVALID;
    }
    return (uint64_t)st.st_size <= max ? WEIR_OK : WEIR_TOO_LARGE;
}

uint64_t sys_file_stamp(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return 0;
    }
    uint64_t time = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    uint64_t stamp = time ^ ((uint64_t)st.st_ino << 32) ^ (uint64_t)st.st_size;
    return stamp == 0 ? 1 : stamp;
}

enum weir_result sys_write_some(int fd, const void *bytes, size_t len, size_t *ret_len)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    ssize_t done = write(fd, bytes, len);
    if (done < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_len = (size_t)done;
    return WEIR_OK;
}

enum weir_result sys_write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        size_t done = 0;
        enum weir_result result = sys_write_some(fd, at, len, &done);
        if (result == WEIR_AGAIN) {
            sys_wait_writable(fd, NS_PER_S);
            continue;
        }
        if (result != WEIR_OK) {
            return result;
        }
        at += done;
        len -= done;
    }
    return WEIR_OK;
}

enum weir_result sys_read_some(int fd, void *bytes, size_t len, size_t *ret_len)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    ssize_t got = read(fd, bytes, len);
    if (got < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_len = (size_t)got;
    return got == 0 ? WEIR_CLOSED : WEIR_OK;
}

static bool wait_for(int fd, short events, uint64_t timeout_ns)
{
    struct pollfd waited = {.fd = fd, .events = events};
    return poll(&waited, 1, (int)(timeout_ns / NS_PER_MS)) == 1;
}

bool sys_wait_writable(int fd, uint64_t timeout_ns)
{
    return wait_for(fd, POLLOUT, timeout_ns);
}

bool sys_wait_readable(int fd, uint64_t timeout_ns)
{
    return wait_for(fd, POLLIN, timeout_ns);
}
