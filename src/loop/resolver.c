// SPDX-License-Identifier: Apache-2.0
//   resolve (who asks) ──► entry (a name) ──► lookup (its thread)
//                            ▲ kept 30 s         │ posts itself home
//                            └───────────────────┘
//
// 1. A lookup belongs to its thread until it is posted, and to the worker afterwards; `box` says,
//    under its lock, whether there still is a worker to post to. It goes with the last who knows
//    it.
// 2. An entry with a lookup or with somebody waiting stays; others may go when room is needed.
// 3. Who asks is answered from a deferred job, never from inside resolve_start.
#include "loop/resolver.h"

#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "sys/resolve.h"
#include "sys/users.h"

#define ENTRIES_MAX 4096
#define LOOKUPS_MAX 128 // threads
#define FRESH_NS (30 * NS_PER_S)
#define STACK_SIZE (512 * 1024)
#define USER_MARK '\001' // in front of the names of users; hosts have none like that
#define USER_NAME_SIZE 256

struct box {
    pthread_mutex_t lock;
    struct worker *worker; // NULL: gone
    unsigned refs;         // the resolver, and every lookup
};

struct lookup {
    struct job job;
    struct list node; // in resolver->lookups
    struct box *box;
    struct entry *entry; // not touched by the thread
    bool posted;
    enum weir_result result;
    size_t count;
    struct ip ips[SYS_RESOLVE_MAX];
    char name[];
};

struct entry {
    struct map_node node;
    struct list waiting;
    struct lookup *lookup; // NULL: none under way
    uint64_t fresh_until_ns;
    size_t count;
    struct ip ips[SYS_RESOLVE_MAX];
    char name[];
};

struct resolver {
    struct worker *worker;
    struct box *box;
    struct map entries;
    struct list lookups;
    unsigned lookup_count;
};

struct resolve {
    struct list node; // in entry->waiting, or alone once its answer is on the way
    struct job job;
    resolve_fn *done;
    void *arg;
    enum weir_result result;
    size_t count;
    struct ip ips[SYS_RESOLVE_MAX];
};

static void box_unref(struct box *box)
{
    pthread_mutex_lock(&box->lock);
    bool last = --box->refs == 0;
    pthread_mutex_unlock(&box->lock);
    if (last) {
        pthread_mutex_destroy(&box->lock);
        mem_free(box);
    }
}

// ---- Answers

static void on_answer(struct worker *worker, struct job *job)
{
    struct resolve *resolve = container_of(job, struct resolve, job);
    (void)worker;
    resolve->done(resolve->arg, resolve->result, resolve->ips, resolve->count);
    mem_free(resolve);
}

static void answer(struct worker *worker, struct resolve *resolve, enum weir_result result,
    const struct ip *ips, size_t count)
{
    list_remove(&resolve->node);
    resolve->result = result;
    resolve->count = count;
    for (size_t i = 0; i < count; i++) {
        resolve->ips[i] = ips[i];
    }
    worker_defer(worker, &resolve->job, on_answer);
}

void resolve_cancel(struct resolve *resolve)
{
    list_remove(&resolve->node);
    list_remove(&resolve->job.node);
    mem_free(resolve);
}

// ---- Lookups

static void on_home(struct worker *worker, struct job *job)
{
    struct lookup *lookup = container_of(job, struct lookup, job);
    struct resolver *resolver = worker->rooms[ROOM_RESOLVER];
    struct entry *entry = lookup->entry;
    list_remove(&lookup->node);
    resolver->lookup_count--;
    entry->lookup = NULL;
    if (lookup->result == WEIR_OK) {
        entry->count = lookup->count;
        memcpy(entry->ips, lookup->ips, sizeof entry->ips);
        entry->fresh_until_ns = worker_now(worker) + FRESH_NS;
    }
    list_for_each_safe (node, &entry->waiting) {
        answer(worker, container_of(node, struct resolve, node), lookup->result, lookup->ips,
            lookup->count);
    }
    mem_free(lookup);
}

static void *run_lookup(void *arg)
{
    struct lookup *lookup = arg;
    struct box *box = lookup->box;
    lookup->result = lookup->name[0] == USER_MARK
                         ? sys_user_learn(lookup->name + 1)
                         : sys_resolve(lookup->name, lookup->ips, &lookup->count);
    pthread_mutex_lock(&box->lock);
    if (box->worker != NULL) {
        lookup->posted = true;
        worker_post(box->worker, &lookup->job, on_home);
    } else {
        mem_free(lookup);
    }
    pthread_mutex_unlock(&box->lock);
    box_unref(box);
    return NULL;
}

static enum weir_result start_lookup(struct resolver *resolver, struct entry *entry)
{
    size_t len = strlen(entry->name);
    pthread_attr_t attributes;
    pthread_t thread;
    if (resolver->lookup_count >= LOOKUPS_MAX) {
        return WEIR_FULL;
    }
    struct lookup *lookup = mem_zalloc(sizeof *lookup + len + 1);
    if (lookup == NULL) {
        return WEIR_MEMORY;
    }
    memcpy(lookup->name, entry->name, len);
    list_init(&lookup->job.node);
    lookup->box = resolver->box;
    lookup->entry = entry;
    list_push_back(&resolver->lookups, &lookup->node);
    pthread_mutex_lock(&lookup->box->lock);
    lookup->box->refs++;
    pthread_mutex_unlock(&lookup->box->lock);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&thread, &attributes, run_lookup, lookup);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        list_remove(&lookup->node);
        box_unref(lookup->box);
        mem_free(lookup);
        return WEIR_MEMORY;
    }
    entry->lookup = lookup;
    resolver->lookup_count++;
    return WEIR_OK;
}

// ---- Entries

static void make_room(struct resolver *resolver)
{
    struct map_node *node = map_next(&resolver->entries, NULL);
    while (node != NULL && resolver->entries.count >= ENTRIES_MAX) {
        struct entry *entry = container_of(node, struct entry, node);
        node = map_next(&resolver->entries, node);
        if (entry->lookup == NULL && list_empty(&entry->waiting)) {
            map_remove(&resolver->entries, &entry->node);
            mem_free(entry);
        }
    }
}

static struct entry *entry_of(struct resolver *resolver, const char *name)
{
    struct slice key = slice_str(name);
    struct map_node *node = map_find(&resolver->entries, key);
    if (node != NULL) {
        return container_of(node, struct entry, node);
    }
    make_room(resolver);
    struct entry *entry = mem_zalloc(sizeof *entry + key.len + 1);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->name, key.at, key.len);
    list_init(&entry->waiting);
    if (map_insert(&resolver->entries, &entry->node, slice_of(entry->name, key.len)) != WEIR_OK) {
        mem_free(entry);
        return NULL;
    }
    return entry;
}

// ---- The resolver of a worker

static struct resolver *resolver_of(struct worker *worker)
{
    struct resolver *resolver = worker->rooms[ROOM_RESOLVER];
    if (resolver != NULL) {
        return resolver;
    }
    resolver = mem_zalloc(sizeof *resolver);
    struct box *box = mem_zalloc(sizeof *box);
    if (resolver == NULL || box == NULL) {
        mem_free(resolver);
        mem_free(box);
        return NULL;
    }
    pthread_mutex_init(&box->lock, NULL);
    *box = (struct box){.lock = box->lock, .worker = worker, .refs = 1};
    *resolver = (struct resolver){.worker = worker, .box = box};
    map_init(&resolver->entries, &worker->seed);
    list_init(&resolver->lookups);
    worker->rooms[ROOM_RESOLVER] = resolver;
    return resolver;
}

struct resolve *resolve_start(struct worker *worker, const char *name, resolve_fn *done, void *arg)
{
    struct resolver *resolver = resolver_of(worker);
    struct entry *entry = resolver == NULL ? NULL : entry_of(resolver, name);
    struct resolve *resolve = entry == NULL ? NULL : mem_zalloc(sizeof *resolve);
    if (resolve == NULL) {
        return NULL;
    }
    list_init(&resolve->node);
    list_init(&resolve->job.node);
    resolve->done = done;
    resolve->arg = arg;
    if (worker_now(worker) < entry->fresh_until_ns) {
        answer(worker, resolve, WEIR_OK, entry->ips, entry->count);
        return resolve;
    }
    enum weir_result result = entry->lookup != NULL ? WEIR_OK : start_lookup(resolver, entry);
    if (result != WEIR_OK) {
        answer(worker, resolve, result, NULL, 0);
        return resolve;
    }
    list_push_back(&entry->waiting, &resolve->node);
    return resolve;
}

struct resolve *resolve_user_start(
    struct worker *worker, const char *name, resolve_fn *done, void *arg)
{
    char marked[USER_NAME_SIZE + 2];
    snprintf(marked, sizeof marked, "%c%s", USER_MARK, name);
    return resolve_start(worker, marked, done, arg);
}

static void forget_lookups(struct resolver *resolver)
{
    struct box *box = resolver->box;
    pthread_mutex_lock(&box->lock);
    box->worker = NULL;
    list_for_each_safe (node, &resolver->lookups) {
        struct lookup *lookup = container_of(node, struct lookup, node);
        list_remove(node);
        if (lookup->posted) {
            list_remove(&lookup->job.node);
            mem_free(lookup);
        }
    }
    pthread_mutex_unlock(&box->lock);
    box_unref(box);
}

void resolver_fini(struct worker *worker)
{
    struct resolver *resolver = worker->rooms[ROOM_RESOLVER];
    if (resolver == NULL) {
        return;
    }
    forget_lookups(resolver);
    struct map_node *node = map_next(&resolver->entries, NULL);
    while (node != NULL) {
        struct entry *entry = container_of(node, struct entry, node);
        node = map_next(&resolver->entries, node);
        weir_assert(list_empty(&entry->waiting)); // who asked has cancelled by now
        mem_free(entry);
    }
    map_fini(&resolver->entries);
    worker->rooms[ROOM_RESOLVER] = NULL;
    mem_free(resolver);
}
