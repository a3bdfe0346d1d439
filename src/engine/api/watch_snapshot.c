// SPDX-License-Identifier: Apache-2.0
// The event state.initial, written piece by piece from the references of a snapshot: how far it has
// come is watcher->phase and watcher->next.
#include "engine/api/watch_internal.h"

#include "base/time.h"

#define PIECE_LEN (32u * 1024) // more objects are not begun

bool watch_shows_client(const struct watcher *watcher, const struct client *client)
{
    return !watcher->params.no_clients && token_lists_clients(watcher->token) &&
           filter_passes_client(watcher->params.clients, client);
}

bool watch_shows_tunnel(const struct watcher *watcher, const struct tunnel *tunnel)
{
    return !watcher->params.no_tunnels && token_reaches(watcher->token, SCOPE_LIST, tunnel) &&
           filter_passes_tunnel(watcher->params.tunnels, tunnel);
}

static void append_begin(struct watcher *watcher, struct buf *piece)
{
    char id[FEED_ID_SIZE];
    char taken[TIME_ISO_SIZE];
    feed_make_id(watcher->shard->engine->feed, id);
    time_to_iso(watcher->snapshot.taken_ms, taken);
    buf_printf(piece,
        "{\"id\":\"%s\",\"type\":\"state.initial\",\"created_at\":\"%s\","
        "\"object\":{\"snapshot_at\":\"%s\",\"clients\":[",
        id, taken, taken);
}

static void append_object(struct watcher *watcher, struct slice json, struct buf *piece)
{
    if (watcher->need_comma) {
        buf_append_byte(piece, ',');
    }
    buf_append_slice(piece, json);
    watcher->need_comma = true;
}

static void append_clients(struct watcher *watcher, struct buf *piece)
{
    while (watcher->next < watcher->snapshot.client_count && piece->len < PIECE_LEN) {
        const struct client *client = watcher->snapshot.clients[watcher->next++];
        if (watch_shows_client(watcher, client)) {
            append_object(watcher, client->json, piece);
        }
    }
}

static void append_tunnels(struct watcher *watcher, struct buf *piece)
{
    while (watcher->next < watcher->snapshot.tunnel_count && piece->len < PIECE_LEN) {
        const struct tunnel *tunnel = watcher->snapshot.tunnels[watcher->next++];
        if (watch_shows_tunnel(watcher, tunnel)) {
            append_object(watcher, tunnel->json, piece);
        }
    }
}

static void enter(struct watcher *watcher, enum watch_phase phase)
{
    watcher->phase = phase;
    watcher->next = 0;
    watcher->need_comma = false;
}

void watch_append_piece(struct watcher *watcher, struct buf *piece)
{
    if (watcher->phase == WATCH_BEGIN) {
        append_begin(watcher, piece);
        enter(watcher, WATCH_CLIENTS);
    }
    if (watcher->phase == WATCH_CLIENTS) {
        append_clients(watcher, piece);
        if (watcher->next < watcher->snapshot.client_count) {
            return;
        }
        buf_append_str(piece, "],\"tunnels\":[");
        enter(watcher, WATCH_TUNNELS);
    }
    append_tunnels(watcher, piece);
    if (watcher->next < watcher->snapshot.tunnel_count) {
        return;
    }
    buf_append_str(piece, "]}}");
    enter(watcher, WATCH_LIVE);
    snapshot_fini(&watcher->snapshot);
}
