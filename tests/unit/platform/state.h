// SPDX-License-Identifier: Apache-2.0
// A state directory of a test's own.
#ifndef WEIR_TESTS_PLATFORM_STATE_H
#define WEIR_TESTS_PLATFORM_STATE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/slice.h"
#include "sys/file.h"

#define STATE_PATH_SIZE 256

static const char *const state_files[] = {
    "signing.pem", "internal-key", "admin-token", "localhost.crt", "localhost.key"};

struct state {
    char root[STATE_PATH_SIZE / 2]; // made by mkdtemp
    char dir[STATE_PATH_SIZE];      // below it, not there yet
};

static inline void state_make(struct state *state)
{
    const char *base = getenv("TMPDIR");
    snprintf(state->root, sizeof state->root, "%s/weir-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(state->root));
    snprintf(state->dir, sizeof state->dir, "%s/state", state->root);
}

static inline const char *state_path(const struct state *state, const char *name)
{
    static char path[2 * STATE_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", state->dir, name);
    return path;
}

static inline void state_write(const struct state *state, const char *name, struct slice content)
{
    assert_int_equal(sys_file_write_private(state_path(state, name), content), WEIR_OK);
}

static inline void state_read(const struct state *state, const char *name, struct buf *out)
{
    buf_init(out, 65536);
    assert_int_equal(sys_file_read(state_path(state, name), 65536, out), WEIR_OK);
}

static inline void state_remove(const struct state *state)
{
    for (size_t i = 0; i < sizeof state_files / sizeof state_files[0]; i++) {
        unlink(state_path(state, state_files[i]));
    }
    assert_true(rmdir(state->dir) == 0 || access(state->dir, F_OK) != 0);
    assert_int_equal(rmdir(state->root), 0);
}

#endif
