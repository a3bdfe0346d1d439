// SPDX-License-Identifier: Apache-2.0
// Who is there, who has which name, and what watchers hear of it.
#include "engine/control/directory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#include "auth/mint.h"
#include "base/mem.h"
#include "engine/control/registration.h"
#include "engine/shard.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static const struct tunnel_rules rules = {.host = "edge.example.com",
    .public_port = 443,
    .labels_max = 64,
    .tcp_port_min = 20000,
    .tcp_port_max = 20002};
static const struct tunnel_owner owner = {.client_id = "c", .identity = "i", .user_id = {"", 0}};
static const struct directory_limits limits = {.clients = 3, .clients_each = 2, .tunnels = 4};

struct world {
    struct crew crew;
    struct feed *feed;
    struct directory *directory;
    struct token *token; // of a client, with all rights
};

static struct token *token_of(const char *claims)
{
    struct auth_key key;
    struct buf text = BUF_INIT(4096);
    const char *reason;
    assert_int_equal(auth_key_from_secret(SLICE(SECRET), &key), WEIR_OK);
    assert_int_equal(mint_token(&key, slice_str(claims), &text), WEIR_OK);
    struct token *token = token_read(buf_slice(&text), SLICE(SECRET), 1800000000000, &reason);
    assert_non_null(token);
    auth_key_fini(&key);
    buf_reset(&text);
    return token;
}

static int set_up(void **state)
{
    struct world *world = mem_zalloc(sizeof *world);
    assert_int_equal(crew_init(&world->crew, 1), WEIR_OK);
    world->feed = feed_new(&world->crew);
    world->directory = directory_new(world->feed);
    world->token = token_of("{\"sub\":\"a\"}");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    directory_free(world->directory);
    feed_free(world->feed);
    token_free(world->token);
    crew_fini(&world->crew);
    mem_free(world);
    return 0;
}

static struct registration try(struct world *world, struct rstrm_tunnel_properties asked)
{
    struct registration result;
    registration_try(world->directory, &limits, &asked, &rules, &owner, world->token, &result);
    return result;
}

static struct tunnel *open_tunnel(struct world *world, struct rstrm_tunnel_properties asked)
{
    struct registration result = try(world, asked);
    assert_non_null(result.tunnel);
    assert_null(result.holder);
    assert_true(result.tunnel->open);
    return result.tunnel;
}

static void close_tunnel(struct world *world, struct tunnel *tunnel)
{
    assert_true(directory_remove(world->directory, tunnel));
    assert_false(tunnel->open);
    assert_false(directory_remove(world->directory, tunnel));
    tunnel_unref(tunnel);
}

static void expect_taken(struct world *world, struct rstrm_tunnel_properties asked,
    struct tunnel *holder, const char *text)
{
    struct registration result = try(world, asked);
    assert_null(result.tunnel);
    assert_ptr_equal(result.holder, holder);
    assert_int_equal(result.refusal.code, RSTRM_CODE_INVALID_REQUEST);
    assert_string_equal(result.refusal.message, text);
    tunnel_unref(result.holder);
}

static void test_conflicts(void **state)
{
    struct world *world = *state;
    struct rstrm_tunnel_properties demo = {.hostname = SLICE("demo"), .name = SLICE("web")};
    struct rstrm_tunnel_properties same_host = {.hostname = SLICE("DEMO.t.edge.example.com")};
    struct rstrm_tunnel_properties same_name = {.publish = RSTRM_FALSE, .name = SLICE("web")};
    struct rstrm_tunnel_properties tcp = {
        .protocol = SLICE("tcp"), .has_port = true, .port = 20001};
    struct tunnel *tunnel = open_tunnel(world, demo);
    expect_taken(world, same_host, tunnel, "Hostname is already in use.");
    expect_taken(world, same_name, tunnel, "Tunnel name is already in use.");
    struct tunnel *port = open_tunnel(world, tcp);
    expect_taken(world, tcp, port, "TCP port is already in use.");
    // Free at once.
    close_tunnel(world, tunnel);
    close_tunnel(world, port);
    close_tunnel(world, open_tunnel(world, same_host));
    close_tunnel(world, open_tunnel(world, same_name));
    close_tunnel(world, open_tunnel(world, tcp));
}

static void test_ports_are_given_out(void **state)
{
    struct world *world = *state;
    struct rstrm_tunnel_properties tcp = {.protocol = SLICE("tcp")};
    struct tunnel *tunnels[3];
    unsigned seen = 0;
    for (size_t i = 0; i < 3; i++) {
        tunnels[i] = open_tunnel(world, tcp);
        seen |= 1u << (tunnels[i]->port - 20000);
    }
    assert_int_equal(seen, 7);
    struct registration result = try(world, tcp);
    assert_int_equal(result.refusal.code, RSTRM_CODE_CAPACITY_EXHAUSTED);
    for (size_t i = 0; i < 3; i++) {
        close_tunnel(world, tunnels[i]);
    }
}

static void test_full(void **state)
{
    struct world *world = *state;
    struct rstrm_tunnel_properties any = {.publish = RSTRM_TRUE};
    struct tunnel *tunnels[4];
    for (size_t i = 0; i < 4; i++) {
        tunnels[i] = open_tunnel(world, any);
    }
    struct registration result = try(world, any);
    assert_null(result.tunnel);
    assert_int_equal(result.refusal.code, RSTRM_CODE_CAPACITY_EXHAUSTED);
    for (size_t i = 0; i < 4; i++) {
        close_tunnel(world, tunnels[i]);
    }
}

static void test_rights(void **state)
{
    struct world *world = *state;
    static const char *const claims[] = {"{\"permissions\":[\"tunnels.resources.read-only\"]}",
        "{\"resources\":{\"tunnels\":{\"scopes\":{\"tunnels\":{\"create\":{\"filters\":"
        "{\"name\":\"mine\"}}}}}}}"};
    for (size_t i = 0; i < 2; i++) {
        struct token *token = token_of(claims[i]);
        struct rstrm_tunnel_properties other = {.name = SLICE("other")};
        struct registration result;
        registration_try(world->directory, &limits, &other, &rules, &owner, token, &result);
        assert_null(result.tunnel);
        assert_int_equal(result.refusal.code, RSTRM_CODE_UNAUTHORIZED);
        token_free(token);
    }
    struct token *token = token_of(claims[1]);
    struct rstrm_tunnel_properties mine = {.name = SLICE("mine")};
    struct registration result;
    registration_try(world->directory, &limits, &mine, &rules, &owner, token, &result);
    close_tunnel(world, result.tunnel);
    token_free(token);
}

static void test_clients(void **state)
{
    struct world *world = *state;
    struct token *other = token_of("{\"sub\":\"b\",\"userId\":\"u\"}");
    struct rstrm_client_details details = {.agent = SLICE("x"), .token = SLICE("secret")};
    struct client *clients[4];
    static const enum directory_outcome outcomes[] = {
        DIRECTORY_ADDED, DIRECTORY_ADDED, DIRECTORY_FULL, DIRECTORY_ADDED};
    for (size_t i = 0; i < 4; i++) {
        clients[i] = client_new(&details, i < 3 ? world->token : other);
        assert_int_equal(directory_add_client(world->directory, clients[i], &limits), outcomes[i]);
    }
    struct client *late = client_new(NULL, other);
    assert_int_equal(directory_add_client(world->directory, late, &limits), DIRECTORY_FULL);
    assert_null(strstr(clients[3]->json.at, "secret"));

    struct snapshot snapshot;
    assert_true(directory_snapshot(world->directory, NULL, &snapshot));
    assert_int_equal(snapshot.client_count, 3);
    assert_ptr_equal(snapshot.clients[0], clients[0]);
    assert_ptr_equal(snapshot.clients[2], clients[3]);
    for (size_t i = 0; i < 4; i++) {
        directory_remove_client(world->directory, clients[i]);
        directory_remove_client(world->directory, clients[i]);
        client_unref(clients[i]);
    }
    client_unref(late);
    // The snapshot keeps what it shows.
    assert_true(slice_eq(snapshot.clients[2]->user_id, SLICE("u")));
    snapshot_fini(&snapshot);
    snapshot_fini(&snapshot);
    token_free(other);
}

static void test_finding(void **state)
{
    struct world *world = *state;
    struct rstrm_tunnel_properties demo = {.hostname = SLICE("demo"), .name = SLICE("web")};
    struct tunnel *tunnel = open_tunnel(world, demo);
    const struct {
        struct slice key;
        bool found;
    } rows[] = {{slice_str(tunnel->id), true}, {SLICE("web"), true}, {SLICE("Web"), false},
        {SLICE("demo"), false}, {SLICE("demo.t.edge.example.com"), false}, {SLICE(""), false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel *found = directory_by_id_or_name(world->directory, rows[i].key);
        assert_ptr_equal(found, rows[i].found ? tunnel : NULL);
        tunnel_unref(found);
    }
    struct tunnel *by_id = directory_by_id(world->directory, SLICE("web"));
    assert_null(by_id);
    close_tunnel(world, tunnel);
    assert_null(directory_by_id_or_name(world->directory, SLICE("web")));
}

// A worker that never runs: what it defers is counted.
static size_t deferred_jobs(struct worker *worker)
{
    size_t count = 0;
    list_for_each (node, &worker->deferred) {
        count++;
    }
    return count;
}

static void run_deferred(struct worker *worker)
{
    struct list *node;
    while ((node = list_pop_front(&worker->deferred)) != NULL) {
        struct job *job = container_of(node, struct job, node);
        job->run(worker, job);
    }
}

static void test_host_cache(void **state)
{
    struct world *world = *state;
    struct worker *worker = mem_zalloc(sizeof *worker);
    struct engine_shard *shard = mem_zalloc(sizeof *shard);
    struct slice host = SLICE("demo.t.edge.example.com");
    struct rstrm_tunnel_properties demo = {.hostname = SLICE("demo")};
    list_init(&worker->deferred);
    host_cache_init(&shard->host_cache, world->directory, worker);
    assert_null(directory_by_host(shard, host));
    for (int i = 0; i < 3; i++) {
        struct tunnel *tunnel = open_tunnel(world, demo);
        assert_ptr_equal(directory_by_host(shard, host), tunnel);
        assert_ptr_equal(directory_by_host(shard, host), tunnel);
        assert_int_equal(tunnel->refs, 3); // ours, the directory's, the cache's
        close_tunnel(world, tunnel);
        // Never handed out again, but usable until the end of the turn.
        assert_null(directory_by_host(shard, host));
        assert_int_equal(tunnel->refs, 1);
        assert_int_equal(deferred_jobs(worker), 1);
        run_deferred(worker);
    }
    // A closed one nobody asks for again goes when others have gone.
    struct tunnel *quiet = open_tunnel(world, demo);
    assert_ptr_equal(directory_by_host(shard, host), quiet);
    assert_true(directory_remove(world->directory, quiet));
    for (int i = 0; i < 100; i++) {
        struct rstrm_tunnel_properties other = {.hostname = SLICE("other")};
        close_tunnel(world, open_tunnel(world, other));
        assert_null(directory_by_host(shard, SLICE("nobody.t.edge.example.com")));
    }
    run_deferred(worker);
    assert_int_equal(quiet->refs, 1);
    tunnel_unref(quiet);

    struct tunnel *last = open_tunnel(world, demo);
    assert_non_null(directory_by_host(shard, host));
    host_cache_fini(&shard->host_cache);
    host_cache_fini(&shard->host_cache);
    assert_int_equal(last->refs, 2);
    close_tunnel(world, last);
    mem_free(shard);
    mem_free(worker);
}

// ---- The feed, on a worker that runs.

struct listener_state {
    struct world *world;
    struct snapshot snapshot;
    struct tunnel *tunnel;
    char seen[1024];
    int count;
};

static void on_event(void *arg, struct feed_event *event)
{
    struct listener_state *listener = arg;
    json_t *envelope = json_loadb(event->json.at, event->json.len, 0, NULL);
    const char *id;
    const char *type;
    const char *created;
    const char *status;
    assert_int_equal(json_unpack(envelope, "{s:s,s:s,s:s,s:{s:s}}", "id", &id, "type", &type,
                         "created_at", &created, "object", "status", &status),
        0);
    assert_int_equal(strlen(id), FEED_ID_SIZE - 1);
    assert_int_equal(created[strlen(created) - 1], 'Z');
    sprintf(listener->seen + strlen(listener->seen), "%s %s\n", type, status);
    json_decref(envelope);
    if (++listener->count == 4) {
        feed_unsubscribe(listener->world->feed, &listener->world->crew.workers[0]);
        crew_stop(&listener->world->crew);
    }
}

static enum weir_result start_listening(struct worker *worker, void *arg)
{
    struct listener_state *listener = arg;
    struct world *world = listener->world;
    struct client *client = client_new(NULL, world->token);
    struct rstrm_tunnel_properties demo = {.hostname = SLICE("demo")};
    struct tunnel *before = open_tunnel(world, demo); // in the snapshot, and no event
    feed_attach(world->feed, worker, on_event, listener);
    assert_true(directory_snapshot(world->directory, worker, &listener->snapshot));
    assert_int_equal(feed_subscribers(world->feed), 1);
    assert_int_equal(directory_add_client(world->directory, client, &limits), DIRECTORY_ADDED);
    struct rstrm_tunnel_properties other = {.hostname = SLICE("other")};
    close_tunnel(world, open_tunnel(world, other));
    directory_remove_client(world->directory, client);
    client_unref(client);
    listener->tunnel = before;
    return WEIR_OK;
}

static void stop_listening(struct worker *worker, void *arg)
{
    (void)worker;
    (void)arg;
}

static void test_feed(void **state)
{
    struct listener_state listener = {.world = *state};
    const struct crew_hooks hooks = {start_listening, stop_listening, &listener};
    assert_int_equal(crew_run(&listener.world->crew, &hooks), WEIR_OK);
    assert_string_equal(listener.seen, "client.created online\n"
                                       "tunnel.created online\n"
                                       "tunnel.deleted offline\n"
                                       "client.deleted offline\n");
    assert_int_equal(listener.snapshot.tunnel_count, 1);
    assert_ptr_equal(listener.snapshot.tunnels[0], listener.tunnel);
    snapshot_fini(&listener.snapshot);
    close_tunnel(listener.world, listener.tunnel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conflicts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ports_are_given_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finding, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_host_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_feed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
