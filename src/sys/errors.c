// SPDX-License-Identifier: Apache-2.0
#include "sys/errors.h"

#include <errno.h>
#include <stddef.h>

static const struct {
    int error;
    enum weir_result result;
} table[] = {
    {EAGAIN, WEIR_AGAIN},
    {EINTR, WEIR_AGAIN},
    {EINPROGRESS, WEIR_AGAIN},
    {EPIPE, WEIR_RESET},
    {ECONNRESET, WEIR_RESET},
    {ECONNABORTED, WEIR_RESET},
    {ENOTCONN, WEIR_RESET},
    {ETIMEDOUT, WEIR_TIMEOUT},
    {ECONNREFUSED, WEIR_REFUSED},
    {EHOSTUNREACH, WEIR_UNREACHABLE},
    {ENETUNREACH, WEIR_UNREACHABLE},
    {ENETDOWN, WEIR_UNREACHABLE},
    {EMFILE, WEIR_DESCRIPTORS},
    {ENFILE, WEIR_DESCRIPTORS},
    {ENOMEM, WEIR_MEMORY},
    {ENOBUFS, WEIR_MEMORY},
    {ENOENT, WEIR_NOT_FOUND},
    {ENOTDIR, WEIR_NOT_FOUND},
    {EEXIST, WEIR_EXISTS},
    {EADDRINUSE, WEIR_IN_USE},
    {EADDRNOTAVAIL, WEIR_UNREACHABLE},
    {ENOSPC, WEIR_NO_SPACE},
    {EDQUOT, WEIR_NO_SPACE},
    {EACCES, WEIR_PERMISSION},
    {EPERM, WEIR_PERMISSION},
    {EINVAL, WEIR_INVALID},
    {EBADF, WEIR_INVALID},
};

enum weir_result sys_result_of_errno(int error)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].error == error) {
            return table[i].result;
        }
    }
    return WEIR_IO;
}
