// SPDX-License-Identifier: Apache-2.0
// Shared libraries that only some commands need: those load them, so that a relay does not carry a
// database along.
#ifndef WEIR_SYS_LIBRARY_H
#define WEIR_SYS_LIBRARY_H

#include <stddef.h>

#include "base/result.h"

struct sys_library {
    const char *file;         // as the loader looks for it: "libpq.so.5"
    const char *package;      // the Debian package that has it
    const char *const *names; // of the functions that are wanted
    size_t count;
    void *functions; // count pointers to functions, in the order of the names
};

// Loads it for good; the second time does nothing. Not from two threads at once, and before the
// process confines itself. The problem says what to install. WEIR_NOT_FOUND: there is no
// such library; WEIR_INVALID: it lacks a function.
enum weir_result sys_library_load(
    const struct sys_library *library, char *problem, size_t size) WEIR_MUST_CHECK;

#endif
