// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_SYS_ENTROPY_H
#define WEIR_SYS_ENTROPY_H

#include <stddef.h>

#include "base/result.h"

// Fills bytes from the kernel's generator (getrandom). len is at most 256.
enum weir_result sys_entropy(void *bytes, size_t len) WEIR_MUST_CHECK;

#endif
