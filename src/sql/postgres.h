// SPDX-License-Identifier: Apache-2.0
// libpq, loaded by those who keep something in a PostgreSQL: postgres.getvalue() is PQgetvalue().
#ifndef WEIR_SQL_POSTGRES_H
#define WEIR_SQL_POSTGRES_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/result.h"

struct postgres_calls {
#define POSTGRES_CALL(name) __typeof__(PQ##name) *name;
#include "sql/postgres_calls.def"
#undef POSTGRES_CALL
};
// NULL pointers until it is loaded.
extern struct postgres_calls postgres;

// See sys_library_load.
enum weir_result postgres_load(char *problem, size_t size) WEIR_MUST_CHECK;

#endif
