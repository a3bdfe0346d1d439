// SPDX-License-Identifier: Apache-2.0
// Text as others take it literally: a value of a YAML file that we make, a word of a command that
// we print.
#ifndef WEIR_APP_QUOTE_H
#define WEIR_APP_QUOTE_H

#include "base/buf.h"

// Appends text in single quotes. It has no control characters.
void quote_yml(struct buf *out, const char *text);
// The key (with its indentation and ": "), the text and a line end.
void quote_yml_row(struct buf *out, const char *key, const char *text);

// Room for a word of a path of so many bytes, however it has to be quoted.
#define QUOTE_SHELL_SIZE(size) (4 * (size))
// text itself, or in word (size bytes, else it ends early) in single quotes where a shell wants
// them.
const char *quote_shell(const char *text, char *word, size_t size);

#endif
