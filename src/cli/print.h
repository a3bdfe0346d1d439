// SPDX-License-Identifier: Apache-2.0
// Standard output of commands.
#ifndef WEIR_CLI_PRINT_H
#define WEIR_CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

// Each writes at once, waiting as long as it takes; false when nobody reads any more, or memory ran
// out.
bool print_buf(const struct buf *out);
// A value and a line end, on one line unless pretty. On a terminal what is not ASCII is escaped:
// such text could steer it.
bool print_json(const json_t *value, bool pretty);

#endif
