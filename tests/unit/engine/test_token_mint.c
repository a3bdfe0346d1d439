// SPDX-License-Identifier: Apache-2.0
#include "engine/control/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/time.h"

#define NOW_MS UINT64_C(1700000000000)
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct slice secrets[] = {TEXT("s"), TEXT("0123456789abcdef0123456789abcdef"),
    TEXT(
        "a secret that is longer than a block of SHA-256, which is sixty-four bytes, all counted")};

// Read back with every length of secret, and by nobody else.
static void minted_tokens_are_read(void **state)
{
    static const struct {
        struct token_request request;
        enum weir_result result;
        unsigned permissions;
        uint64_t expires_ms;
    } cases[] = {
        {{.ttl_s = 0}, WEIR_OK, TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL, TIME_NEVER},
        {{.ttl_s = 60}, WEIR_OK, TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL,
            NOW_MS + (60 + TOKEN_LEEWAY_S) * 1000},
        {{.permissions = TEXT("tunnels.resources.read-only, tunnels.streams.create-delete")},
            WEIR_OK, TOKEN_READ | TOKEN_DIAL, TIME_NEVER},
        {{.permissions = TEXT("")}, WEIR_OK, 0, TIME_NEVER},
        {{.permissions = TEXT("tunnels.resources.read-onl")}, WEIR_INVALID, 0, 0},
        {{.permissions = TEXT("TUNNELS.RESOURCES.READ-ONLY")}, WEIR_INVALID, 0, 0},
        {{.resources = TEXT("{\"tunnels\":{\"scopes\":{\"tunnels\":{\"create\":true}}}}")}, WEIR_OK,
            TOKEN_READ | TOKEN_CREATE | TOKEN_DIAL, TIME_NEVER},
        {{.resources = TEXT("{")}, WEIR_MALFORMED, 0, 0},
        {{.resources = TEXT("{},\"iat\":1")}, WEIR_MALFORMED, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 3; i++) {
        struct buf text = BUF_INIT(8192);
        struct slice secret = secrets[i % 3];
        const char *reason;
        print_message("case %zu\n", i / 3);
        assert_int_equal(
            token_mint(&cases[i / 3].request, secret, NOW_MS, &text), cases[i / 3].result);
        if (cases[i / 3].result == WEIR_OK) {
            struct token *token = token_read(buf_slice(&text), secret, NOW_MS, &reason);
            assert_non_null(token);
            for (unsigned bit = TOKEN_READ; bit <= TOKEN_DIAL; bit *= 2) {
                assert_int_equal(token_permits(token, (enum token_permission)bit),
                    (cases[i / 3].permissions & bit) != 0);
            }
            assert_int_equal(token_expires_ms(token), cases[i / 3].expires_ms);
            token_free(token);
            assert_null(token_read(buf_slice(&text), secrets[(i + 1) % 3], NOW_MS, &reason));
        } else {
            assert_int_equal(text.len, 0);
        }
        buf_reset(&text);
    }
}

// The same subject is the same owner; no subject, another one each time.
static void subjects_are_identities(void **state)
{
    (void)state;
    struct token_request requests[] = {{.subject = SLICE("ann"), .ttl_s = 1},
        {.subject = SLICE("ann"), .ttl_s = 2}, {.subject = SLICE("bob"), .ttl_s = 1}};
    struct token *tokens[3];
    for (size_t i = 0; i < 3; i++) {
        struct buf text = BUF_INIT(8192);
        const char *reason;
        assert_int_equal(token_mint(&requests[i], secrets[1], NOW_MS, &text), WEIR_OK);
        tokens[i] = token_read(buf_slice(&text), secrets[1], NOW_MS, &reason);
        assert_non_null(tokens[i]);
        buf_reset(&text);
    }
    assert_string_equal(token_identity(tokens[0]), token_identity(tokens[1]));
    assert_string_not_equal(token_identity(tokens[0]), token_identity(tokens[2]));
    for (size_t i = 0; i < 3; i++) {
        token_free(tokens[i]);
    }
}

static void too_much_and_too_little_memory(void **state)
{
    (void)state;
    static char long_subject[7000];
    memset(long_subject, 'a', sizeof long_subject);
    struct token_request request = {.subject = slice_of(long_subject, sizeof long_subject)};
    struct buf text = BUF_INIT(8192);
    assert_int_equal(token_mint(&request, secrets[1], NOW_MS, &text), WEIR_TOO_LARGE);
    request.subject = SLICE("ann");
    enum weir_result result = WEIR_MEMORY;
    unsigned nth = 0;
    while (result != WEIR_OK) {
        assert_int_equal(text.len, 0);
        mem_fail_at(++nth);
        result = token_mint(&request, secrets[1], NOW_MS, &text);
        mem_fail_at(0);
    }
    assert_true(nth > 3);
    buf_reset(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minted_tokens_are_read),
        cmocka_unit_test(subjects_are_identities),
        cmocka_unit_test(too_much_and_too_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
