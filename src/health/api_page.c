// SPDX-License-Identifier: Apache-2.0
// The page of /health, for browsers (spec sections 4.2, 7.2), its style sheet, and where / leads.
#include "health/api_internal.h"

#define PAGE_MAX (32 * 1024 * 1024)
#define ERROR_SHOWN 1024

// A browser's navigation, as its Accept says; a program that takes anything gets JSON.
static bool is_navigation(const struct http1_head *head)
{
    const struct http1_header *accept = http1_find(head, SLICE("accept"));
    return accept != NULL && slice_contains_nocase(accept->value, SLICE("text/html"));
}

static void ask_for_token(struct api_request *request)
{
    api_reply(request->http->conn, &request->ticket,
        &(struct http_answer){
            .status = 401,
            .content_type = "text/html; charset=utf-8",
            .headers = "WWW-Authenticate: Bearer\r\nCache-Control: no-store\r\n",
            .body = SLICE("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                          "<title>weir health</title><link rel=\"stylesheet\" "
                          "href=\"/health/style.css\"></head><body><h1>A token is wanted</h1>"
                          "<form method=\"get\" action=\"/health\"><label>Token <input "
                          "type=\"password\" name=\"token\"></label><button>Show</button></form>"
                          "</body></html>\n"),
        });
}

static void answer_page(struct api_request *request)
{
    static const struct view_filter all = {0};
    const struct health *health = request->health;
    struct buf out = BUF_INIT(PAGE_MAX);
    struct view view;
    char status[16];
    char machine[API_PART_SIZE];
    char text[API_PART_SIZE];
    char error[ERROR_SHOWN] = "";
    api_text(request, "status", status, sizeof status);
    api_text(request, "machine", machine, sizeof machine);
    api_text(request, "text", text, sizeof text);
    if (!health->reload_ok) {
        struct slice problems = slice_trim(buf_slice(&health->problems));
        problems.len = problems.len < ERROR_SHOWN ? problems.len : ERROR_SHOWN - 1;
        (void)slice_to_text(problems, error, sizeof error); // it fits
    }
    if (!api_open_view(request, &all, &view)) {
        return;
    }
    view_write_page(&view,
        &(struct view_page){.status = status,
            .machine = machine,
            .text = text,
            .registry_error = health->reload_ok ? NULL : error},
        &out);
    view_fini(&view);
    if (out.failed) {
        api_answer_error(request, 500, "Internal server error");
    } else {
        api_answer_text(
            request, "text/html; charset=utf-8", "Cache-Control: no-store\r\n", buf_slice(&out));
    }
    buf_reset(&out);
}

void api_health(struct api_request *request)
{
    const struct health_options *options = &request->health->options;
    if (!is_navigation(request->http->head)) {
        api_liveness(request);
    } else if (options->tokens_path == NULL || options->public_read ||
               api_role(request) >= ROLE_VIEWER) {
        answer_page(request);
    } else {
        ask_for_token(request);
    }
}

void api_style(struct api_request *request)
{
    api_answer_text(request, "text/css; charset=utf-8", "Cache-Control: max-age=300\r\n",
        slice_str(view_page_style));
}

void api_root(struct api_request *request)
{
    if (api_answer_file(request)) {
        return;
    }
    api_reply(request->http->conn, &request->ticket,
        &(struct http_answer){
            .status = 302, .headers = "Location: /health\r\n", .body = SLICE_EMPTY});
}
