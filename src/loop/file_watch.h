// SPDX-License-Identifier: Apache-2.0
// Tells when a file has changed: written, or replaced by a rename. The directory is watched, so
// that the watch survives the file; its stamp is looked at now and then as well, for file systems
// that tell nothing.
#ifndef WEIR_LOOP_FILE_WATCH_H
#define WEIR_LOOP_FILE_WATCH_H

#include "loop/watch.h"

struct file_watch;
// The file is another one than at the last call, or at the start.
typedef void file_watch_fn(struct file_watch *watch);

struct file_watch {
    struct watch events; // of the directory
    struct worker *worker;
    const char *path;
    const char *name; // its last part
    file_watch_fn *changed;
    struct timer settle; // after an event: until writing has paused
    struct timer look;   // now and then
    struct timer rest;   // after events of the directory: until more are taken
    uint64_t stamp;
    int fd; // owned while events_open
    bool events_open;
};

// path outlives the watch. Without inotify only the looks remain.
void file_watch_open(
    struct file_watch *watch, struct worker *worker, const char *path, file_watch_fn *changed);
// Has the file counted as changed again a moment later: it could not be read now.
void file_watch_again(struct file_watch *watch);
// Stops at once; the memory may be freed at the end of the turn. Fine for a zeroed watch.
void file_watch_close(struct file_watch *watch);

#endif
