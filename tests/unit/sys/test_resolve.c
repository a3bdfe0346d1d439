// SPDX-License-Identifier: Apache-2.0
#include "sys/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

// No name server is asked for these, or a machine without one would not know them.
static void names_below_localhost_are_this_machine(void **state)
{
    static const char *const names[] = {
        "localhost", "hello.t.localhost", "A.LocalHost", "b.localhost."};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct ip ips[SYS_RESOLVE_MAX];
        size_t count;
        assert_int_equal(sys_resolve(names[i], ips, &count), WEIR_OK);
        assert_true(count >= 1);
        for (size_t j = 0; j < count; j++) {
            assert_true(ip_is_loopback(&ips[j]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_below_localhost_are_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
