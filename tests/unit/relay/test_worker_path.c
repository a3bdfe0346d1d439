// SPDX-License-Identifier: Apache-2.0
// Paths of managed workers (section 7.8 of the specification; 14, 5): their own executor and what
// is below it, and nothing that some server could read as another path.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "relay/worker_transport.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define OWN "/api/runtime/workspaces/ws-1/managed-executors/ex-1"

static bool allowed(const char *path)
{
    return worker_transport_path_allowed(slice_str(path), "ws-1", "ex-1");
}

static void check(const char *const *paths, size_t count, bool wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (allowed(paths[i]) != wanted) {
            fail_msg("%s: %s", wanted ? "denied" : "allowed", paths[i]);
        }
    }
}

static void test_own_paths(void **state)
{
    static const char *const paths[] = {OWN, OWN "/", OWN "/runs", OWN "/runs/", OWN "/runs/1/log",
        OWN "/runs?after=1", OWN "/?after=1", OWN "/runs?a=%20&b=/..//x%2e", OWN "/r%20s",
        OWN "/a.b", OWN "/.a", OWN "/a.", OWN "/...", OWN "/..a", OWN "/a;b=1", OWN "/a:b@c!d,e",
        OWN "/%41", OWN "/%c3%a9", OWN "/~a"};
    (void)state;
    check(paths, COUNT(paths), true);
}

static void test_other_paths(void **state)
{
    static const char *const paths[] = {"", "/", "/api/runtime/workspaces/ws-1",
        "/api/runtime/workspaces/ws-1/managed-executors",
        "/api/runtime/workspaces/ws-1/managed-executors/",
        "/api/runtime/workspaces/ws-1/managed-executors/ex-",
        "/api/runtime/workspaces/ws-1/managed-executors/ex-2",
        "/api/runtime/workspaces/ws-2/managed-executors/ex-1",
        "/api/runtime/workspaces/ws-1/managed-executors/EX-1",
        "/api/runtime/workspaces/ws-1/Managed-Executors/ex-1",
        "/api/runtime/internal/relay/validate", OWN "0", OWN "-", OWN ".", OWN ";a", OWN "%20",
        OWN "?after=1", OWN "?", OWN "#", " " OWN, "x" OWN, "/x" OWN, "http://host" OWN,
        "@host" OWN, "api/runtime/workspaces/ws-1/managed-executors/ex-1"};
    (void)state;
    check(paths, COUNT(paths), false);
}

static void test_dot_segments(void **state)
{
    static const char *const paths[] = {OWN "/.", OWN "/..", OWN "/./", OWN "/../", OWN "/../ex-2",
        OWN "/a/../b", OWN "/a/./b", OWN "/a/..", OWN "/..?a=1", OWN "/.?a=1", "/.." OWN, "/." OWN,
        "/x/.." OWN, "/api/runtime/workspaces/./ws-1/managed-executors/ex-1",
        "/api/runtime/workspaces/ws-2/../ws-1/managed-executors/ex-1"};
    (void)state;
    check(paths, COUNT(paths), false);
}

static void test_encoded(void **state)
{
    static const char *const paths[] = {OWN "/%2e", OWN "/%2E%2e", OWN "/%2e./a", OWN "/.%2E/a",
        OWN "/a%2eb", OWN "%2f..%2fex-2", OWN "/%2f", OWN "/a%2Fb", OWN "/%5c", OWN "/..%5Cex-2",
        OWN "/%5C?a=1", OWN "/%00", OWN "/a%00b", OWN "/%252e%252e/", OWN "/%252f",
        "/api/runtime/workspaces/ws%2D1%2fmanaged-executors/ex-1",
        "/api/runtime/workspaces/ws%2D1/managed-executors/ex-1", // encoded otherwise than needed
        "/%61pi/runtime/workspaces/ws-1/managed-executors/ex-1"};
    (void)state;
    check(paths, COUNT(paths), false);
}

static void test_slashes(void **state)
{
    static const char *const paths[] = {"/" OWN, "//host" OWN, OWN "//", OWN "//a", OWN "/a//b",
        OWN "/a//", OWN "/a//?b", OWN "///", "/api//runtime/workspaces/ws-1/managed-executors/ex-1",
        "\\" OWN, OWN "\\", OWN "\\..\\ex-2", OWN "/\\", OWN "/a\\b", OWN "/a?b\\c",
        "/api\\runtime/workspaces/ws-1/managed-executors/ex-1", OWN "/a#b", OWN "/#", OWN "/a?b#c"};
    (void)state;
    check(paths, COUNT(paths), false);
}

// Every byte, below the executor and in a query: what is not printable ASCII is refused.
static void test_bytes(void **state)
{
    static const char *const fronts[] = {OWN "/a", OWN "/a?b"};
    (void)state;
    for (size_t i = 0; i < COUNT(fronts); i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char path[128];
            int len = snprintf(path, sizeof path, "%s%cc", fronts[i], (int)byte);
            bool wanted = byte > ' ' && byte < 0x7f && byte != '\\' && byte != '#';
            struct slice slice = slice_of(path, (size_t)len);
            if (worker_transport_path_allowed(slice, "ws-1", "ex-1") != wanted) {
                fail_msg("byte %u behind %s", byte, fronts[i]);
            }
        }
    }
}

static void test_ids(void **state)
{
#define BELOW(workspace, executor)                                                                 \
    "/api/runtime/workspaces/" workspace "/managed-executors/" executor
    static const struct {
        const char *workspace_id;
        const char *executor_id;
        const char *path;
        bool wanted;
    } rows[] = {
        {"w", "AZaz09-_.!~*'()", BELOW("w", "AZaz09-_.!~*'()"), true},
        {"w", "a b", BELOW("w", "a%20b") "/x", true},
        {"w", "a b", BELOW("w", "a+b"), false},
        {"w", "a b", BELOW("w", "a b"), false},
        {"w:1", "e:2", BELOW("w%3A1", "e%3A2") "/x", true},
        {"w:1", "e", BELOW("w%3a1", "e"), true}, // RFC 3986 section 6.2.2.1
        {"w:J", "e", BELOW("w%3Aj", "e"), false},
        {"w:1", "e", BELOW("w:1", "e"), false},
        {"w", "\xc3\xa9", BELOW("w", "%C3%A9"), true},
        {"w", "\xf0\x9f\x98\x80", BELOW("w", "%F0%9F%98%80") "/x?y", true},
        {"w", "$&+,;=@", BELOW("w", "%24%26%2B%2C%3B%3D%40"), true},
        {"w", "a?b", BELOW("w", "a%3Fb"), true},
        {"w", "a?b", BELOW("w", "a?b"), false},
        {"w", "a#b", BELOW("w", "a%23b"), true},
        {"w", "a\"<>[]^`{|}b", BELOW("w", "a%22%3C%3E%5B%5D%5E%60%7B%7C%7Db"), true},
        {"w", "a\x01\x7f", BELOW("w", "a%01%7F"), true},
        // Ids that could be read as another path have none.
        {"w", "..", BELOW("w", ".."), false},
        {"..", "e", BELOW("..", "e"), false},
        {"w", ".", BELOW("w", ".") "/x", false},
        {"w", "..", BELOW("w", "%2E%2E"), false},
        {"w", "a/..", BELOW("w", "a%2F.."), false},
        {"w", "../b", BELOW("w", "..%2Fb"), false},
        {"w", "a/./b", BELOW("w", "a%2F.%2Fb"), false},
        {"w", "a\\..\\b", BELOW("w", "a%5C..%5Cb"), false},
        {"w", "a//b", BELOW("w", "a%2F%2Fb"), false},
        {"w", "/a", BELOW("w", "%2Fa"), false},
        {"w", "a/", BELOW("w", "a%2F"), false},
        {"w", "a%2e", BELOW("w", "a%252e"), false},
        {"w", "%2F..", BELOW("w", "%252F.."), false},
        {"..\\w", "e", BELOW("..%5Cw", "e"), false},
        // All others can be reached, as encodeURIComponent writes them.
        {"w", "a/b", BELOW("w", "a/b"), false},
        {"w", "a/b", BELOW("w", "a%2Fb"), true},
        {"w", "a/b", BELOW("w", "a%2fb") "/x", true},
        {"w", "a/b", BELOW("w", "a%2Fb") "/..", false},
        {"w", "a/b", BELOW("w", "a%2Fb") "%2Fc", false},
        {"w", "a\\b", BELOW("w", "a%5Cb"), true},
        {"w", "a\\b", BELOW("w", "a\\b"), false},
        {"w", "100%", BELOW("w", "100%25") "/x", true},
        {"w", "100%", BELOW("w", "100%"), false},
        {"w", "%zz", BELOW("w", "%25zz"), true},
        {"w/1", "e", BELOW("w%2F1", "e") "/x", true},
        {"w", "", BELOW("w", ""), false},
        {"w", "", BELOW("w", "") "e", false},
        {"", "e", BELOW("", "e"), false},
        // One id is not the beginning of another.
        {"w", "e", BELOW("w", "e2"), false},
        {"w", "e", BELOW("w2", "e"), false},
        {"w", "e", BELOW("w", "e%20"), false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (worker_transport_path_allowed(slice_str(rows[i].path), rows[i].workspace_id,
                rows[i].executor_id) != rows[i].wanted) {
            fail_msg("row %zu: %s", i, rows[i].path);
        }
    }
}

// The longest ids that claims may carry: 128 UTF-16 units, three bytes each, three characters a
// byte.
static void test_long_ids(void **state)
{
    enum { UNITS = 128 };
    char id[3 * UNITS + 1];
    char path[4096];
    size_t len =
        (size_t)snprintf(path, sizeof path, "/api/runtime/workspaces/w/managed-executors/");
    (void)state;
    for (size_t i = 0; i < UNITS; i++) {
        snprintf(id + 3 * i, sizeof id - 3 * i, "\xe2\x82\xac");
        snprintf(path + len + 9 * i, sizeof path - len - 9 * i, "%%E2%%82%%AC");
    }
    len += (size_t)9 * UNITS;
    assert_true(worker_transport_path_allowed(slice_of(path, len), "w", id));
    assert_false(worker_transport_path_allowed(slice_of(path, len - 9), "w", id));
    assert_false(worker_transport_path_allowed(slice_of(path, len), "w", id + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_paths),
        cmocka_unit_test(test_other_paths),
        cmocka_unit_test(test_dot_segments),
        cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_long_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
