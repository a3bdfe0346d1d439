// SPDX-License-Identifier: Apache-2.0
// The page's tables to who watches them. A snapshot goes out in parts, as fast as the watcher
// reads: no more of it waits than a queue's high mark and a part. Deltas go between the parts, for
// as long as the queue has room; a row that is told twice is told the newer thing last.
//
// 1. Who has missed a delta gets nothing more until its queue has drained, and then a snapshot.
// 2. A queue that has no room for a delta is above its high mark, so that it is told of as drained.
#include "base/time.h"
#include "health/page/page.h"
#include "health/sockets/sockets_internal.h"
#include "sys/clock.h"

#define PART_BYTES (24 * 1024)
#define PART_MAX (PART_BYTES + 2 * PAGE_ROW_MAX)

static bool is_there(const struct socket_watcher *watcher)
{
    return watcher->kind->audience == AUDIENCE_PAGE && watcher->opened && ws_is_open(&watcher->ws);
}

static void send(struct socket_watcher *watcher, struct slice json)
{
    watcher->sockets->messages++;
    ws_send(&watcher->ws, WS_TEXT, json);
}

static void send_parts(struct socket_watcher *watcher)
{
    struct page_tables *tables = &watcher->sockets->page->tables;
    while (is_there(watcher) && watcher->cursor.table < PAGE_TABLE_COUNT &&
           !ws_is_backlogged(&watcher->ws)) {
        struct page_cursor cursor = watcher->cursor;
        struct buf out = BUF_INIT(PART_MAX);
        page_print_part(tables, &cursor, sys_wall_ms(), PART_BYTES, &out);
        if (out.failed) {
            ws_close(&watcher->ws, &close_NO_MEMORY);
        } else {
            watcher->cursor = cursor;
            send(watcher, buf_slice(&out));
        }
        buf_reset(&out);
    }
}

static void miss(struct socket_watcher *watcher)
{
    watcher->sockets->page_missed += !watcher->missed_delta;
    watcher->missed_delta = true;
}

void socket_begin_page(struct socket_watcher *watcher)
{
    watcher->missed_delta = false;
    watcher->cursor = (struct page_cursor){0};
    send_parts(watcher);
}

void socket_resume_page(struct socket_watcher *watcher)
{
    if (watcher->missed_delta) {
        socket_begin_page(watcher);
    } else {
        send_parts(watcher);
    }
}

void sockets_tell_page(struct sockets *sockets, struct slice delta)
{
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (!is_there(watcher) || watcher->missed_delta) {
            continue;
        }
        size_t queued = watcher->ws.queue == NULL ? 0 : watcher->ws.queue->len;
        if (queued > 0 && queued + WS_HEADER_MAX + delta.len > SOCKET_QUEUE_MAX) {
            miss(watcher);
        } else {
            send(watcher, delta);
        }
    }
}

void sockets_restart_page(struct sockets *sockets)
{
    list_for_each (node, &sockets->watchers) {
        struct socket_watcher *watcher = container_of(node, struct socket_watcher, node);
        if (is_there(watcher) && !ws_is_backlogged(&watcher->ws)) {
            socket_begin_page(watcher);
        } else if (is_there(watcher)) {
            miss(watcher);
        }
    }
}
