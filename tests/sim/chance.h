// SPDX-License-Identifier: Apache-2.0
// What a seed decides (splitmix64): the same for all worlds.
#ifndef WEIR_TESTS_SIM_CHANCE_H
#define WEIR_TESTS_SIM_CHANCE_H

#include <stdint.h>

static inline uint64_t chance_next(uint64_t *chance)
{
    uint64_t z = (*chance += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
