// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

// A slice for a static table.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

// RFC 4648 section 10, and what tells the two alphabets apart.
static const struct {
    struct slice bytes;
    const char *standard;
    const char *url;
} vectors[] = {
    {TEXT(""), "", ""},
    {TEXT("f"), "Zg==", "Zg"},
    {TEXT("fo"), "Zm8=", "Zm8"},
    {TEXT("foo"), "Zm9v", "Zm9v"},
    {TEXT("foob"), "Zm9vYg==", "Zm9vYg"},
    {TEXT("fooba"), "Zm9vYmE=", "Zm9vYmE"},
    {TEXT("foobar"), "Zm9vYmFy", "Zm9vYmFy"},
    {TEXT("\xfb\xff\xfe"), "+//+", "-__-"},
    {TEXT("\0\0"), "AAA=", "AAA"},
};

static void encodes_and_decodes_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        print_message("row %zu\n", i);
        char text[BASE64_SIZE(8)];
        char bytes[8];
        size_t len;
        struct slice plain = vectors[i].bytes;
        assert_int_equal(base64_encode(plain.at, plain.len, text), strlen(vectors[i].standard));
        assert_string_equal(text, vectors[i].standard);
        assert_int_equal(base64url_encode(plain.at, plain.len, text), strlen(vectors[i].url));
        assert_string_equal(text, vectors[i].url);
        assert_int_equal(base64url_decode(slice_str(text), bytes, plain.len, &len), WEIR_OK);
        assert_true(slice_eq(slice_of(bytes, len), plain));
    }
}

static void round_trips_every_byte(void **state)
{
    (void)state;
    uint8_t plain[256];
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = (uint8_t)i;
    }
    for (size_t len = 0; len <= sizeof plain; len++) {
        char text[BASE64_SIZE(sizeof plain)];
        uint8_t bytes[sizeof plain];
        size_t decoded;
        size_t text_len = base64_encode(plain, len, text);
        assert_int_equal(text_len + 1, BASE64_SIZE(len));
        text_len = base64url_encode(plain, len, text);
        assert_int_equal(base64url_decode(slice_of(text, text_len), bytes, len, &decoded), WEIR_OK);
        assert_int_equal(decoded, len);
        assert_memory_equal(bytes, plain, len);
    }
}

static const struct {
    struct slice text;
    enum weir_result result;
} refusals[] = {
    {TEXT("Zg"), WEIR_OK},
    {TEXT("Zg=="), WEIR_MALFORMED},
    {TEXT("Zg="), WEIR_MALFORMED},
    {TEXT("Zm8="), WEIR_MALFORMED},
    {TEXT("Z"), WEIR_MALFORMED},
    {TEXT("Z==="), WEIR_MALFORMED},
    {TEXT("===="), WEIR_MALFORMED},
    {TEXT("Zm9v===="), WEIR_MALFORMED},
    {TEXT("Zg==Zg=="), WEIR_MALFORMED},
    {TEXT("Z=g="), WEIR_MALFORMED},
    {TEXT("Zm9 "), WEIR_MALFORMED},
    {TEXT("Zm9\n"), WEIR_MALFORMED},
    {TEXT("Zm9\0"), WEIR_MALFORMED},
    {TEXT("Zm9\xc3"), WEIR_MALFORMED},
    {TEXT("+//+"), WEIR_MALFORMED},
    {TEXT("-__-"), WEIR_OK},
    // Bits behind the last byte that are not zero.
    {TEXT("Zh=="), WEIR_MALFORMED},
    {TEXT("Zh"), WEIR_MALFORMED},
    {TEXT("Zm9="), WEIR_MALFORMED},
    {TEXT("Zm9"), WEIR_MALFORMED},
};

static void is_strict(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        print_message("row %zu: \"%.*s\"\n", i, SLICE_ARG(refusals[i].text));
        char bytes[16];
        size_t len;
        assert_int_equal(
            base64url_decode(refusals[i].text, bytes, sizeof bytes, &len), refusals[i].result);
    }
}

static void does_not_write_past_the_end(void **state)
{
    (void)state;
    char bytes[3] = "xyz";
    size_t len;
    assert_int_equal(base64url_decode(SLICE("Zm9v"), bytes, 2, &len), WEIR_TOO_LARGE);
    assert_int_equal(base64url_decode(SLICE("Zm8"), bytes, 1, &len), WEIR_TOO_LARGE);
    assert_int_equal(base64url_decode(SLICE("Zm8"), bytes, 2, &len), WEIR_OK);
    assert_memory_equal(bytes, "foz", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_the_vectors),
        cmocka_unit_test(round_trips_every_byte),
        cmocka_unit_test(is_strict),
        cmocka_unit_test(does_not_write_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
