// SPDX-License-Identifier: Apache-2.0
#include "health/history/uptime.h"

// What others tell: the word, the type it becomes, and what held before and after it.
static const struct report {
    const char *word;
    enum event_type type;
    enum presence before;
    enum presence after;
} reports[] = {
    {"failure", EVENT_PROBLEM_DETECTED, PRESENCE_UP, PRESENCE_DOWN},
    {"recovery", EVENT_PROBLEM_RESOLVED, PRESENCE_DOWN, PRESENCE_UP},
    {"start", EVENT_SERVICE_STARTED, PRESENCE_DOWN, PRESENCE_UP},
    {"stop", EVENT_SERVICE_STOPPED, PRESENCE_UP, PRESENCE_DOWN},
    {"restart", EVENT_SERVICE_RESTARTED, PRESENCE_UP, PRESENCE_UP},
    {"deployment", EVENT_SERVICE_DEPLOYED, PRESENCE_UNKNOWN, PRESENCE_UNKNOWN},
};
#define REPORT_COUNT (sizeof reports / sizeof reports[0])

const char *presence_name(enum presence presence)
{
    static const char *const names[PRESENCE_COUNT] = {"unknown", "down", "up"};
    return names[presence];
}

enum presence presence_of(unsigned status)
{
    return status == HEALTH_UNHEALTHY                              ? PRESENCE_DOWN
           : status == HEALTH_HEALTHY || status == HEALTH_DEGRADED ? PRESENCE_UP
                                                                   : PRESENCE_UNKNOWN;
}

static const struct report *report_of(const struct health_event *event)
{
    for (size_t i = 0; i < REPORT_COUNT; i++) {
        if (event->type == reports[i].type) {
            return &reports[i];
        }
    }
    return NULL;
}

const char *uptime_word(const struct health_event *event)
{
    const struct report *report = report_of(event);
    if (event->type != EVENT_STATUS_CHANGE) {
        return report == NULL ? NULL : report->word;
    }
    bool fails = event->status == HEALTH_UNHEALTHY;
    bool recovers = event->status == HEALTH_HEALTHY && event->previous == HEALTH_UNHEALTHY;
    return fails ? "failure" : recovers ? "recovery" : NULL;
}

bool uptime_type_of_word(const char *word, enum event_type *ret_type)
{
    for (size_t i = 0; i < REPORT_COUNT; i++) {
        if (slice_eq(slice_str(word), slice_str(reports[i].word))) {
            *ret_type = reports[i].type;
            return true;
        }
    }
    return false;
}

// ---- The walk

void uptime_begin(struct uptime *uptime, unsigned status_now, uint64_t since_ms, uint64_t now_ms)
{
    uptime->now = uptime->held = presence_of(status_now);
    uptime->since_ms = since_ms;
    uptime->at_ms = now_ms;
}

static void spend(struct uptime *uptime, uint64_t from_ms)
{
    if (from_ms < uptime->at_ms) {
        uptime->spent_ms[uptime->held] += uptime->at_ms - from_ms;
        if (uptime->stretch != NULL) {
            uptime->stretch(uptime->arg, uptime->held, from_ms, uptime->at_ms);
        }
    }
    uptime->at_ms = from_ms;
}

void uptime_take(struct uptime *uptime, const struct health_event *event)
{
    const struct report *report = report_of(event);
    bool own = event->type == EVENT_STATUS_CHANGE;
    bool unsure = uptime->reported || uptime->held == PRESENCE_UNKNOWN;
    // A deployment says nothing of whether the service is up.
    if (uptime->over ||
        (!own && (report == NULL || !unsure || report->after == PRESENCE_UNKNOWN))) {
        return;
    }
    uptime->held = own ? uptime->held : report->after;
    uint64_t at_ms = event->wall_ms > uptime->at_ms ? uptime->at_ms : event->wall_ms;
    if (at_ms < uptime->since_ms) { // what held from the start on
        spend(uptime, uptime->since_ms);
        uptime->over = true;
        return;
    }
    spend(uptime, at_ms);
    uptime->changed_ms = uptime->changed_ms == 0 ? at_ms : uptime->changed_ms;
    const char *word = uptime_word(event);
    uptime->failures += word != NULL && word[0] == 'f';
    uptime->recoveries += word != NULL && word[0] == 'r' && word[2] == 'c';
    uptime->reported = !own;
    uptime->held = !own                                 ? report->before
                   : event->previous == EVENT_NO_STATUS ? PRESENCE_UNKNOWN
                                                        : presence_of(event->previous);
}
