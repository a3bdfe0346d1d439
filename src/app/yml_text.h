// SPDX-License-Identifier: Apache-2.0
// Text as a value of a YAML file that we make.
#ifndef WEIR_APP_YML_TEXT_H
#define WEIR_APP_YML_TEXT_H

#include "base/buf.h"

// Appends text in single quotes, which YAML takes literally. text has no control characters.
void yml_text_put(struct buf *out, const char *text);
// key (with its indentation and ": "), the text and a line end.
void yml_text_put_row(struct buf *out, const char *key, const char *text);

#endif
