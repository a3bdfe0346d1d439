// SPDX-License-Identifier: Apache-2.0
// Text of others for a terminal. What names, labels and messages hold is chosen by whoever made
// them: nothing of it may steer the terminal of whoever looks (spec engine, section 14).
#ifndef WEIR_CLI_PLAIN_H
#define WEIR_CLI_PLAIN_H

#include "base/buf.h"
#include "base/slice.h"

// Appends text without escape sequences (whole ones, of ECMA-48), control characters (C0, DEL, C1),
// and characters that reorder or hide others (Unicode's bidirectional controls, zero width); tabs
// and line ends become blanks, what is no UTF-8 becomes question marks.
enum weir_result plain_append(struct buf *out, struct slice text);
// The characters a valid UTF-8 text takes on a terminal, each counted as one column.
size_t plain_width(struct slice text);

#endif
