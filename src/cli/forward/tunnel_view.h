// SPDX-License-Identifier: Apache-2.0
// What a person sees of forwarding on a terminal (spec engine, section 11.5): a model that events
// fill, and lines made of it. No I/O. All text of others goes through plain_append.
#ifndef WEIR_CLI_TUNNEL_VIEW_H
#define WEIR_CLI_TUNNEL_VIEW_H

#include <stdint.h>

#include "base/buf.h"

#define TUNNEL_VIEW_STREAMS_MAX 200 // the newest ones
#define TUNNEL_VIEW_TEXT_SIZE 320

struct tunnel_view_stream {
    uint64_t number; // of the program's, from 1; 0: none
    char id[64];
    char source[64];
    const char *target; // borrowed from whoever has the tunnel
    uint64_t opened_ms; // since 1970
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t duration_ms;
    bool active;
};

struct tunnel_view_tunnel {
    const char *id; // borrowed, as the rest; "" where it is not known
    const char *address;
    const char *target;
    const char *status;
};

struct tunnel_view {
    const char *version; // of the engine; borrowed, as the next ones; "" where it is not known
    const char *update;
    const char *plan;
    const char *region;
    const char *inspector;                    // its URL
    const struct tunnel_view_tunnel *tunnels; // borrowed
    size_t tunnel_count;
    uint32_t latency_us;                                        // 0: not known
    char problem[TUNNEL_VIEW_TEXT_SIZE];                        // the newest; "": none
    uint64_t problem_ms;                                        // when, since 1970
    struct tunnel_view_stream streams[TUNNEL_VIEW_STREAMS_MAX]; // a ring; the oldest is replaced
    uint64_t stream_count;                                      // of all, and the newest's number
};

// The stream's number, for tunnel_view_closed.
uint64_t tunnel_view_opened(struct tunnel_view *view, const char *target, const char *id,
    const char *source, uint64_t opened_ms);
void tunnel_view_closed(struct tunnel_view *view, uint64_t number, uint64_t bytes_in,
    uint64_t bytes_out, uint64_t duration_ms);
void tunnel_view_problem(struct tunnel_view *view, const char *text, uint64_t wall_ms);
// Exactly so many lines, or fewer, each ended by LF, the keys last; out->failed says that memory
// ran out.
void tunnel_view_render(const struct tunnel_view *view, size_t rows, struct buf *out);

#endif
