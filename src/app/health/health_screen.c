// SPDX-License-Identifier: Apache-2.0
// The screen is printed as plain lines first and then cut to the window: every line ends by erasing
// what was behind it, and the rest below is erased, so that nothing has to be cleared beforehand.
#include "app/health/health_screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "cli/paint.h"

#define TEXT_MAX (64 * 1024 * 1024)
#define HEAD_LINES 3 // cluster, blank, names of the columns
#define FOOT_LINES 1

// ---- Keys

static enum screen_act type_filter(struct screen *screen, unsigned char key)
{
    if (key == '\r' || key == '\n') {
        screen->typing = false;
    } else if (key == 27) {
        screen->typing = false;
        screen->filter_len = 0;
    } else if (key == 127 || key == 8) {
        screen->filter_len -= screen->filter_len > 0;
    } else if (key >= ' ' && screen->filter_len < SCREEN_FILTER_SIZE - 1) {
        screen->filter[screen->filter_len++] = (char)key;
    }
    screen->filter[screen->filter_len] = '\0';
    screen->selected = 0;
    return SCREEN_PAINT;
}

static void move(struct screen *screen, int by)
{
    if (by > 0) {
        screen->selected++; // painting brings it back to the last row
    } else {
        screen->selected -= screen->selected > 0;
    }
}

// An arrow is ESC [ A or B.
static enum screen_act take_escape(struct screen *screen, unsigned char key)
{
    if (screen->escape == 1 && key == '[') {
        screen->escape = 2;
        return SCREEN_NOTHING;
    }
    screen->escape = 0;
    if (key == 'A' || key == 'B') {
        move(screen, key == 'B' ? 1 : -1);
        return SCREEN_PAINT;
    }
    return SCREEN_NOTHING;
}

enum screen_act screen_key(struct screen *screen, unsigned char key)
{
    if (screen->typing) {
        return type_filter(screen, key);
    }
    if (screen->escape > 0) {
        return take_escape(screen, key);
    }
    switch (key) {
    case 'q':
        return SCREEN_QUIT;
    case 'r':
        return SCREEN_CHECK;
    case 27:
        screen->detail = false;
        screen->escape = 1;
        return SCREEN_PAINT;
    case '\r':
    case '\n':
        screen->detail = !screen->detail;
        return SCREEN_PAINT;
    case 'j':
        move(screen, 1);
        return SCREEN_PAINT;
    case 'k':
        move(screen, -1);
        return SCREEN_PAINT;
    case '/':
        screen->typing = true;
        return SCREEN_PAINT;
    case 's':
        screen->by_status = !screen->by_status;
        return SCREEN_PAINT;
    case 'u':
        screen->only_bad = !screen->only_bad;
        return SCREEN_PAINT;
    case 'p':
        screen->paused = !screen->paused;
        return SCREEN_PAINT;
    default:
        return SCREEN_NOTHING;
    }
}

// ---- Rows

static bool is_shown(const struct screen *screen, const struct view_service *row)
{
    return (!screen->only_bad || row->status != HEALTH_HEALTHY) &&
           (screen->filter_len == 0 || strcasestr(row->service, screen->filter) != NULL);
}

static int by_badness(const void *left, const void *right)
{
    static const int badness[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNHEALTHY] = 0, [HEALTH_DEGRADED] = 1, [HEALTH_UNKNOWN] = 2, [HEALTH_HEALTHY] = 3};
    const struct view_service *a = left;
    const struct view_service *b = right;
    int order = badness[a->status] - badness[b->status];
    return order != 0 ? order : strcmp(a->service, b->service);
}

static void arrange(struct screen *screen, struct view *view)
{
    size_t kept = 0;
    for (size_t i = 0; i < view->service_count; i++) {
        if (is_shown(screen, &view->services[i])) {
            view->services[kept++] = view->services[i];
        }
    }
    view->service_count = kept;
    if (screen->by_status) {
        qsort(view->services, kept, sizeof *view->services, by_badness);
    }
    if (screen->selected >= kept) {
        screen->selected = kept == 0 ? 0 : kept - 1;
    }
    snprintf(screen->selected_service, sizeof screen->selected_service, "%s",
        kept == 0 ? "" : view->services[screen->selected].service);
    size_t room =
        screen->rows > HEAD_LINES + FOOT_LINES ? screen->rows - HEAD_LINES - FOOT_LINES : 1;
    if (screen->selected < screen->top) {
        screen->top = screen->selected;
    }
    if (screen->selected >= screen->top + room) {
        screen->top = screen->selected - room + 1;
    }
}

// ---- Painting

static void put_foot(const struct screen *screen, const char *problem, struct buf *out)
{
    char text[512];
    if (screen->typing) {
        snprintf(text, sizeof text, "/%s_", screen->filter);
    } else if (problem != NULL) {
        snprintf(text, sizeof text, "%s", problem);
    } else {
        snprintf(text, sizeof text,
            "q quit  j/k move  Enter detail  / filter%s%s  s %s  u %s  p %s  r check now",
            screen->filter_len > 0 ? " " : "", screen->filter,
            screen->by_status ? "registry order" : "worst first",
            screen->only_bad ? "all" : "only unhealthy", screen->paused ? "go on" : "pause");
    }
    paint_line(out, slice_str(text), screen->columns, false);
}

static void put_lines(const struct screen *screen, struct slice text, struct buf *out)
{
    size_t room = screen->rows > FOOT_LINES ? screen->rows - FOOT_LINES : 1;
    size_t number = 0;
    size_t shown = 0;
    struct slice line;
    while (shown < room && slice_split(&text, '\n', &line)) {
        bool head = screen->detail || number < HEAD_LINES;
        size_t row = number++ - HEAD_LINES;
        if (text.at == NULL && line.len == 0) {
            break; // behind the last line end
        }
        if (!head && row < screen->top) {
            continue;
        }
        paint_line(out, line, screen->columns, !head && row == screen->selected);
        buf_append_str(out, "\r\n");
        shown++;
    }
    buf_append_str(out, "\033[J");
}

void screen_paint(struct screen *screen, struct view *view, const struct health_ask *ask,
    const char *problem, struct buf *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    struct view_style style = {.color = ask->color};
    arrange(screen, view);
    if (screen->detail && view->service_count > 0) {
        view_write_service(&view->services[screen->selected], &style, &text);
    } else {
        screen->detail = false;
        view_write_table(view, &style, &text);
    }
    buf_append_str(out, "\033[H");
    put_lines(screen, buf_slice(&text), out);
    buf_printf(out, "\033[%u;1H", screen->rows);
    put_foot(screen, problem, out);
    out->failed |= text.failed;
    buf_reset(&text);
}
