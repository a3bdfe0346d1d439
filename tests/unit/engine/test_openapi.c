// SPDX-License-Identifier: Apache-2.0
// The document of spec section 8.2 is JSON, and every route is in it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/api/api_internal.h"

static void test_document(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 16);
    openapi_write(&text);
    assert_false(text.failed);
    json_t *document = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    const char *operation;
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        json_t *path = json_object_get(json_object_get(document, "paths"), api_routes[i].path);
        if (api_routes[i].operation[0] == '\0') {
            assert_null(path);
            continue;
        }
        assert_int_equal(json_unpack(path, "{s:{s:s}}", "get", "operationId", &operation), 0);
        assert_string_equal(operation, api_routes[i].operation);
    }
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    static const char *const names[] = {"Client", "Event", "ListClientsParams", "ListTunnelsParams",
        "TunnelListItem", "WatchParams"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(json_is_object(json_object_get(schemas, names[i])));
    }
    json_decref(document);
    buf_reset(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
