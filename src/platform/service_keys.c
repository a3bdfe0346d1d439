// SPDX-License-Identifier: Apache-2.0
// Signing keys of the store, looked at every keys.refresh_s:
//
//   list ──► none: the state directory's, or a new one, is added ──► list
//        ──► taken over; what no token of can live any more is dropped
//        ──► the newest is older than keys.rotate_after_days: a new one is made and added ──► list
//
// A key is added under a condition that the store checks, so that of several processes that come
// upon the same idea one has its way. Making a key takes a good part of a second, on a thread.
#include "platform/errand.h"

#include <openssl/crypto.h>
#include <string.h>

#include "auth/auth_key.h"
#include "base/mem.h"
#include "base/time.h"
#include "obs/log.h"
#include "sys/clock.h"

#define KEYS_MAX 64 // a key set that relays and daemons read has no more
#define PEM_BYTES_MAX 16384
#define DAY_MS UINT64_C(86400000)

struct keys_maker {
    struct job job;
    struct platform_service *service; // NULL: it has stopped, and the thread has been joined
    struct worker *worker;
    pthread_t thread;
    uint64_t signs_from_ms;
    uint64_t only_since_ms; // unless one was made from then on
    enum weir_result result;
    struct auth_key key;
    struct buf pem;
};

// ---- Adding one

static void on_added(struct store_call *call)
{
    struct platform_service *service = call->arg;
    service->keys_call = NULL;
    if (call->result == WEIR_OK) {
        service_keys_refresh(service);
    }
}

static void add_key(struct platform_service *service, const char *id, struct slice pem,
    uint64_t signs_from_ms, uint64_t only_since_ms)
{
    struct store_call *call = store_call_new(STORE_KEY_ADD, on_added, service);
    if (call != NULL) {
        store_call_text(call, slice_str(id));
        store_call_text(call, pem);
        store_call_number(call, (int64_t)sys_wall_ms());
        store_call_number(call, (int64_t)signs_from_ms);
        store_call_number(call, (int64_t)only_since_ms);
        service->keys_call = call;
        platform_store_run(service->store, call);
    }
}

// ---- Making one

static void free_maker(struct keys_maker *maker)
{
    auth_key_fini(&maker->key);
    if (maker->pem.at != NULL) {
        OPENSSL_cleanse(maker->pem.at, maker->pem.size);
    }
    buf_reset(&maker->pem);
    mem_free(maker);
}

static void on_made(struct worker *worker, struct job *job)
{
    struct keys_maker *maker = container_of(job, struct keys_maker, job);
    struct platform_service *service = maker->service;
    (void)worker;
    if (service != NULL) {
        pthread_join(maker->thread, NULL);
        service->keys_maker = NULL;
    }
    if (service != NULL && maker->result == WEIR_OK && service->keys_call == NULL) {
        add_key(service, maker->key.id, buf_slice(&maker->pem), maker->signs_from_ms,
            maker->only_since_ms);
    }
    free_maker(maker);
}

static void *run_maker(void *arg)
{
    struct keys_maker *maker = arg;
    maker->result = auth_key_generate(AUTH_RS256, NULL, &maker->key);
    if (maker->result == WEIR_OK) {
        maker->result = auth_key_write_pem(&maker->key, &maker->pem);
    }
    worker_post(maker->worker, &maker->job, on_made);
    return NULL;
}

static void make_key(
    struct platform_service *service, uint64_t signs_from_ms, uint64_t only_since_ms)
{
    struct keys_maker *maker = service->keys_maker == NULL ? mem_zalloc(sizeof *maker) : NULL;
    if (maker == NULL) {
        return;
    }
    maker->service = service;
    maker->worker = service->worker;
    maker->signs_from_ms = signs_from_ms;
    maker->only_since_ms = only_since_ms;
    list_init(&maker->job.node);
    buf_init(&maker->pem, PEM_BYTES_MAX);
    if (pthread_create(&maker->thread, NULL, run_maker, maker) != 0) {
        mem_free(maker);
        return;
    }
    service->keys_maker = maker;
}

static void add_first_key(struct platform_service *service)
{
    struct platform *platform = service->options.platform;
    struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    struct platform_key_state state;
    if (platform_describe_keys(platform, &state, 1) == 0) {
        make_key(service, 0, 0);
    } else if (platform_write_first_key(platform, &pem) == WEIR_OK) {
        add_key(service, state.id, buf_slice(&pem), 0, 0);
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
}

// ---- Taking over what is there

static void drop_key(struct platform_service *service, const char *id)
{
    struct store_call *call = store_call_new(STORE_KEY_DROP, NULL, NULL);
    if (call != NULL) {
        store_call_text(call, slice_str(id));
        platform_store_run(service->store, call);
    }
}

static void log_keys(const struct platform_key_state *states, size_t count)
{
    struct log_line line;
    log_begin(&line, LOG_SIGNING_KEYS_CHANGED);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(states[i].state, "signs") == 0) {
            log_text(&line, "signs", states[i].id);
        } else if (strcmp(states[i].state, "published") == 0) {
            log_text(&line, "next", states[i].id);
        }
    }
    log_u64(&line, "keys", count);
    log_end(&line);
}

static void look_at_keys(struct platform_service *service)
{
    const struct platform_config *config = service->options.config;
    struct platform_key_state states[KEYS_MAX];
    size_t count = platform_describe_keys(service->options.platform, states, KEYS_MAX);
    uint64_t now_ms = sys_wall_ms();
    uint64_t newest_ms = 0;
    for (size_t i = 0; i < count; i++) {
        newest_ms = states[i].created_ms > newest_ms ? states[i].created_ms : newest_ms;
        if (strcmp(states[i].state, "old") == 0) {
            drop_key(service, states[i].id);
        }
    }
    service->metrics.values[PLATFORM_SIGNING_KEYS] = (int64_t)count;
    uint64_t life_ms = config->keys_rotate_days * DAY_MS;
    if (life_ms > 0 && count < KEYS_MAX && now_ms >= newest_ms + life_ms) {
        make_key(service, now_ms + config->keys_ahead_s * 1000, now_ms - life_ms + 1);
    }
}

// What signs may change without a change of the rows, when a key's time has come.
static void note_change(struct platform_service *service)
{
    struct platform_key_state states[KEYS_MAX];
    size_t count = platform_describe_keys(service->options.platform, states, KEYS_MAX);
    uint64_t seen = count;
    for (size_t i = 0; i < count; i++) {
        for (const char *at = states[i].id; *at != '\0'; at++) {
            seen = seen * 31 + (unsigned char)*at;
        }
        seen = seen * 31 + (unsigned char)states[i].state[0];
    }
    if (seen != service->keys_seen) {
        service->keys_seen = seen;
        log_keys(states, count);
    }
}

static void take_rows(struct platform_service *service, const struct store_call *call)
{
    struct platform_key_row rows[KEYS_MAX];
    size_t count = call->row_count < KEYS_MAX ? call->row_count : KEYS_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t row = call->row_count - count + i; // the newest
        rows[i] = (struct platform_key_row){
            .id = store_call_cell(call, row, 0),
            .pem = store_call_cell(call, row, 1),
            .created_ms = (uint64_t)store_call_cell_number(call, row, 2),
            .signs_from_ms = (uint64_t)store_call_cell_number(call, row, 3),
        };
    }
    enum weir_result result = platform_take_keys(service->options.platform, rows, count);
    if (result != WEIR_OK) {
        struct log_line line;
        log_begin(&line, LOG_SIGNING_KEY_REFUSED);
        log_text(&line, "problem", weir_result_text(result));
        log_end(&line);
    }
    note_change(service);
    look_at_keys(service);
}

static void on_listed(struct store_call *call)
{
    struct platform_service *service = call->arg;
    service->keys_call = NULL;
    if (call->result != WEIR_OK) {
        return; // tried again; the store's trouble is told elsewhere
    }
    if (call->row_count == 0) {
        add_first_key(service);
    } else {
        take_rows(service, call);
    }
}

void service_keys_refresh(struct platform_service *service)
{
    service->keys_due_ns =
        worker_now(service->worker) + service->options.config->keys_refresh_s * NS_PER_S;
    if (service->keys_call != NULL) {
        return;
    }
    struct store_call *call = store_call_new(STORE_KEYS_LIST, on_listed, service);
    if (call != NULL) {
        service->keys_call = call;
        platform_store_run(service->store, call);
    }
}

void service_keys_stop(struct platform_service *service)
{
    store_call_forget(service->keys_call);
    service->keys_call = NULL;
    if (service->keys_maker != NULL) {
        // Its post is on the way, and frees it.
        pthread_join(service->keys_maker->thread, NULL);
        service->keys_maker->service = NULL;
        service->keys_maker = NULL;
    }
}
