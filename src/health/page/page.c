// SPDX-License-Identifier: Apache-2.0
//            page_wake                  a watcher, or a reader of documents
//   ASLEEP ─────────────► AWAKE ──tick──► … nobody any more ──► ASLEEP
//
// 1. The tables are empty while the page is asleep.
// 2. The tick is armed exactly while it is awake: at once after a change, unless something was told
//    a moment ago, and every BEAT_NS in any case, so that a watcher knows that it is not cut off.
// 3. Neighbours are asked while it is awake.
#include "health/page/page.h"

#include "base/mem.h"
#include "base/time.h"
#include "health/api/api_internal.h"
#include "health/health.h"
#include "health/page/page_row.h"
#include "sys/clock.h"

#define TOLD_EVERY_NS (NS_PER_S / 4)
#define BEAT_NS (5 * NS_PER_S)
#define LOOK_NS (10 * NS_PER_S) // at all rows: what changes with time alone is found then
#define FRESH_NS (NS_PER_S / 2) // a document
#define ASKED_NS (15 * NS_PER_S)
#define DELTA_MAX (128 * 1024) // above it a snapshot is told instead

static bool is_watched(const struct page *page, uint64_t now_ns)
{
    return page->health->sockets.counts[AUDIENCE_PAGE] > 0 ||
           (page->asked_ns != 0 && now_ns < page->asked_ns + ASKED_NS);
}

static void drop_documents(struct page *page)
{
    for (size_t i = 0; i <= PAGE_READ; i++) {
        buf_reset(&page->documents[i].text);
        buf_reset(&page->documents[i].packed);
    }
}

static void fall_asleep(struct page *page)
{
    page->awake = false;
    timer_cancel(&page->tick);
    neighbours_rest(page->health->neighbours);
    page_relay_rest(page);
    page_engine_rest(page);
    for (size_t i = 0; i < PAGE_TABLE_COUNT; i++) {
        page_clear(&page->tables, i);
    }
    page_settle(&page->tables);
    drop_documents(page);
}

// ---- Telling

static void tell(struct page *page, uint64_t now_ns)
{
    struct sockets *sockets = &page->health->sockets;
    struct buf out = BUF_INIT(DELTA_MAX);
    if (page->tables.changes == 0 && now_ns < page->told_ns + BEAT_NS) {
        return;
    }
    page->told_ns = now_ns;
    if (sockets->counts[AUDIENCE_PAGE] == 0) {
        page_settle(&page->tables);
        return;
    }
    page_print_delta(&page->tables, sys_wall_ms(), &out);
    if (out.failed) {
        sockets_restart_page(sockets);
    } else {
        sockets_tell_page(sockets, buf_slice(&out));
    }
    buf_reset(&out);
}

static void look(struct page *page, uint64_t now_ns)
{
    if (page->looked_ns == 0 || now_ns >= page->looked_ns + LOOK_NS) {
        page->looked_ns = now_ns;
        page_health_all(page);
    }
    if (page->version != page->health->version) {
        page->version = page->health->version;
        page_health_sums(page);
    }
}

static void on_tick(struct timer *timer)
{
    struct page *page = container_of(timer, struct page, tick);
    struct worker *worker = page->health->worker;
    uint64_t now_ns = worker_now(worker);
    if (!is_watched(page, now_ns)) {
        fall_asleep(page);
        return;
    }
    look(page, now_ns);
    tell(page, now_ns);
    worker_arm(worker, &page->tick, page->told_ns + BEAT_NS);
}

void page_touch(struct page *page)
{
    if (page->awake) {
        worker_arm(page->health->worker, &page->tick, page->told_ns + TOLD_EVERY_NS);
    }
}

void page_tell_target(struct page *page, const struct target *target)
{
    if (page->awake) {
        page_health_target(page, target);
        page_touch(page);
    }
}

void page_tell_event(struct page *page, const struct health_event *event)
{
    if (!page->awake) {
        return;
    }
    page_health_event(page, event);
    if (event->type != EVENT_STATUS_CHANGE) {
        page->looked_ns = 0; // a reload, or maintenance of who knows how many
    }
    page_touch(page);
}

void page_tell_part(
    struct page *page, const char *name, bool heard, const char *problem, uint64_t since_wall_ms)
{
    struct page_print row;
    page_row_begin(&row);
    jsonw_bool(&row.json, "heard", heard);
    page_row_text(&row, "problem", problem);
    view_write_time(&row.json, "since", since_wall_ms);
    page_row_end(page, PAGE_PARTS, slice_str(name), &row);
    page_touch(page);
}

// ---- Reading

void page_wake(struct page *page)
{
    uint64_t now_ns = worker_now(page->health->worker);
    if (page->awake) {
        return;
    }
    page->awake = true;
    page->looked_ns = 0;
    page->version = page->health->version - 1;
    look(page, now_ns);
    for (size_t i = page->health->events.count; i > 0; i--) {
        page_health_event(page, event_ring_newest(&page->health->events, i - 1));
    }
    neighbours_wake(page->health->neighbours);
    page_settle(&page->tables);
    page->told_ns = now_ns;
    worker_arm(page->health->worker, &page->tick, now_ns + BEAT_NS);
}

struct page_document *page_document(struct page *page, enum page_reader reader)
{
    struct page_document *document = &page->documents[reader];
    uint64_t now_ns = worker_now(page->health->worker);
    page->asked_ns = now_ns;
    page_wake(page);
    if (document->text.len > 0 && now_ns < document->printed_ns + FRESH_NS) {
        return document;
    }
    buf_reset(&document->text);
    buf_init(&document->text, PAGE_BYTES_MAX + PAGE_BYTES_MAX / 2);
    buf_reset(&document->packed);
    buf_init(&document->packed, PAGE_BYTES_MAX);
    look(page, now_ns);
    page_print_whole(&page->tables, reader, sys_wall_ms(), &document->text);
    if (document->text.failed) {
        buf_reset(&document->text);
        return NULL;
    }
    struct slice text = buf_slice(&document->text);
    document->hash = siphash(&page->health->worker->seed, text.at, text.len);
    document->printed_ns = now_ns;
    return document;
}

// ---- Life

void page_start(struct page *page, struct health *health)
{
    page->health = health;
    page_tables_init(&page->tables, &health->worker->seed);
    page_relay_start(page);
    timer_init(&page->tick, on_tick);
}

void page_stop(struct page *page)
{
    if (page->health == NULL) {
        return;
    }
    fall_asleep(page);
    page_tables_fini(&page->tables);
    map_fini(&page->relay.cells);
    page->health = NULL;
}
