// SPDX-License-Identifier: Apache-2.0
// Spec section 8.4: every field, and what is no filter.
#include "engine/api/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#include "engine/control/client.h"
#include "engine/control/tunnel.h"

static const struct rstrm_label labels[] = {
    {{"team", 4}, {"blue", 4}},
    {{"empty", 5}, {"", 0}},
};

static const struct tunnel tunnel = {
    .id = "11111111-2222-4333-8444-555555555555",
    .client_id = "c1",
    .name = "db",
    .hostname = "a.t.edge.example.com",
    .published = true,
    .user_id = {"u1", 2},
    .properties = {.type = {"bytestream", 10},
        .protocol = {"http", 4},
        .http_version = {"h2c", 3},
        .labels = {labels, 2}},
};
static const struct tunnel bare = {.id = "x", .user_id = {"", 0}};

static const struct client client = {
    .id = "c1",
    .user_id = {"u1", 2},
    .agent = {"weir", 4},
    .channel = {"stable", 6},
    .version = {"1.0", 3},
    .os = {"linux", 5},
    .arch = {"x86_64", 6},
    .protocol_version = {"1.4.5", 5},
};

static struct filter *filter_of(const char *text, enum filter_kind kind, enum weir_result *ret)
{
    char problem[128] = "";
    struct filter *filter;
    json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(object);
    *ret = filter_new(object, kind, &filter, problem, sizeof problem);
    assert_int_equal(*ret == WEIR_OK, problem[0] == '\0');
    assert_int_equal(*ret == WEIR_OK, filter != NULL);
    json_decref(object);
    return filter;
}

static void test_tunnels(void **state)
{
    static const struct {
        const char *filter;
        bool passes;
    } rows[] = {
        {"{}", true},
        {"{\"id\":\"11111111-2222-4333-8444-555555555555\"}", true},
        {"{\"id\":\"11111111-2222-4333-8444-55555555555\"}", false},
        {"{\"name\":\"db\"}", true},
        {"{\"name\":\"DB\"}", false},
        {"{\"name\":\"\"}", false},
        {"{\"type\":\"bytestream\"}", true},
        {"{\"type\":\"datagram\"}", false},
        {"{\"status\":\"online\"}", true},
        {"{\"status\":\"offline\"}", false},
        {"{\"client_id\":\"c1\"}", true},
        {"{\"client_id\":\"c2\"}", false},
        {"{\"user_id\":\"u1\"}", true},
        {"{\"user_id\":\"u2\"}", false},
        {"{\"protocol\":\"http\"}", true},
        {"{\"protocol\":\"tls\"}", false},
        {"{\"hostname\":\"a.t.edge.example.com\"}", true},
        {"{\"hostname\":\"a\"}", false},
        {"{\"publish\":true}", true},
        {"{\"publish\":false}", false},
        {"{\"http_version\":\"h2c\"}", true},
        {"{\"http_version\":\"http/1.1\"}", false},
        {"{\"labels\":{}}", true},
        {"{\"labels\":{\"team\":\"blue\"}}", true},
        {"{\"labels\":{\"team\":\"red\"}}", false},
        {"{\"labels\":{\"team\":null}}", true},
        {"{\"labels\":{\"empty\":\"\"}}", true},
        {"{\"labels\":{\"Team\":null}}", false},
        {"{\"labels\":{\"team\":\"blue\",\"other\":null}}", false},
        {"{\"name\":\"db\",\"publish\":true,\"labels\":{\"team\":\"blue\"}}", true},
        {"{\"name\":\"db\",\"publish\":false}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum weir_result result;
        struct filter *filter = filter_of(rows[i].filter, FILTER_TUNNELS, &result);
        print_message("%s\n", rows[i].filter);
        assert_int_equal(result, WEIR_OK);
        assert_int_equal(filter_passes_tunnel(filter, &tunnel), rows[i].passes);
        filter_free(filter);
    }
    assert_true(filter_passes_tunnel(NULL, &tunnel));
}

// What a tunnel does not have equals nothing.
static void test_absent(void **state)
{
    static const char *const filters[] = {"{\"name\":\"\"}", "{\"user_id\":\"\"}",
        "{\"protocol\":\"\"}", "{\"hostname\":\"\"}", "{\"http_version\":\"\"}",
        "{\"labels\":{\"a\":null}}"};
    (void)state;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        enum weir_result result;
        struct filter *filter = filter_of(filters[i], FILTER_TUNNELS, &result);
        assert_false(filter_passes_tunnel(filter, &bare));
        filter_free(filter);
    }
}

static void test_clients(void **state)
{
    static const struct {
        const char *filter;
        bool passes;
    } rows[] = {
        {"{\"id\":\"c1\"}", true},
        {"{\"id\":\"c\"}", false},
        {"{\"status\":\"online\",\"user_id\":\"u1\",\"agent\":\"weir\",\"channel\":\"stable\"}",
            true},
        {"{\"version\":\"1.0\",\"os\":\"linux\",\"arch\":\"x86_64\"}", true},
        {"{\"protocol_version\":\"1.4.5\"}", true},
        {"{\"protocol_version\":\"1.4\"}", false},
        {"{\"agent\":\"weir \"}", false},
        {"{\"channel\":\"sdk\"}", false},
        {"{\"version\":\"\"}", false},
        {"{\"os\":\"Linux\"}", false},
        {"{\"arch\":\"amd64\"}", false},
        {"{\"labels\":{}}", true},
        {"{\"labels\":{\"a\":null}}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum weir_result result;
        struct filter *filter = filter_of(rows[i].filter, FILTER_CLIENTS, &result);
        print_message("%s\n", rows[i].filter);
        assert_int_equal(result, WEIR_OK);
        assert_int_equal(filter_passes_client(filter, &client), rows[i].passes);
        filter_free(filter);
    }
}

static void test_refused(void **state)
{
    static const struct {
        enum filter_kind kind;
        const char *filter;
    } rows[] = {
        {FILTER_TUNNELS, "[]"},
        {FILTER_TUNNELS, "\"name\""},
        {FILTER_TUNNELS, "null"},
        {FILTER_TUNNELS, "true"},
        {FILTER_TUNNELS, "{\"agent\":\"weir\"}"},
        {FILTER_TUNNELS, "{\"\":\"\"}"},
        {FILTER_TUNNELS, "{\"Name\":\"db\"}"},
        {FILTER_TUNNELS, "{\"name\":1}"},
        {FILTER_TUNNELS, "{\"name\":null}"},
        {FILTER_TUNNELS, "{\"name\":[\"db\"]}"},
        {FILTER_TUNNELS, "{\"publish\":\"true\"}"},
        {FILTER_TUNNELS, "{\"publish\":1}"},
        {FILTER_TUNNELS, "{\"labels\":[]}"},
        {FILTER_TUNNELS, "{\"labels\":{\"a\":1}}"},
        {FILTER_TUNNELS, "{\"labels\":{\"a\":{}}}"},
        {FILTER_TUNNELS, "{\"labels\":{\"a\":null,\"b\":true}}"},
        {FILTER_CLIENTS, "{\"name\":\"db\"}"},
        {FILTER_CLIENTS, "{\"token\":\"x\"}"},
        {FILTER_CLIENTS, "{\"os\":true}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum weir_result result;
        print_message("%s\n", rows[i].filter);
        assert_null(filter_of(rows[i].filter, rows[i].kind, &result));
        assert_int_equal(result, WEIR_MALFORMED);
    }
}

static void test_too_many_labels(void **state)
{
    (void)state;
    char text[4096] = "{\"labels\":{";
    for (int i = 0; i <= FILTER_LABELS_MAX; i++) {
        sprintf(text + strlen(text), "%s\"k%d\":null", i == 0 ? "" : ",", i);
    }
    strcat(text, "}}");
    enum weir_result result;
    assert_null(filter_of(text, FILTER_TUNNELS, &result));
    assert_int_equal(result, WEIR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tunnels),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_clients),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
