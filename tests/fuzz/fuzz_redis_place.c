// SPDX-License-Identifier: Apache-2.0
// Input: the URL of a Redis. What must hold: what is taken names a host to connect to, everything in
// it is text, and a problem quotes nothing of the URL.
#include <stdint.h>

#include "base/result.h"
#include "redis/place.h"
#include "redis/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_place place;
    char problem[200];
    struct slice url = slice_of((const char *)data, size);
    weir_assert(redis_slot(url) < REDIS_SLOT_COUNT);
    if (redis_place_parse(url, &place, problem, sizeof problem) != WEIR_OK) {
        weir_assert(slice_str(problem).len > 0);
        return 0;
    }
    weir_assert(place.seed_count > 0 && place.seed_count <= REDIS_SEEDS_MAX);
    weir_assert(place.kind != REDIS_SINGLE || place.seed_count == 1);
    weir_assert((place.kind == REDIS_SENTINEL) == (place.name[0] != '\0'));
    for (unsigned i = 0; i < place.seed_count; i++) {
        weir_assert(place.seeds[i].host[0] != '\0' && place.seeds[i].port != 0);
    }
    return 0;
}
