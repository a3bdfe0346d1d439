// SPDX-License-Identifier: Apache-2.0
// The files of --ui-dir: another dashboard beside the API (spec section 7.2). Read when they are
// asked for, whole, and never outside the directory; a path without a file that a browser goes to
// is answered with index.html, since such a dashboard finds its way by itself.
#include <stdio.h>

#include "base/siphash.h"
#include "health/api/api_internal.h"
#include "sys/file.h"

#define FILE_MAX (8 * 1024 * 1024)

static const char *type_of(struct slice path)
{
    static const struct {
        const char *suffix;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".woff", "font/woff"},
        {".txt", "text/plain; charset=utf-8"},
        {".wasm", "application/wasm"},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (slice_ends_with(path, slice_str(types[i].suffix))) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

bool api_answer_file(struct api_request *request)
{
    const char *directory = request->health->options.ui_dir;
    const struct http1_head *head = request->http->head;
    struct slice path = slice_skip(request->http->path, 1);
    struct buf content = BUF_INIT(FILE_MAX);
    bool page = http1_find(head, SLICE("accept")) != NULL &&
                slice_contains_nocase(http1_find(head, SLICE("accept"))->value, SLICE("text/html"));
    if (directory == NULL || (!slice_eq(head->method, SLICE("GET")) && !request->ticket.head) ||
        slice_starts_with(request->http->path, SLICE("/api/"))) {
        return false;
    }
    enum weir_result result = sys_file_read_below(directory, path, FILE_MAX, &content);
    if (result == WEIR_NOT_FOUND && (page || path.len == 0)) {
        path = SLICE("index.html");
        result = sys_file_read_below(directory, path, FILE_MAX, &content);
    }
    if (result == WEIR_OK) {
        struct slice body = buf_slice(&content);
        api_answer_tagged(
            request, &(struct api_tagged){.content_type = type_of(path),
                         .hash = siphash(&request->health->worker->seed, body.at, body.len),
                         .body = body});
    }
    buf_reset(&content);
    return result == WEIR_OK;
}
