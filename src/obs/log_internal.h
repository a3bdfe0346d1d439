// SPDX-License-Identifier: Apache-2.0
// Shared by log_line.c (how a line is built), log.c (where it goes) and crash.c. Nobody else
// includes this.
#ifndef WEIR_OBS_LOG_INTERNAL_H
#define WEIR_OBS_LOG_INTERNAL_H

#include "obs/log.h"

struct log_event_row {
    const char *name;
    enum log_level level;
    unsigned lines_per_second;
};
extern const struct log_event_row log_event_rows[LOG_EVENT_COUNT];

// ---- log_line.c

// log_begin without the question whether the event's rate allows the line.
void log_open(struct log_line *line, enum log_event event);

#define LOG_TRAIL_LEN 8

// The newest events of a thread, for its crash report.
struct log_trail {
    enum log_event events[LOG_TRAIL_LEN];
    size_t count; // ever recorded; the newest is at (count - 1) % LOG_TRAIL_LEN
};
// The calling thread's. Async-signal-safe.
const struct log_trail *log_trail(void);

// ---- log.c

// Counts the event. True when its line may be written; *ret_suppressed are the lines of the event
// that were not since the last one.
bool log_take_turn(enum log_event event, uint64_t *ret_suppressed);
// Puts a finished line, newline included, into ring and queue.
void log_hand_over(const struct log_line *line);

#endif
