// SPDX-License-Identifier: Apache-2.0
// Input: a registry.yml. What must hold: a service is checked or has a reason why not; what is
// checked can be checked; and the canonical form of a registry without mistakes reads back as the
// same registry.
#include <stdint.h>

#include "base/mem.h"
#include "health/registry/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (8 * 1024 * 1024)

static const char *get(void *arg, const char *name)
{
    (void)arg;
    return slice_eq(slice_str(name), SLICE("HOME")) ? "/home/me" : NULL;
}

static const struct conf_source environment = {.get = get};
static const struct registry_options options = {.environment = &environment};

static void check_service(const struct service *service)
{
    const struct check_spec *spec = &service->check;
    weir_assert(service->name != NULL && service->machine != NULL && service->hostname != NULL);
    if (!service_monitored(service)) {
        return;
    }
    weir_assert(service->form != NULL && spec->interval_ns > 0 && spec->timeout_ns > 0);
    weir_assert(spec->timeout_ns <= spec->interval_ns);
    weir_assert(spec->failure_threshold > 0 && spec->success_threshold > 0);
    weir_assert(spec->type != CHECK_HTTP || (spec->url != NULL && spec->expected_status.count > 0));
    weir_assert(spec->type != CHECK_TCP || (spec->host != NULL && spec->port != 0));
    weir_assert(spec->type != CHECK_PROCESS || spec->pid_file != NULL);
    weir_assert(spec->type != CHECK_EXEC || spec->command[0] != NULL);
}

static char *show(const struct registry *registry)
{
    struct buf out = BUF_INIT(TEXT_MAX);
    registry_show(registry, &out);
    weir_assert(!out.failed);
    char *text = mem_copy(buf_slice(&out).at, out.len);
    weir_assert(text != NULL);
    buf_reset(&out);
    return text;
}

static void check_round(const struct registry *registry)
{
    struct registry *again;
    char *text = show(registry);
    weir_assert(registry_parse(slice_str(text), "/lab/registry.yml", &options, &again) == WEIR_OK);
    weir_assert(again->note_counts[NOTE_ERROR] == 0);
    weir_assert(again->service_count == registry->service_count);
    for (size_t i = 0; i < again->service_count; i++) {
        weir_assert(again->services[i].identity == registry->services[i].identity);
    }
    mem_free(text);
    registry_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct registry *registry;
    struct buf notes = BUF_INIT(TEXT_MAX);
    enum weir_result result = registry_parse(
        slice_of((const char *)data, size), "/lab/registry.yml", &options, &registry);
    weir_assert(result == WEIR_OK);
    for (size_t i = 0; i < registry->service_count; i++) {
        check_service(&registry->services[i]);
    }
    registry_print_notes(registry, NOTE_INFO, &notes);
    weir_assert(registry->note_count == 0 || notes.len > 0);
    if (registry->note_counts[NOTE_ERROR] == 0) {
        check_round(registry);
    }
    buf_reset(&notes);
    registry_unref(registry);
    return 0;
}
