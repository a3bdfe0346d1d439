// SPDX-License-Identifier: Apache-2.0
// A crew of one worker for the length of one round. SIGINT and SIGTERM end it early, so that the
// programs it has started are killed and not left alone.
#include "app/health/health_direct.h"

#include <signal.h>
#include <stdio.h>

#include "app/command.h"
#include "health/actions/diagnoses.h"
#include "http/client.h"
#include "loop/resolver.h"
#include "loop/signal_watch.h"

static const int signal_numbers[] = {SIGINT, SIGTERM};
#define SIGNAL_COUNT (sizeof signal_numbers / sizeof signal_numbers[0])

struct direct {
    struct crew crew;
    struct monitor monitor;
    struct registry *registry; // owned until the monitor has it
    const char *ssh_dir;
    const struct health_ask *ask;
    const struct view_filter *filter;
    void (*present)(void *arg, struct monitor *monitor);
    void *arg;
    struct signal_watch signals;
    int signal; // the one that came; 0: none
    bool done;
};

static void on_signal(struct signal_watch *signals, int number)
{
    struct direct *direct = container_of(signals, struct direct, signals);
    direct->signal = number;
    crew_stop(&direct->crew);
}

static void on_round_done(void *arg)
{
    struct direct *direct = arg;
    direct->done = true;
    crew_stop(&direct->crew);
}

// What a diagnosis is about is checked with all that it depends on.
static void select_needs(struct monitor *monitor, const struct health_ask *ask)
{
    struct target *targets[DIAGNOSIS_TARGETS_MAX];
    struct target *service =
        ask->form != FORM_DIAGNOSE
            ? NULL
            : monitor_find(monitor, slice_str(ask->service), ask->filter.machine);
    size_t count = service == NULL ? 0 : diagnosis_closure(monitor, service, targets);
    for (size_t i = 0; i < count; i++) {
        targets[i]->selected = true;
    }
}

static enum weir_result start(struct worker *worker, void *arg)
{
    struct direct *direct = arg;
    struct monitor *monitor = &direct->monitor;
    enum weir_result result =
        signal_watch_open(&direct->signals, worker, signal_numbers, SIGNAL_COUNT, on_signal);
    if (result != WEIR_OK) {
        return result;
    }
    struct registry *registry = direct->registry;
    direct->registry = NULL;
    result = monitor_open(monitor, worker,
        &(struct monitor_options){
            .ssh_dir = direct->ssh_dir,
            .single = true,
            .hooks = {.round_done = on_round_done, .arg = direct},
        },
        registry);
    if (result != WEIR_OK) {
        return result;
    }
    for (size_t i = 0; i < monitor->target_count; i++) {
        struct target *target = monitor->targets[i];
        target->selected = view_wants(direct->filter, slice_str(target->service->name),
            slice_str(target->service->machine->name), state_status(&target->state));
    }
    select_needs(monitor, direct->ask);
    monitor_check_round(monitor);
    return WEIR_OK;
}

static void stop(struct worker *worker, void *arg)
{
    struct direct *direct = arg;
    if (direct->done && direct->signal == 0) {
        direct->present(direct->arg, &direct->monitor);
    }
    signal_watch_close(&direct->signals);
    monitor_close(&direct->monitor);
    resolver_fini(worker);
    http_client_fini(worker);
    worker_settle(worker);
}

int health_direct(const struct health_ask *ask, struct registry *registry, const char *ssh_dir,
    const struct view_filter *filter, void (*present)(void *arg, struct monitor *monitor),
    void *arg)
{
    struct direct direct = {.registry = registry,
        .ssh_dir = ssh_dir,
        .ask = ask,
        .filter = filter,
        .present = present,
        .arg = arg};
    struct crew_hooks hooks = {start, stop, &direct};
    signal(SIGPIPE, SIG_IGN);
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&direct.crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&direct.crew, &hooks);
        }
        crew_fini(&direct.crew);
        http_client_global_fini();
    }
    registry_unref(direct.registry);
    if (result != WEIR_OK) {
        return health_complain(ask, EXIT_FAILED, weir_result_text(result));
    }
    return direct.signal == 0 ? EXIT_FINE : 128 + direct.signal;
}
