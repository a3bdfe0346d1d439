// SPDX-License-Identifier: Apache-2.0
// A service's state, or its availability, as a small picture for a README (spec section 4.3).
#include <stdio.h>

#include "health/api/api_internal.h"
#include "health/view/markup.h"

#define BADGE_MAX 16384
#define NAME_SHOWN 200 // bytes; a longer name is cut
#define CHARACTER_PX 7 // Verdana at 11 px, about
#define PADDING_PX 10

static const char *color_of(const char *color)
{
    static const struct {
        const char *name;
        const char *code;
    } codes[] = {{"green", "#2e7d32"}, {"yellow", "#b26a00"}, {"red", "#c62828"}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(color, codes[i].name) == 0) {
            return codes[i].code;
        }
    }
    return "#616161";
}

static const char *color_of_percent(double percent)
{
    return percent < 0       ? color_of("grey")
           : percent >= 99   ? color_of("green")
           : percent >= 95.0 ? color_of("yellow")
                             : color_of("red");
}

static void draw(struct buf *out, const char *name, const char *word, const char *color)
{
    size_t left = markup_width(name) * CHARACTER_PX + PADDING_PX;
    size_t right = markup_width(word) * CHARACTER_PX + PADDING_PX;
    buf_printf(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"20\" role=\"img\">"
        "<title>",
        left + right);
    markup_put(out, name);
    buf_printf(out,
        ": %s</title><rect width=\"%zu\" height=\"20\" fill=\"#424242\"/>"
        "<rect x=\"%zu\" width=\"%zu\" height=\"20\" fill=\"%s\"/>"
        "<g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" "
        "text-anchor=\"middle\"><text x=\"%zu\" y=\"14\">",
        word, left, left, right, color, left / 2);
    markup_put(out, name);
    buf_printf(
        out, "</text><text x=\"%zu\" y=\"14\">%s</text></g></svg>\n", left + right / 2, word);
}

void api_badge(struct api_request *request)
{
    struct view_filter filter = {.service = slice_str(request->path.text[0])};
    struct buf out = BUF_INIT(BADGE_MAX);
    struct view view;
    char uptime[16];
    char name[NAME_SHOWN];
    char word[32];
    api_text(request, "uptime", uptime, sizeof uptime);
    if (uptime[0] != '\0' && strcmp(uptime, "24h") != 0) {
        api_answer_parameter(request, "uptime", "Input should be 24h");
        return;
    }
    if (!api_open_view(request, &filter, &view)) {
        return;
    }
    if (view.service_count == 0) {
        view_fini(&view);
        api_answer_error(request, 404, "Service not found");
        return;
    }
    const struct view_service *row = &view.services[0];
    bool known = uptime[0] != '\0' && row->uptime_24h >= 0;
    snprintf(name, sizeof name, "%s", row->service);
    if (known) {
        snprintf(word, sizeof word, "%.2f %%", (double)(int)(row->uptime_24h * 100) / 100);
    } else {
        snprintf(word, sizeof word, "%s",
            uptime[0] != '\0'  ? "no data"
            : row->maintenance ? "maintenance"
                               : health_status_name(row->status));
    }
    draw(&out, name, word,
        uptime[0] != '\0'  ? color_of_percent(row->uptime_24h)
        : row->maintenance ? "#1565c0"
                           : color_of(row->color));
    view_fini(&view);
    api_answer_text(
        request, "image/svg+xml; charset=utf-8", "Cache-Control: no-cache\r\n", buf_slice(&out));
    buf_reset(&out);
}
