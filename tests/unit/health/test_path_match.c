// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/api/path_match.h"

static void test_rows(void **state)
{
    static const struct {
        const char *pattern;
        const char *path;
        bool matches;
        const char *first;
        const char *second;
    } rows[] = {
        {"/", "/", true, "", ""},
        {"/ping", "/ping", true, "", ""},
        {"/ping", "/Ping", false, NULL, NULL},
        {"/ping", "/ping/", false, NULL, NULL},
        {"/ping", "ping", false, NULL, NULL},
        {"/a/{one}", "/a/b", true, "b", ""},
        {"/a/{one}", "/a/b/c", false, NULL, NULL},
        {"/a/{one}", "/a/", false, NULL, NULL},
        {"/a/{one}", "/a", false, NULL, NULL},
        {"/a/{one}/{two}", "/a/b/c", true, "b", "c"},
        {"/a/{one}/c", "/a/x%2Fy/c", true, "x/y", ""},
        {"/a/{one}", "/a/%e2%9c%93", true, "\xe2\x9c\x93", ""},
        {"/a/{one}", "/a/100%", true, "100%", ""},
        {"/a/{one}", "/a/%2", true, "%2", ""},
        {"/a/{one}", "/a/%zz", true, "%zz", ""},
        {"/a/{one}", "/a/%00", false, NULL, NULL},
        {"/b/{one}.svg", "/b/web.svg", true, "web", ""},
        {"/b/{one}.svg", "/b/a.svg.svg", true, "a.svg", ""},
        {"/b/{one}.svg", "/b/.svg", false, NULL, NULL},
        {"/b/{one}.svg", "/b/web.png", false, NULL, NULL},
    };
    struct path_parts parts;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool matches = path_matches(rows[i].pattern, slice_str(rows[i].path), &parts);
        assert_int_equal(matches, rows[i].matches);
        if (matches) {
            assert_string_equal(parts.text[0], rows[i].first);
            assert_string_equal(parts.text[1], rows[i].second);
        }
    }
}

static void test_a_part_has_a_bound(void **state)
{
    char path[PATH_PART_SIZE + 8];
    struct path_parts parts;
    (void)state;
    memset(path, 'x', sizeof path);
    memcpy(path, "/a/", 3);
    assert_true(path_matches("/a/{one}", slice_of(path, 3 + PATH_PART_SIZE - 1), &parts));
    assert_int_equal(strlen(parts.text[0]), PATH_PART_SIZE - 1);
    assert_false(path_matches("/a/{one}", slice_of(path, 3 + PATH_PART_SIZE), &parts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_a_part_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
