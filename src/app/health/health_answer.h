// SPDX-License-Identifier: Apache-2.0
// What `weir health` was asked, and how it says what it found.
#ifndef WEIR_APP_HEALTH_ANSWER_H
#define WEIR_APP_HEALTH_ANSWER_H

#include "health/view/view.h"

#define HEALTH_OUTPUT_MAX (256 * 1024 * 1024)

// The ways one result is shown.
enum form {
    FORM_TABLE,
    FORM_SERVICE,
    FORM_CHECK,
    FORM_CHECK_ALL,
    FORM_STATUS,
    FORM_STATUS_ALL,
    FORM_CLUSTER,
    FORM_VERIFY,
    FORM_DIAGNOSE, // written by health_diagnose.h
};

struct health_ask {
    enum form form;
    struct view_filter filter;
    const char *service; // the one that was named, NULL: all
    bool json;
    bool quiet;   // only the exit code
    bool verbose; // grouped by machine
    bool color;
    bool exit_zero;
};

// Says what is wrong, as JSON on standard output or as text on standard error. Returns exit_code.
int health_complain(const struct health_ask *ask, int exit_code, const char *problem);
// A form that shows one service wants a view that has it; those behind FORM_CHECK_ALL want a view
// of a monitor in this process.
void health_write_text(const struct health_ask *ask, const struct view *view, struct buf *out);
// As text or JSON, with a line end.
void health_write(const struct health_ask *ask, const struct view *view, struct buf *out);
// What the specification's section 6 says of this form.
int health_exit_code(const struct health_ask *ask, const struct view *view);
// Prints what was written, and frees it. Returns exit_code, or EXIT_OUTPUT when it could not be
// written.
int health_print(struct buf *out, int exit_code);
// Prints it; returns the exit code.
int health_answer(const struct health_ask *ask, const struct view *view);

#endif
