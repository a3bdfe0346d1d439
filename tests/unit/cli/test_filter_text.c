// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/filter_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *text, enum filter_subject subject, const char *expected)
{
    char problem[512];
    json_t *object = json_object();
    assert_int_equal(filter_text_read(text, subject, object, problem, sizeof problem), WEIR_OK);
    char *json = json_dumps(object, JSON_COMPACT);
    assert_string_equal(json, expected);
    free(json);
    json_decref(object);
}

static void test_good(void **state)
{
    (void)state;
    check("", FILTER_TUNNELS, "{}");
    check("name=web", FILTER_TUNNELS, "{\"name\":\"web\"}");
    check("publish=true,labels.env=prod", FILTER_TUNNELS,
        "{\"publish\":true,\"labels\":{\"env\":\"prod\"}}");
    check("publish=false", FILTER_TUNNELS, "{\"publish\":false}");
    check("labels.a=,labels.b=*,labels.c.d=e=f", FILTER_TUNNELS,
        "{\"labels\":{\"a\":null,\"b\":null,\"c.d\":\"e=f\"}}");
    check("name=a\\,b\\\\c,id=1", FILTER_TUNNELS, "{\"name\":\"a,b\\\\c\",\"id\":\"1\"}");
    check("name=a,name=b", FILTER_TUNNELS, "{\"name\":\"b\"}");
    check("os=linux,protocol_version=1.4.5", FILTER_CLIENTS,
        "{\"os\":\"linux\",\"protocol_version\":\"1.4.5\"}");
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum filter_subject subject;
        const char *said;
    } rows[] = {
        {"name", FILTER_TUNNELS, "is no condition"},
        {"=x", FILTER_TUNNELS, "is no condition"},
        {"name=a,,id=1", FILTER_TUNNELS, "is no condition"},
        {"nmae=a", FILTER_TUNNELS, "did you mean name?"},
        {"name=a", FILTER_CLIENTS, "there is no field \"name\""},
        {"labels.=a", FILTER_TUNNELS, "labels.KEY"},
        {"publish=1", FILTER_TUNNELS, "allowed: true, false"},
        {"name=\xff", FILTER_TUNNELS, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char problem[512] = "";
        json_t *object = json_object();
        assert_int_equal(
            filter_text_read(rows[i].text, rows[i].subject, object, problem, sizeof problem),
            WEIR_MALFORMED);
        assert_non_null(strstr(problem, rows[i].said));
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
