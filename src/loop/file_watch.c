// SPDX-License-Identifier: Apache-2.0
#include "loop/file_watch.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "sys/file.h"
#include "sys/notices.h"
#include "sys/socket.h"

#define SETTLE_NS (250 * NS_PER_MS)
#define REST_NS (100 * NS_PER_MS)
#define LOOK_NS (5 * NS_PER_S)
#define DIRECTORY_SIZE 4096

static void look(struct file_watch *watch)
{
    uint64_t stamp = sys_file_stamp(watch->path);
    if (stamp != watch->stamp) {
        watch->stamp = stamp;
        watch->changed(watch);
    }
}

static void on_settled(struct timer *timer)
{
    look(container_of(timer, struct file_watch, settle));
}

static void on_look(struct timer *timer)
{
    struct file_watch *watch = container_of(timer, struct file_watch, look);
    worker_arm_in(watch->worker, timer, LOOK_NS);
    look(watch);
}

static void on_rested(struct timer *timer)
{
    watch_want(&container_of(timer, struct file_watch, rest)->events, WATCH_READ);
}

// What happens in the directory meanwhile waits: a file beside ours may be written all the time.
static void on_event(struct watch *events, unsigned ready)
{
    struct file_watch *watch = container_of(events, struct file_watch, events);
    (void)ready;
    watch_want(events, WATCH_NONE);
    worker_arm_in(watch->worker, &watch->rest, REST_NS);
    if (sys_directory_take(watch->fd, watch->name)) {
        worker_arm_in(watch->worker, &watch->settle, SETTLE_NS);
    }
}

// It fails without inotify, or past its limits: then the looks are all there is.
static void open_events(struct file_watch *watch, const char *directory)
{
    if (sys_directory_open(directory, &watch->fd) != WEIR_OK) {
        return;
    }
    watch->events_open = watch_open(watch->worker, &watch->events, watch->fd, on_event) == WEIR_OK;
    if (watch->events_open) {
        watch_want(&watch->events, WATCH_READ);
    } else {
        sys_close(watch->fd);
    }
}

void file_watch_open(
    struct file_watch *watch, struct worker *worker, const char *path, file_watch_fn *changed)
{
    const char *slash = strrchr(path, '/');
    char directory[DIRECTORY_SIZE];
    *watch = (struct file_watch){
        .worker = worker,
        .path = path,
        .name = slash == NULL ? path : slash + 1,
        .changed = changed,
        .stamp = sys_file_stamp(path),
    };
    timer_init(&watch->settle, on_settled);
    timer_init(&watch->look, on_look);
    timer_init(&watch->rest, on_rested);
    worker_arm_in(worker, &watch->look, LOOK_NS);
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(directory, sizeof directory, "%.*s", len, slash == NULL ? "." : path);
    open_events(watch, directory);
}

void file_watch_again(struct file_watch *watch)
{
    watch->stamp = ~watch->stamp;
    worker_arm_in(watch->worker, &watch->settle, SETTLE_NS);
}

static void on_closed(struct watch *events)
{
    (void)events; // the memory is the owner's
}

void file_watch_close(struct file_watch *watch)
{
    if (watch->worker == NULL) {
        return;
    }
    timer_cancel(&watch->settle);
    timer_cancel(&watch->look);
    timer_cancel(&watch->rest);
    watch->worker = NULL;
    if (watch->events_open) {
        watch->events_open = false;
        watch_close(&watch->events, on_closed);
        sys_close(watch->fd);
    }
}
