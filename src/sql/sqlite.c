// SPDX-License-Identifier: Apache-2.0
#include "sql/sqlite.h"

#include "sys/library.h"

struct sqlite_calls sqlite;

static const char *const names[] = {
#define SQLITE_CALL(name) "sqlite3_" #name,
#include "sql/sqlite_calls.def"
#undef SQLITE_CALL
};

static const struct sys_library library = {
    .file = "libsqlite3.so.0",
    .package = "libsqlite3-0",
    .names = names,
    .count = sizeof names / sizeof names[0],
    .functions = &sqlite,
};

enum weir_result sqlite_load(char *problem, size_t size)
{
    return sys_library_load(&library, problem, size);
}
