// SPDX-License-Identifier: Apache-2.0
// What one client of a metric socket wants to hear of: devices by their id, and patterns
// "service@machine". Bounded; pure.
#ifndef WEIR_HEALTH_SUBSCRIPTIONS_H
#define WEIR_HEALTH_SUBSCRIPTIONS_H

#include "base/result.h"
#include "base/slice.h"

#define SUBSCRIPTIONS_MAX 256
#define SUBSCRIPTION_LEN_MAX 512

enum subscription_kind { SUBSCRIBED_DEVICE, SUBSCRIBED_PATTERN };

struct subscription; // in one block with its text

// Zeroed: wants nothing.
struct subscriptions {
    struct subscription **entries; // owned, as is each of them
    size_t count;
};

void subscriptions_fini(struct subscriptions *subscriptions);
// text: a device's id or "*"; a pattern that ask_split_pattern takes. One that is there already is
// fine. WEIR_FULL, WEIR_TOO_LONG, WEIR_MEMORY.
enum weir_result subscriptions_add(struct subscriptions *subscriptions, enum subscription_kind kind,
    struct slice text) WEIR_MUST_CHECK;
// One that is not there is fine.
void subscriptions_remove(
    struct subscriptions *subscriptions, enum subscription_kind kind, struct slice text);

struct slice subscriptions_text(const struct subscriptions *subscriptions, size_t index);

// By its id, or all devices.
bool subscriptions_want_device(const struct subscriptions *subscriptions, struct slice device);
// By its id, or by "*@machine" and "*@*".
bool subscriptions_want_machine(const struct subscriptions *subscriptions, struct slice machine);

#endif
