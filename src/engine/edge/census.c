// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/census.h"

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct resident {
    struct map_node node; // by address
    struct ip address;
    size_t count;
};

struct census {
    pthread_mutex_t lock;
    struct map residents;
    size_t total;
};

struct census_seat {
    struct census *census;     // borrowed
    struct resident *resident; // shared; NULL: vouched for
};

struct census *census_new(const struct siphash_key *seed)
{
    struct census *census = mem_zalloc(sizeof *census);
    if (census != NULL) {
        pthread_mutex_init(&census->lock, NULL);
        map_init(&census->residents, seed);
    }
    return census;
}

void census_free(struct census *census)
{
    if (census == NULL) {
        return;
    }
    weir_assert(census->total == 0 && census->residents.count == 0);
    map_fini(&census->residents);
    pthread_mutex_destroy(&census->lock);
    mem_free(census);
}

static struct ip seat_address(const struct ip *address)
{
    struct ip masked = *address;
    if (!ip_is_v4(address)) {
        memset(masked.bytes + 8, 0, 8);
    }
    return masked;
}

static struct slice key_of(const struct ip *address)
{
    return slice_of((const char *)address->bytes, sizeof address->bytes);
}

static struct resident *find_or_add(struct census *census, const struct ip *address)
{
    struct map_node *node = map_find(&census->residents, key_of(address));
    if (node != NULL) {
        return container_of(node, struct resident, node);
    }
    struct resident *resident = mem_zalloc(sizeof *resident);
    if (resident == NULL) {
        return NULL;
    }
    resident->address = *address;
    if (map_insert(&census->residents, &resident->node, key_of(&resident->address)) != WEIR_OK) {
        mem_free(resident);
        return NULL;
    }
    return resident;
}

static void let_go(struct census *census, struct resident *resident)
{
    if (resident != NULL && --resident->count == 0) {
        map_remove(&census->residents, &resident->node);
        mem_free(resident);
    }
}

static enum census_outcome take_seat(struct census *census, const struct ip *address,
    const struct census_limits *limits, struct census_seat *seat)
{
    if (census->total >= limits->total) {
        return CENSUS_FULL;
    }
    struct resident *resident = find_or_add(census, address);
    if (resident == NULL) {
        return CENSUS_MEMORY;
    }
    if (resident->count >= limits->each) {
        return CENSUS_ADDRESS;
    }
    census->total++;
    resident->count++;
    *seat = (struct census_seat){census, resident};
    return CENSUS_SEATED;
}

enum census_outcome census_enter(struct census *census, const struct ip *address,
    const struct census_limits *limits, struct census_seat **ret_seat)
{
    struct ip masked = seat_address(address);
    struct census_seat *seat = mem_zalloc(sizeof *seat);
    if (seat == NULL) {
        return CENSUS_MEMORY;
    }
    pthread_mutex_lock(&census->lock);
    enum census_outcome outcome = take_seat(census, &masked, limits, seat);
    pthread_mutex_unlock(&census->lock);
    if (outcome != CENSUS_SEATED) {
        mem_free(seat);
        seat = NULL;
    }
    *ret_seat = seat;
    return outcome;
}

void census_leave(struct census_seat *seat)
{
    if (seat == NULL) {
        return;
    }
    struct census *census = seat->census;
    pthread_mutex_lock(&census->lock);
    census->total--;
    let_go(census, seat->resident);
    pthread_mutex_unlock(&census->lock);
    mem_free(seat);
}

// ---- Seats of sessions

static void on_session_freed(
    void *parent, void *seat, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    census_leave(seat);
}

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int seat_index;

static void make_index(void)
{
    seat_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_session_freed);
}

enum weir_result census_attach(SSL *ssl, struct census_seat *seat)
{
    pthread_once(&index_once, make_index);
    bool ok = seat_index >= 0 && SSL_set_ex_data(ssl, seat_index, seat) == 1;
    return ok ? WEIR_OK : WEIR_MEMORY;
}

void census_vouch(SSL *ssl)
{
    struct census_seat *seat = SSL_get_ex_data(ssl, seat_index);
    if (seat == NULL) {
        return;
    }
    pthread_mutex_lock(&seat->census->lock);
    let_go(seat->census, seat->resident);
    seat->resident = NULL;
    pthread_mutex_unlock(&seat->census->lock);
}
