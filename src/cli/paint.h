// SPDX-License-Identifier: Apache-2.0
// Lines of text as bytes for a terminal: what every screen of the program does alike. No I/O.
#ifndef WEIR_CLI_PAINT_H
#define WEIR_CLI_PAINT_H

#include "base/buf.h"
#include "base/slice.h"

// The other screen, without a cursor; and back.
#define PAINT_ENTER "\033[?1049h\033[?25l"
#define PAINT_LEAVE "\033[?25h\033[?1049l"

// Appends at most so many characters of the line, and what erases the rest of it. Escape sequences
// of colors take no room and are always kept, but with reverse, where none is.
void paint_line(struct buf *out, struct slice line, size_t columns, bool reverse);
// The whole screen: the first rows of text, from the upper left corner; nothing blinks.
void paint_lines(struct buf *out, struct slice text, size_t rows, size_t columns);

#endif
