// SPDX-License-Identifier: Apache-2.0
// Names are looked up in one map: as they are, and without their first label, beginning with '.',
// for wildcards. The map is made anew when any certificate has changed, so that a handshake costs
// two look-ups whatever the number of pairs.
//
// Invariants:
// 1. names point at pairs of items that have a context, or at none for the first pair.
// 2. A map that could not be made leaves the one before, and is tried again at the next look.
#include "stream/tls_pairs.h"

#include <openssl/x509v3.h>

#include "base/hostname.h"
#include "base/list.h"
#include "base/mem.h"

#define LOOK_INTERVAL_NS NS_PER_S
#define PROBLEM_SIZE 512

struct tls_name {
    struct map_node node;
    const struct tls_pair *pair; // borrowed; NULL: the first pair
    char text[HOSTNAME_SIZE + 1];
};

// ---- Names

static void free_names(struct map *names)
{
    struct map_node *node = map_next(names, NULL);
    while (node != NULL) {
        struct map_node *next = map_next(names, node);
        map_remove(names, node);
        mem_free(container_of(node, struct tls_name, node));
        node = next;
    }
    map_fini(names);
}

// The first to come has it. What is no host name is nobody's.
static enum weir_result add_name(struct map *names, struct slice name, const struct tls_pair *pair)
{
    char text[HOSTNAME_SIZE + 1] = ".";
    size_t len;
    bool wild = slice_starts_with(name, SLICE("*."));
    if (hostname_normalize(slice_skip(name, wild ? 2 : 0), text + 1, &len) != WEIR_OK) {
        return WEIR_OK;
    }
    struct slice key = wild ? slice_of(text, len + 1) : slice_of(text + 1, len);
    if (map_find(names, key) != NULL) {
        return WEIR_OK;
    }
    struct tls_name *added = mem_alloc(sizeof *added);
    if (added == NULL) {
        return WEIR_MEMORY;
    }
    added->pair = pair;
    memcpy(added->text, key.at, key.len);
    enum weir_result result = map_insert(names, &added->node, slice_of(added->text, key.len));
    if (result != WEIR_OK) {
        mem_free(added);
    }
    return result;
}

static enum weir_result add_names(
    struct map *names, const SSL_CTX *context, const struct tls_pair *pair)
{
    X509 *leaf = context == NULL ? NULL : SSL_CTX_get0_certificate(context);
    GENERAL_NAMES *found =
        leaf == NULL ? NULL : X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    enum weir_result result = WEIR_OK;
    for (int i = 0; i < sk_GENERAL_NAME_num(found) && result == WEIR_OK; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(found, i);
        if (name->type == GEN_DNS) {
            struct slice text = slice_of((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                (size_t)ASN1_STRING_length(name->d.dNSName));
            result = add_name(names, text, pair);
        }
    }
    GENERAL_NAMES_free(found);
    return result;
}

static void make_names(struct tls_pairs *pairs)
{
    struct map names;
    map_init(&names, &pairs->names.seed);
    enum weir_result result = add_names(&names, pairs->server->current, NULL);
    for (size_t i = 0; i < pairs->count && result == WEIR_OK; i++) {
        result = add_names(&names, pairs->items[i].current, &pairs->items[i]);
    }
    pairs->stale = result != WEIR_OK;
    if (pairs->stale) {
        free_names(&names);
        return;
    }
    free_names(&pairs->names);
    pairs->names = names;
    pairs->indexed = pairs->server->current;
}

SSL_CTX *tls_pairs_choose(const struct tls_pairs *pairs, struct slice server_name)
{
    ptrdiff_t dot = slice_find(server_name, '.');
    struct map_node *node = map_find(&pairs->names, server_name);
    if (node == NULL && dot >= 0) {
        node = map_find(&pairs->names, slice_skip(server_name, (size_t)dot));
    }
    const struct tls_pair *pair =
        node == NULL ? NULL : container_of(node, struct tls_name, node)->pair;
    return pair == NULL ? pairs->server->current : pair->current;
}

// ---- Pairs

void tls_pairs_init(
    struct tls_pairs *pairs, struct tls_server *server, const struct siphash_key *seed)
{
    *pairs = (struct tls_pairs){.server = server};
    map_init(&pairs->names, seed);
}

static void free_items(struct tls_pair *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        SSL_CTX_free(items[i].current);
    }
    mem_free(items);
}

void tls_pairs_fini(struct tls_pairs *pairs)
{
    free_names(&pairs->names);
    free_items(pairs->items, pairs->count);
    pairs->items = NULL;
    pairs->count = 0;
}

static bool same_paths(const struct tls_settings *a, const struct tls_settings *b)
{
    return strcmp(a->certificate_path, b->certificate_path) == 0 &&
           strcmp(a->key_path, b->key_path) == 0;
}

static void keep_served(const struct tls_pairs *pairs, struct tls_pair *item)
{
    for (size_t i = 0; i < pairs->count; i++) {
        struct tls_pair *old = &pairs->items[i];
        if (same_paths(&old->settings, &item->settings)) {
            bool served = old->current != NULL && SSL_CTX_up_ref(old->current) == 1;
            item->current = served ? old->current : NULL;
            item->stamp = old->stamp;
            return;
        }
    }
}

enum weir_result tls_pairs_set(
    struct tls_pairs *pairs, const struct tls_settings *settings, size_t count)
{
    struct tls_pair *items = count == 0 ? NULL : mem_zalloc(count * sizeof *items);
    if (items == NULL && count > 0) {
        return WEIR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        items[i].settings = settings[i];
        keep_served(pairs, &items[i]);
    }
    free_names(&pairs->names); // they point at the old items
    free_items(pairs->items, pairs->count);
    pairs->items = items;
    pairs->count = count;
    pairs->looked_ns = 0;
    make_names(pairs);
    return WEIR_OK;
}

static bool look_at(
    struct tls_pairs *pairs, struct tls_pair *pair, tls_pairs_report_fn *report, void *arg)
{
    char problem[PROBLEM_SIZE];
    uint64_t stamp = tls_settings_stamp(&pair->settings);
    if (stamp == pair->stamp) {
        return false;
    }
    SSL_CTX *context = tls_server_context(pairs->server, &pair->settings, problem, sizeof problem);
    pair->stamp = stamp;
    if (context != NULL) {
        SSL_CTX_free(pair->current);
        pair->current = context;
        pairs->stale = true;
    }
    report(arg, pair, context == NULL ? problem : NULL);
    return true;
}

void tls_pairs_refresh(struct tls_pairs *pairs, uint64_t now_ns, size_t load_max,
    tls_pairs_report_fn *report, void *arg)
{
    if (pairs->count == 0) {
        return;
    }
    if (pairs->looked_ns == 0 || now_ns - pairs->looked_ns >= LOOK_INTERVAL_NS) {
        pairs->looked_ns = now_ns;
        size_t loaded = 0;
        for (size_t i = 0; i < pairs->count && loaded < load_max; i++) {
            loaded += look_at(pairs, &pairs->items[i], report, arg) ? 1 : 0;
        }
    } else if (pairs->indexed == pairs->server->current) {
        return;
    }
    if (pairs->stale || pairs->indexed != pairs->server->current) {
        make_names(pairs);
    }
}
