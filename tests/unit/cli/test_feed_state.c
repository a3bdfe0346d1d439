// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/engine/event_feed.h"

static json_t *load(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

static enum weir_result apply(struct feed_state *state, const char *text)
{
    json_t *event = load(text);
    enum weir_result result = feed_state_apply(state, event);
    json_decref(event);
    return result;
}

// "type id, type id" of the way to a snapshot, which is taken.
static void catch_up(struct feed_state *state, const char *snapshot, const char *expected)
{
    struct buf out = BUF_INIT(4096);
    json_t *object = load(snapshot);
    json_t *events = feed_state_catch_up(state, object, 1700000000000);
    json_t *event;
    size_t index;
    assert_non_null(events);
    json_array_foreach(events, index, event)
    {
        const json_t *subject = json_object_get(event, "object");
        buf_printf(&out, "%s%s %s", index == 0 ? "" : ", ",
            json_string_value(json_object_get(event, "type")),
            json_string_value(json_object_get(subject, "id")));
        assert_string_equal(
            json_string_value(json_object_get(event, "created_at")), "2023-11-14T22:13:20.000Z");
        assert_int_equal(feed_state_apply(state, event), WEIR_OK);
    }
    const char *text = buf_text(&out);
    assert_string_equal(text, expected);
    json_decref(events);
    events = feed_state_catch_up(state, object, 0);
    assert_int_equal(json_array_size(events), 0);
    json_decref(events);
    json_decref(object);
    buf_reset(&out);
}

static void test_ways(void **state)
{
    (void)state;
    struct feed_state feed;
    assert_int_equal(feed_state_init(&feed), WEIR_OK);
    catch_up(&feed, "{}", "");
    catch_up(&feed, "{\"clients\":[{\"id\":\"c1\"}],\"tunnels\":[{\"id\":\"t1\"},{\"id\":\"t2\"}]}",
        "client.created c1, tunnel.created t1, tunnel.created t2");
    catch_up(&feed,
        "{\"clients\":[{\"id\":\"c1\",\"os\":\"x\"},{\"id\":\"c2\"}],\"tunnels\":[{\"id\":\"t2\","
        "\"name\":\"n\"},{\"id\":\"t3\"}]}",
        "tunnel.deleted t1, client.created c2, client.updated c1, tunnel.created t3, "
        "tunnel.updated t2");
    catch_up(&feed, "{\"clients\":[],\"tunnels\":[]}",
        "tunnel.deleted t2, tunnel.deleted t3, client.deleted c1, client.deleted c2");
    feed_state_fini(&feed);
}

static void test_events(void **state)
{
    (void)state;
    struct feed_state feed;
    assert_int_equal(feed_state_init(&feed), WEIR_OK);
    assert_int_equal(apply(&feed, "{\"type\":\"state.initial\",\"object\":{\"clients\":[{\"id\":"
                                  "\"c\"}],\"tunnels\":[]}}"),
        WEIR_OK);
    assert_int_equal(json_object_size(feed.clients), 1);
    assert_int_equal(
        apply(&feed, "{\"type\":\"tunnel.created\",\"object\":{\"id\":\"t\"}}"), WEIR_OK);
    assert_int_equal(
        apply(&feed, "{\"type\":\"tunnel.deleted\",\"object\":{\"id\":\"other\"}}"), WEIR_OK);
    assert_int_equal(json_object_size(feed.tunnels), 1);
    assert_int_equal(
        apply(&feed, "{\"type\":\"tunnel.deleted\",\"object\":{\"id\":\"t\"}}"), WEIR_OK);
    assert_int_equal(json_object_size(feed.tunnels), 0);
    assert_int_equal(apply(&feed, "{\"type\":\"from.tomorrow\",\"object\":3}"), WEIR_OK);
    static const char *const bad[] = {"{}", "{\"type\":\"tunnel.created\"}",
        "{\"type\":\"client.deleted\",\"object\":{}}",
        "{\"type\":\"state.initial\",\"object\":{\"clients\":[1]}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(apply(&feed, bad[i]), WEIR_PROTOCOL);
    }
    json_t *list = json_array();
    assert_null(feed_state_catch_up(&feed, list, 0));
    json_decref(list);
    feed_state_fini(&feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
