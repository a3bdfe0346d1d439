// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_FILE_H
#define WEIR_SYS_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

// Appends the file's content to out; WEIR_TOO_LARGE when it holds more than max bytes.
enum weir_result sys_file_read(const char *path, size_t max, struct buf *out) WEIR_MUST_CHECK;
// The same of a plain file: WEIR_INVALID when it is a pipe or a device, which would be waited for.
enum weir_result sys_file_read_plain(const char *path, size_t max, struct buf *out) WEIR_MUST_CHECK;
// The same of a plain file under a shared flock, so that a writer that locks the file is not read
// in the middle. WEIR_AGAIN: somebody holds it exclusively right now.
enum weir_result sys_file_read_shared(
    const char *path, size_t max, struct buf *out) WEIR_MUST_CHECK;
// The same of a plain file below a directory: path is relative, and no link in it is followed, so
// that nothing outside can be read. WEIR_NOT_FOUND also for a path with an empty part or one that
// begins with a dot.
enum weir_result sys_file_read_below(
    const char *directory, struct slice path, size_t max, struct buf *out) WEIR_MUST_CHECK;
// Replaces the file as a whole (temporary file, fsync, rename); mode 0600.
enum weir_result sys_file_write_private(const char *path, struct slice content) WEIR_MUST_CHECK;
// Makes the file as a whole, or leaves the one that is there and gives WEIR_IN_USE; mode 0600.
enum weir_result sys_file_create_private(const char *path, struct slice content) WEIR_MUST_CHECK;
// Makes the file if need be (mode 0600) and locks it (flock) for this process alone until
// sys_close; WEIR_TIMEOUT: somebody else kept it locked.
enum weir_result sys_file_lock(const char *path, uint64_t timeout_ns, int *ret_fd) WEIR_MUST_CHECK;
// Makes the directory and its parents, mode 0700; fine when it is there already.
enum weir_result sys_dir_make(const char *path) WEIR_MUST_CHECK;
// One directory that nobody else may look into: made with mode 0700, or there already, ours and
// closed to others. WEIR_PERMISSION: it is somebody else's, open to others, or a link.
enum weir_result sys_dir_private(const char *path) WEIR_MUST_CHECK;
// Deletes a file, or a directory that is empty; false when it cannot.
bool sys_file_remove(const char *path);
// Makes a file or a directory somebody's; root alone may.
enum weir_result sys_file_give(const char *path, uid_t uid, gid_t gid) WEIR_MUST_CHECK;
// Sets its permission bits (0644).
enum weir_result sys_file_permit(const char *path, unsigned mode) WEIR_MUST_CHECK;
bool sys_file_exists(const char *path);
bool sys_is_directory(const char *path);
// Whether files can be made in it.
bool sys_dir_is_writable(const char *path);
// Tells the paths of what is in a directory, hidden ones left out; nothing when it is not there.
void sys_dir_walk(const char *path, void (*found)(void *arg, const char *path), void *arg);
// path as seen from the root; links in it stay. WEIR_TOO_LARGE: it does not fit.
enum weir_result sys_absolute_path(const char *path, char *absolute, size_t size) WEIR_MUST_CHECK;
// Both are there, and one and the same.
bool sys_same_file(const char *path, const char *other);
// Whether a library may read it whole: a plain file of at most max bytes. WEIR_INVALID: a pipe or a
// device, which would be waited for; WEIR_TOO_LARGE.
enum weir_result sys_file_look_plain(const char *path, uint64_t max) WEIR_MUST_CHECK;
// Its permission bits (0644); 0 when it is not there.
unsigned sys_file_mode(const char *path);
// Every user of the machine may read it.
bool sys_file_is_public(const char *path);
// Something that changes whenever the file does (modification time, size, inode); 0 when it is not
// there.
uint64_t sys_file_stamp(const char *path);

// Writes everything, waiting as long as it takes.
enum weir_result sys_write_all(int fd, const void *bytes, size_t len) WEIR_MUST_CHECK;
// One write; WEIR_AGAIN when it would block on a non-blocking descriptor.
enum weir_result sys_write_some(
    int fd, const void *bytes, size_t len, size_t *ret_len) WEIR_MUST_CHECK;
// One read; WEIR_CLOSED at the end.
enum weir_result sys_read_some(int fd, void *bytes, size_t len, size_t *ret_len) WEIR_MUST_CHECK;
// True when fd took to being writable, or readable, within the time.
bool sys_wait_writable(int fd, uint64_t timeout_ns);
bool sys_wait_readable(int fd, uint64_t timeout_ns);

#endif
