// SPDX-License-Identifier: Apache-2.0
// Where the platform keeps what outlives a request: presence, frames of the bus, signing keys. A
// statement is a row of store_statements.def, in the two languages; a call is one run of it. Both
// stores (store/sqlite.c, store/postgres.c) do what is asked in the order of platform_store_run,
// writes among writes and reads among reads, and nobody waits for them on the loop.
//
// A store that cannot be reached or written says so in platform_store_look and lets calls fail; it
// comes back by itself. All functions belong to the worker that opened it.
#ifndef WEIR_PLATFORM_STORE_H
#define WEIR_PLATFORM_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "loop/worker.h"

#define STORE_VALUES_MAX 8
#define PLATFORM_STORE_PROBLEM_SIZE 256
#define STORE_CALL_TIMEOUT_NS (3 * NS_PER_S) // a call that waits, or runs, for longer fails
#define STORE_WAITING_MAX 4096               // calls; one more fails with WEIR_FULL
#define STORE_ANSWER_BYTES_MAX (32u * 1024 * 1024)

enum store_statement {
#define STATEMENT(symbol, flags, sqlite, postgres) STORE_##symbol,
#include "platform/store_statements.def"
#undef STATEMENT
    STORE_STATEMENT_COUNT,
};

enum store_flag {
    STORE_READS = 0,
    STORE_WRITES = 1,
    STORE_ONCE = 2,    // not to be repeated when it is not known whether it was done
    STORE_DURABLE = 4, // must outlive a machine that loses its power right afterwards
};

struct store_value {
    enum { STORE_NULL, STORE_TEXT, STORE_NUMBER } kind;
    size_t at; // of a text, in the call's words, where a NUL ends it
    size_t len;
    int64_t number;
};

struct store_cell {
    size_t at; // in the call's answer
    size_t len;
    bool is_null;
};

struct store_call;
// The call is freed afterwards. Never called from inside platform_store_run.
typedef void store_done_fn(struct store_call *call);

struct store_call {
    struct list node;
    struct job job;
    enum store_statement statement;
    struct store_value values[STORE_VALUES_MAX];
    unsigned value_count;
    struct buf words;     // owned
    uint64_t deadline_ns; // set by the store
    struct platform_store *store;
    store_done_fn *done; // NULL: nobody is interested any more
    void *arg;
    // The answer.
    enum weir_result result; // WEIR_TIMEOUT, WEIR_UNREACHABLE, WEIR_FULL, WEIR_IO, WEIR_MEMORY
    struct buf answer;       // owned; the cells' bytes
    struct buf cells;        // owned; struct store_cell
    unsigned column_count;
    size_t row_count;
};

// NULL without memory.
struct store_call *store_call_new(
    enum store_statement statement, store_done_fn *done, void *arg) WEIR_MUST_CHECK;
// The values in their order; without memory the call fails when it is run.
void store_call_text(struct store_call *call, struct slice text);
void store_call_text_or_null(struct store_call *call, struct slice text); // empty: NULL
void store_call_number(struct store_call *call, int64_t number);
// Of the answer: text, or a number's digits; empty for NULL. Borrows the call.
struct slice store_call_cell(const struct store_call *call, size_t row, unsigned column);
bool store_call_is_null(const struct store_call *call, size_t row, unsigned column);
int64_t store_call_cell_number(const struct store_call *call, size_t row, unsigned column);
// Of a call that was not run.
void store_call_free(struct store_call *call);
// Nobody waits for it any more: done is not called. NULL is fine.
void store_call_forget(struct store_call *call);

struct platform_store_health {
    bool ok;
    const char *kind;                          // "sqlite", "postgres"
    char problem[PLATFORM_STORE_PROBLEM_SIZE]; // "" when ok
    uint64_t waiting;                          // calls
    uint64_t failures;                         // since the start: calls that failed
    uint64_t reconnects;
};

struct platform_store;
struct platform_store_ops {
    const char *kind;
    void (*run)(struct platform_store *store, struct store_call *call);
    void (*look)(struct platform_store *store, struct platform_store_health *health);
    void (*close)(struct platform_store *store);
    bool tells; // also of what other processes publish
};

// The head of both stores.
struct platform_store {
    const struct platform_store_ops *ops;
    struct worker *worker;
    // Frames were published for a relay; or for all of them, when relay_id is empty.
    void (*told)(void *arg, struct slice relay_id);
    void *arg;
    uint64_t failures;
    uint64_t reconnects;
    uint64_t waiting;
};

struct platform_store_options {
    struct worker *worker;
    const char *url;  // of PostgreSQL, copied; NULL: SQLite
    const char *path; // of the SQLite file, copied
    void (*told)(void *arg, struct slice relay_id);
    void *arg;
};

// Loads the library of the store at this URL (NULL: SQLite); see sys_library_load.
enum weir_result platform_store_load(const char *url, char *problem, size_t size) WEIR_MUST_CHECK;
// After platform_store_load: tells the files that a connection may read (certificates, passwords),
// whether they are there or not. alone: nothing beside the file is meant. None for SQLite.
void platform_store_files(
    const char *url, void (*found)(void *arg, const char *path, bool alone), void *arg);
// After platform_store_load. NULL without memory or threads. What is not there yet is no error: it
// is tried again.
struct platform_store *platform_store_open(
    const struct platform_store_options *options) WEIR_MUST_CHECK;
// Takes the call.
void platform_store_run(struct platform_store *store, struct store_call *call);
void platform_store_look(struct platform_store *store, struct platform_store_health *ret_health);
// Calls under way end without a word. The memory goes when the worker has settled. NULL is fine.
void platform_store_close(struct platform_store *store);

#endif
