// SPDX-License-Identifier: Apache-2.0
//              neighbours_wake                           neighbours_rest
//   RESTING ──────────────────► every ASK_NS: what has no call under way gets one ─────► RESTING
//                               an engine: its events, dialled again ASK_NS after they end
//
// 1. While resting there is no call and no timer.
// 2. A problem is the first of a neighbour's pages and of its feed that has one; `since` is when it
//    began, whatever its words became.
#include "health/page/neighbours.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/page/page.h"
#include "sys/clock.h"

#define ASK_NS (2 * NS_PER_S)
#define TIMEOUT_NS (5 * NS_PER_S)
#define SILENCE_NS (45 * NS_PER_S) // an engine says something every 15 s
#define BODY_MAX (16u * 1024 * 1024)
#define REFUSAL_MAX 4096
#define PROBLEM_SIZE (NEIGHBOUR_URL_SIZE + 512)
#define FEED_PATH "/api/sse"

typedef bool read_fn(struct page *page, struct slice body);

static const struct {
    enum neighbour neighbour;
    const char *path;
    read_fn *read;
    bool needed;
} rows[] = {
#define NEIGHBOUR_PAGE(neighbour, path, read, needed) {NEIGHBOUR_##neighbour, path, read, needed},
#include "health/page/neighbour_pages.def"
#undef NEIGHBOUR_PAGE
};
#define PAGE_COUNT (sizeof rows / sizeof rows[0])

struct neighbour_page {
    struct neighbours *of;
    struct http_call *call;     // NULL: none under way
    char problem[PROBLEM_SIZE]; // "": the last answer was good, or there was none
    bool heard;                 // answered well
};

struct feed {
    struct http_call *call;
    struct buf line; // that has not ended
    struct timer silence;
    char problem[PROBLEM_SIZE];
    bool heard;
};

struct neighbours {
    struct worker *worker;
    const struct neighbour_place *places;
    struct page *page;
    struct neighbour_page pages[PAGE_COUNT];
    struct feed feed;
    struct timer ask;
    uint64_t since_wall_ms[NEIGHBOUR_COUNT]; // of the problem; 0: there is none
    bool awake;
};

static const char *neighbour_name(enum neighbour neighbour)
{
    static const char *const names[] = {[NEIGHBOUR_RELAY] = "relay", [NEIGHBOUR_ENGINE] = "engine"};
    return names[neighbour];
}

static size_t index_of(const struct neighbour_page *page)
{
    return (size_t)(page - page->of->pages);
}

// ---- How a neighbour fares

// The words of an answer that is of no use.
static void describe(const struct neighbours *neighbours, enum neighbour neighbour,
    const struct http_call_result *result, char problem[PROBLEM_SIZE])
{
    const char *name = neighbour_name(neighbour);
    const char *url = neighbours->places[neighbour].url;
    if (result->outcome == HTTP_CALL_ANSWERED && result->status == 401) {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s does not take the token", name, url);
    } else if (result->outcome == HTTP_CALL_ANSWERED && result->status == 404) {
        snprintf(problem, PROBLEM_SIZE, "the %s at %s does not show it%s", name, url,
            neighbour == NEIGHBOUR_RELAY ? "; RELAY_ENABLE_ADMIN_HTTP and RELAY_ADMIN_TOKEN let it"
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

static void misunderstand(
    const struct neighbours *neighbours, enum neighbour neighbour, char problem[PROBLEM_SIZE])
{
    snprintf(problem, PROBLEM_SIZE, "what the %s at %s says is not understood",
        neighbour_name(neighbour), neighbours->places[neighbour].url);
}

static const char *problem_of(const struct neighbours *neighbours, enum neighbour neighbour)
{
    if (neighbour == NEIGHBOUR_ENGINE && neighbours->feed.problem[0] != '\0') {
        return neighbours->feed.problem;
    }
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        if (rows[i].neighbour == neighbour && rows[i].needed &&
            neighbours->pages[i].problem[0] != '\0') {
            return neighbours->pages[i].problem;
        }
    }
    return NULL;
}

static bool was_heard(const struct neighbours *neighbours, enum neighbour neighbour)
{
    bool heard = neighbour != NEIGHBOUR_ENGINE || neighbours->feed.heard;
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        heard = heard &&
                (rows[i].neighbour != neighbour || !rows[i].needed || neighbours->pages[i].heard);
    }
    return heard;
}

static void judge(struct neighbours *neighbours, enum neighbour neighbour)
{
    uint64_t *since = &neighbours->since_wall_ms[neighbour];
    const char *problem = problem_of(neighbours, neighbour);
    *since = problem == NULL ? 0 : *since == 0 ? sys_wall_ms() : *since;
    page_tell_part(neighbours->page, neighbour_name(neighbour), was_heard(neighbours, neighbour),
        problem, *since);
}

// ---- Pages

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct neighbour_page *page = arg;
    struct neighbours *neighbours = page->of;
    size_t row = index_of(page);
    page->call = NULL;
    page->problem[0] = '\0';
    // A relay that drains says so with 503, and that is an answer.
    bool good = result->outcome == HTTP_CALL_ANSWERED &&
                (result->status == 200 ||
                    (result->status == 503 && strcmp(rows[row].path, "/health") == 0));
    if (!good) {
        describe(neighbours, rows[row].neighbour, result, page->problem);
    } else if (!rows[row].read(neighbours->page, result->body)) {
        misunderstand(neighbours, rows[row].neighbour, page->problem);
    } else {
        page->heard = true;
    }
    if (page->problem[0] != '\0' && !rows[row].needed) {
        rows[row].read(neighbours->page, SLICE_EMPTY);
    }
    judge(neighbours, rows[row].neighbour);
}

struct question {
    enum neighbour neighbour;
    const char *path;
    http_call_fn *done;
    void (*chunk)(void *arg, struct slice bytes);
    void *arg;
};

static struct http_call *start_call(
    const struct neighbours *neighbours, const struct question *question)
{
    const struct neighbour_place *place = &neighbours->places[question->neighbour];
    bool metrics = question->path[0] == '\0';
    char url[NEIGHBOUR_URL_SIZE + 64];
    char authorization[NEIGHBOUR_TOKEN_SIZE + 32];
    snprintf(url, sizeof url, "%s%s", metrics ? place->metrics_url : place->url, question->path);
    snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", place->token);
    return http_call_start(neighbours->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .headers = (const char *const[]){place->token[0] == '\0' ? NULL : authorization, NULL},
            .tls = &place->tls,
            .connect_to = place->connect_to[0] == '\0' || metrics ? NULL : place->connect_to,
            .chunk = question->chunk,
            .timeout_ns = question->chunk == NULL ? TIMEOUT_NS : 0,
            .response_max = question->chunk == NULL ? BODY_MAX : REFUSAL_MAX,
            .once = question->chunk != NULL,
        },
        question->done, question->arg);
}

static bool is_asked(const struct neighbours *neighbours, size_t row)
{
    const struct neighbour_place *place = &neighbours->places[rows[row].neighbour];
    return rows[row].path[0] == '\0' ? place->metrics_url[0] != '\0' : place->url[0] != '\0';
}

static void ask_page(struct neighbours *neighbours, size_t row)
{
    struct neighbour_page *page = &neighbours->pages[row];
    if (page->call == NULL && is_asked(neighbours, row)) {
        page->call = start_call(neighbours, &(struct question){.neighbour = rows[row].neighbour,
                                                .path = rows[row].path,
                                                .done = on_answer,
                                                .arg = page});
    }
}

// ---- Events of an engine (spec engine, section 8.7)

static void take_line(struct neighbours *neighbours, struct slice line)
{
    static const struct slice prefix = {"data:", 5};
    if (!slice_starts_with(line, prefix)) {
        return; // a sign of life
    }
    struct feed *feed = &neighbours->feed;
    if (page_engine_event(neighbours->page, slice_trim(slice_skip(line, prefix.len)))) {
        feed->heard = true;
        feed->problem[0] = '\0';
    } else {
        misunderstand(neighbours, NEIGHBOUR_ENGINE, feed->problem);
    }
    judge(neighbours, NEIGHBOUR_ENGINE);
}

static void on_chunk(void *arg, struct slice bytes)
{
    struct neighbours *neighbours = arg;
    struct feed *feed = &neighbours->feed;
    worker_arm_in(neighbours->worker, &feed->silence, SILENCE_NS);
    ptrdiff_t end;
    while ((end = slice_find(bytes, '\n')) >= 0) {
        buf_append(&feed->line, bytes.at, (size_t)end); // one that is too long is passed over
        if (!feed->line.failed) {
            take_line(neighbours, buf_slice(&feed->line));
        }
        buf_clear(&feed->line);
        bytes = slice_skip(bytes, (size_t)end + 1);
    }
    buf_append_slice(&feed->line, bytes);
    if (feed->line.len == 0) {
        buf_reset(&feed->line);
    }
}

static void feed_ended(struct neighbours *neighbours)
{
    timer_cancel(&neighbours->feed.silence);
    buf_reset(&neighbours->feed.line);
    judge(neighbours, NEIGHBOUR_ENGINE);
}

static void on_feed_end(void *arg, const struct http_call_result *result)
{
    struct neighbours *neighbours = arg;
    const struct neighbour_place *place = &neighbours->places[NEIGHBOUR_ENGINE];
    neighbours->feed.call = NULL;
    if (result->outcome == HTTP_CALL_ANSWERED && result->status == 200) {
        snprintf(neighbours->feed.problem, PROBLEM_SIZE, "the engine at %s has ended its events",
            place->url);
    } else {
        describe(neighbours, NEIGHBOUR_ENGINE, result, neighbours->feed.problem);
    }
    feed_ended(neighbours);
}

static void on_silence(struct timer *timer)
{
    struct feed *feed = container_of(timer, struct feed, silence);
    struct neighbours *neighbours = container_of(feed, struct neighbours, feed);
    http_call_cancel(feed->call);
    feed->call = NULL;
    snprintf(feed->problem, PROBLEM_SIZE, "the engine at %s cannot be asked: it says nothing",
        neighbours->places[NEIGHBOUR_ENGINE].url);
    feed_ended(neighbours);
}

static void dial_feed(struct neighbours *neighbours)
{
    struct feed *feed = &neighbours->feed;
    if (feed->call != NULL || neighbours->places[NEIGHBOUR_ENGINE].url[0] == '\0') {
        return;
    }
    feed->call = start_call(neighbours, &(struct question){.neighbour = NEIGHBOUR_ENGINE,
                                            .path = FEED_PATH,
                                            .done = on_feed_end,
                                            .chunk = on_chunk,
                                            .arg = neighbours});
    if (feed->call != NULL) {
        worker_arm_in(neighbours->worker, &feed->silence, TIMEOUT_NS);
    }
}

// ---- Life

static void on_ask(struct timer *timer)
{
    struct neighbours *neighbours = container_of(timer, struct neighbours, ask);
    worker_arm_in(neighbours->worker, timer, ASK_NS);
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        ask_page(neighbours, i); // without memory in two seconds
    }
    dial_feed(neighbours);
}

void neighbours_wake(struct neighbours *neighbours)
{
    if (neighbours->awake) {
        return;
    }
    neighbours->awake = true;
    for (unsigned i = 0; i < NEIGHBOUR_COUNT; i++) {
        if (neighbours->places[i].url[0] != '\0') {
            judge(neighbours, i);
        }
    }
    on_ask(&neighbours->ask);
}

void neighbours_rest(struct neighbours *neighbours)
{
    neighbours->awake = false;
    timer_cancel(&neighbours->ask);
    timer_cancel(&neighbours->feed.silence);
    http_call_cancel(neighbours->feed.call);
    neighbours->feed.call = NULL;
    neighbours->feed.problem[0] = '\0';
    neighbours->feed.heard = false;
    buf_reset(&neighbours->feed.line);
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        http_call_cancel(neighbours->pages[i].call);
        neighbours->pages[i] = (struct neighbour_page){.of = neighbours};
    }
    memset(neighbours->since_wall_ms, 0, sizeof neighbours->since_wall_ms);
}

struct neighbours *neighbours_new(
    struct worker *worker, const struct neighbour_place *places, struct page *page)
{
    struct neighbours *neighbours = mem_zalloc(sizeof *neighbours);
    if (neighbours == NULL) {
        return NULL;
    }
    neighbours->worker = worker;
    neighbours->places = places;
    neighbours->page = page;
    timer_init(&neighbours->ask, on_ask);
    timer_init(&neighbours->feed.silence, on_silence);
    buf_init(&neighbours->feed.line, BODY_MAX);
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        neighbours->pages[i].of = neighbours;
    }
    return neighbours;
}

void neighbours_free(struct neighbours *neighbours)
{
    if (neighbours != NULL) {
        neighbours_rest(neighbours);
        mem_free(neighbours);
    }
}
