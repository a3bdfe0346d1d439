// SPDX-License-Identifier: Apache-2.0
// Rows are made from the top until there is room for the connections: on a small terminal they are
// what is cut.
#include "cli/forward/tunnel_view.h"

#include <stdio.h>

#include "base/time.h"
#include "cli/plain.h"

#define FOOT "q or Ctrl-C ends it"
#define FOOT_LINES 2

// ---- Filling

uint64_t tunnel_view_opened(struct tunnel_view *view, const char *target, const char *id,
    const char *source, uint64_t opened_ms)
{
    uint64_t number = ++view->stream_count;
    struct tunnel_view_stream *stream = &view->streams[number % TUNNEL_VIEW_STREAMS_MAX];
    *stream = (struct tunnel_view_stream){
        .number = number, .target = target, .opened_ms = opened_ms, .active = true};
    snprintf(stream->id, sizeof stream->id, "%s", id);
    snprintf(stream->source, sizeof stream->source, "%s", source);
    return number;
}

void tunnel_view_closed(struct tunnel_view *view, uint64_t number, uint64_t bytes_in,
    uint64_t bytes_out, uint64_t duration_ms)
{
    struct tunnel_view_stream *stream = &view->streams[number % TUNNEL_VIEW_STREAMS_MAX];
    if (stream->number == number) {
        stream->active = false;
        stream->bytes_in = bytes_in;
        stream->bytes_out = bytes_out;
        stream->duration_ms = duration_ms;
    }
}

void tunnel_view_problem(struct tunnel_view *view, const char *text, uint64_t wall_ms)
{
    snprintf(view->problem, sizeof view->problem, "%s", text);
    view->problem_ms = wall_ms;
}

// ---- Lines

static void put_row(struct buf *out, const char *label, const char *value)
{
    buf_printf(out, "%-12s: ", label);
    (void)plain_append(out, slice_str(value == NULL || value[0] == '\0' ? "-" : value));
    buf_append_byte(out, '\n');
}

static void put_head(const struct tunnel_view *view, struct buf *out)
{
    char latency[32] = "";
    if (view->latency_us > 0) {
        snprintf(latency, sizeof latency, "%.1f ms", view->latency_us / 1000.0);
    }
    buf_append_str(out, "weir " WEIR_VERSION "\n\n");
    put_row(out, "version", view->version);
    put_row(out, "update", view->update);
    put_row(out, "plan", view->plan);
    put_row(out, "region", view->region);
    put_row(out, "latency", latency);
    if (view->inspector != NULL) {
        put_row(out, "inspector", view->inspector);
    }
    for (size_t i = 0; i < view->tunnel_count; i++) {
        put_row(out, "status", view->tunnels[i].status);
        put_row(out, "tunnel ID", view->tunnels[i].id);
        put_row(out, "forwarding", view->tunnels[i].address);
        put_row(out, "forwarded", view->tunnels[i].target);
    }
    if (view->problem[0] != '\0') {
        char iso[TIME_ISO_SIZE];
        time_to_iso(view->problem_ms, iso);
        buf_printf(out, "%-12s: %.8s ", "problem", iso + 11);
        (void)plain_append(out, slice_str(view->problem));
        buf_append_byte(out, '\n');
    }
    buf_append_str(out, "\nincoming connections:\n");
}

static void put_stream(const struct tunnel_view_stream *stream, bool says_where, struct buf *out)
{
    char iso[TIME_ISO_SIZE];
    time_to_iso(stream->opened_ms, iso); // "2026-11-21T01:28:06.456Z"
    buf_printf(out, "[date: %.10s %.12s UTC, stream_id: ", iso, iso + 11);
    (void)plain_append(out, slice_str(stream->id));
    buf_append_str(out, ", source_ip: ");
    (void)plain_append(out, slice_str(stream->source[0] == '\0' ? "-" : stream->source));
    buf_printf(out, ", active:%s", stream->active ? "true" : "false");
    if (says_where) {
        buf_append_str(out, ", to: ");
        (void)plain_append(out, slice_str(stream->target));
    }
    if (!stream->active) {
        buf_printf(out, ", in: %llu B, out: %llu B, %llu ms", (unsigned long long)stream->bytes_in,
            (unsigned long long)stream->bytes_out, (unsigned long long)stream->duration_ms);
    }
    buf_append_str(out, "]\n");
}

// The newest first.
static size_t put_streams(const struct tunnel_view *view, bool active, size_t room, struct buf *out)
{
    size_t shown = 0;
    for (uint64_t i = 0; i < TUNNEL_VIEW_STREAMS_MAX && i < view->stream_count; i++) {
        const struct tunnel_view_stream *stream =
            &view->streams[(view->stream_count - i) % TUNNEL_VIEW_STREAMS_MAX];
        if (stream->active == active && shown < room) {
            put_stream(stream, view->tunnel_count > 1, out);
            shown++;
        }
    }
    return shown;
}

static size_t count_lines(struct slice text)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) {
        lines += text.at[i] == '\n';
    }
    return lines;
}

// Drops lines of the end, so that so many are left.
static void cut_lines(struct buf *out, size_t lines)
{
    struct slice text = buf_slice(out);
    size_t at = 0;
    while (lines > 0 && at < text.len) {
        lines -= text.at[at++] == '\n';
    }
    out->len = at;
}

void tunnel_view_render(const struct tunnel_view *view, size_t rows, struct buf *out)
{
    put_head(view, out);
    size_t used = count_lines(buf_slice(out));
    size_t room = rows > used + FOOT_LINES ? rows - used - FOOT_LINES : 0;
    size_t shown = put_streams(view, true, room, out);
    shown += put_streams(view, false, room - shown, out);
    if (shown == 0 && room > 0) {
        buf_append_str(out, "no connection\n");
    }
    if (rows > FOOT_LINES) {
        cut_lines(out, rows - FOOT_LINES);
        buf_append_str(out, "\n" FOOT "\n");
    }
}
