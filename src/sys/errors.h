// SPDX-License-Identifier: Apache-2.0
// errno becomes a result here and nowhere else.
#ifndef WEIR_SYS_ERRORS_H
#define WEIR_SYS_ERRORS_H

#include "base/result.h"

// Never WEIR_OK. An errno nobody expected is WEIR_IO.
enum weir_result sys_result_of_errno(int error);

#endif
