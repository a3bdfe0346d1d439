// SPDX-License-Identifier: Apache-2.0
// What store.c and the two stores share.
#ifndef WEIR_PLATFORM_STORE_INTERNAL_H
#define WEIR_PLATFORM_STORE_INTERNAL_H

#include "platform/store.h"

struct store_row {
    unsigned flags;
    const char *sqlite;
    const char *postgres;
};
extern const struct store_row store_rows[STORE_STATEMENT_COUNT];

struct platform_store *store_sqlite_open(
    const struct platform_store_options *options) WEIR_MUST_CHECK;
struct platform_store *store_postgres_open(
    const struct platform_store_options *options) WEIR_MUST_CHECK;
void store_postgres_files(
    const char *url, void (*found)(void *arg, const char *path, bool alone), void *arg);

// Appends a cell of the answer; NULL bytes is NULL.
void store_call_add_cell(struct store_call *call, const char *bytes, size_t len);
// WEIR_MEMORY when the cells did not fit.
enum weir_result store_call_filled(const struct store_call *call) WEIR_MUST_CHECK;
// Ends a call of an open store, at the end of the turn.
void store_call_finish(struct store_call *call, enum weir_result result);
// The same from another thread. A store that closes sets call->store to NULL before.
void store_call_finish_from_elsewhere(
    struct worker *worker, struct store_call *call, enum weir_result result);

#endif
