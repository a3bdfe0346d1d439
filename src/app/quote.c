// SPDX-License-Identifier: Apache-2.0
#include "app/quote.h"

#include <stdio.h>

#define TAIL_SIZE 6 // the longest character, the last quote

void quote_yml(struct buf *out, const char *text)
{
    buf_append_str(out, "'");
    for (; *text != '\0'; text++) {
        buf_append(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    }
    buf_append_str(out, "'");
}

void quote_yml_row(struct buf *out, const char *key, const char *text)
{
    buf_append_str(out, key);
    quote_yml(out, text);
    buf_append_str(out, "\n");
}

const char *quote_shell(const char *text, char *word, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:@+,";
    size_t len = 0;
    if (text[strspn(text, plain)] == '\0') {
        return text;
    }
    word[len++] = '\'';
    for (; *text != '\0' && len + TAIL_SIZE < size; text++) {
        len += (size_t)snprintf(word + len, size - len, *text == '\'' ? "'\\''" : "%c", *text);
    }
    snprintf(word + len, size - len, "'");
    return word;
}
