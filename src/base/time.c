// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <time.h>

#define DAY_S 86400

struct date {
    unsigned year;
    unsigned month; // 1-12
    unsigned day;   // 1-31
};

// Days since 1970 in the Gregorian calendar. Years are counted from March, so that the odd day of a
// leap year is the last of its year; 400 of them have 146,097 days.
static struct date date_of(uint64_t days)
{
    uint64_t shifted = days + 719468; // since 0000-03-01
    uint64_t era = shifted / 146097;
    unsigned day_of_era = (unsigned)(shifted % 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153; // 0 is March
    uint64_t year = era * 400 + year_of_era + (month >= 10);
    return (struct date){
        .year = year > 10000 ? 10000 : (unsigned)year,
        .month = month < 10 ? month + 3 : month - 9,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
    };
}

// The last digits of number, and what stands behind them.
static char *put(char *at, unsigned number, unsigned digits, char behind)
{
    for (unsigned i = digits; i > 0; i--) {
        at[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    at[digits] = behind;
    return at + digits + 1;
}

void time_to_iso(uint64_t wall_ms, char text[TIME_ISO_SIZE])
{
    uint64_t seconds = wall_ms / 1000;
    struct date date = date_of(seconds / DAY_S);
    if (date.year > 9999) {
        text[0] = '\0';
        return;
    }
    unsigned second = (unsigned)(seconds % DAY_S);
    char *at = text;
    at = put(at, date.year, 4, '-');
    at = put(at, date.month, 2, '-');
    at = put(at, date.day, 2, 'T');
    at = put(at, second / 3600, 2, ':');
    at = put(at, second / 60 % 60, 2, ':');
    at = put(at, second % 60, 2, '.');
    at = put(at, (unsigned)(wall_ms % 1000), 3, 'Z');
    *at = '\0';
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
    if ((clock && !take_clock(&text, &tm, &ms)) || (clock && !take_zone(&text, &offset_minutes)) ||
        text.len > 0) {
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
