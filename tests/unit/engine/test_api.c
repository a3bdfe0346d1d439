// SPDX-License-Identifier: Apache-2.0
// The Engine API between a front that the test plays and a directory it fills (spec section 8): who
// is refused with what, and what watchers get, fast and slow ones.
#include "engine/api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/mint.h"
#include "base/mem.h"
#include "engine/api/watch.h"
#include "engine/control/registration.h"
#include "engine/shard.h"
#include "proto/websocket.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define HOST "edge.example.com"
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define TEXT_MAX (8u << 20)

static const struct tunnel_rules rules = {.host = HOST, .public_port = 443, .labels_max = 64};
static const struct tunnel_owner owner = {.client_id = "c", .identity = "i", .user_id = {"", 0}};
static const struct directory_limits limits = {
    .clients = 100, .clients_each = 100, .tunnels = 100000};

struct world {
    struct crew crew;
    struct engine engine;
    struct engine_config config;
    struct engine_shard shard;
    struct visitor visitor;
    struct token *token;   // for the tunnels
    unsigned long fail_at; // the allocation of a request that fails; 0: none
};

// A front that keeps what it gets.
struct front {
    struct exchange exchange;
    unsigned status;
    char fields[1024];
    struct buf body;
    bool ended;
    bool cut;
    bool resumed;
    bool full; // says "no more"
};

static struct front *front_of(struct exchange *exchange)
{
    return container_of(exchange, struct front, exchange);
}

static void front_head(struct exchange *exchange, const struct answer_head *head)
{
    struct front *front = front_of(exchange);
    front->status = head->status;
    for (size_t i = 0; i < head->field_count; i++) {
        size_t len = strlen(front->fields);
        snprintf(front->fields + len, sizeof front->fields - len, "%.*s: %.*s\n",
            SLICE_ARG(head->fields[i].name), SLICE_ARG(head->fields[i].value));
    }
}

static bool front_body(struct exchange *exchange, struct slice bytes)
{
    struct front *front = front_of(exchange);
    (void)buf_append_slice(&front->body, bytes); // the tests look at what is there
    return !front->full;
}

static void front_end(struct exchange *exchange, const struct http1_header *trailers, size_t count)
{
    (void)trailers;
    (void)count;
    front_of(exchange)->ended = true;
}

static void front_cut(struct exchange *exchange)
{
    front_of(exchange)->cut = true;
}

static void front_resume(struct exchange *exchange)
{
    front_of(exchange)->resumed = true;
}

static const struct front_ops front_ops = {.head = front_head,
    .body = front_body,
    .end = front_end,
    .cut = front_cut,
    .resume = front_resume};

// ---- A worker whose turns the test makes.

static bool run_list(struct worker *worker, struct list *jobs)
{
    struct list now;
    struct list *node;
    bool any = false;
    list_init(&now);
    while ((node = list_pop_front(jobs)) != NULL) {
        list_push_back(&now, node);
    }
    while ((node = list_pop_front(&now)) != NULL) {
        struct job *job = container_of(node, struct job, node);
        job->run(worker, job);
        any = true;
    }
    return any;
}

static void turn(struct world *world)
{
    struct worker *worker = &world->crew.workers[0];
    bool posts;
    bool deferred;
    do {
        posts = run_list(worker, &worker->posts);
        deferred = run_list(worker, &worker->deferred);
    } while (posts || deferred);
}

static const char *token_text(const char *claims)
{
    static char text[4096];
    struct auth_key key;
    struct buf minted = BUF_INIT(sizeof text - 1);
    assert_int_equal(auth_key_from_secret(SLICE(SECRET), &key), WEIR_OK);
    assert_int_equal(mint_token(&key, slice_str(claims), &minted), WEIR_OK);
    assert_true(slice_to_text(buf_slice(&minted), text, sizeof text));
    auth_key_fini(&key);
    buf_reset(&minted);
    return text;
}

static int set_up(void **state)
{
    static char host[] = HOST;
    static char secret[] = SECRET;
    const char *reason;
    struct world *world = mem_zalloc(sizeof *world);
    struct engine *engine = &world->engine;
    assert_int_equal(crew_init(&world->crew, 1), WEIR_OK);
    world->config = (struct engine_config){.host = host, .jwt_secret = secret, .limit_watchers = 2};
    atomic_init(&engine->config, &world->config);
    engine->crew = &world->crew;
    engine->feed = feed_new(&world->crew);
    engine->directory = directory_new(engine->feed);
    engine->metrics = engine_metrics_new(1);
    world->shard.engine = engine;
    world->shard.worker = &world->crew.workers[0];
    world->shard.metrics = engine->metrics;
    list_init(&world->shard.watchers);
    world->visitor.shard = &world->shard;
    world->token =
        token_read(slice_str(token_text("{\"sub\":\"a\"}")), SLICE(SECRET), 1800000000000, &reason);
    watch_attach(&world->shard);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    assert_true(list_empty(&world->shard.watchers));
    assert_int_equal(feed_subscribers(world->engine.feed), 0);
    assert_int_equal(
        engine_metrics_total(world->engine.metrics, 1, ENGINE_WATCH_SUBSCRIBERS_SSE), 0);
    assert_int_equal(
        engine_metrics_total(world->engine.metrics, 1, ENGINE_WATCH_SUBSCRIBERS_WEBSOCKET), 0);
    turn(world);
    directory_free(world->engine.directory);
    feed_free(world->engine.feed);
    engine_metrics_free(world->engine.metrics);
    token_free(world->token);
    crew_fini(&world->crew);
    mem_free(world);
    return 0;
}

// ---- Requests.

struct ask {
    const char *method; // NULL: GET
    const char *target;
    const char *claims; // of the token in the header; NULL: none
    const char *field;  // "name: value", one more
    const char *upgrade;
    unsigned version; // 0: 1
};

static struct front *start(struct world *world, const struct ask *ask)
{
    struct front *front = calloc(1, sizeof *front);
    char bearer[4200];
    struct http1_header fields[4];
    struct request_head head = {
        .method = slice_str(ask->method == NULL ? "GET" : ask->method),
        .authority = SLICE(HOST),
        .target = slice_str(ask->target),
        .fields = fields,
        .upgrade = slice_str(ask->upgrade),
        .version = ask->version == 0 ? 1 : ask->version,
    };
    if (ask->claims != NULL) {
        snprintf(bearer, sizeof bearer, "Bearer %s", token_text(ask->claims));
        fields[head.field_count++] =
            (struct http1_header){SLICE("Authorization"), slice_str(bearer)};
    }
    if (ask->field != NULL) {
        struct slice rest = slice_str(ask->field);
        struct slice name;
        assert_true(slice_split(&rest, ':', &name));
        fields[head.field_count++] = (struct http1_header){name, slice_trim(rest)};
    }
    if (ask->upgrade != NULL) {
        fields[head.field_count++] =
            (struct http1_header){SLICE("Sec-WebSocket-Version"), SLICE("13")};
    }
    buf_init(&front->body, TEXT_MAX);
    front->exchange.visitor = &world->visitor;
    front->exchange.front = &front_ops;
    front->exchange.head_only = slice_eq(head.method, SLICE("HEAD"));
    front->exchange.connect = slice_eq(head.method, SLICE("CONNECT"));
    mem_fail_at(world->fail_at);
    api_start(&front->exchange, &head);
    return front;
}

static struct front *watch(struct world *world, const char *target)
{
    struct front *front = start(world, &(struct ask){.target = target, .claims = "{}"});
    turn(world);
    assert_int_equal(front->status, 200);
    return front;
}

static struct front *dial(struct world *world, const char *target)
{
    struct front *front = start(world, &(struct ask){.target = target,
                                           .claims = "{}",
                                           .upgrade = "websocket",
                                           .field = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="});
    turn(world);
    assert_int_equal(front->status, 101);
    return front;
}

static void drop(struct front *front)
{
    exchange_cancel(&front->exchange);
    buf_reset(&front->body);
    free(front);
}

static const char *text_of(struct front *front)
{
    const char *text = buf_text(&front->body);
    assert_non_null(text);
    return text;
}

static struct tunnel *open_tunnel(struct world *world, const char *name)
{
    struct registration result;
    struct rstrm_tunnel_properties asked = {.hostname = slice_str(name), .name = slice_str(name)};
    registration_try(
        world->engine.directory, &limits, &asked, &rules, &owner, world->token, &result);
    assert_non_null(result.tunnel);
    return result.tunnel;
}

static void close_tunnel(struct world *world, struct tunnel *tunnel)
{
    assert_true(directory_remove(world->engine.directory, tunnel));
    tunnel_unref(tunnel);
}

// ---- Refusals.

static void test_codes(void **state)
{
#define READ "{\"permissions\":[\"tunnels.resources.read-only\"]}"
    static const struct {
        struct ask ask;
        unsigned status;
        const char *has; // in fields or body
    } rows[] = {
        {{.target = "/api/openapi.json"}, 200, "weir Engine API"},
        {{.target = "/api/openapi.json?x=1"}, 200, "application/vnd.oai.openapi+json"},
        {{.target = "/"}, 200, "weir engine"},
        {{.target = "/api/clients", .claims = READ}, 200, "[]"},
        {{.target = "/api/tunnels", .claims = "{}"}, 200, "cache-control: no-store"},
        {{.target = "/api/auth", .claims = "{\"permissions\":[]}"}, 200, "{}"},
        {{.target = "/api/auth"}, 401, "error"},
        {{.target = "/api/clients"}, 401, "www-authenticate: Bearer"},
        {{.target = "/api/tunnels"}, 401, "www-authenticate: Bearer"},
        {{.target = "/api/tunnels", .field = "Authorization: Basic YTpi"}, 401, "error"},
        {{.target = "/api/tunnels", .field = "Authorization: Bearer a.b.c"}, 401, "error"},
        {{.target = "/api/tunnels", .claims = "{\"exp\":1000}"}, 401, "error"},
        {{.target = "/api/tunnels", .claims = "{}", .field = "Authorization: Bearer x"}, 401, ""},
        {{.target = "/api/sse"}, 401, "error"},
        {{.target = "/api/sse?rstream.token=x", .claims = "{}"}, 400, "not in both"},
        {{.target = "/api/tunnels", .claims = "{\"permissions\":[]}"}, 403, "error"},
        {{.target = "/api/sse", .claims = "{\"permissions\":[\"tunnels.streams.create-delete\"]}"},
            403, "error"},
        {{.target = "/api/tunnels?params=%7B", .claims = "{}"}, 400, "JSON object"},
        {{.target = "/api/tunnels?params=", .claims = "{}"}, 400, "JSON object"},
        {{.target = "/api/tunnels?params={\"limit\":0}", .claims = "{}"}, 400, "limit"},
        {{.target = "/api/clients?params={\"filters\":{\"name\":\"a\"}}", .claims = "{}"}, 400,
            "name"},
        {{.target = "/api/sse?params={\"limit\":1}", .claims = "{}"}, 400, "clients and tunnels"},
        {{.target = "/api/websocket", .claims = "{}"}, 400, "WebSocket"},
        {{.target = "/api/websocket", .claims = "{}", .upgrade = "h2c"}, 400, "WebSocket"},
        {{.target = "/api/websocket", .claims = "{}", .upgrade = "websocket"}, 400, "Key"},
        {{.target = "/api/websocket",
             .claims = "{}",
             .upgrade = "websocket",
             .field = "Sec-WebSocket-Key: short"},
            400, "Key"},
        {{.target = "/api/tunnels/none", .claims = "{}"}, 404, "error"},
        {{.target = "/api/tunnels/", .claims = "{}"}, 404, "error"},
        {{.target = "/api/whoami", .claims = "{}"}, 404, "error"},
        {{.target = "/api", .claims = "{}"}, 404, "error"},
        {{.target = "/api/tunnels/a/b", .claims = "{}"}, 404, "error"},
        {{.target = "/.well-known/rstream/engine"}, 404, "error"},
        {{.target = "*", .method = "OPTIONS"}, 404, "error"},
        {{.target = "/api/tunnels", .method = "POST"}, 405, "allow: GET, HEAD"},
        {{.target = "/api/openapi.json", .method = "DELETE"}, 405, "allow: GET, HEAD"},
        {{.target = "/api/tunnels", .method = "CONNECT", .upgrade = "websocket"}, 405, "allow"},
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct front *front = start(world, &rows[i].ask);
        print_message("%s: %u %s\n", rows[i].ask.target, front->status, text_of(front));
        assert_int_equal(front->status, rows[i].status);
        assert_true(front->ended && front->exchange.ended);
        assert_true(strstr(front->fields, rows[i].has) != NULL ||
                    strstr(text_of(front), rows[i].has) != NULL);
        drop(front);
    }
    struct engine_metrics *metrics = world->engine.metrics;
    assert_int_equal(engine_metrics_total(metrics, 1, ENGINE_API_REQUESTS_AUTH_401), 1);
    assert_int_equal(engine_metrics_total(metrics, 1, ENGINE_API_REQUESTS_SSE_403), 1);
    assert_int_equal(engine_metrics_total(metrics, 1, ENGINE_API_REQUESTS_HOME_200), 1);
    assert_int_equal(engine_metrics_total(metrics, 1, ENGINE_API_REQUESTS_OPENAPI_405), 1);
}

static void test_head_has_no_body(void **state)
{
    static const char *const targets[] = {"/api/openapi.json", "/api/tunnels", "/api/sse"};
    for (size_t i = 0; i < 3; i++) {
        struct front *front =
            start(*state, &(struct ask){.method = "HEAD", .target = targets[i], .claims = "{}"});
        assert_int_equal(front->status, 200);
        assert_true(front->exchange.ended);
        assert_int_equal(front->body.len, 0);
        drop(front);
    }
}

// ---- Lists.

static size_t list_len(struct world *world, const char *target, const char *claims)
{
    struct front *front = start(world, &(struct ask){.target = target, .claims = claims});
    for (int i = 0; i < 1000 && !front->ended; i++) {
        turn(world);
    }
    json_t *list = json_loads(text_of(front), 0, NULL);
    assert_true(front->ended && json_is_array(list));
    size_t len = json_array_size(list);
    json_decref(list);
    drop(front);
    return len;
}

static void test_lists(void **state)
{
    struct world *world = *state;
    struct tunnel *tunnels[300]; // more than one piece
    for (size_t i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        tunnels[i] = open_tunnel(world, name);
    }
    assert_int_equal(list_len(world, "/api/tunnels", "{}"), 300);
    assert_int_equal(list_len(world, "/api/tunnels?params={\"limit\":7}", "{}"), 7);
    assert_int_equal(list_len(world, "/api/tunnels?params={\"limit\":299}", "{}"), 299);
    assert_int_equal(
        list_len(world, "/api/tunnels?params={\"filters\":{\"name\":\"t299\"}}", "{}"), 1);
    assert_int_equal(
        list_len(world, "/api/tunnels?params=%7B%22filters%22:{%22publish%22:false}}", "{}"), 0);
    assert_int_equal(list_len(world, "/api/tunnels",
                         "{\"resources\":{\"tunnels\":{\"scopes\":{\"tunnels\":{\"list\":"
                         "{\"filters\":{\"name\":\"t3\"}}}}}}}"),
        1);

    // A slow reader: nothing is pushed until it resumes; and one that leaves in the middle.
    for (int leaves = 0; leaves < 2; leaves++) {
        struct front *front = start(world, &(struct ask){.target = "/api/tunnels", .claims = "{}"});
        front->full = true;
        turn(world);
        size_t len = front->body.len;
        turn(world);
        assert_int_equal(front->body.len, len);
        assert_false(front->ended);
        if (leaves == 0) {
            front->full = false;
            exchange_answer_resume(&front->exchange);
            turn(world);
            assert_true(front->ended);
        }
        drop(front);
    }
    char target[64];
    snprintf(target, sizeof target, "/api/tunnels/%s", tunnels[5]->id);
    struct front *front = start(world, &(struct ask){.target = target, .claims = "{}"});
    assert_true(slice_eq(buf_slice(&front->body), tunnels[5]->json));
    drop(front);
    for (size_t i = 0; i < 300; i++) {
        close_tunnel(world, tunnels[i]);
    }
}

// ---- Server-sent events.

// The events so far; each is one line "data: " and an empty one. Emptied.
static json_t *take_events(struct front *front)
{
    json_t *events = json_array();
    struct slice rest = slice_str(text_of(front));
    while (rest.len > 0) {
        assert_true(slice_starts_with(rest, SLICE("data: ")));
        const char *end = strstr(rest.at, "\n\n");
        assert_non_null(end);
        struct slice line = slice_of(rest.at + 6, (size_t)(end - rest.at) - 6);
        assert_true(slice_find(line, '\n') < 0);
        json_t *event = json_loadb(line.at, line.len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(event);
        json_array_append_new(events, event);
        rest = slice_skip(rest, line.len + 8);
    }
    buf_reset(&front->body);
    return events;
}

static const char *type_at(json_t *events, size_t index)
{
    const char *type = json_string_value(json_object_get(json_array_get(events, index), "type"));
    return type == NULL ? "" : type;
}

static size_t snapshot_len(json_t *event, const char *kind)
{
    return json_array_size(json_object_get(json_object_get(event, "object"), kind));
}

static void test_sse(void **state)
{
    struct world *world = *state;
    struct tunnel *before = open_tunnel(world, "before");
    struct front *front = watch(world, "/api/sse");
    assert_non_null(strstr(front->fields, "content-type: text/event-stream\n"));
    assert_non_null(strstr(front->fields, "cache-control: no-cache\n"));
    struct tunnel *after = open_tunnel(world, "after");
    close_tunnel(world, before);
    turn(world);
    json_t *events = take_events(front);
    assert_int_equal(json_array_size(events), 3);
    assert_string_equal(type_at(events, 0), "state.initial");
    assert_int_equal(snapshot_len(json_array_get(events, 0), "tunnels"), 1);
    assert_string_equal(type_at(events, 1), "tunnel.created");
    assert_string_equal(type_at(events, 2), "tunnel.deleted");
    json_decref(events);
    close_tunnel(world, after);
    drop(front);
}

static void test_filters_and_scopes(void **state)
{
    struct world *world = *state;
    struct front *fronts[] = {
        watch(world, "/api/sse?params={\"tunnels\":{\"name\":\"a\"}}"),
        start(world, &(struct ask){.target = "/api/sse?params={\"clients\":false}",
                         .claims = "{\"resources\":{\"tunnels\":{\"scopes\":{\"tunnels\":"
                                   "{\"list\":{\"filters\":{\"name\":\"a\"}}}}}}}"}),
    };
    struct front *third = start(world, &(struct ask){.target = "/api/sse", .claims = "{}"});
    assert_int_equal(third->status, 503);
    drop(third);
    close_tunnel(world, open_tunnel(world, "b"));
    struct tunnel *shown = open_tunnel(world, "a");
    turn(world);
    for (size_t i = 0; i < 2; i++) {
        json_t *events = take_events(fronts[i]);
        assert_int_equal(json_array_size(events), 2);
        assert_string_equal(type_at(events, 1), "tunnel.created");
        json_decref(events);
        drop(fronts[i]);
    }
    close_tunnel(world, shown);
}

// What was missed is made good for by one snapshot, and nothing comes twice.
static void test_slow_watcher(void **state)
{
    struct world *world = *state;
    struct front *front = watch(world, "/api/sse");
    front->full = true;
    close_tunnel(world, open_tunnel(world, "first"));
    turn(world);
    json_t *events = take_events(front); // the one write that told us, at most
    assert_in_range(json_array_size(events), 1, 2);
    json_decref(events);
    for (int i = 0; i < 600; i++) {
        close_tunnel(world, open_tunnel(world, "x"));
        turn(world);
    }
    struct tunnel *there = open_tunnel(world, "there");
    turn(world);
    assert_int_equal(front->body.len, 0);
    front->full = false;
    exchange_answer_resume(&front->exchange);
    turn(world);
    struct tunnel *later = open_tunnel(world, "later");
    turn(world);
    events = take_events(front);
    assert_int_equal(json_array_size(events), 2);
    assert_string_equal(type_at(events, 0), "state.initial");
    assert_int_equal(snapshot_len(json_array_get(events, 0), "tunnels"), 1);
    assert_string_equal(type_at(events, 1), "tunnel.created");
    json_decref(events);
    assert_in_range(
        engine_metrics_total(world->engine.metrics, 1, ENGINE_WATCH_EVENTS_DROPPED), 1200, 1203);
    close_tunnel(world, there);
    close_tunnel(world, later);
    drop(front);
}

// A snapshot that takes several writes; what happens meanwhile comes behind it.
static void test_long_snapshot(void **state)
{
    struct world *world = *state;
    struct tunnel *tunnels[300];
    for (size_t i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        tunnels[i] = open_tunnel(world, name);
    }
    struct front *front = start(world, &(struct ask){.target = "/api/sse", .claims = "{}"});
    front->full = true;
    turn(world);
    close_tunnel(world, tunnels[0]);
    turn(world);
    front->full = false;
    exchange_answer_resume(&front->exchange);
    turn(world);
    json_t *events = take_events(front);
    assert_int_equal(json_array_size(events), 2);
    assert_int_equal(snapshot_len(json_array_get(events, 0), "tunnels"), 300);
    assert_string_equal(type_at(events, 1), "tunnel.deleted");
    json_decref(events);
    for (size_t i = 1; i < 300; i++) {
        close_tunnel(world, tunnels[i]);
    }
    drop(front);
}

static void test_drain(void **state)
{
    struct world *world = *state;
    struct front *sse = watch(world, "/api/sse");
    struct front *socket = dial(world, "/api/websocket");
    buf_reset(&socket->body);
    watch_drain(&world->shard);
    assert_true(sse->ended && sse->exchange.ended);
    assert_memory_equal(text_of(socket), "\x88\x0c\x03\xe9going away", 14);
    assert_false(socket->ended);
    // Its answer.
    assert_true(
        exchange_request_body(&socket->exchange, slice_of("\x88\x82\x00\x00\x00\x00\x03\xe9", 8)));
    assert_true(socket->ended);
    exchange_request_end(&socket->exchange, NULL, 0);
    assert_true(socket->exchange.ended);
    drop(sse);
    drop(socket);
}

// ---- WebSockets.

static void test_websocket(void **state)
{
    struct world *world = *state;
    struct front *front = dial(world, "/api/websocket?params={\"clients\":false}");
    assert_non_null(strstr(front->fields, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n"));
    struct ws_header header;
    assert_int_equal(ws_header_parse(buf_slice(&front->body), false, &header), WEIR_OK);
    assert_true(header.fin && header.opcode == WS_TEXT);
    json_t *event = json_loadb(front->body.at + front->body.start + header.header_len,
        (size_t)header.payload_len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(event, "type")), "state.initial");
    json_decref(event);
    buf_reset(&front->body);

    // A message in fragments with a ping inside, byte by byte: only the ping is answered.
    static const char sent[] = "\x01\x83\x01\x02\x03\x04\x60\x60\x60"
                               "\x89\x82\x01\x02\x03\x04hk"
                               "\x80\x80\x00\x00\x00\x00";
    for (size_t i = 0; i + 1 < sizeof sent; i++) {
        assert_true(exchange_request_body(&front->exchange, slice_of(sent + i, 1)));
    }
    assert_int_equal(front->body.len, 4);
    assert_memory_equal(text_of(front), "\x8a\x02ii", 4);
    buf_reset(&front->body);

    // While it takes nothing, it is not listened to either.
    front->full = true;
    struct tunnel *tunnel = open_tunnel(world, "a");
    turn(world);
    assert_false(exchange_request_body(&front->exchange, slice_of("\x81\x80\0\0\0\0", 6)));
    front->full = false;
    exchange_answer_resume(&front->exchange);
    assert_true(front->resumed);
    close_tunnel(world, tunnel);
    turn(world);
    buf_reset(&front->body);

    assert_true(
        exchange_request_body(&front->exchange, slice_of("\x88\x82\x00\x00\x00\x00\x03\xe8", 8)));
    assert_memory_equal(text_of(front), "\x88\x02\x03\xe8", 4);
    assert_true(front->ended);
    exchange_request_end(&front->exchange, NULL, 0);
    assert_true(front->exchange.ended);
    drop(front);
}

static void test_bad_frames(void **state)
{
    static const struct {
        struct slice sent;
        const char *close;
    } rows[] = {
        {TEXT("\x81\x00"), "\x03\xea"},                         // not masked
        {TEXT("\x83\x80\0\0\0\0"), "\x03\xea"},                 // an unknown opcode
        {TEXT("\xc1\x80\0\0\0\0"), "\x03\xea"},                 // a reserved bit
        {TEXT("\x80\x80\0\0\0\0"), "\x03\xea"},                 // nothing to continue
        {TEXT("\x81\xff\0\0\0\0\0\1\0\1\0\0\0\0"), "\x03\xf1"}, // too long
        {TEXT("\x88\x81\0\0\0\0x"), "\x03\xea"},                // half a code
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct front *front = dial(world, "/api/websocket");
        buf_reset(&front->body);
        (void)exchange_request_body(&front->exchange, rows[i].sent);
        assert_int_equal(text_of(front)[0], (char)0x88);
        assert_memory_equal(text_of(front) + 2, rows[i].close, 2);
        assert_true(front->ended);
        size_t len = front->body.len;
        // It is not listened to any more.
        assert_true(exchange_request_body(&front->exchange, SLICE("\x89\x80\0\0\0\0")));
        assert_int_equal(front->body.len, len);
        drop(front);
    }
}

static void test_peer_leaves(void **state)
{
    struct world *world = *state;
    struct front *front = dial(world, "/api/websocket");
    exchange_request_end(&front->exchange, NULL, 0);
    assert_true(front->ended && front->exchange.ended);
    drop(front);
    drop(dial(world, "/api/websocket")); // without a word
}

static void test_websocket_over_h2(void **state)
{
    struct world *world = *state;
    struct front *front = start(world, &(struct ask){.method = "CONNECT",
                                           .version = 2,
                                           .target = "/api/websocket",
                                           .claims = "{}",
                                           .upgrade = "websocket"});
    turn(world);
    assert_int_equal(front->status, 200);
    assert_true(front->exchange.upgraded);
    assert_int_equal(text_of(front)[0], (char)0x81);
    drop(front);
}

// Whatever allocation fails: an answer, or a cut, and nothing is left behind.
static void test_every_allocation_fails_once(void **state)
{
    static const struct ask asks[] = {
        {.target = "/api/openapi.json"},
        {.target = "/api/tunnels?params={\"filters\":{\"name\":\"a\"}}", .claims = "{}"},
        {.target = "/api/sse?params={\"clients\":false}", .claims = "{}"},
        {.target = "/api/websocket",
            .claims = "{\"resources\":{\"tunnels\":{\"OR\":[{}]}}}",
            .upgrade = "websocket",
            .field = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        bool reached = false; // fewer allocations than nth
        for (unsigned long nth = 1; !reached && nth < 500; nth++) {
            struct tunnel *tunnel = open_tunnel(world, "a");
            world->fail_at = nth;
            struct front *front = start(world, &asks[i]);
            turn(world);
            bool removed = directory_remove(world->engine.directory, tunnel);
            turn(world);
            reached = mem_count() < nth;
            world->fail_at = 0;
            mem_fail_at(0);
            assert_true(removed);
            assert_true(front->status != 0 || front->cut);
            tunnel_unref(tunnel);
            drop(front);
        }
        assert_true(reached);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_codes),
        TEST(test_head_has_no_body),
        TEST(test_lists),
        TEST(test_sse),
        TEST(test_filters_and_scopes),
        TEST(test_slow_watcher),
        TEST(test_long_snapshot),
        TEST(test_drain),
        TEST(test_websocket),
        TEST(test_bad_frames),
        TEST(test_peer_leaves),
        TEST(test_websocket_over_h2),
        TEST(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
