// SPDX-License-Identifier: Apache-2.0
// What both stores share: calls, their words and their answers.
#include "platform/store.h"

#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "platform/store_internal.h"
#include "sql/postgres.h"
#include "sql/sqlite.h"

#define WORDS_BYTES_MAX (16u * 1024 * 1024)
#define CELLS_BYTES_MAX (4u * 1024 * 1024)

const struct store_row store_rows[STORE_STATEMENT_COUNT] = {
#define STATEMENT(symbol, flags, sqlite, postgres) [STORE_##symbol] = {flags, sqlite, postgres},
#include "platform/store_statements.def"
#undef STATEMENT
};

// ---- Calls

struct store_call *store_call_new(enum store_statement statement, store_done_fn *done, void *arg)
{
    struct store_call *call = mem_zalloc(sizeof *call);
    if (call != NULL) {
        list_init(&call->node);
        list_init(&call->job.node);
        call->statement = statement;
        call->done = done;
        call->arg = arg;
        buf_init(&call->words, WORDS_BYTES_MAX);
        buf_init(&call->answer, STORE_ANSWER_BYTES_MAX);
        buf_init(&call->cells, CELLS_BYTES_MAX);
    }
    return call;
}

static struct store_value *next_value(struct store_call *call)
{
    weir_assert(call->value_count < STORE_VALUES_MAX);
    return &call->values[call->value_count++];
}

void store_call_text(struct store_call *call, struct slice text)
{
    struct store_value *value = next_value(call);
    *value = (struct store_value){.kind = STORE_TEXT, .at = call->words.len, .len = text.len};
    buf_append_slice(&call->words, text);
    buf_append_byte(&call->words, '\0');
}

void store_call_text_or_null(struct store_call *call, struct slice text)
{
    if (text.len == 0) {
        next_value(call)->kind = STORE_NULL;
    } else {
        store_call_text(call, text);
    }
}

void store_call_number(struct store_call *call, int64_t number)
{
    *next_value(call) = (struct store_value){.kind = STORE_NUMBER, .number = number};
}

void store_call_forget(struct store_call *call)
{
    if (call != NULL) {
        call->done = NULL;
    }
}

void store_call_free(struct store_call *call)
{
    buf_reset(&call->words);
    buf_reset(&call->answer);
    buf_reset(&call->cells);
    mem_free(call);
}

// ---- Answers

void store_call_add_cell(struct store_call *call, const char *bytes, size_t len)
{
    struct store_cell cell = {.at = call->answer.len, .len = len, .is_null = bytes == NULL};
    if (bytes != NULL) {
        buf_append(&call->answer, bytes, len);
    }
    buf_append(&call->cells, &cell, sizeof cell);
}

enum weir_result store_call_filled(const struct store_call *call)
{
    return call->answer.failed || call->cells.failed ? WEIR_MEMORY : WEIR_OK;
}

static struct store_cell cell_of(const struct store_call *call, size_t row, unsigned column)
{
    struct store_cell cell;
    weir_assert(row < call->row_count && column < call->column_count);
    memcpy(&cell, call->cells.at + (row * call->column_count + column) * sizeof cell, sizeof cell);
    return cell;
}

struct slice store_call_cell(const struct store_call *call, size_t row, unsigned column)
{
    struct store_cell cell = cell_of(call, row, column);
    return cell.is_null || cell.len == 0 ? SLICE_EMPTY
                                         : slice_of(call->answer.at + cell.at, cell.len);
}

bool store_call_is_null(const struct store_call *call, size_t row, unsigned column)
{
    return cell_of(call, row, column).is_null;
}

int64_t store_call_cell_number(const struct store_call *call, size_t row, unsigned column)
{
    uint64_t number;
    return number_parse_u64(store_call_cell(call, row, column), INT64_MAX, &number) == WEIR_OK
               ? (int64_t)number
               : 0;
}

static void finish(struct worker *worker, struct job *job)
{
    struct store_call *call = container_of(job, struct store_call, job);
    (void)worker;
    if (call->store != NULL) {
        call->store->waiting--;
        call->store->failures += call->result != WEIR_OK;
    }
    if (call->done != NULL) {
        call->done(call);
    }
    store_call_free(call);
}

void store_call_finish(struct store_call *call, enum weir_result result)
{
    call->result = result;
    worker_defer(call->store->worker, &call->job, finish);
}

void store_call_finish_from_elsewhere(
    struct worker *worker, struct store_call *call, enum weir_result result)
{
    call->result = result;
    worker_post(worker, &call->job, finish);
}

// ---- Stores

enum weir_result platform_store_load(const char *url, char *problem, size_t size)
{
    return url != NULL ? postgres_load(problem, size) : sqlite_load(problem, size);
}

void platform_store_files(
    const char *url, void (*found)(void *arg, const char *path, bool alone), void *arg)
{
    if (url != NULL) {
        store_postgres_files(url, found, arg);
    }
}

struct platform_store *platform_store_open(const struct platform_store_options *options)
{
    return options->url != NULL ? store_postgres_open(options) : store_sqlite_open(options);
}

void platform_store_run(struct platform_store *store, struct store_call *call)
{
    call->store = store;
    call->deadline_ns = worker_now(store->worker) + STORE_CALL_TIMEOUT_NS;
    store->waiting++;
    if (call->words.failed) {
        store_call_finish(call, WEIR_MEMORY);
    } else if (store->waiting > STORE_WAITING_MAX) {
        store_call_finish(call, WEIR_FULL);
    } else {
        store->ops->run(store, call);
    }
}

void platform_store_look(struct platform_store *store, struct platform_store_health *ret_health)
{
    *ret_health = (struct platform_store_health){
        .ok = true,
        .kind = store->ops->kind,
        .waiting = store->waiting,
        .failures = store->failures,
        .reconnects = store->reconnects,
    };
    store->ops->look(store, ret_health);
}

void platform_store_close(struct platform_store *store)
{
    if (store != NULL) {
        store->ops->close(store);
    }
}
