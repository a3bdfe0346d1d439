// SPDX-License-Identifier: Apache-2.0
#include "app/yml_text.h"

void yml_text_put(struct buf *out, const char *text)
{
    buf_append_str(out, "'");
    for (; *text != '\0'; text++) {
        buf_append(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    }
    buf_append_str(out, "'");
}

void yml_text_put_row(struct buf *out, const char *key, const char *text)
{
    buf_append_str(out, key);
    yml_text_put(out, text);
    buf_append_str(out, "\n");
}
