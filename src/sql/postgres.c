// SPDX-License-Identifier: Apache-2.0
#include "sql/postgres.h"

#include "sys/library.h"

struct postgres_calls postgres;

static const char *const names[] = {
#define POSTGRES_CALL(name) "PQ" #name,
#include "sql/postgres_calls.def"
#undef POSTGRES_CALL
};

static const struct sys_library library = {
    .file = "libpq.so.5",
    .package = "libpq5",
    .names = names,
    .count = sizeof names / sizeof names[0],
    .functions = &postgres,
};

enum weir_result postgres_load(char *problem, size_t size)
{
    return sys_library_load(&library, problem, size);
}
