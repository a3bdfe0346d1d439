// SPDX-License-Identifier: Apache-2.0
// What another monitor, or anybody who may write to the Redis, puts into the stream of results.
#include <stdint.h>
#include <string.h>

#include "base/result.h"
#include "base/time.h"
#include "health/cluster/shared_result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct state_rules rules = {
        .interval_ns = NS_PER_S, .failure_threshold = 3, .success_threshold = 2};
    struct shared_message message;
    shared_message_read(&message, slice_of((const char *)data, size), NS_PER_S);
    if (message.kind == SHARED_RESULT) {
        struct state state = message.state;
        state.monitored = true;
        struct state_change change = state_judge(&state, &rules, monitor_now_ns());
        weir_assert(change.to < HEALTH_STATUS_COUNT && state_score(&state, &rules) <= 100);
        weir_assert(strlen(message.record.message) < CHECK_MESSAGE_SIZE);
    }
    weir_assert(message.kind == SHARED_NOTHING || message.service.len > 0);
    shared_message_fini(&message);
    return 0;
}
