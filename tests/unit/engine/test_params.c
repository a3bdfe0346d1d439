// SPDX-License-Identifier: Apache-2.0
// Spec section 8.3.
#include "engine/api/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/mem.h"

static void test_lists(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t limit;
        bool filter;
    } rows[] = {
        {"", true, UINT64_MAX, false},
        {"{}", true, UINT64_MAX, false},
        {" {\"limit\": 1}\n", true, 1, false},
        {"{\"limit\":9223372036854775807}", true, INT64_MAX, false},
        {"{\"filters\":{}}", true, UINT64_MAX, true},
        {"{\"filters\":{\"name\":\"db\"},\"limit\":2}", true, 2, true},
        {"{\"limit\":0}", false, 0, false},
        {"{\"limit\":-1}", false, 0, false},
        {"{\"limit\":1.0}", false, 0, false},
        {"{\"limit\":1e3}", false, 0, false},
        {"{\"limit\":\"1\"}", false, 0, false},
        {"{\"limit\":null}", false, 0, false},
        {"{\"limit\":true}", false, 0, false},
        {"{\"limit\":9223372036854775808}", false, 0, false},
        {"{\"limit\":1,\"limit\":2}", false, 0, false},
        {"{\"filters\":[]}", false, 0, false},
        {"{\"filters\":null}", false, 0, false},
        {"{\"filters\":{\"agent\":\"x\"}}", false, 0, false},
        {"{\"filters\":{\"name\":\"a\"},\"offset\":1}", false, 0, false},
        {"{\"Limit\":1}", false, 0, false},
        {"[]", false, 0, false},
        {"null", false, 0, false},
        {"1", false, 0, false},
        {"{", false, 0, false},
        {"{} {}", false, 0, false},
        {"{\"limit\":1,}", false, 0, false},
        {"{'limit':1}", false, 0, false},
        {"{\"filters\":{\"name\":\"\xff\"}}", false, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct list_params params;
        char problem[PARAMS_PROBLEM_SIZE] = "";
        print_message("%s\n", rows[i].text);
        enum weir_result result =
            params_read_list(slice_str(rows[i].text), FILTER_TUNNELS, &params, problem);
        assert_int_equal(result, rows[i].good ? WEIR_OK : WEIR_MALFORMED);
        assert_int_equal(problem[0] == '\0', rows[i].good);
        if (rows[i].good) {
            assert_int_equal(params.limit, rows[i].limit);
            assert_int_equal(params.filter != NULL, rows[i].filter);
        }
        list_params_fini(&params);
    }
}

static void test_watchers(void **state)
{
    static const struct {
        const char *text;
        bool good;
        const char *shape; // c t: a filter; C T: none of that kind
    } rows[] = {
        {"", true, ""},
        {"{}", true, ""},
        {"{\"clients\":{}}", true, "c"},
        {"{\"tunnels\":{\"publish\":true}}", true, "t"},
        {"{\"clients\":{\"os\":\"linux\"},\"tunnels\":{}}", true, "ct"},
        {"{\"clients\":false}", true, "C"},
        {"{\"clients\":null,\"tunnels\":{\"name\":\"a\"}}", true, "Ct"},
        {"{\"clients\":false,\"tunnels\":false}", true, "CT"},
        {"{\"clients\":true}", false, ""},
        {"{\"clients\":[]}", false, ""},
        {"{\"clients\":{\"name\":\"a\"}}", false, ""},
        {"{\"tunnels\":{\"name\":7}}", false, ""},
        {"{\"tunnels\":{\"name\":\"a\"},\"limit\":1}", false, ""},
        {"{\"filters\":{}}", false, ""},
        {"[]", false, ""},
        {"x", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct watch_params params;
        char problem[PARAMS_PROBLEM_SIZE] = "";
        char shape[5] = "";
        print_message("%s\n", rows[i].text);
        enum weir_result result = params_read_watch(slice_str(rows[i].text), &params, problem);
        assert_int_equal(result, rows[i].good ? WEIR_OK : WEIR_MALFORMED);
        assert_int_equal(problem[0] == '\0', rows[i].good);
        if (rows[i].good) {
            snprintf(shape, sizeof shape, "%s%s%s%s", params.no_clients ? "C" : "",
                params.clients != NULL ? "c" : "", params.no_tunnels ? "T" : "",
                params.tunnels != NULL ? "t" : "");
            assert_string_equal(shape, rows[i].shape);
        }
        watch_params_fini(&params);
    }
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    struct slice text =
        SLICE("{\"clients\":{\"os\":\"linux\"},\"tunnels\":{\"labels\":{\"a\":null}}}");
    for (unsigned long nth = 1; nth < 100; nth++) {
        struct watch_params params;
        char problem[PARAMS_PROBLEM_SIZE];
        mem_fail_at(nth);
        enum weir_result result = params_read_watch(text, &params, problem);
        mem_fail_at(0);
        if (result == WEIR_OK) {
            assert_true(nth > 4);
            watch_params_fini(&params);
            return;
        }
        assert_int_equal(result, WEIR_MEMORY);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_watchers),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
