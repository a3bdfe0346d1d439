// SPDX-License-Identifier: Apache-2.0
#include "sys/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include "sys/errors.h"
#include "sys/fault.h"

enum weir_result sys_entropy(void *bytes, size_t len)
{
    weir_assert(len <= 256);
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    ssize_t got = getrandom(bytes, len, 0);
    if (got < 0) {
        return sys_result_of_errno(errno);
    }
    return (size_t)got == len ? WEIR_OK : WEIR_IO;
}
