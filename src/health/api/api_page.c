// SPDX-License-Identifier: Apache-2.0
// The page of /health, for browsers (spec sections 4.2, 7.2), its files, and where / leads. Every
// address in it is relative, so that it works under any path of a proxy.
#include <stdio.h>

#include "base/siphash.h"
#include "health/api/api_internal.h"
#include "http/assets.h"

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
                          "<title>weir health</title><link rel=\"icon\" "
                          "href=\"health/icon/unknown.svg\"><link rel=\"stylesheet\" "
                          "href=\"health/style.css\"><script src=\"health/app.js\" defer>"
                          "</script></head><body><div id=\"page\"><h1>A token is wanted</h1>"
                          "<form method=\"get\" action=\"health\"><label>Token <input "
                          "type=\"password\" name=\"token\"></label><button>Show</button></form>"
                          "</div></body></html>\n"),
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
            .registry_error = health->reload_ok ? NULL : error,
            .notice = health->monitor.registry->notice},
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

void api_page_document(struct api_request *request)
{
    enum page_reader reader = api_role(request) >= ROLE_VIEWER ? PAGE_READ : PAGE_OPEN;
    struct page_document *document = page_document(&request->health->page, reader);
    if (document == NULL) {
        api_answer_error(request, 500, "Internal server error");
        return;
    }
    api_answer_tagged(request, &(struct api_tagged){.content_type = "application/json",
                                   .hash = document->hash,
                                   .body = buf_slice(&document->text),
                                   .packed = &document->packed});
}

void api_asset(struct api_request *request)
{
    static const char directory[] = "/health/";
    struct http_asset asset;
    if (!http_asset_find(slice_skip(request->http->path, sizeof directory - 1), &asset)) {
        api_answer_error(request, 404, "there is no such file");
        return;
    }
    api_answer_tagged(request,
        &(struct api_tagged){
            .content_type = asset.content_type,
            .hash = siphash(&request->health->worker->seed, asset.plain.at, asset.plain.len),
            .body = asset.plain,
            .gzip = asset.packed,
        });
}

// The tab's picture: a shape for each state, not its colour alone.
void api_icon(struct api_request *request)
{
    static const struct {
        const char *status;
        const char *svg;
    } icons[] = {
        {"healthy", "<circle cx='8' cy='8' r='7' fill='#1a7f37'/>"
                    "<path d='M4 8l3 3 5-6' fill='none' stroke='#fff' stroke-width='2'/>"},
        {"degraded", "<path d='M8 1l7 14H1z' fill='#b26a00'/>"
                     "<path d='M8 5v5m0 2v2' stroke='#fff' stroke-width='2'/>"},
        {"unhealthy", "<rect x='1' y='1' width='14' height='14' fill='#c62828'/>"
                      "<path d='M5 5l6 6m0-6l-6 6' stroke='#fff' stroke-width='2'/>"},
        {"unknown", "<circle cx='8' cy='8' r='6' fill='none' stroke='#757575' stroke-width='3'/>"},
    };
    for (size_t i = 0; i < sizeof icons / sizeof icons[0]; i++) {
        if (strcmp(icons[i].status, request->path.text[0]) == 0) {
            char svg[512];
            snprintf(svg, sizeof svg,
                "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>%s</svg>",
                icons[i].svg);
            api_answer_text(
                request, "image/svg+xml", "Cache-Control: max-age=86400\r\n", slice_str(svg));
            return;
        }
    }
    api_answer_error(request, 404, "there is no such state");
}

void api_root(struct api_request *request)
{
    if (api_answer_file(request)) {
        return;
    }
    api_reply(request->http->conn, &request->ticket,
        &(struct http_answer){
            .status = 302, .headers = "Location: health\r\n", .body = SLICE_EMPTY});
}
