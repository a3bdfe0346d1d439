// SPDX-License-Identifier: Apache-2.0
// A page is asked for when somebody wants it and the last answer is older than a second; whoever
// comes meanwhile waits for the same answer.
//
// 1. A reader is in exactly one page's list, from neighbours_ask until its answer, or until its
//    connection goes.
// 2. A page has a call under way exactly while readers wait for it, or did when it began.
#include "health/neighbours.h"

#include <stdio.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "health/api_internal.h"
#include "proto/json_write.h"

#define FRESH_NS (1 * NS_PER_S)
#define TIMEOUT_NS (5 * NS_PER_S)
#define GRACE_NS (5 * NS_PER_S)
#define BODY_MAX (16u * 1024 * 1024)
#define PROBLEM_SIZE (NEIGHBOUR_URL_SIZE + 512)
#define READERS_MAX 256

static const struct {
    enum neighbour neighbour;
    const char *name;
    const char *path;
} rows[] = {
#define NEIGHBOUR_PAGE(neighbour, name, path) {NEIGHBOUR_##neighbour, name, path},
#include "health/neighbour_pages.def"
#undef NEIGHBOUR_PAGE
};
#define PAGE_COUNT (sizeof rows / sizeof rows[0])

struct reader {
    struct list node;
    struct neighbours *of;
    struct http_conn *conn;
    struct api_ticket ticket;
};

struct neighbour_page {
    struct neighbours *of;
    struct http_call *call; // NULL: none under way
    struct list readers;
    struct buf body; // of the last good answer
    uint64_t fetched_ns;
    bool fetched;
};

struct neighbours {
    struct worker *worker;
    const struct neighbour_place *places;
    struct neighbour_page pages[PAGE_COUNT];
    size_t reader_count;
};

const char *neighbour_name(enum neighbour neighbour)
{
    static const char *const names[] = {
        [NEIGHBOUR_RELAY] = "relay", [NEIGHBOUR_ENGINE] = "engine"};
    return names[neighbour];
}

static size_t index_of(const struct neighbour_page *page)
{
    return (size_t)(page - page->of->pages);
}

static const struct neighbour_place *place_of(const struct neighbour_page *page)
{
    return &page->of->places[rows[index_of(page)].neighbour];
}

// ---- Readers

static void reader_free(struct reader *reader)
{
    reader->of->reader_count--;
    list_remove(&reader->node);
    mem_free(reader);
}

static void on_conn_gone(void *arg)
{
    reader_free(arg);
}

static void reply(struct http_conn *conn, const struct api_ticket *ticket, struct slice body)
{
    bool json = body.len > 0 && (body.at[0] == '{' || body.at[0] == '[');
    api_reply(conn, ticket,
        &(struct http_answer){
            .status = 200,
            .content_type = json ? "application/json" : "text/plain; charset=utf-8",
            .headers = "Cache-Control: no-store\r\n",
            .body = body,
        });
}

static void answer_all(struct neighbour_page *page)
{
    while (!list_empty(&page->readers)) {
        struct reader *reader = container_of(page->readers.next, struct reader, node);
        struct http_conn *conn = reader->conn;
        struct api_ticket ticket = reader->ticket;
        reader_free(reader);
        reply(conn, &ticket, buf_slice(&page->body));
    }
}

static void refuse_all(struct neighbour_page *page, const char *problem)
{
    while (!list_empty(&page->readers)) {
        struct reader *reader = container_of(page->readers.next, struct reader, node);
        struct http_conn *conn = reader->conn;
        struct api_ticket ticket = reader->ticket;
        reader_free(reader);
        api_answer_error_later(conn, &ticket, 502, problem);
    }
}

// ---- Asking

static void describe(const struct neighbour_page *page, const struct http_call_result *result,
    char problem[PROBLEM_SIZE])
{
    const char *name = neighbour_name(rows[index_of(page)].neighbour);
    const char *url = place_of(page)->url;
    if (result->outcome == HTTP_CALL_ANSWERED && result->status == 401) {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s does not take the token", name, url);
    } else if (result->outcome == HTTP_CALL_ANSWERED && result->status == 404) {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s does not show it%s", name, url,
            rows[index_of(page)].neighbour == NEIGHBOUR_RELAY
                ? "; RELAY_ENABLE_ADMIN_HTTP and RELAY_ADMIN_TOKEN let it"
                : "");
    } else if (result->outcome == HTTP_CALL_ANSWERED) {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s answered %u", name, url, result->status);
    } else if (result->outcome == HTTP_CALL_TOO_LARGE) {
        snprintf(problem, PROBLEM_SIZE, "the answer of the %s at %s is too large", name, url);
    } else {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s cannot be asked: %s", name, url,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time" : result->error);
    }
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct neighbour_page *page = arg;
    char problem[PROBLEM_SIZE];
    page->call = NULL;
    // A relay that drains says so with 503, and that is an answer.
    bool good = result->outcome == HTTP_CALL_ANSWERED &&
                (result->status == 200 ||
                    (result->status == 503 && strcmp(rows[index_of(page)].name, "health") == 0));
    if (good) {
        buf_reset(&page->body);
        buf_append_slice(&page->body, result->body);
        good = !page->body.failed;
    }
    page->fetched = good;
    page->fetched_ns = worker_now(page->of->worker);
    if (good) {
        answer_all(page);
    } else {
        describe(page, result, problem);
        refuse_all(page, problem);
    }
}

static bool start_call(struct neighbour_page *page)
{
    const struct neighbour_place *place = place_of(page);
    const char *path = rows[index_of(page)].path;
    char url[NEIGHBOUR_URL_SIZE + 64];
    char authorization[NEIGHBOUR_TOKEN_SIZE + 32];
    snprintf(url, sizeof url, "%s%s", path[0] == '\0' ? place->metrics_url : place->url, path);
    snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", place->token);
    page->call = http_call_start(page->of->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .headers = (const char *const[]){place->token[0] == '\0' ? NULL : authorization, NULL},
            .tls = &place->tls,
            .connect_to =
                place->connect_to[0] == '\0' || path[0] == '\0' ? NULL : place->connect_to,
            .timeout_ns = TIMEOUT_NS,
            .response_max = BODY_MAX,
        },
        on_answer, page);
    return page->call != NULL;
}

static struct neighbour_page *find(
    struct neighbours *neighbours, enum neighbour neighbour, struct slice what)
{
    const struct neighbour_place *place = &neighbours->places[neighbour];
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        bool there = rows[i].path[0] == '\0' ? place->metrics_url[0] != '\0' : true;
        if (rows[i].neighbour == neighbour && slice_eq(what, slice_str(rows[i].name)) && there) {
            return &neighbours->pages[i];
        }
    }
    return NULL;
}

bool neighbours_has(const struct neighbours *neighbours, enum neighbour neighbour)
{
    return neighbours->places[neighbour].url[0] != '\0';
}

enum neighbour_answer neighbours_ask(struct neighbours *neighbours, enum neighbour neighbour,
    struct slice what, struct http_conn *conn, const struct api_ticket *ticket)
{
    struct neighbour_page *page =
        neighbours_has(neighbours, neighbour) ? find(neighbours, neighbour, what) : NULL;
    if (page == NULL) {
        return NEIGHBOUR_NOTHING;
    }
    if (page->fetched && worker_now(neighbours->worker) - page->fetched_ns < FRESH_NS) {
        reply(conn, ticket, buf_slice(&page->body));
        return NEIGHBOUR_WAITS;
    }
    struct reader *reader =
        neighbours->reader_count < READERS_MAX ? mem_zalloc(sizeof *reader) : NULL;
    if (reader == NULL || (page->call == NULL && !start_call(page))) {
        mem_free(reader);
        return NEIGHBOUR_MEMORY;
    }
    *reader = (struct reader){.of = neighbours, .conn = conn, .ticket = *ticket};
    list_push_back(&page->readers, &reader->node);
    neighbours->reader_count++;
    http_wait_for(conn, TIMEOUT_NS + GRACE_NS, on_conn_gone, reader);
    return NEIGHBOUR_WAITS;
}

// ---- Life

struct neighbours *neighbours_new(struct worker *worker, const struct neighbour_place *places)
{
    struct neighbours *neighbours = mem_zalloc(sizeof *neighbours);
    if (neighbours == NULL) {
        return NULL;
    }
    neighbours->worker = worker;
    neighbours->places = places;
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        neighbours->pages[i].of = neighbours;
        list_init(&neighbours->pages[i].readers);
        buf_init(&neighbours->pages[i].body, BODY_MAX);
    }
    return neighbours;
}

void neighbours_free(struct neighbours *neighbours)
{
    if (neighbours == NULL) {
        return;
    }
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        struct neighbour_page *page = &neighbours->pages[i];
        http_call_cancel(page->call);
        buf_reset(&page->body);
        while (!list_empty(&page->readers)) {
            reader_free(container_of(page->readers.next, struct reader, node));
        }
    }
    mem_free(neighbours);
}
