// SPDX-License-Identifier: Apache-2.0
// The embedded store: an SQLite file (WAL) with a thread of its own.
//
//   run ──► queue ──► (thread) statement ──► posted back ──► done
//
// Every statement is a transaction. A commit does not wait for the disk (synchronous=NORMAL), but
// for those that must be durable: a machine that loses its power may lose the last frames of the
// bus, which live for seconds anyway, and never the file.
//
// 1. The lock is never held over a call of SQLite.
// 2. db and statements belong to the thread.
// 3. Ids of frames only grow, also when the last ones were lost with the power or the file was made
//    anew: whoever opens the file lifts the next id to the microseconds since 1970.
// 4. A file that cannot be used is closed and opened again, at most once in REOPEN_NS; meanwhile
//    calls fail at once.
#include "platform/store_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "sql/sqlite.h"
#include "sys/clock.h"
#include "sys/file.h"

#define BUSY_MS 250 // another process, say weir platform keys, holds the file for milliseconds
#define REOPEN_NS NS_PER_S

struct sqlite_store {
    struct platform_store store;
    char *path; // owned
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; // calls came, or the end
    struct list queue;
    bool closing;
    char problem[PLATFORM_STORE_PROBLEM_SIZE]; // under the lock; "" when ok
    struct job freeing;
    // The thread's.
    sqlite3 *db; // NULL: not open
    sqlite3_stmt *statements[STORE_STATEMENT_COUNT];
    uint64_t tried_ns; // to open, last
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS workspace_relay_presence ("
    "workspace_id TEXT NOT NULL, runtime_target_id TEXT NOT NULL, machine_id TEXT, "
    "relay_id TEXT NOT NULL, relay_ws_base_url TEXT NOT NULL, daemon_connected INTEGER NOT NULL, "
    "updated_ms INTEGER NOT NULL, PRIMARY KEY (workspace_id, runtime_target_id)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS workspace_relay_presence_updated ON workspace_relay_presence "
    "(updated_ms);"
    "CREATE TABLE IF NOT EXISTS relay_bus_frames ("
    "id INTEGER PRIMARY KEY AUTOINCREMENT, workspace_id TEXT NOT NULL, "
    "runtime_target_id TEXT NOT NULL, machine_id TEXT, source_relay_id TEXT NOT NULL, "
    "target_relay_id TEXT NOT NULL, direction TEXT NOT NULL, payload TEXT NOT NULL, "
    "issued_at_ms INTEGER, signature TEXT, size INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS relay_bus_frames_target ON relay_bus_frames (target_relay_id, id);"
    "CREATE INDEX IF NOT EXISTS relay_bus_frames_size ON relay_bus_frames (id, size);"
    "CREATE INDEX IF NOT EXISTS relay_bus_frames_created ON relay_bus_frames (created_ms);"
    "CREATE TABLE IF NOT EXISTS relay_signing_keys ("
    "kid TEXT PRIMARY KEY, pem TEXT NOT NULL, created_ms INTEGER NOT NULL, "
    "signs_from_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS workspace_daemon_keys ("
    "workspace_id TEXT NOT NULL, runtime_target_id TEXT NOT NULL, daemon_public_key TEXT NOT NULL, "
    "generation INTEGER NOT NULL, updated_ms INTEGER NOT NULL, "
    "PRIMARY KEY (workspace_id, runtime_target_id)) WITHOUT ROWID;"
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'relay_bus_frames', 0 WHERE NOT EXISTS "
    "(SELECT 1 FROM sqlite_sequence WHERE name = 'relay_bus_frames');"
    "UPDATE sqlite_sequence SET seq = max(seq, "
    "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)) "
    "WHERE name = 'relay_bus_frames';";

// ---- The file

static void note(struct sqlite_store *self, const char *doing, const char *what)
{
    pthread_mutex_lock(&self->lock);
    if (doing == NULL) {
        self->problem[0] = '\0';
    } else {
        snprintf(self->problem, sizeof self->problem, "%s %s: %s", doing, self->path, what);
    }
    pthread_mutex_unlock(&self->lock);
}

static void close_file(struct sqlite_store *self)
{
    for (unsigned i = 0; i < STORE_STATEMENT_COUNT; i++) {
        sqlite.finalize(self->statements[i]);
        self->statements[i] = NULL;
    }
    sqlite.close(self->db);
    self->db = NULL;
}

static bool execute(struct sqlite_store *self, const char *sql)
{
    return sqlite.exec(self->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int take_version(void *arg, int count, char **values, char **names)
{
    (void)count;
    (void)names;
    *(bool *)arg = strlen(values[0]) == 1 && values[0][0] >= '0' && values[0][0] <= '2';
    return 0;
}

// Under the file's own lock, so that two processes that start at once make one schema.
static bool make_schema(struct sqlite_store *self, const char **problem)
{
    bool known = false;
    if (!execute(self, "BEGIN IMMEDIATE")) {
        return false;
    }
    if (sqlite.exec(self->db, "PRAGMA user_version", take_version, &known, NULL) != SQLITE_OK) {
        return false;
    }
    if (!known) {
        *problem = "it was made by a newer weir";
        return false;
    }
    return execute(self, schema) && execute(self, "PRAGMA user_version=2") &&
           execute(self, "COMMIT");
}

static bool prepare(struct sqlite_store *self)
{
    for (unsigned i = 0; i < STORE_STATEMENT_COUNT; i++) {
        if (sqlite.prepare_v3(self->db, store_rows[i].sqlite, -1, SQLITE_PREPARE_PERSISTENT,
                &self->statements[i], NULL) != SQLITE_OK) {
            return false;
        }
    }
    return true;
}

static bool open_file(struct sqlite_store *self)
{
    uint64_t now_ns = sys_now_ns();
    if (self->db != NULL) {
        return true;
    }
    if (self->tried_ns != 0 && now_ns - self->tried_ns < REOPEN_NS) {
        return false;
    }
    self->tried_ns = now_ns;
    const char *problem = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    // It holds signing keys: SQLite's own files beside it get its mode. What is wrong with the
    // place SQLite says itself.
    (void)!sys_file_create_private(self->path, SLICE_EMPTY);
    bool ok = sqlite.open_v2(self->path, &self->db, flags, NULL) == SQLITE_OK;
    if (ok) {
        sqlite.busy_timeout(self->db, BUSY_MS);
        ok = execute(self, "PRAGMA journal_mode=WAL") && make_schema(self, &problem) &&
             execute(self, "PRAGMA synchronous=NORMAL") && prepare(self);
    }
    if (ok) {
        note(self, NULL, NULL);
        return true;
    }
    if (problem == NULL) {
        problem = self->db == NULL ? "out of memory" : sqlite.errmsg(self->db);
    }
    note(self, "cannot use", problem);
    close_file(self);
    return false;
}

// ---- One call, on the thread

static bool bind(sqlite3_stmt *statement, const struct store_call *call)
{
    bool ok = true;
    for (unsigned i = 0; i < call->value_count && ok; i++) {
        const struct store_value *value = &call->values[i];
        int at = (int)i + 1;
        if (value->kind == STORE_TEXT) {
            ok = sqlite.bind_text(statement, at, call->words.at + value->at, (int)value->len,
                     SQLITE_STATIC) == SQLITE_OK;
        } else if (value->kind == STORE_NUMBER) {
            ok = sqlite.bind_int64(statement, at, value->number) == SQLITE_OK;
        } else {
            ok = sqlite.bind_null(statement, at) == SQLITE_OK;
        }
    }
    return ok;
}

static void take_row(sqlite3_stmt *statement, struct store_call *call)
{
    int count = sqlite.column_count(statement);
    call->column_count = (unsigned)count;
    for (int i = 0; i < count; i++) {
        const char *text = (const char *)sqlite.column_text(statement, i);
        store_call_add_cell(call, text, (size_t)sqlite.column_bytes(statement, i));
    }
    call->row_count++;
}

static enum weir_result result_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_DONE:
        return WEIR_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return WEIR_TIMEOUT;
    case SQLITE_NOMEM:
        return WEIR_MEMORY;
    case SQLITE_FULL:
        return WEIR_NO_SPACE;
    default:
        return WEIR_IO;
    }
}

static int step_all(sqlite3_stmt *statement, struct store_call *call)
{
    int code = bind(statement, call) ? SQLITE_ROW : SQLITE_NOMEM;
    while (code == SQLITE_ROW) {
        code = sqlite.step(statement);
        if (code == SQLITE_ROW) {
            take_row(statement, call);
        }
    }
    return code;
}

static enum weir_result perform(struct sqlite_store *self, struct store_call *call)
{
    sqlite3_stmt *statement = self->statements[call->statement];
    bool durable = (store_rows[call->statement].flags & STORE_DURABLE) != 0;
    if (durable && !execute(self, "PRAGMA synchronous=FULL")) {
        return WEIR_IO;
    }
    enum weir_result result = result_of(step_all(statement, call));
    if (result != WEIR_OK) {
        note(self, "cannot use", sqlite.errmsg(self->db));
    }
    sqlite.reset(statement);
    sqlite.clear_bindings(statement);
    if (durable && !execute(self, "PRAGMA synchronous=NORMAL") && result == WEIR_OK) {
        result = WEIR_IO;
    }
    if (result == WEIR_OK) {
        note(self, NULL, NULL);
        return store_call_filled(call);
    }
    if (result == WEIR_IO) {
        // A file that was taken away or spoilt is opened again.
        close_file(self);
    }
    return result;
}

static void work(struct sqlite_store *self, struct store_call *call)
{
    enum weir_result result = WEIR_UNREACHABLE;
    if (sys_now_ns() >= call->deadline_ns) {
        result = WEIR_TIMEOUT;
    } else if (open_file(self)) {
        result = perform(self, call);
    }
    store_call_finish_from_elsewhere(self->store.worker, call, result);
}

static void *run_thread(void *arg)
{
    struct sqlite_store *self = arg;
    (void)open_file(self); // what is wrong is noted, and tried again
    pthread_mutex_lock(&self->lock);
    while (!self->closing) {
        struct list *node = list_pop_front(&self->queue);
        if (node == NULL) {
            pthread_cond_wait(&self->changed, &self->lock);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        work(self, container_of(node, struct store_call, node));
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    close_file(self);
    return NULL;
}

// ---- From the worker

static struct sqlite_store *sqlite_of(struct platform_store *store)
{
    return container_of(store, struct sqlite_store, store);
}

static void run(struct platform_store *store, struct store_call *call)
{
    struct sqlite_store *self = sqlite_of(store);
    pthread_mutex_lock(&self->lock);
    list_push_back(&self->queue, &call->node);
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void look(struct platform_store *store, struct platform_store_health *health)
{
    struct sqlite_store *self = sqlite_of(store);
    pthread_mutex_lock(&self->lock);
    memcpy(health->problem, self->problem, sizeof health->problem);
    pthread_mutex_unlock(&self->lock);
    health->ok = health->problem[0] == '\0';
}

static void free_store(struct sqlite_store *self)
{
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->changed);
    mem_free(self->path);
    mem_free(self);
}

static void on_freeing(struct worker *worker, struct job *job)
{
    (void)worker;
    free_store(container_of(job, struct sqlite_store, freeing));
}

static void on_posts_done(struct worker *worker, struct job *job)
{
    worker_defer(worker, job, on_freeing);
}

// What the thread has posted, and what was deferred, comes before the memory goes.
static void close_store(struct platform_store *store)
{
    struct sqlite_store *self = sqlite_of(store);
    pthread_mutex_lock(&self->lock);
    self->closing = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    for (struct list *node = list_pop_front(&self->queue); node != NULL;
         node = list_pop_front(&self->queue)) {
        store_call_free(container_of(node, struct store_call, node));
    }
    worker_post(store->worker, &self->freeing, on_posts_done);
}

static const struct platform_store_ops ops = {
    .kind = "sqlite",
    .run = run,
    .look = look,
    .close = close_store,
};

struct platform_store *store_sqlite_open(const struct platform_store_options *options)
{
    struct sqlite_store *self = mem_zalloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->store = (struct platform_store){
        .ops = &ops,
        .worker = options->worker,
        .told = options->told,
        .arg = options->arg,
    };
    self->path = mem_copy(options->path, strlen(options->path));
    list_init(&self->queue);
    list_init(&self->freeing.node);
    snprintf(self->problem, sizeof self->problem, "%s is being opened", options->path);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    if (self->path == NULL || pthread_create(&self->thread, NULL, run_thread, self) != 0) {
        free_store(self);
        return NULL;
    }
    return &self->store;
}
