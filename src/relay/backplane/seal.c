// SPDX-License-Identifier: Apache-2.0
// Invariants
//   1. Only what was verified is remembered: a forger cannot push honest entries out.
//   2. Both memories hold so many entries at most, the oldest goes first.
//   3. issued_at_ms of what we sign never goes back, whatever the wall clock does.
#include "relay/backplane/seal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "base/base64.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define MAC_LEN 32
#define NUMBER_SIZE 24
#define SIGNATURES_MIN 100000
#define SIGNATURES_PER_WAY 4

// ---- What was seen

// A way is (source, workspace, target); what it is remembered by is its hash under the worker's
// seed, which no sender knows.
struct seen {
    struct map_node node;
    struct list order;
    uint64_t issued_at_ms;
    uint8_t key[]; // of a way: its hash; of a signature: the same and the MAC
};

struct memory {
    struct map map;
    struct list order; // oldest first
    size_t count_max;
};

static void memory_init(struct memory *memory, const struct siphash_key *seed, uint64_t count_max)
{
    map_init(&memory->map, seed);
    list_init(&memory->order);
    memory->count_max = count_max;
}

static void forget(struct memory *memory, struct seen *seen)
{
    map_remove(&memory->map, &seen->node);
    list_remove(&seen->order);
    mem_free(seen);
}

static void memory_fini(struct memory *memory)
{
    list_for_each_safe (node, &memory->order) {
        forget(memory, container_of(node, struct seen, order));
    }
    map_fini(&memory->map);
}

static struct seen *memory_find(const struct memory *memory, struct slice key)
{
    struct map_node *node = map_find(&memory->map, key);
    return node == NULL ? NULL : container_of(node, struct seen, node);
}

// False: memory ran out.
static bool remember(struct memory *memory, struct slice key, uint64_t issued_at_ms)
{
    struct seen *seen = memory_find(memory, key);
    if (seen == NULL) {
        if (memory->map.count >= memory->count_max) {
            forget(memory, container_of(memory->order.next, struct seen, order));
        }
        seen = mem_alloc(sizeof *seen + key.len);
        if (seen == NULL) {
            return false;
        }
        memcpy(seen->key, key.at, key.len);
        list_init(&seen->order);
        if (map_insert(&memory->map, &seen->node, slice_of((char *)seen->key, key.len)) !=
            WEIR_OK) {
            mem_free(seen);
            return false;
        }
    }
    seen->issued_at_ms = issued_at_ms;
    list_remove(&seen->order);
    list_push_back(&memory->order, &seen->order);
    return true;
}

// ---- The seal

struct bus_seal {
    struct bus_seal_options options;
    EVP_MAC_CTX *mac; // owned, keyed; NULL without a key
    struct siphash_key seed;
    struct memory ways;
    struct memory signatures;
    uint64_t last_issued_ms;
};

static EVP_MAC_CTX *keyed_mac(OSSL_LIB_CTX *libctx, const char *key)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *hmac = EVP_MAC_fetch(libctx, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(hmac); // NULL for NULL
    EVP_MAC_free(hmac);
    if (mac != NULL && EVP_MAC_init(mac, (const uint8_t *)key, strlen(key), params) != 1) {
        EVP_MAC_CTX_free(mac);
        return NULL;
    }
    return mac;
}

struct bus_seal *bus_seal_new(
    OSSL_LIB_CTX *libctx, const struct siphash_key *seed, const struct bus_seal_options *options)
{
    struct bus_seal *seal = mem_zalloc(sizeof *seal);
    if (seal == NULL) {
        return NULL;
    }
    uint64_t signatures = options->track_max * SIGNATURES_PER_WAY;
    seal->options = *options;
    seal->seed = *seed;
    memory_init(&seal->ways, seed, options->track_max);
    memory_init(&seal->signatures, seed, signatures < SIGNATURES_MIN ? SIGNATURES_MIN : signatures);
    if (options->key != NULL) {
        seal->mac = keyed_mac(libctx, options->key);
        if (seal->mac == NULL) {
            bus_seal_free(seal);
            return NULL;
        }
    }
    return seal;
}

void bus_seal_free(struct bus_seal *seal)
{
    if (seal == NULL) {
        return;
    }
    memory_fini(&seal->ways);
    memory_fini(&seal->signatures);
    EVP_MAC_CTX_free(seal->mac);
    mem_free(seal);
}

static bool add(EVP_MAC_CTX *mac, struct slice text)
{
    return text.len == 0 || EVP_MAC_update(mac, (const uint8_t *)text.at, text.len) == 1;
}

// The eight members, joined with a line feed.
static bool compute(struct bus_seal *seal, const struct bus_message *message, uint8_t *ret_mac)
{
    char number[NUMBER_SIZE];
    int len = snprintf(number, sizeof number, "%llu", (unsigned long long)message->issued_at_ms);
    const struct slice members[] = {
        message->workspace,
        message->target,
        message->machine,
        message->source,
        message->target_relay,
        message->direction == BUS_CLIENT_TO_DAEMON ? SLICE("client_to_daemon")
                                                   : SLICE("daemon_to_clients"),
        slice_of(number, (size_t)len),
        message->payload,
    };
    size_t mac_len;
    bool ok = EVP_MAC_init(seal->mac, NULL, 0, NULL) == 1;
    for (size_t i = 0; ok && i < sizeof members / sizeof *members; i++) {
        ok = (i == 0 || add(seal->mac, SLICE("\n"))) && add(seal->mac, members[i]);
    }
    return ok && EVP_MAC_final(seal->mac, ret_mac, &mac_len, MAC_LEN) == 1;
}

enum weir_result bus_seal_sign(
    struct bus_seal *seal, uint64_t wall_ms, struct bus_message *message, char *text)
{
    uint8_t mac[MAC_LEN];
    if (wall_ms > seal->last_issued_ms) {
        seal->last_issued_ms = wall_ms;
    }
    message->issued_at_ms = seal->last_issued_ms;
    message->issued = true;
    message->signature = SLICE_EMPTY;
    if (seal->mac == NULL) {
        return WEIR_OK;
    }
    if (!compute(seal, message, mac)) {
        return WEIR_CRYPTO;
    }
    message->signature = slice_of(text, base64url_encode(mac, sizeof mac, text));
    return WEIR_OK;
}

static bool is_off(uint64_t wall_ms, uint64_t issued_at_ms, uint64_t max_skew_ms)
{
    uint64_t skew = wall_ms > issued_at_ms ? wall_ms - issued_at_ms : issued_at_ms - wall_ms;
    return skew > max_skew_ms;
}

static uint64_t way_of(const struct bus_seal *seal, const struct bus_message *message)
{
    const struct slice parts[] = {message->source, message->workspace, message->target};
    uint64_t hashes[3];
    for (size_t i = 0; i < 3; i++) {
        hashes[i] = siphash(&seal->seed, parts[i].at, parts[i].len);
    }
    return siphash(&seal->seed, hashes, sizeof hashes);
}

enum bus_seal_verdict bus_seal_check(
    struct bus_seal *seal, uint64_t wall_ms, const struct bus_message *message)
{
    struct {
        uint64_t way;
        uint8_t mac[MAC_LEN];
    } claimed;
    uint8_t mac[MAC_LEN];
    size_t len;
    if (seal->mac == NULL) {
        return BUS_SEAL_GOOD;
    }
    if (!message->issued ||
        base64url_decode(message->signature, claimed.mac, MAC_LEN, &len) != WEIR_OK ||
        len != MAC_LEN) {
        return BUS_SEAL_INVALID;
    }
    if (is_off(wall_ms, message->issued_at_ms, seal->options.max_skew_ms)) {
        return BUS_SEAL_STALE;
    }
    claimed.way = way_of(seal, message);
    struct slice way = slice_of((const char *)&claimed.way, sizeof claimed.way);
    struct slice both = slice_of((const char *)&claimed, sizeof claimed);
    const struct seen *last = memory_find(&seal->ways, way);
    const struct seen *same = memory_find(&seal->signatures, both);
    if ((same != NULL && same->issued_at_ms >= message->issued_at_ms) ||
        (last != NULL && last->issued_at_ms > message->issued_at_ms)) {
        return BUS_SEAL_REPLAYED;
    }
    if (!compute(seal, message, mac) ||
        !slice_eq_secret(slice_of((char *)mac, MAC_LEN), slice_of((char *)claimed.mac, MAC_LEN))) {
        return BUS_SEAL_INVALID;
    }
    // What cannot be remembered could be replayed.
    return remember(&seal->signatures, both, message->issued_at_ms) &&
                   remember(&seal->ways, way, message->issued_at_ms)
               ? BUS_SEAL_GOOD
               : BUS_SEAL_INVALID;
}
