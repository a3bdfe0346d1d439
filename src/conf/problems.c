// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>

#include "conf/conf.h"

#define LINE_SIZE 2048

void conf_problems_init(struct conf_problems *problems)
{
    buf_init(&problems->errors, CONF_PROBLEMS_BYTES_MAX);
    buf_init(&problems->warnings, CONF_PROBLEMS_BYTES_MAX);
}

void conf_problems_fini(struct conf_problems *problems)
{
    buf_reset(&problems->errors);
    buf_reset(&problems->warnings);
}

bool conf_problems_lost(const struct conf_problems *problems)
{
    return problems->errors.failed && problems->errors.len == 0;
}

static void add_line(struct buf *out, const char *format, va_list args) WEIR_PRINTF(2, 0);

static void add_line(struct buf *out, const char *format, va_list args)
{
    char line[LINE_SIZE];
    int len = vsnprintf(line, sizeof line, format, args);
    if (len < 0) {
        return;
    }
    if ((size_t)len >= sizeof line) {
        memcpy(line + sizeof line - 4, "...", 4);
    }
    for (char *at = line; *at != '\0'; at++) {
        *at = (char)((unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at);
    }
    // A line is there as a whole or not at all.
    char *end = strchr(line, '\0');
    *end++ = '\n';
    buf_append(out, line, (size_t)(end - line));
}

void conf_error(struct conf_problems *problems, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(&problems->errors, format, args);
    va_end(args);
}

void conf_warning(struct conf_problems *problems, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(&problems->warnings, format, args);
    va_end(args);
}
