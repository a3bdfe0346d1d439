// SPDX-License-Identifier: Apache-2.0
#include "loop/signal_watch.h"

#include "sys/notices.h"

static void on_ready(struct watch *watch, unsigned events)
{
    struct signal_watch *signals = container_of(watch, struct signal_watch, watch);
    (void)events;
    int number = sys_signals_take(signals->fd);
    if (number != 0) {
        signals->came(signals, number);
    }
}

enum weir_result signal_watch_open(struct signal_watch *watch, struct worker *worker,
    const int *numbers, size_t count, signal_watch_fn *came)
{
    *watch = (struct signal_watch){.came = came};
    enum weir_result result = sys_signals_open(numbers, count, &watch->fd);
    if (result != WEIR_OK) {
        return result;
    }
    result = watch_open(worker, &watch->watch, watch->fd, on_ready);
    if (result != WEIR_OK) {
        sys_signals_close(watch->fd);
        return result;
    }
    watch->open = true;
    watch_want(&watch->watch, WATCH_READ);
    return WEIR_OK;
}

static void on_closed(struct watch *watch)
{
    (void)watch; // the memory is the owner's
}

void signal_watch_close(struct signal_watch *watch)
{
    if (watch->open) {
        watch->open = false;
        watch_close(&watch->watch, on_closed);
        sys_signals_close(watch->fd);
    }
}
