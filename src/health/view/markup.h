// SPDX-License-Identifier: Apache-2.0
// Text of anybody inside HTML and SVG. Pure.
#ifndef WEIR_HEALTH_MARKUP_H
#define WEIR_HEALTH_MARKUP_H

#include "base/buf.h"

// Appends text so that it is only text, in an element and in a quoted attribute: what marks up is
// escaped, control characters (which XML does not have) and what is no UTF-8 become U+FFFD. NULL
// appends nothing. out->failed says at the end whether it fitted.
void markup_put(struct buf *out, const char *text);
// How many characters a reader sees, about.
size_t markup_width(const char *text);

#endif
