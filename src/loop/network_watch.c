// SPDX-License-Identifier: Apache-2.0
#include "loop/network_watch.h"

#include "base/time.h"
#include "sys/netlink.h"
#include "sys/socket.h"

#define SETTLE_NS (500 * NS_PER_MS)

static void on_settled(struct timer *timer)
{
    struct network_watch *watch = container_of(timer, struct network_watch, settle);
    watch->changed(watch);
}

static void on_ready(struct watch *ready, unsigned events)
{
    struct network_watch *watch = container_of(ready, struct network_watch, watch);
    (void)events;
    if (sys_netlink_take(watch->fd) && !timer_armed(&watch->settle)) {
        worker_arm_in(watch->worker, &watch->settle, SETTLE_NS);
    }
}

void network_watch_open(
    struct network_watch *watch, struct worker *worker, network_watch_fn *changed)
{
    timer_init(&watch->settle, on_settled);
    watch->changed = changed;
    if (sys_netlink_open(&watch->fd) != WEIR_OK) {
        return;
    }
    if (watch_open(worker, &watch->watch, watch->fd, on_ready) != WEIR_OK) {
        sys_close(watch->fd);
        return;
    }
    watch->worker = worker;
    watch_want(&watch->watch, WATCH_READ);
}

static void on_closed(struct watch *watch)
{
    (void)watch;
}

void network_watch_close(struct network_watch *watch)
{
    if (watch->worker == NULL) {
        return;
    }
    timer_cancel(&watch->settle);
    watch_close(&watch->watch, on_closed);
    sys_close(watch->fd);
    watch->worker = NULL;
}
