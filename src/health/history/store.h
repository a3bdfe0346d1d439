// SPDX-License-Identifier: Apache-2.0
// The monitor's memory on disk: an SQLite file (WAL) with a thread of its own. Whoever puts
// something in never waits: rows go into a bounded queue, and what does not fit is dropped and
// counted. A file that cannot be written makes the store unhealthy, and it is tried again.
#ifndef WEIR_HEALTH_STORE_H
#define WEIR_HEALTH_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define STORE_PROBLEM_SIZE 200

enum store_kind {
#define STORE_TABLE(symbol, name, create, put, get) STORE_##symbol,
#include "health/history/store_tables.def"
#undef STORE_TABLE
    STORE_KIND_COUNT,
};

// A row of any table: its texts and numbers, in the order of the table's columns.
#define STORE_TEXTS_MAX 5
#define STORE_NUMBERS_MAX 10
struct store_row {
    enum store_kind kind;
    struct slice texts[STORE_TEXTS_MAX];
    double reals[2];
    int64_t numbers[STORE_NUMBERS_MAX];
};

struct store;

// What is said of it. Numbers are since the start.
struct store_health {
    bool ok;
    char problem[STORE_PROBLEM_SIZE]; // "" when ok
    uint64_t written;
    uint64_t dropped;
    uint64_t waiting;
};

// Opens or makes the file, on this thread, after sqlite_load (sql/sqlite.h); a file that cannot be opened is tried again later by the
// store's own. NULL without memory.
struct store *store_open(const char *path) WEIR_MUST_CHECK;
// Calls `take` with each row that is stored of a kind, oldest first, on this thread; before
// store_start. Texts are valid during the call.
void store_load(struct store *store, enum store_kind kind,
    void (*take)(void *arg, const struct store_row *row), void *arg);
// False: there is no thread to be had.
bool store_start(struct store *store) WEIR_MUST_CHECK;
// Copies the row. Never waits for the disk.
void store_put(struct store *store, const struct store_row *row);
void store_look(struct store *store, struct store_health *ret_health);
// Writes what waits, for two seconds at the most, and frees it. NULL is fine.
void store_close(struct store *store);

#endif
