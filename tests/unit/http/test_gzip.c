// SPDX-License-Identifier: Apache-2.0
#include "http/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/mem.h"

static void accepts(void **state)
{
    static const struct {
        const char *header;
        bool accepted;
    } rows[] = {
        {"", false},
        {"gzip", true},
        {"GZIP", true},
        {"x-gzip", true},
        {"deflate, gzip", true},
        {"deflate,gzip;q=1.0, *;q=0.5", true},
        {"gzip;q=0", false},
        {"gzip; q=0.000, *", false},
        {"gzip ; Q=0.001", true},
        {"*", true},
        {"*;q=0", false},
        {"br, identity", false},
        {"gzipped", false},
        {"not gzip", false},
        {",,gzip,,", true},
        {";q=0", false},
        {"gzip;", true},
        {"gzip;q=", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (gzip_is_accepted(slice_str(rows[i].header)) != rows[i].accepted) {
            fail_msg("\"%s\"", rows[i].header);
        }
    }
}

static void unpack(struct slice packed, char *plain, size_t size)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.at, .avail_in = (uInt)packed.len};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_out = (Bytef *)plain;
    stream.avail_out = (uInt)size;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, size);
    inflateEnd(&stream);
}

static void packs_whatever_it_is(void **state)
{
    static char plain[100000];
    static char again[sizeof plain];
    struct buf out = BUF_INIT(2 * sizeof plain);
    uint32_t random = 1;
    (void)state;
    for (size_t len = 0; len <= sizeof plain; len = len * 3 + 1) {
        for (size_t i = 0; i < len; i++) { // half of them random, half not
            random = random * 1664525 + 1013904223;
            plain[i] = (char)(i < len / 2 ? random >> 24 : 'x');
        }
        buf_reset(&out);
        assert_int_equal(gzip_pack(slice_of(plain, len), &out), WEIR_OK);
        unpack(buf_slice(&out), again, len);
        assert_memory_equal(plain, again, len);
    }
    buf_reset(&out);
}

static void no_room_and_no_memory(void **state)
{
    static char plain[1000];
    struct buf out = BUF_INIT(16);
    (void)state;
    assert_int_not_equal(gzip_pack(slice_of(plain, sizeof plain), &out), WEIR_OK);
    assert_int_equal(out.len, 0);
    buf_reset(&out);
    struct buf wide = BUF_INIT(10000);
    mem_fail_at(1);
    assert_int_equal(gzip_pack(slice_of(plain, sizeof plain), &wide), WEIR_MEMORY);
    mem_fail_at(0);
    assert_int_equal(wide.len, 0);
    buf_reset(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(packs_whatever_it_is),
        cmocka_unit_test(no_room_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
