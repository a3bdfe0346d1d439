// SPDX-License-Identifier: Apache-2.0
// SQLite, loaded by those who keep something in it: sqlite.step() is sqlite3_step().
#ifndef WEIR_SQL_SQLITE_H
#define WEIR_SQL_SQLITE_H

#include <sqlite3.h>
#include <stddef.h>

#include "base/result.h"

struct sqlite_calls {
#define SQLITE_CALL(name) __typeof__(sqlite3_##name) *name;
#include "sql/sqlite_calls.def"
#undef SQLITE_CALL
};
// NULL pointers until it is loaded.
extern struct sqlite_calls sqlite;

// See sys_library_load.
enum weir_result sqlite_load(char *problem, size_t size) WEIR_MUST_CHECK;

#endif
