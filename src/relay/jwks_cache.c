// SPDX-License-Identifier: Apache-2.0
#include "relay/jwks_cache.h"

#include "base/mem.h"
#include "base/time.h"
#include "http/client.h"
#include "obs/log.h"
#include "sys/clock.h"

#define LIFETIME_NS (3600 * NS_PER_S)
#define REFETCH_INTERVAL_NS (30 * NS_PER_S)

struct jwks_cache {
    struct shard *shard;
    struct jwks *set; // owned; NULL: none could be had yet
    struct http_call *call;
    struct list waiters;
    uint64_t fetched_ns; // when the set at hand came
    uint64_t asked_ns;   // the last attempt; 0: never
};

struct jwks_cache *jwks_cache_new(struct shard *shard)
{
    struct jwks_cache *cache = mem_zalloc(sizeof *cache);
    if (cache != NULL) {
        cache->shard = shard;
        list_init(&cache->waiters);
    }
    return cache;
}

void jwks_cache_free(struct jwks_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    http_call_cancel(cache->call);
    jwks_free(cache->set);
    mem_free(cache);
}

static enum precheck check(const struct jwks_cache *cache, const struct jwks_waiter *waiter)
{
    return jwt_precheck(waiter->token, cache->set, sys_wall_ms());
}

static void answer_all(struct jwks_cache *cache)
{
    struct list waiting;
    list_init(&waiting);
    for (struct list *node = list_pop_front(&cache->waiters); node != NULL;
         node = list_pop_front(&cache->waiters)) {
        list_push_back(&waiting, node);
    }
    for (struct list *node = list_pop_front(&waiting); node; node = list_pop_front(&waiting)) {
        struct jwks_waiter *waiter = container_of(node, struct jwks_waiter, node);
        waiter->done(waiter, check(cache, waiter));
    }
}

static const char *take_set(struct jwks_cache *cache, const struct http_call_result *answer)
{
    struct jwks *set;
    if (answer->outcome != HTTP_CALL_ANSWERED) {
        return answer->error;
    }
    if (answer->status != 200) {
        return "the answer's status is not 200";
    }
    if (jwks_parse(answer->body, NULL, &set) != WEIR_OK) {
        return "the answer is not a key set";
    }
    jwks_free(cache->set);
    cache->set = set;
    cache->fetched_ns = worker_now(cache->shard->worker);
    return NULL;
}

static void on_answer(void *arg, const struct http_call_result *answer)
{
    struct jwks_cache *cache = arg;
    cache->call = NULL;
    const char *problem = take_set(cache, answer);
    struct log_line line;
    log_begin(&line, problem == NULL ? LOG_JWKS_FETCHED : LOG_JWKS_FETCH_FAILED);
    log_text(&line, "url", cache->shard->relay->config->jwks_url);
    if (problem == NULL) {
        log_u64(&line, "keys", jwks_count(cache->set));
    } else {
        log_text(&line, "reason", problem);
    }
    log_end(&line);
    if (problem != NULL) {
        metrics_count(cache->shard->worker->metrics, METRIC_JWKS_FETCH_FAILED);
    }
    answer_all(cache);
}

static bool fetch(struct jwks_cache *cache)
{
    const struct relay *relay = cache->shard->relay;
    uint64_t now_ns = worker_now(cache->shard->worker);
    if (cache->call != NULL) {
        return true;
    }
    if (cache->asked_ns != 0 && now_ns - cache->asked_ns < REFETCH_INTERVAL_NS) {
        return false;
    }
    cache->asked_ns = now_ns;
    metrics_count(cache->shard->worker->metrics, METRIC_JWKS_FETCH);
    cache->call = http_call_start(cache->shard->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = relay->config->jwks_url,
            .tls = &relay->platform_tls,
            .timeout_ns = time_from_ms(relay->config->internal_api_timeout_ms),
            .response_max = relay->config->internal_api_max_response_bytes,
        },
        on_answer, cache);
    return cache->call != NULL;
}

void jwks_check(struct jwks_cache *cache, struct jwks_waiter *waiter)
{
    uint64_t now_ns = worker_now(cache->shard->worker);
    bool stale = cache->set == NULL || now_ns - cache->fetched_ns >= LIFETIME_NS;
    enum precheck verdict = check(cache, waiter);
    bool decided = verdict == PRECHECK_EXPIRED || (!stale && verdict != PRECHECK_UNKNOWN_KID);
    list_init(&waiter->node);
    if (decided || !fetch(cache)) {
        waiter->done(waiter, verdict);
        return;
    }
    list_push_back(&cache->waiters, &waiter->node);
}

void jwks_cancel(struct jwks_waiter *waiter)
{
    if (waiter->node.next != NULL) {
        list_remove(&waiter->node);
    }
}
