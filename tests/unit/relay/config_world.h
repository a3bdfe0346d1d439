// SPDX-License-Identifier: Apache-2.0
// What the tests of the relay's configuration share: a made-up environment and file system, and
// looks at the problems that came of it.
#ifndef WEIR_TESTS_CONFIG_WORLD_H
#define WEIR_TESTS_CONFIG_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "relay/config.h"

#define PAIRS_MAX 24

// A world made of text: variables "A=1;B=2", and files "/a;/b" that exist.
struct world {
    char text[4096];
    const char *names[PAIRS_MAX];
    const char *values[PAIRS_MAX];
    size_t count;
    const char *files;
};

static const char *get(void *arg, const char *name)
{
    const struct world *world = arg;
    for (size_t i = 0; i < world->count; i++) {
        if (strcmp(world->names[i], name) == 0) {
            return world->values[i];
        }
    }
    return NULL;
}

static inline bool file_exists(void *arg, const char *path)
{
    struct slice rest = slice_str(((const struct world *)arg)->files);
    struct slice file;
    while (slice_split(&rest, ';', &file)) {
        if (slice_eq(file, slice_str(path))) {
            return true;
        }
    }
    return false;
}

static inline void world_init(struct world *world, const char *variables, const char *files)
{
    *world = (struct world){.files = files == NULL ? "" : files};
    assert_true(strlen(variables) < sizeof world->text);
    strcpy(world->text, variables);
    char *rest = world->text;
    for (char *pair = strsep(&rest, ";"); pair != NULL; pair = strsep(&rest, ";")) {
        char *value = strchr(pair, '=');
        if (value != NULL) {
            assert_true(world->count < PAIRS_MAX);
            *value = '\0';
            world->names[world->count] = pair;
            world->values[world->count++] = value + 1;
        }
    }
}

struct fixture {
    struct world world;
    struct relay_config config;
    struct conf_problems problems;
    enum weir_result result;
};

static inline void load(struct fixture *fixture, const char *variables, const char *files)
{
    static const uint8_t random[6] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab};
    world_init(&fixture->world, variables, files);
    struct conf_source source = {
        .get = get, .file_exists = file_exists, .arg = &fixture->world};
    conf_problems_init(&fixture->problems);
    fixture->result = relay_config_load(&source, random, false, &fixture->config, &fixture->problems);
}

static inline void unload(struct fixture *fixture)
{
    relay_config_free(&fixture->config);
    conf_problems_fini(&fixture->problems);
}

static inline size_t count_lines(const struct buf *lines)
{
    size_t count = 0;
    struct slice rest = buf_slice(lines);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        count += line.len > 0;
    }
    return count;
}

static inline bool holds(const struct buf *lines, const char *text)
{
    return slice_contains_nocase(buf_slice(lines), slice_str(text));
}

// Every one of the texts (separated by '|') begins a line of its own, and there are no more lines.
static inline void assert_lines(const struct buf *lines, const char *texts)
{
    struct slice rest = slice_str(texts);
    struct slice text;
    size_t count = 0;
    while (texts != NULL && slice_split(&rest, '|', &text)) {
        struct slice all = buf_slice(lines);
        struct slice line;
        bool found = false;
        while (slice_split(&all, '\n', &line)) {
            found = found || slice_starts_with(line, text);
        }
        if (!found) {
            fail_msg("\"%.*s\" is not in:\n%.*s", SLICE_ARG(text), SLICE_ARG(buf_slice(lines)));
        }
        count++;
    }
    if (count_lines(lines) != count) {
        fail_msg("more lines than expected:\n%.*s", SLICE_ARG(buf_slice(lines)));
    }
}

#endif
