// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/event_id.h"

#include <stdint.h>
#include <stdio.h>

#include "base/result.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define ID_BYTES 12

void event_id_make(const char *prefix, char id[EVENT_ID_SIZE])
{
    uint8_t bytes[ID_BYTES] = {0};
    if (sys_entropy(bytes, sizeof bytes) != WEIR_OK) {
        // An id wants to be unlike others, and not secret.
        uint64_t now_ns = sys_now_ns();
        for (unsigned i = 0; i < sizeof now_ns; i++) {
            bytes[i] = (uint8_t)(now_ns >> (8 * i));
        }
    }
    int len = snprintf(id, EVENT_ID_SIZE, "%s", prefix);
    for (unsigned i = 0; i < ID_BYTES && len > 0 && len < EVENT_ID_SIZE - 2; i++) {
        len += snprintf(id + len, (size_t)(EVENT_ID_SIZE - len), "%02x", bytes[i]);
    }
}
