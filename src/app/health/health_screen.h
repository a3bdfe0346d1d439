// SPDX-License-Identifier: Apache-2.0
// What a person sees of --watch on a terminal, and what the keys do. No I/O: keys and views go in,
// bytes for the terminal come out.
#ifndef WEIR_APP_HEALTH_SCREEN_H
#define WEIR_APP_HEALTH_SCREEN_H

#include "app/health/health_answer.h"

#define SCREEN_FILTER_SIZE 64
#define SCREEN_NAME_SIZE 256

enum screen_act { SCREEN_NOTHING, SCREEN_PAINT, SCREEN_CHECK, SCREEN_QUIT };

struct screen {
    unsigned rows;
    unsigned columns;
    size_t selected; // row of the table
    char selected_service[SCREEN_NAME_SIZE]; // its name; "": there is none
    size_t top;      // first row of the table that is shown
    char filter[SCREEN_FILTER_SIZE];
    size_t filter_len;
    unsigned escape; // bytes of an escape sequence taken
    bool typing;     // the filter
    bool by_status;  // sorted: the worst first
    bool only_bad;
    bool paused;
    bool detail; // of the selected service
};

enum screen_act screen_key(struct screen *screen, unsigned char key);
// The whole screen, from the upper left corner; nothing blinks. Reorders the rows of the view and
// takes away those the keys hide. problem: NULL, or why the view is old.
void screen_paint(struct screen *screen, struct view *view, const struct health_ask *ask,
    const char *problem, struct buf *out);


#endif
