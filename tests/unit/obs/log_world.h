// SPDX-License-Identifier: Apache-2.0
// What the log's tests share: a descriptor to write to, the lines that came out of it, and jansson
// as the judge of whether a line is JSON.
#ifndef WEIR_TESTS_LOG_WORLD_H
#define WEIR_TESTS_LOG_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "obs/log.h"

#define LINES_SIZE ((size_t)1 << 22)

static inline int world_open(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

// Everything that was written, NUL-terminated; the caller frees it. Closes fd.
static inline char *world_take(int fd)
{
    char *text = malloc(LINES_SIZE);
    assert_non_null(text);
    ssize_t len = pread(fd, text, LINES_SIZE - 1, 0);
    assert_true(len >= 0 && (size_t)len < LINES_SIZE - 1);
    text[len] = '\0';
    close(fd);
    return text;
}

// The line at *rest as JSON, NULL after the last. *rest moves on.
static inline json_t *world_next(char **rest)
{
    char *line = strsep(rest, "\n");
    if (line == NULL || line[0] == '\0') {
        return NULL;
    }
    json_error_t error;
    json_t *entry = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (entry == NULL) {
        fail_msg("no JSON: %s: %s", error.text, line);
    }
    return entry;
}

static inline const char *world_event(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "event"));
}

static inline json_t *world_detail(const json_t *entry, const char *key)
{
    return json_object_get(json_object_get(entry, "details"), key);
}

static inline uint64_t world_number(const json_t *entry, const char *key)
{
    return (uint64_t)json_integer_value(world_detail(entry, key));
}

static inline void world_log(enum log_event event)
{
    struct log_line line;
    log_begin(&line, event);
    log_end(&line);
}

#endif
