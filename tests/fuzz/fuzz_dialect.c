// SPDX-License-Identifier: Apache-2.0
// What a client of the metric sockets sends, and what another machine prints of its resources.
#include <stdint.h>

#include "base/result.h"
#include "health/machines/device_counters.h"
#include "health/sockets/dialect.h"
#include "health/sockets/subscriptions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void subscribe(
    struct subscriptions *wanted, const json_t *names, enum subscription_kind kind)
{
    for (size_t i = 0; i < ask_name_count(names); i++) {
        struct slice name = ask_name(names, i);
        struct slice service;
        struct slice machine;
        if (kind == SUBSCRIBED_PATTERN && !ask_split_pattern(name, &service, &machine)) {
            continue;
        }
        size_t before = wanted->count;
        enum weir_result result = subscriptions_add(wanted, kind, name);
        weir_assert(wanted->count <= SUBSCRIPTIONS_MAX && wanted->count - before <= 1);
        if (kind == SUBSCRIBED_DEVICE && result == WEIR_OK) {
            weir_assert(subscriptions_want_device(wanted, name));
            weir_assert(subscriptions_want_machine(wanted, name));
        }
    }
}

static void ask(struct slice text)
{
    struct subscriptions wanted = {0};
    struct ask ask;
    ask_read(&ask, text);
    weir_assert(ask.document != NULL || ask.verb == ASK_NOT_JSON || ask.verb == ASK_PING);
    subscribe(&wanted, ask.devices, SUBSCRIBED_DEVICE);
    subscribe(&wanted, ask.patterns, SUBSCRIBED_PATTERN);
    for (size_t i = 0; i < ask_name_count(ask.devices); i++) {
        subscriptions_remove(&wanted, SUBSCRIBED_DEVICE, ask_name(ask.devices, i));
    }
    for (size_t i = 0; i < ask_name_count(ask.patterns); i++) {
        subscriptions_remove(&wanted, SUBSCRIBED_PATTERN, ask_name(ask.patterns, i));
    }
    weir_assert(wanted.count == 0);
    subscriptions_fini(&wanted);
    ask_fini(&ask);
}

static void read_machine(struct slice text)
{
    struct device_sample sample = device_sample_empty(0);
    if (counters_read_script(text, &sample)) {
        weir_assert(sample.cpu_percent <= 100);
        weir_assert(sample.memory_used_mb <= sample.memory_total_mb);
        weir_assert(sample.disk_used_gb <= sample.disk_total_gb);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of((const char *)data, size);
    ask(text);
    read_machine(text);
    return 0;
}
