// SPDX-License-Identifier: Apache-2.0
// Log lines: one JSON object each on standard output, and the newest of them in a ring for /logs
// (spec sections 3.3 and 11). Any worker may log; nothing here waits for the outside: a line goes
// into a bounded queue that a writer thread empties, and when the queue is full the line is counted
// as lost (relay_log_lines_lost_total) instead of blocking.
//
// Events are rows of events.def: name, level and how many lines a second may be written. What comes
// above that rate is counted, and the next line of the event that passes carries "suppressed": n;
// when none comes within two seconds, a line log_lines_suppressed says so instead. Every event is
// counted by level whether written or not.
//
// Before log_start or log_hold and after log_stop events are counted, and nothing is written.
#ifndef WEIR_OBS_LOG_H
#define WEIR_OBS_LOG_H

#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };

enum log_event {
#define LOG_EVENT(symbol, name, level, lines_per_second) LOG_##symbol,
#include "obs/events.def"
#undef LOG_EVENT
    LOG_EVENT_COUNT,
};

// Starts the writer thread. ring_size: lines kept for /logs, at least 1. fd: where lines go (1);
// SIGPIPE must be ignored. WEIR_IN_USE when it runs already, or still hangs in a write that the
// last log_stop gave up on.
enum weir_result log_start(size_t ring_size, int fd) WEIR_MUST_CHECK;
// The same in two steps: lines are kept, and written from log_begin_writing on. Without it log_stop writes
// them. WEIR_MEMORY of the second: no thread can be had.
enum weir_result log_hold(size_t ring_size, int fd) WEIR_MUST_CHECK;
enum weir_result log_begin_writing(void) WEIR_MUST_CHECK;
// Writes what is queued, ends the thread, frees the ring. Waits a little over 2 s at most, even
// when nobody reads; what is not written then counts as lost.
void log_stop(void);

// From now on lines below the level are counted and not written; at first all are written. Any
// thread.
void log_set_level(enum log_level least);
// From now on lines below the level are kept for /logs and not written, for somebody at a terminal
// who has other things to read; at first all are written. Any thread.
void log_write_from(enum log_level least);

// A line under construction, on the caller's stack. Details are added in order; log_end hands the
// line over. A key whose name contains one of the words of spec section 11 gets "[redacted]". Keys
// are literals of plain characters; values may be any bytes (invalid UTF-8 becomes U+FFFD).
struct log_line {
    char text[2048]; // a detail that does not fit is left out, and the line says "truncated": true
    size_t len;
    size_t brief_len; // up to the details
    uint64_t wall_ms;
    enum log_event event;
    bool wanted; // false: over the rate; details cost nothing
    bool truncated;
};
void log_begin(struct log_line *line, enum log_event event);
void log_str(struct log_line *line, const char *key, struct slice value);
void log_text(struct log_line *line, const char *key, const char *value);
void log_u64(struct log_line *line, const char *key, uint64_t value);
void log_bool(struct log_line *line, const char *key, bool value);
void log_end(struct log_line *line);

// ---- For the routes.

struct log_summary {
    uint64_t counts[LOG_LEVEL_COUNT]; // of the lines in the ring
    uint64_t total;
    uint64_t capacity;
    uint64_t oldest_wall_ms; // 0: the ring is empty
    uint64_t newest_wall_ms;
};
void log_summarise(struct log_summary *ret_summary);
// Appends the ring's entries, oldest first, comma-separated, without brackets. brief: only
// {ts,level,event}. The result is the buffer's. Lines logged meanwhile are not among them.
enum weir_result log_dump(struct buf *out, bool brief) WEIR_MUST_CHECK;
// Since the start: events by level, whether their lines were written or not; lines not written
// because of their event's rate; lines lost because the queue was full
// or there was no memory for them.
uint64_t log_counted(enum log_level level);
uint64_t log_suppressed(void);
uint64_t log_lost(void);

const char *log_level_name(enum log_level level);

#endif
