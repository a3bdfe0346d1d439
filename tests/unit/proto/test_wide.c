// SPDX-License-Identifier: Apache-2.0
// Every way that runs here against one byte at a time: all lengths, all places a block may begin
// at, all distances a payload moves, and what ends a run at every place in it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/wide.h"

#define LEN_MAX 300 // two of the largest blocks and some more
#define BLOCK_MAX 128
#define DISTANCE_MAX 14 // a header's length: how far a payload moves

static bool is_here(const struct wide_way *way)
{
    return way->name != NULL && way->runs_here();
}

static const uint8_t pattern_bytes[8] = {0xa5, 0x5a, 0x0f, 0x01, 0xa5, 0x5a, 0x0f, 0x01};

static uint64_t pattern(void)
{
    uint64_t word;
    memcpy(&word, pattern_bytes, sizeof word);
    return word;
}

static char plain_byte(size_t i)
{
    return (char)(i % 127 + 1);
}

// In a block of exactly the bytes concerned, so that a store or load past them is seen.
static void check_unmask(const struct wide_way *way, size_t len, size_t distance)
{
    char *block = malloc(len + distance > 0 ? len + distance : 1);
    assert_non_null(block);
    for (size_t i = 0; i < len; i++) {
        block[distance + i] = (char)(plain_byte(i) ^ (char)pattern_bytes[i % 8]);
    }
    bool all_ascii = false;
    size_t done = way->unmask(block, block + distance, len, pattern(), &all_ascii);
    assert_int_equal(done, len / 8 * 8);
    assert_true(all_ascii);
    for (size_t i = 0; i < done; i++) {
        assert_int_equal(block[i], plain_byte(i));
    }
    for (size_t i = done; i < len; i++) { // what is the caller's is left as it was
        assert_int_equal(block[distance + i], (char)(plain_byte(i) ^ (char)pattern_bytes[i % 8]));
    }
    free(block);
}

static void test_unmask(void **state)
{
    (void)state;
    for (const struct wide_way *way = wide_ways; way < wide_ways + WIDE_WAYS_MAX; way++) {
        for (size_t len = 0; is_here(way) && len <= LEN_MAX; len++) {
            for (size_t distance = 0; distance <= DISTANCE_MAX; distance++) {
                check_unmask(way, len, distance);
            }
        }
    }
}

static void test_unmask_tells_ascii(void **state)
{
    (void)state;
    char masked[LEN_MAX];
    char text[LEN_MAX];
    memset(masked, '\0', sizeof masked);
    for (const struct wide_way *way = wide_ways; way < wide_ways + WIDE_WAYS_MAX; way++) {
        for (size_t at = 0; is_here(way) && at < LEN_MAX / 8 * 8; at++) {
            bool all_ascii = true;
            masked[at] = '\x80';
            way->unmask(text, masked, sizeof masked, 0, &all_ascii);
            assert_false(all_ascii);
            masked[at] = '\0';
        }
    }
}

// Up to a block before the byte that ends the run, and never past it. A copy of exactly its size,
// so that begins of blocks and ends of the text fall everywhere.
static void check_skip(const struct wide_way *way, const char *text, size_t len, size_t stop)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    size_t reached = (size_t)(way->skip_plain(copy, copy + len) - copy);
    assert_true(reached <= stop);
    assert_true(stop - reached < BLOCK_MAX);
    free(copy);
}

static void test_skip_plain(void **state)
{
    (void)state;
    static const char enders[] = {'"', '\\', '\0', '\n', '\x1f'};
    char text[LEN_MAX];
    memset(text, 'x', sizeof text);
    for (const struct wide_way *way = wide_ways; way < wide_ways + WIDE_WAYS_MAX; way++) {
        for (size_t at = 0; is_here(way) && at < LEN_MAX; at++) {
            check_skip(way, text, at, at);
            for (size_t i = 0; i < sizeof enders; i++) {
                text[at] = enders[i];
                check_skip(way, text, sizeof text, at);
            }
            text[at] = 'x';
        }
    }
}

// A block of nothing but one byte: gone over, or not, by what the byte is.
static void test_skip_every_byte(void **state)
{
    (void)state;
    for (const struct wide_way *way = wide_ways; way < wide_ways + WIDE_WAYS_MAX; way++) {
        for (unsigned byte = 0; is_here(way) && byte < 256; byte++) {
            char text[BLOCK_MAX];
            memset(text, (int)byte, sizeof text);
            bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
            assert_ptr_equal(
                way->skip_plain(text, text + sizeof text), plain ? text + sizeof text : text);
        }
    }
}

static void test_best_runs_here(void **state)
{
    (void)state;
    const struct wide_way *best = wide_best();
    assert_true(is_here(best));
    for (const struct wide_way *wider = wide_ways; wider < best; wider++) {
        assert_false(is_here(wider));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unmask),
        cmocka_unit_test(test_unmask_tells_ascii),
        cmocka_unit_test(test_skip_plain),
        cmocka_unit_test(test_skip_every_byte),
        cmocka_unit_test(test_best_runs_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
