// SPDX-License-Identifier: Apache-2.0
#include "engine/edge/route.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void authorities_find_their_way(void **state)
{
    static const struct {
        const char *authority;
        enum route route;
        const char *host;
    } rows[] = {
        {"edge.test", ROUTE_API, "edge.test"},
        {"EDGE.test:8443", ROUTE_API, "edge.test"},
        {"edge.test.", ROUTE_API, "edge.test"},
        {"demo.t.edge.test", ROUTE_TUNNEL, "demo.t.edge.test"},
        {"Demo.T.Edge.Test.:443", ROUTE_TUNNEL, "demo.t.edge.test"},
        {"a.b.t.edge.test", ROUTE_OUTSIDE, "a.b.t.edge.test"},
        {"t.edge.test", ROUTE_OUTSIDE, "t.edge.test"},
        {"demo.edge.test", ROUTE_OUTSIDE, "demo.edge.test"},
        {"demo.t.edge.test.evil.test", ROUTE_OUTSIDE, "demo.t.edge.test.evil.test"},
        {"demoxt.edge.test", ROUTE_OUTSIDE, "demoxt.edge.test"},
        {"xedge.test", ROUTE_OUTSIDE, "xedge.test"},
        {"127.0.0.1", ROUTE_OUTSIDE, NULL},
        {"127.0.0.1:8443", ROUTE_OUTSIDE, NULL},
        {"[::1]:8443", ROUTE_OUTSIDE, NULL},
        {"", ROUTE_BAD, NULL},
        {":443", ROUTE_BAD, NULL},
        {".t.edge.test", ROUTE_BAD, NULL},
        {"edge..test", ROUTE_BAD, NULL},
        {"edge.test:x", ROUTE_BAD, NULL},
        {"edge.test:99999", ROUTE_BAD, NULL},
        {"edge.test,edge.test", ROUTE_BAD, NULL},
        {"user@edge.test", ROUTE_BAD, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[HOSTNAME_SIZE];
        size_t len = 0;
        enum route route = route_of(slice_str(rows[i].authority), SLICE("edge.test"), host, &len);
        if (route != rows[i].route) {
            fail_msg("\"%s\" gives %d, not %d", rows[i].authority, (int)route, (int)rows[i].route);
        }
        if (rows[i].host != NULL) {
            assert_true(slice_eq(slice_of(host, len), slice_str(rows[i].host)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities_find_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
