// SPDX-License-Identifier: Apache-2.0
#include "app/demo/demo_service.h"

#include "base/time.h"
#include "sys/clock.h"

#define PAGE_MAX 65536
#define DATA_MAX 16384
#define SETUP_NS (10 * NS_PER_S)
#define IDLE_NS (60 * NS_PER_S)
#define BODY_MAX 65536
#define CONNECTIONS_MAX 256
#define TEXT_TYPE "text/plain; charset=utf-8"
#define HEADERS                                                                                    \
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"                               \
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"

static struct demo_service *of(const struct http_request *request)
{
    return http_owner(request->conn);
}

static void answer(
    const struct http_request *request, unsigned status, const char *type, struct slice body)
{
    http_answer(request->conn, &(struct http_answer){
                                   .status = status,
                                   .content_type = type,
                                   .headers = HEADERS,
                                   .body = body,
                                   .head_only = slice_eq(request->head->method, SLICE("HEAD")),
                               });
}

static void answer_text(const struct http_request *request, unsigned status, const char *text)
{
    answer(request, status, TEXT_TYPE, slice_str(text));
}

// ---- The page

// What a visitor has sent, between tags: all of it is text.
static void put_escaped(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.at[i]) {
        case '<':
            buf_append_str(out, "&lt;");
            break;
        case '>':
            buf_append_str(out, "&gt;");
            break;
        case '&':
            buf_append_str(out, "&amp;");
            break;
        default:
            buf_append_byte(out, text.at[i]);
        }
    }
}

static void put_request(struct buf *out, const struct http1_head *head, bool html)
{
    struct buf plain = BUF_INIT(PAGE_MAX);
    buf_printf(&plain, "%.*s %.*s\n", SLICE_ARG(head->method), SLICE_ARG(head->target));
    for (size_t i = 0; i < head->header_count; i++) {
        buf_printf(&plain, "%.*s: %.*s\n", SLICE_ARG(head->headers[i].name),
            SLICE_ARG(head->headers[i].value));
    }
    if (html) {
        put_escaped(out, buf_slice(&plain));
    } else {
        buf_append_slice(out, buf_slice(&plain));
    }
    buf_reset(&plain);
}

static void put_text_page(
    struct buf *out, const struct http1_head *head, const char *time, unsigned long long asked)
{
    buf_printf(out,
        "hello from behind a tunnel\n\n"
        "A demo: weir's engine took this request, an agent carried it to a service that listens "
        "on\n"
        "loopback only.\n\n"
        "time     %s\n"
        "request  number %llu, as it came here:\n\n",
        time, asked);
    put_request(out, head, false);
}

static void put_html_page(
    struct buf *out, const struct http1_head *head, const char *time, unsigned long long asked)
{
    buf_printf(out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width\">"
        "<meta http-equiv=\"refresh\" content=\"2\"><title>hello - weir demo</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44em;margin:2em auto;padding:0 "
        "1em;"
        "color-scheme:light dark}pre{overflow:auto;padding:1em;border:1px solid}</style>"
        "<h1>hello from behind a tunnel</h1>"
        "<p>A demo: weir's engine took this request, an agent carried it to a service that listens "
        "on "
        "loopback only.</p>"
        "<p>It is <time>%s</time>. Request number <strong>%llu</strong>, as it came here:</p><pre>",
        time, asked);
    put_request(out, head, true);
    buf_append_str(out, "</pre></html>\n");
}

static void show_page(struct http_request *request)
{
    struct demo_service *service = of(request);
    const struct http1_header *accept = http1_find(request->head, SLICE("Accept"));
    bool html = accept != NULL && slice_contains_nocase(accept->value, SLICE("text/html"));
    struct buf out = BUF_INIT(PAGE_MAX);
    char time[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), time);
    service->asked++;
    (html ? put_html_page : put_text_page)(&out, request->head, time, service->asked);
    if (out.failed) {
        answer_text(request, 500, "out of memory\n");
    } else {
        answer(request, 200, html ? "text/html; charset=utf-8" : TEXT_TYPE, buf_slice(&out));
    }
    buf_reset(&out);
}

// ---- The others

static void send_data(struct http_request *request)
{
    static const char line[] = "weir lets a stream through, and measures it\n";
    struct demo_service *service = of(request);
    struct buf out = BUF_INIT(DATA_MAX);
    size_t lines = 1 + ++service->asked * 37 % (DATA_MAX / (sizeof line - 1) - 1);
    for (size_t i = 0; i < lines; i++) {
        buf_append(&out, line, sizeof line - 1);
    }
    if (out.failed) {
        answer_text(request, 500, "out of memory\n");
    } else {
        answer(request, 200, TEXT_TYPE, buf_slice(&out));
    }
    buf_reset(&out);
}

static void tell_session(struct http_request *request)
{
    const struct demo_service *service = of(request);
    char text[128];
    bool lives = service->session_lives(service->arg, text, sizeof text);
    answer_text(request, lives ? 200 : 503, text);
}

static void on_not_found(struct http_request *request)
{
    answer_text(request, 404, "there is nothing here; try /\n");
}

static const struct http_route routes[] = {
    {"/", "GET", show_page},
    {"/", "HEAD", show_page},
    {"/data", "GET", send_data},
    {"/session", "GET", tell_session},
    {NULL, NULL, NULL},
};

// ---- Life

enum weir_result demo_service_open(struct demo_service *service, struct worker *worker, int fd)
{
    service->http = (struct http_options){
        .routes = routes,
        .not_found = on_not_found,
        .setup_timeout_ns = SETUP_NS,
        .idle_timeout_ns = IDLE_NS,
        .body_max = BODY_MAX,
        .conn_max = CONNECTIONS_MAX,
        .owner = service,
    };
    enum weir_result result = http_server_open(&service->server, worker, &service->http, fd);
    service->open = result == WEIR_OK;
    return result;
}

void demo_service_close(struct demo_service *service)
{
    if (service->open) {
        service->open = false;
        http_server_close(&service->server);
    }
}
