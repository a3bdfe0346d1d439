// SPDX-License-Identifier: Apache-2.0
#include "loop/file_watch.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "sys/file.h"

#define SETTLE_NS (250 * NS_PER_MS)
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

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct file_watch *watch = handle->data;
    (void)events;
    if (status == 0 && name != NULL && strcmp(name, watch->name) == 0) {
        worker_arm_in(watch->worker, &watch->settle, SETTLE_NS);
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
    worker_arm_in(worker, &watch->look, LOOK_NS);
    int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(directory, sizeof directory, "%.*s", len, slash == NULL ? "." : path);
    watch->open = uv_fs_event_init(&worker->loop, &watch->events) == 0;
    watch->events.data = watch;
    if (watch->open) {
        // It fails without inotify, or past its limits: then the looks are all there is.
        (void)uv_fs_event_start(&watch->events, on_event, directory, 0);
    }
}

void file_watch_again(struct file_watch *watch)
{
    watch->stamp = ~watch->stamp;
    worker_arm_in(watch->worker, &watch->settle, SETTLE_NS);
}

void file_watch_close(struct file_watch *watch)
{
    if (watch->worker == NULL) {
        return;
    }
    timer_cancel(&watch->settle);
    timer_cancel(&watch->look);
    watch->worker = NULL;
    if (watch->open) {
        watch->open = false;
        uv_close((uv_handle_t *)&watch->events, NULL);
    }
}
