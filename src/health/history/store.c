// SPDX-License-Identifier: Apache-2.0
//   store_put ──► queue ──► (thread) batch ──BEGIN, rows, COMMIT──► written
//                   ▲                  │ failed: problem is told
//                   └──── back, after a pause ◄───┘
//
// 1. The lock is never held over a call of SQLite, so that a disk that hangs holds up nobody.
// 2. The queue has QUEUE_MAX rows at most; past that the oldest goes, and is counted.
// 3. From store_start on, db and statements belong to the thread.
// 4. A thread that hangs in the disk at the end is left behind with its memory: the process ends.
#include "health/history/store.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "sql/sqlite.h"
#include "sys/clock.h"

#define QUEUE_MAX 65536
#define BATCH_MAX 4096
#define PAUSE_NS (2 * NS_PER_S)
#define CLOSE_NS (2 * NS_PER_S)
#define PURGE_NS (3600 * NS_PER_S)
#define BUSY_MS 1000
#define FIRST_REAL (STORE_TEXTS_MAX + 1)
#define FIRST_NUMBER (FIRST_REAL + 2)

static const struct {
    const char *create;
    const char *put;
    const char *get;
} tables[STORE_KIND_COUNT] = {
#define STORE_TABLE(symbol, name, create, put, get) [STORE_##symbol] = {create, put, get},
#include "health/history/store_tables.def"
#undef STORE_TABLE
};

// Events beyond the newest ten thousand; buckets beyond what a series keeps.
static const char store_drop[] =
    "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 10000;"
    "DELETE FROM buckets WHERE (step = 0 AND start_s < unixepoch() - 90000) OR "
    "start_s < unixepoch() - 2680000";

struct queued {
    struct list node;
    struct store_row row; // its texts lie behind
};

struct store {
    char *path; // owned
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; // rows came, or the end
    pthread_cond_t over;    // the thread has ended
    struct list queue;
    size_t count;
    bool started;
    bool closing;
    bool ended;
    struct store_health health;
    // The thread's, once it runs.
    sqlite3 *db; // NULL: not open
    sqlite3_stmt *puts[STORE_KIND_COUNT];
    uint64_t purged_ns;
};

// ---- The file

static void note_problem(struct store *store, const char *doing)
{
    pthread_mutex_lock(&store->lock);
    store->health.ok = false;
    snprintf(store->health.problem, sizeof store->health.problem, "%s: %s", doing,
        store->db == NULL ? "out of memory" : sqlite.errmsg(store->db));
    pthread_mutex_unlock(&store->lock);
}

static void close_file(struct store *store)
{
    for (unsigned kind = 0; kind < STORE_KIND_COUNT; kind++) {
        sqlite.finalize(store->puts[kind]);
        store->puts[kind] = NULL;
    }
    sqlite.close(store->db);
    store->db = NULL;
}

static bool execute(struct store *store, const char *sql)
{
    return sqlite.exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool make_tables(struct store *store)
{
    // With WAL and NORMAL a crash of the machine may lose the last seconds, and never the file.
    bool ok = execute(store, "PRAGMA journal_mode=WAL") &&
              execute(store, "PRAGMA synchronous=NORMAL") &&
              execute(store, "PRAGMA user_version=1");
    for (unsigned kind = 0; kind < STORE_KIND_COUNT && ok; kind++) {
        ok = execute(store, tables[kind].create) && sqlite.prepare_v2(store->db, tables[kind].put,
                                                        -1, &store->puts[kind], NULL) == SQLITE_OK;
    }
    return ok;
}

static bool open_file(struct store *store)
{
    if (store->db != NULL) {
        return true;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    bool ok = sqlite.open_v2(store->path, &store->db, flags, NULL) == SQLITE_OK;
    if (ok) {
        sqlite.busy_timeout(store->db, BUSY_MS);
        ok = make_tables(store);
    }
    if (!ok) {
        note_problem(store, "opening the file");
        close_file(store);
    }
    return ok;
}

// ---- Reading

static void take_row(sqlite3_stmt *statement, enum store_kind kind,
    void (*take)(void *arg, const struct store_row *row), void *arg)
{
    struct store_row row = {.kind = kind};
    int columns = sqlite.column_count(statement);
    for (int i = 0; i < STORE_TEXTS_MAX; i++) {
        const char *text = (const char *)sqlite.column_text(statement, i);
        row.texts[i] =
            slice_of(text == NULL ? "" : text, (size_t)sqlite.column_bytes(statement, i));
    }
    for (int i = 0; i < 2; i++) {
        row.reals[i] = sqlite.column_double(statement, FIRST_REAL - 1 + i);
    }
    for (int i = 0; i < STORE_NUMBERS_MAX && FIRST_NUMBER - 1 + i < columns; i++) {
        row.numbers[i] = sqlite.column_int64(statement, FIRST_NUMBER - 1 + i);
    }
    take(arg, &row);
}

void store_load(struct store *store, enum store_kind kind,
    void (*take)(void *arg, const struct store_row *row), void *arg)
{
    sqlite3_stmt *statement = NULL;
    if (store->db == NULL) {
        return;
    }
    int result = sqlite.prepare_v2(store->db, tables[kind].get, -1, &statement, NULL);
    while (result == SQLITE_OK || result == SQLITE_ROW) {
        result = sqlite.step(statement);
        if (result == SQLITE_ROW) {
            take_row(statement, kind, take, arg);
        }
    }
    if (result != SQLITE_DONE) {
        note_problem(store, "reading the file");
    }
    sqlite.finalize(statement);
}

// ---- Writing, on the thread

static bool put_row(struct store *store, const struct store_row *row)
{
    sqlite3_stmt *statement = store->puts[row->kind];
    int last = sqlite.bind_parameter_count(statement);
    bool ok = true;
    sqlite.reset(statement);
    for (int i = 1; i <= last && ok; i++) {
        if (i < FIRST_REAL) {
            const struct slice *text = &row->texts[i - 1];
            ok = sqlite.bind_text(statement, i, text->at, (int)text->len, SQLITE_STATIC) ==
                 SQLITE_OK;
        } else if (i < FIRST_NUMBER) {
            ok = sqlite.bind_double(statement, i, row->reals[i - FIRST_REAL]) == SQLITE_OK;
        } else {
            ok = sqlite.bind_int64(statement, i, row->numbers[i - FIRST_NUMBER]) == SQLITE_OK;
        }
    }
    ok = ok && sqlite.step(statement) == SQLITE_DONE;
    return ok;
}

static bool write_batch(struct store *store, struct list *batch)
{
    if (!open_file(store)) {
        return false;
    }
    bool ok = execute(store, "BEGIN IMMEDIATE");
    list_for_each (node, batch) {
        ok = ok && put_row(store, &container_of(node, struct queued, node)->row);
    }
    ok = ok && execute(store, "COMMIT");
    if (!ok) {
        note_problem(store, "writing");
        for (unsigned kind = 0; kind < STORE_KIND_COUNT; kind++) {
            sqlite.reset(store->puts[kind]);
        }
        // A file that was taken away or spoilt is opened again.
        close_file(store);
    }
    return ok;
}

static void free_rows(struct list *rows)
{
    for (struct list *node = list_pop_front(rows); node != NULL; node = list_pop_front(rows)) {
        mem_free(container_of(node, struct queued, node));
    }
}

// Under the lock.
static size_t take_batch(struct store *store, struct list *batch)
{
    size_t count = 0;
    struct list *node;
    while (count < BATCH_MAX && (node = list_pop_front(&store->queue)) != NULL) {
        list_push_back(batch, node);
        count++;
    }
    store->count -= count;
    return count;
}

// Under the lock.
static void drop_oldest(struct store *store)
{
    while (store->count > QUEUE_MAX) {
        mem_free(container_of(list_pop_front(&store->queue), struct queued, node));
        store->count--;
        store->health.dropped++;
    }
}

// Under the lock: the batch goes back to where it came from.
static void put_back(struct store *store, struct list *batch, size_t count)
{
    while (!list_empty(batch)) {
        struct list *last = batch->prev;
        list_remove(last);
        list_push_front(&store->queue, last);
    }
    store->count += count;
    drop_oldest(store);
}

static void wait_until(struct store *store, pthread_cond_t *condition, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    pthread_cond_timedwait(condition, &store->lock, &deadline);
}

static void purge(struct store *store)
{
    uint64_t now_ns = sys_now_ns();
    if (store->db != NULL && (store->purged_ns == 0 || now_ns - store->purged_ns > PURGE_NS)) {
        store->purged_ns = now_ns;
        if (!execute(store, store_drop)) {
            note_problem(store, "dropping old rows");
        }
    }
}

// Writes one batch. The lock is held before and after. False: it did not work.
static bool work(struct store *store)
{
    struct list batch;
    list_init(&batch);
    size_t count = take_batch(store, &batch);
    pthread_mutex_unlock(&store->lock);
    bool ok = write_batch(store, &batch);
    purge(store);
    pthread_mutex_lock(&store->lock);
    if (ok) {
        store->health.ok = true;
        store->health.problem[0] = '\0';
        store->health.written += count;
        free_rows(&batch);
    } else {
        put_back(store, &batch, count);
    }
    return ok;
}

static void *run(void *arg)
{
    struct store *store = arg;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (store->count == 0 && !store->closing) {
            pthread_cond_wait(&store->changed, &store->lock);
        }
        if (store->count == 0) {
            break;
        }
        if (work(store)) {
            continue;
        }
        if (store->closing) {
            break;
        }
        uint64_t again_ns = sys_now_ns() + PAUSE_NS;
        while (!store->closing && sys_now_ns() < again_ns) {
            wait_until(store, &store->changed, again_ns);
        }
    }
    pthread_mutex_unlock(&store->lock);
    close_file(store);
    pthread_mutex_lock(&store->lock);
    store->ended = true;
    pthread_cond_signal(&store->over);
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

// ---- From the monitor's worker

struct store *store_open(const char *path)
{
    struct store *store = mem_zalloc(sizeof *store);
    pthread_condattr_t attributes;
    if (store == NULL || (store->path = mem_copy(path, strlen(path))) == NULL) {
        mem_free(store);
        return NULL;
    }
    list_init(&store->queue);
    store->health.ok = true;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->changed, &attributes);
    pthread_cond_init(&store->over, &attributes);
    pthread_condattr_destroy(&attributes);
    (void)open_file(store); // what is wrong is noted, and tried again
    return store;
}

bool store_start(struct store *store)
{
    store->started = pthread_create(&store->thread, NULL, run, store) == 0;
    return store->started;
}

static char *keep(char *at, struct slice *text)
{
    if (text->len > 0) {
        memcpy(at, text->at, text->len);
    }
    text->at = at;
    return at + text->len;
}

void store_put(struct store *store, const struct store_row *row)
{
    size_t len = 0;
    for (size_t i = 0; i < STORE_TEXTS_MAX; i++) {
        len += row->texts[i].len;
    }
    struct queued *queued = mem_alloc(sizeof *queued + len);
    pthread_mutex_lock(&store->lock);
    if (queued == NULL) {
        store->health.dropped++;
    } else {
        char *at = (char *)(queued + 1);
        queued->row = *row;
        for (size_t i = 0; i < STORE_TEXTS_MAX; i++) {
            at = keep(at, &queued->row.texts[i]);
        }
        list_init(&queued->node);
        list_push_back(&store->queue, &queued->node);
        store->count++;
        drop_oldest(store);
        pthread_cond_signal(&store->changed);
    }
    pthread_mutex_unlock(&store->lock);
}

void store_look(struct store *store, struct store_health *ret_health)
{
    pthread_mutex_lock(&store->lock);
    *ret_health = store->health;
    ret_health->waiting = store->count;
    pthread_mutex_unlock(&store->lock);
}

// False: the thread hangs.
static bool end_thread(struct store *store)
{
    uint64_t deadline_ns = sys_now_ns() + CLOSE_NS;
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_signal(&store->changed);
    while (!store->ended && sys_now_ns() < deadline_ns) {
        wait_until(store, &store->over, deadline_ns);
    }
    bool ended = store->ended;
    pthread_mutex_unlock(&store->lock);
    if (ended) {
        pthread_join(store->thread, NULL);
    } else {
        pthread_detach(store->thread);
    }
    return ended;
}

void store_close(struct store *store)
{
    if (store == NULL || (store->started && !end_thread(store))) {
        return;
    }
    close_file(store);
    free_rows(&store->queue);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    pthread_cond_destroy(&store->over);
    mem_free(store->path);
    mem_free(store);
}
