// SPDX-License-Identifier: Apache-2.0
// Announcing: each daemon here has a timer of its own, so that the writes of many are spread over
// the interval as their connects were. A write that failed is done again soon; when the backplane
// comes back, all within a second.
//
// Asking: one query a cell. It is in flight (and has waiters), or answered (and in the list of what
// is known, until two seconds have passed or it is the longest unused of too many). Answers that
// name nobody are not kept.
//
// Invariants
//   1. A cell has an announcement exactly while it has a daemon and the shard has not withdrawn.
//   2. Waiters are told after the query is in its final state: they may ask, cancel and forget.
//   3. A query that is in flight is freed by its answer only.
#include "relay/backplane/presence.h"

#include "base/mem.h"
#include "obs/log.h"
#include "relay/backplane/core.h"
#include "relay/peer.h"
#include "relay/remotes.h"

#define KNOWN_NS (2 * NS_PER_S)
#define AGAIN_NS (2 * NS_PER_S) // a random part of it
#define RETURN_NS (1 * NS_PER_S)

// ---- Announcing

struct announcement {
    struct list node; // in plane->announcements
    struct timer timer;
    struct cell *cell;
};

static struct cell_name name_of(const struct cell *cell)
{
    return (struct cell_name){cell_workspace(cell), cell->target};
}

static struct presence_record record_of(const struct cell *cell, const struct peer *daemon)
{
    const char *machine = peer_text(daemon, PEER_MACHINE);
    return (struct presence_record){
        name_of(cell), machine == NULL ? SLICE_EMPTY : slice_str(machine)};
}

static void put(struct announcement *announcement)
{
    struct cell *cell = announcement->cell;
    struct backplane *plane = cell->shard->backplane;
    struct presence_record record = record_of(cell, cell->daemon);
    worker_arm_in(cell->shard->worker, &announcement->timer,
        time_from_ms(cell->shard->relay->config->presence_sync_interval_ms));
    plane->writes_open++;
    plane->ops->put(plane->driver, &record); // may tell at once, and arm the timer anew
}

static void on_due(struct timer *timer)
{
    put(container_of(timer, struct announcement, timer));
}

static void announcement_free(struct announcement *announcement)
{
    announcement->cell->announcement = NULL;
    timer_cancel(&announcement->timer);
    list_remove(&announcement->node);
    mem_free(announcement);
}

void presence_announce(struct cell *cell)
{
    struct backplane *plane = cell->shard->backplane;
    if (plane == NULL || plane->withdrawn || !cell->shard->relay->config->presence_sync_enabled) {
        return;
    }
    struct announcement *announcement = cell->announcement;
    if (announcement == NULL) {
        announcement = mem_alloc(sizeof *announcement);
        if (announcement == NULL) {
            metrics_bus_failure(cell->shard->worker->metrics, BUS_CALL_PRESENCE, BUS_END_NO_MEMORY);
            return; // this daemon serves the clients of this relay only
        }
        announcement->cell = cell;
        timer_init(&announcement->timer, on_due);
        list_init(&announcement->node);
        list_push_back(&plane->announcements, &announcement->node);
        cell->announcement = announcement;
    }
    presence_forget(cell->shard, name_of(cell));
    put(announcement);
}

void presence_withdraw(struct cell *cell, const struct peer *daemon)
{
    struct backplane *plane = cell->shard->backplane;
    if (cell->announcement == NULL) {
        return;
    }
    struct presence_record record = record_of(cell, daemon);
    announcement_free(cell->announcement);
    plane->writes_open++;
    plane->ops->withdraw(plane->driver, &record);
}

void backplane_withdraw_all(struct shard *shard)
{
    struct backplane *plane = shard->backplane;
    if (plane == NULL) {
        return;
    }
    plane->withdrawn = true;
    while (!list_empty(&plane->announcements)) {
        struct announcement *announcement =
            container_of(plane->announcements.next, struct announcement, node);
        presence_withdraw(announcement->cell, announcement->cell->daemon);
    }
}

bool backplane_is_quiet(const struct shard *shard)
{
    return shard->backplane == NULL || shard->backplane->writes_open == 0;
}

static void put_again(struct announcement *announcement, uint64_t bound_ns)
{
    struct shard *shard = announcement->cell->shard;
    worker_arm_in(shard->worker, &announcement->timer, backplane_jitter(shard, bound_ns));
}

void presence_announce_again(struct backplane *plane)
{
    list_for_each (node, &plane->announcements) {
        put_again(container_of(node, struct announcement, node), RETURN_NS);
    }
}

static void log_failure(enum log_event event, struct cell_name name, enum bus_end end)
{
    struct log_line line;
    log_begin(&line, event);
    log_str(&line, "workspaceId", name.workspace);
    if (name.target.len > 0) {
        log_str(&line, "runtimeTargetId", name.target);
    }
    log_text(&line, "reason", bus_end_label(end));
    log_end(&line);
}

static bool is_refusal(enum bus_end end)
{
    return end == BUS_END_REFUSED || end == BUS_END_STATUS;
}

void backplane_written(struct shard *shard, struct cell_name name, enum bus_end end, double seconds)
{
    struct metrics_shard *metrics = shard->worker->metrics;
    struct backplane *plane = shard->backplane;
    weir_assert(plane->writes_open > 0);
    plane->writes_open--;
    metrics_observe(metrics, HISTOGRAM_BACKPLANE_PUBLISH_SECONDS, seconds);
    if (end == BUS_END_OK) {
        metrics_count(metrics, METRIC_PRESENCE_UPSERT_OK);
    } else {
        metrics_count(metrics, METRIC_PRESENCE_UPSERT_FAILED);
        metrics_bus_failure(metrics, BUS_CALL_PRESENCE, end);
        log_failure(
            is_refusal(end) ? LOG_RELAY_PRESENCE_UPSERT_FAILED : LOG_RELAY_PRESENCE_UPSERT_ERROR,
            name, end);
        struct cell *cell = cell_find(shard, name.workspace, name.target);
        if (cell != NULL && cell->announcement != NULL) {
            put_again(cell->announcement, AGAIN_NS);
        }
    }
    relay_note_departure(shard);
}

// ---- Asking

struct presence_query {
    struct map_node node;
    struct list known; // in plane->known
    struct list waiters;
    struct shard *shard;
    struct presence answer; // points into texts
    char *texts;            // owned
    uint64_t until_ns;
    bool flying;
    unsigned telling; // calls that tell waiters: it stays for them
    size_t workspace_len;
    size_t key_len;
    char key[]; // workspace, NUL, target
};

#define KEY_SIZE (2 * CELL_ID_LEN_MAX + 1)

static struct slice write_key(char key[KEY_SIZE], struct cell_name name)
{
    weir_assert(name.workspace.len <= CELL_ID_LEN_MAX && name.target.len <= CELL_ID_LEN_MAX);
    memcpy(key, name.workspace.at, name.workspace.len);
    key[name.workspace.len] = '\0';
    if (name.target.len > 0) {
        memcpy(key + name.workspace.len + 1, name.target.at, name.target.len);
    }
    return slice_of(key, name.workspace.len + 1 + name.target.len);
}

static struct presence_query *find(const struct backplane *plane, struct cell_name name)
{
    char key[KEY_SIZE];
    struct map_node *node = map_find(&plane->queries, write_key(key, name));
    return node == NULL ? NULL : container_of(node, struct presence_query, node);
}

static void query_free(struct presence_query *query)
{
    map_remove(&query->shard->backplane->queries, &query->node);
    list_remove(&query->known);
    mem_free(query->texts);
    mem_free(query);
}

// Room for one more; false when all that could go are in flight.
static bool make_room(struct backplane *plane)
{
    const struct relay *relay = plane->shard->relay;
    uint64_t share = relay->config->presence_resolve_cache_max / relay->crew->count + 1;
    if (plane->queries.count < share) {
        return true;
    }
    list_for_each (node, &plane->known) {
        struct presence_query *oldest = container_of(node, struct presence_query, known);
        if (oldest->telling == 0) {
            query_free(oldest);
            return true;
        }
    }
    return false;
}

static struct presence_query *query_new(struct shard *shard, struct cell_name name)
{
    char key[KEY_SIZE];
    struct slice bytes = write_key(key, name);
    struct presence_query *query = mem_zalloc(sizeof *query + bytes.len);
    if (query == NULL) {
        return NULL;
    }
    memcpy(query->key, bytes.at, bytes.len);
    query->key_len = bytes.len;
    query->workspace_len = name.workspace.len;
    query->shard = shard;
    list_init(&query->known);
    list_init(&query->waiters);
    if (map_insert(&shard->backplane->queries, &query->node, slice_of(query->key, bytes.len)) !=
        WEIR_OK) {
        mem_free(query);
        return NULL;
    }
    return query;
}

struct cell_name presence_query_name(const struct presence_query *query)
{
    return (struct cell_name){slice_of(query->key, query->workspace_len),
        slice_skip(slice_of(query->key, query->key_len), query->workspace_len + 1)};
}

bool presence_usable(const struct shard *shard)
{
    const struct relay_config *config = shard->relay->config;
    return shard->backplane != NULL && (config->bus_enabled || config->client_redirect_enabled);
}

static bool is_fresh(const struct presence_query *query)
{
    return !query->flying && worker_now(query->shard->worker) < query->until_ns;
}

const struct presence *presence_known(struct shard *shard, struct cell_name name)
{
    struct presence_query *query = shard->backplane == NULL ? NULL : find(shard->backplane, name);
    if (query == NULL || !is_fresh(query)) {
        return NULL;
    }
    list_remove(&query->known);
    list_push_back(&shard->backplane->known, &query->known);
    return &query->answer;
}

void presence_forget(struct shard *shard, struct cell_name name)
{
    struct presence_query *query = shard->backplane == NULL ? NULL : find(shard->backplane, name);
    if (query != NULL && !query->flying) {
        query->until_ns = 0; // nobody knows it any more; freed when it is told, or asked again
        if (query->telling == 0) {
            query_free(query);
        }
    }
}

void presence_ask(struct shard *shard, struct cell_name name, struct presence_waiter *waiter)
{
    struct backplane *plane = shard->backplane;
    const struct presence *known = presence_known(shard, name);
    if (plane == NULL || known != NULL) {
        waiter->done(waiter, BUS_END_OK, known);
        return;
    }
    struct presence_query *query = find(plane, name);
    if (query == NULL) {
        if (!make_room(plane)) {
            waiter->done(waiter, BUS_END_QUEUE_FULL, NULL);
            return;
        }
        query = query_new(shard, name);
    }
    if (query == NULL) {
        waiter->done(waiter, BUS_END_NO_MEMORY, NULL);
        return;
    }
    list_push_back(&query->waiters, &waiter->node);
    if (!query->flying) {
        query->flying = true;
        list_remove(&query->known);
        plane->ops->resolve(plane->driver, query);
    }
}

// False: nobody to speak of, or no memory.
static bool keep_answer(struct presence_query *query, const struct presence *answer)
{
    size_t size = answer->relay_id.len + answer->url.len + answer->machine.len;
    char *texts = mem_alloc(size + 1);
    if (texts == NULL) {
        return false;
    }
    mem_free(query->texts);
    query->texts = texts;
    query->answer = *answer;
    struct slice *parts[] = {&query->answer.relay_id, &query->answer.url, &query->answer.machine};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        memcpy(texts, parts[i]->at, parts[i]->len);
        *parts[i] = slice_of(texts, parts[i]->len);
        texts += parts[i]->len;
    }
    return true;
}

static void account_resolve(struct presence_query *query, enum bus_end end)
{
    struct metrics_shard *metrics = query->shard->worker->metrics;
    if (end == BUS_END_OK) {
        metrics_count(metrics, METRIC_PRESENCE_RESOLVE_OK);
        return;
    }
    metrics_count(metrics, METRIC_PRESENCE_RESOLVE_FAILED);
    metrics_bus_failure(metrics, BUS_CALL_PRESENCE, end);
    log_failure(LOG_RELAY_PRESENCE_RESOLVE_ERROR, presence_query_name(query), end);
}

void presence_query_answer(
    struct presence_query *query, enum bus_end end, const struct presence *answer)
{
    struct shard *shard = query->shard;
    weir_assert(query->flying);
    // Our own record: the daemon has just left.
    bool somebody = end == BUS_END_OK && answer != NULL && answer->relay_id.len > 0 &&
                    !slice_eq(answer->relay_id, slice_str(shard->relay->config->relay_id));
    if (somebody && !remote_id_is_sound(answer->relay_id)) {
        end = BUS_END_BAD_ANSWER;
        somebody = false;
    }
    if (somebody && !keep_answer(query, answer)) {
        end = BUS_END_NO_MEMORY;
        somebody = false;
    }
    account_resolve(query, end);
    struct list waiters;
    list_take_all(&query->waiters, &waiters);
    query->flying = false;
    query->telling++;
    query->until_ns = somebody ? worker_now(shard->worker) + KNOWN_NS : 0;
    list_push_back(&shard->backplane->known, &query->known);
    for (struct list *node = list_pop_front(&waiters); node != NULL;
         node = list_pop_front(&waiters)) {
        struct presence_waiter *waiter = container_of(node, struct presence_waiter, node);
        waiter->done(waiter, end, somebody ? &query->answer : NULL);
    }
    query->telling--;
    if (query->telling == 0 && !query->flying && !is_fresh(query)) {
        query_free(query);
    }
}

void presence_fini(struct backplane *plane)
{
    list_for_each_safe (node, &plane->known) {
        query_free(container_of(node, struct presence_query, known));
    }
    weir_assert(plane->queries.count == 0 && list_empty(&plane->announcements));
    map_fini(&plane->queries);
}
