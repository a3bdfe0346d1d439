// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <stdio.h>
#include <time.h>

void time_to_iso(uint64_t wall_ms, char text[TIME_ISO_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL) {
        text[0] = '\0';
        return;
    }
    size_t len = strftime(text, TIME_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, TIME_ISO_SIZE - len, ".%03uZ", (unsigned)(wall_ms % 1000));
}

// Takes exactly count digits off the front.
static bool take_digits(struct slice *text, size_t count, int *ret_number)
{
    int number = 0;
    if (text->len < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (text->at[i] < '0' || text->at[i] > '9') {
            return false;
        }
        number = number * 10 + (text->at[i] - '0');
    }
    *text = slice_skip(*text, count);
    *ret_number = number;
    return true;
}

static bool take_byte(struct slice *text, char byte)
{
    if (text->len == 0 || text->at[0] != byte) {
        return false;
    }
    *text = slice_skip(*text, 1);
    return true;
}

static bool take_clock(struct slice *text, struct tm *tm, unsigned *ret_ms)
{
    if (!take_digits(text, 2, &tm->tm_hour) || !take_byte(text, ':') ||
        !take_digits(text, 2, &tm->tm_min)) {
        return false;
    }
    if (take_byte(text, ':') && !take_digits(text, 2, &tm->tm_sec)) {
        return false;
    }
    if (take_byte(text, '.')) {
        unsigned scale = 100;
        size_t start = text->len;
        for (int digit; take_digits(text, 1, &digit); scale /= 10) {
            *ret_ms += (unsigned)digit * scale;
        }
        if (text->len == start) {
            return false;
        }
    }
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

static bool take_zone(struct slice *text, int *ret_minutes)
{
    int hours;
    int minutes = 0;
    int sign = take_byte(text, '+') ? 1 : take_byte(text, '-') ? -1 : 0;
    *ret_minutes = 0;
    if (sign == 0) {
        return text->len == 0 || take_byte(text, 'Z') || take_byte(text, 'z');
    }
    if (!take_digits(text, 2, &hours)) {
        return false;
    }
    (void)take_byte(text, ':');
    if (text->len > 0 && !take_digits(text, 2, &minutes)) {
        return false;
    }
    *ret_minutes = sign * (hours * 60 + minutes);
    return hours < 24 && minutes < 60;
}

enum weir_result time_from_iso(struct slice text, uint64_t *ret_wall_ms)
{
    struct tm tm = {0};
    unsigned ms = 0;
    int offset_minutes = 0;
    if (!take_digits(&text, 4, &tm.tm_year) || !take_byte(&text, '-') ||
        !take_digits(&text, 2, &tm.tm_mon) || !take_byte(&text, '-') ||
        !take_digits(&text, 2, &tm.tm_mday)) {
        return WEIR_MALFORMED;
    }
    bool clock = take_byte(&text, 'T') || take_byte(&text, 't') || take_byte(&text, ' ');
    if ((clock && !take_clock(&text, &tm, &ms)) ||
        (clock && !take_zone(&text, &offset_minutes)) || text.len > 0) {
        return WEIR_MALFORMED;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm normal = tm;
    time_t seconds = timegm(&normal);
    // timegm turns February 30 into March: what it changed was no date.
    if (normal.tm_mon != tm.tm_mon || normal.tm_mday != tm.tm_mday) {
        return WEIR_MALFORMED;
    }
    seconds -= (time_t)offset_minutes * 60;
    if (seconds < 0) {
        return WEIR_MALFORMED;
    }
    *ret_wall_ms = (uint64_t)seconds * 1000 + ms;
    return WEIR_OK;
}
