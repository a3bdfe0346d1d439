// SPDX-License-Identifier: Apache-2.0
// Which of a cluster's slots a key, or a sharded channel, belongs to.
// Source: the Redis Cluster specification, "Key distribution model" and "Hash tags".
#ifndef WEIR_REDIS_SLOT_H
#define WEIR_REDIS_SLOT_H

#include <stdint.h>

#include "base/slice.h"

#define REDIS_SLOT_COUNT 16384u

uint16_t redis_slot(struct slice key);

#endif
