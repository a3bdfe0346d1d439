// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "health/api/tokens.h"
#include "sys/file.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/weir-tokens-%d", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static enum weir_result load(struct token_list *list, const char *text, char problem[160])
{
    problem[0] = '\0';
    assert_int_equal(sys_file_write_private(path, slice_str(text)), WEIR_OK);
    return token_list_load(list, path, problem, 160);
}

static void knows_who_may_what(void **state)
{
    (void)state;
    struct token_list list = {0};
    char problem[160];
    assert_int_equal(load(&list,
                         "# people\n\nviewer-0123456789 viewer\r\n  operator-0123456   operator  \n"
                         "admin-01234567890 admin",
                         problem),
        WEIR_OK);
    assert_int_equal(token_list_role(&list, SLICE("viewer-0123456789")), ROLE_VIEWER);
    assert_int_equal(token_list_role(&list, SLICE("operator-0123456")), ROLE_OPERATOR);
    assert_int_equal(token_list_role(&list, SLICE("admin-01234567890")), ROLE_ADMIN);
    assert_int_equal(token_list_role(&list, SLICE("admin-0123456789")), ROLE_NOBODY);
    assert_int_equal(token_list_role(&list, SLICE("admin-012345678901")), ROLE_NOBODY);
    assert_int_equal(token_list_role(&list, SLICE_EMPTY), ROLE_NOBODY);
    token_list_fini(&list);
    assert_int_equal(token_list_role(&list, SLICE("admin-01234567890")), ROLE_NOBODY);
}

static void keeps_what_it_had(void **state)
{
    static const char *const bad[] = {
        "short admin", "viewer-0123456789", "viewer-0123456789 king", "viewer-0123456789 viewer x"};
    (void)state;
    struct token_list list = {0};
    char problem[160];
    assert_int_equal(load(&list, "viewer-0123456789 viewer\n", problem), WEIR_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "fine-01234567890 admin\n%s\n", bad[i]);
        assert_int_equal(load(&list, text, problem), WEIR_MALFORMED);
        assert_string_equal(problem, "line 2 is not usable; allowed: a token of at least 16 bytes "
                                     "and viewer, operator or admin");
        assert_int_equal(token_list_role(&list, SLICE("viewer-0123456789")), ROLE_VIEWER);
        assert_int_equal(token_list_role(&list, SLICE("fine-01234567890")), ROLE_NOBODY);
    }
    unlink(path);
    assert_int_equal(token_list_load(&list, path, problem, sizeof problem), WEIR_NOT_FOUND);
    assert_int_equal(token_list_role(&list, SLICE("viewer-0123456789")), ROLE_VIEWER);
    token_list_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_who_may_what),
        cmocka_unit_test(keeps_what_it_had),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
