// SPDX-License-Identifier: Apache-2.0
// What the kernel tells through a descriptor that becomes readable: signals, and changes of the
// files of a directory.
#ifndef WEIR_SYS_NOTICES_H
#define WEIR_SYS_NOTICES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"

// A descriptor, of this module, that tells which of the signals came, to any thread; what they do by
// themselves they do no more. Several may wait for one signal. WEIR_DESCRIPTORS also when there are
// too many of them.
enum weir_result sys_signals_open(const int *numbers, size_t count, int *ret_fd) WEIR_MUST_CHECK;
// The next one, or 0 when there is none.
int sys_signals_take(int fd);
// The last one that waited for a signal gives it back what it did before.
void sys_signals_close(int fd);
// For a process that is about to end: from when nobody waits for them any more they do nothing,
// whatever they did before.
void sys_signals_renounce(const int *numbers, size_t count);

// A descriptor for what happens to the names in a directory, and to their content: when whoever
// wrote it closes it.
enum weir_result sys_directory_open(const char *path, int *ret_fd) WEIR_MUST_CHECK;
// Takes what has come so far; true when the name was among it, or may have been.
bool sys_directory_take(int fd, const char *name);

#endif
