// SPDX-License-Identifier: Apache-2.0
// Builds one line in its caller's memory: {"ts":…,"level":…,"event":…,"details":{…}}.
//
// 1. What is in the text is a valid prefix of a line at any time: a detail goes in as a whole or
//    not at all.
// 2. LOG_TAIL_SIZE bytes stay free, so that a line can always be ended.
// 3. No byte of a value can end the string it is in, or reach a terminal as a control character.
#include "obs/log_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"
#include "base/utf8.h"
#include "sys/clock.h"

#define TRUNCATED "\"truncated\":true"
#define LOG_TAIL_SIZE sizeof("," TRUNCATED "}}\n")

const struct log_event_row log_event_rows[LOG_EVENT_COUNT] = {
#define LOG_EVENT(symbol, name, level, lines_per_second)                                           \
    [LOG_##symbol] = {name, LOG_##level, lines_per_second},
#include "obs/events.def"
#undef LOG_EVENT
};

static _Thread_local struct log_trail trail;

const struct log_trail *log_trail(void)
{
    return &trail;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[LOG_LEVEL_COUNT] = {"info", "warn", "error"};
    return names[level];
}

static bool add(struct log_line *line, struct slice text)
{
    if (line->len + text.len + LOG_TAIL_SIZE > sizeof line->text) {
        return false;
    }
    memcpy(line->text + line->len, text.at, text.len);
    line->len += text.len;
    return true;
}

// U+0080-U+009F, the C1 controls, which some terminals obey.
static bool is_c1(struct slice sequence)
{
    return sequence.len == 2 && (unsigned char)sequence.at[0] == 0xc2 &&
           (unsigned char)sequence.at[1] < 0xa0;
}

static bool add_character(struct log_line *line, struct slice sequence)
{
    unsigned char first = (unsigned char)sequence.at[0];
    char escape[8];
    if (first == '"' || first == '\\') {
        escape[0] = '\\';
        escape[1] = (char)first;
        return add(line, slice_of(escape, 2));
    }
    if (first < 0x20 || first == 0x7f || is_c1(sequence)) {
        unsigned char code = (unsigned char)sequence.at[sequence.len - 1];
        snprintf(escape, sizeof escape, "\\u%04x", code);
        return add(line, slice_of(escape, 6));
    }
    return add(line, sequence);
}

static bool add_escaped(struct log_line *line, struct slice text)
{
    bool ok = true;
    while (text.len > 0 && ok) {
        size_t len = utf8_sequence_len(text);
        if (len == 0) {
            ok = add(line, SLICE("\xef\xbf\xbd"));
            len = utf8_broken_len(text);
        } else {
            ok = add_character(line, slice_of(text.at, len));
        }
        text = slice_skip(text, len);
    }
    return ok;
}

void log_open(struct log_line *line, enum log_event event)
{
    const struct log_event_row *row = &log_event_rows[event];
    char ts[TIME_ISO_SIZE];
    line->event = event;
    line->wanted = true;
    line->truncated = false;
    line->wall_ms = sys_wall_ms();
    time_to_iso(line->wall_ms, ts);
    int len =
        snprintf(line->text, sizeof line->text, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"",
            ts, log_level_name(row->level), row->name);
    line->len = line->brief_len = (size_t)len;
    add(line, SLICE(",\"details\":{"));
}

void log_begin(struct log_line *line, enum log_event event)
{
    uint64_t suppressed;
    trail.events[trail.count++ % LOG_TRAIL_LEN] = event;
    if (!log_take_turn(event, &suppressed)) {
        line->wanted = false;
        return;
    }
    log_open(line, event);
    if (suppressed > 0) {
        log_u64(line, "suppressed", suppressed);
    }
}

// Spec section 11: what a name like these holds is nobody's business.
static bool is_secret_name(struct slice key)
{
    static const char *const words[] = {"authorization", "credential", "token", "secret",
        "password", "api-key", "api_key", "apikey", "private-key", "private_key", "privatekey",
        "signature", "payload", "body", "content", "frame", "message"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_contains_nocase(key, slice_str(words[i]))) {
            return true;
        }
    }
    return false;
}

// A detail that does not fit is taken back as a whole.
static void add_detail(struct log_line *line, const char *key, struct slice value, bool quoted)
{
    if (!line->wanted) {
        return;
    }
    size_t before = line->len;
    struct slice name = slice_str(key);
    if (is_secret_name(name)) {
        value = SLICE("[redacted]");
        quoted = true;
    }
    bool ok = line->text[line->len - 1] == '{' || add(line, SLICE(","));
    ok = ok && add(line, SLICE("\"")) && add(line, name) && add(line, SLICE("\":"));
    if (quoted) {
        ok = ok && add(line, SLICE("\"")) && add_escaped(line, value) && add(line, SLICE("\""));
    } else {
        ok = ok && add(line, value);
    }
    if (!ok) {
        line->len = before;
        line->truncated = true;
    }
}

void log_str(struct log_line *line, const char *key, struct slice value)
{
    add_detail(line, key, value, true);
}

void log_text(struct log_line *line, const char *key, const char *value)
{
    add_detail(line, key, slice_str(value), true);
}

void log_u64(struct log_line *line, const char *key, uint64_t value)
{
    char text[24];
    if (!line->wanted) {
        return; // most lines of a busy process are not
    }
    int len = snprintf(text, sizeof text, "%" PRIu64, value);
    add_detail(line, key, slice_of(text, (size_t)len), false);
}

void log_bool(struct log_line *line, const char *key, bool value)
{
    add_detail(line, key, value ? SLICE("true") : SLICE("false"), false);
}

void log_end(struct log_line *line)
{
    if (!line->wanted) {
        return;
    }
    const char *tail = "}}\n";
    if (line->truncated) {
        bool first = line->text[line->len - 1] == '{';
        tail = first ? TRUNCATED "}}\n" : "," TRUNCATED "}}\n";
    }
    memcpy(line->text + line->len, tail, strlen(tail));
    line->len += strlen(tail);
    log_hand_over(line);
}
