// SPDX-License-Identifier: Apache-2.0
// RFC 6455 sections 4.2.2, 5 and 7 as far as the framing codec decides them. Every row is fed at
// every split point, in a block of exactly its size, so that a sanitizer sees a read past the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/websocket.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BYTES(literal) literal, sizeof(literal) - 1

static struct slice copy_exact(struct slice text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.at, text.len);
    return slice_of(copy, text.len);
}

static enum weir_result parse_exact(
    struct slice text, bool expect_masked, struct ws_header *ret_header)
{
    struct slice copy = copy_exact(text);
    enum weir_result result = ws_header_parse(copy, expect_masked, ret_header);
    free((char *)(uintptr_t)copy.at);
    return result;
}

// ---- Section 5.2: headers that are fine ---------------------------------------------------------

#define MASK "\x11\x22\x33\x44"

static const struct good_row {
    const char *rule;
    const char *bytes;
    size_t len;
    uint64_t payload_len;
    bool masked;
    bool fin;
    enum ws_opcode opcode;
} good_rows[] = {
    {"text, empty", BYTES("\x81\x80" MASK), 0, true, true, WS_TEXT},
    {"text, 1", BYTES("\x81\x81" MASK), 1, true, true, WS_TEXT},
    {"text, unfinished", BYTES("\x01\x85" MASK), 5, true, false, WS_TEXT},
    {"text, 125 is the last of 7 bits", BYTES("\x81\xfd" MASK), 125, true, true, WS_TEXT},
    {"text, 126 is the first of 16", BYTES("\x81\xfe\x00\x7e" MASK), 126, true, true, WS_TEXT},
    {"text, 256: big-endian", BYTES("\x81\xfe\x01\x02" MASK), 258, true, true, WS_TEXT},
    {"text, 65535 is the last of 16", BYTES("\x81\xfe\xff\xff" MASK), 65535, true, true, WS_TEXT},
    {"text, 65536 is the first of 64", BYTES("\x81\xff\0\0\0\0\0\x01\0\0" MASK), 65536, true, true,
        WS_TEXT},
    {"text, 64 bits big-endian", BYTES("\x81\xff\x01\x02\x03\x04\x05\x06\x07\x08" MASK),
        UINT64_C(0x0102030405060708), true, true, WS_TEXT},
    {"text, the longest", BYTES("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK), INT64_MAX, true,
        true, WS_TEXT},
    {"binary", BYTES("\x82\x83" MASK), 3, true, true, WS_BINARY},
    {"binary, unfinished", BYTES("\x02\xfe\x01\x00" MASK), 256, true, false, WS_BINARY},
    {"continuation", BYTES("\x00\x83" MASK), 3, true, false, WS_CONTINUATION},
    {"continuation, last", BYTES("\x80\x83" MASK), 3, true, true, WS_CONTINUATION},
    {"ping", BYTES("\x89\x80" MASK), 0, true, true, WS_PING},
    {"ping, longest", BYTES("\x89\xfd" MASK), 125, true, true, WS_PING},
    {"pong", BYTES("\x8a\x84" MASK), 4, true, true, WS_PONG},
    {"pong, longest", BYTES("\x8a\xfd" MASK), 125, true, true, WS_PONG},
    {"close, empty", BYTES("\x88\x80" MASK), 0, true, true, WS_CLOSE},
    {"close, longest", BYTES("\x88\xfd" MASK), 125, true, true, WS_CLOSE},
    {"from a server, 7 bits", BYTES("\x81\x05"), 5, false, true, WS_TEXT},
    {"from a server, 16 bits", BYTES("\x82\x7e\x00\x7e"), 126, false, true, WS_BINARY},
    {"from a server, 64 bits", BYTES("\x82\x7f\0\0\0\0\0\x01\0\0"), 65536, false, true, WS_BINARY},
    {"from a server, ping", BYTES("\x89\x00"), 0, false, true, WS_PING},
};

static void check_good(const struct good_row *row)
{
    struct slice whole = slice_of(row->bytes, row->len);
    struct ws_header header;
    for (size_t len = 0; len < row->len; len++) {
        assert_int_equal(parse_exact(slice_of(row->bytes, len), row->masked, &header), WEIR_AGAIN);
    }
    assert_int_equal(parse_exact(whole, row->masked, &header), WEIR_OK);
    assert_int_equal(header.header_len, row->len);
    assert_true(header.payload_len == row->payload_len);
    assert_int_equal(header.opcode, row->opcode);
    assert_int_equal(header.fin, row->fin);
    assert_int_equal(header.masked, row->masked);
    assert_memory_equal(header.mask, row->masked ? MASK : "\0\0\0", 4);

    // What follows a header does not change it.
    char longer[WS_HEADER_MAX + 3];
    memcpy(longer, row->bytes, row->len);
    memset(longer + row->len, 0xff, 3);
    assert_int_equal(parse_exact(slice_of(longer, row->len + 3), row->masked, &header), WEIR_OK);
    assert_int_equal(header.header_len, row->len);
}

static void test_good_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        print_message("%s\n", good_rows[i].rule);
        check_good(&good_rows[i]);
    }
}

// ---- Sections 5.1, 5.2, 5.5: headers that fail the connection
// ------------------------------------

static const struct bad_row {
    const char *rule;
    const char *bytes;
    size_t len;
    size_t decided_at; // the shortest prefix that is refused
    bool expect_masked;
} bad_rows[] = {
    {"5.1 a client must mask: text", BYTES("\x81\x05"), 2, true},
    {"5.1 a client must mask: 16 bits", BYTES("\x81\x7e\x01\x00"), 2, true},
    {"5.1 a client must mask: ping", BYTES("\x89\x00"), 2, true},
    {"5.1 a client must mask: close", BYTES("\x88\x02"), 2, true},
    {"5.1 a server must not mask: text", BYTES("\x81\x85" MASK), 2, false},
    {"5.1 a server must not mask: pong", BYTES("\x8a\x80" MASK), 2, false},
    {"5.2 RSV1", BYTES("\xc1\x80" MASK), 1, true},
    {"5.2 RSV2", BYTES("\xa1\x80" MASK), 1, true},
    {"5.2 RSV3", BYTES("\x91\x80" MASK), 1, true},
    {"5.2 all RSV", BYTES("\xf1\x80" MASK), 1, true},
    {"5.2 RSV1 on a ping", BYTES("\xc9\x80" MASK), 1, true},
    {"5.2 RSV2 on a close", BYTES("\xa8\x80" MASK), 1, true},
    {"5.2 RSV3 on a continuation", BYTES("\x90\x80" MASK), 1, true},
    {"5.2 opcode 3", BYTES("\x83\x80" MASK), 1, true},
    {"5.2 opcode 4", BYTES("\x84\x80" MASK), 1, true},
    {"5.2 opcode 5", BYTES("\x85\x80" MASK), 1, true},
    {"5.2 opcode 6", BYTES("\x86\x80" MASK), 1, true},
    {"5.2 opcode 7", BYTES("\x87\x80" MASK), 1, true},
    {"5.2 opcode 7, unfinished", BYTES("\x07\x80" MASK), 1, true},
    {"5.2 opcode 11", BYTES("\x8b\x80" MASK), 1, true},
    {"5.2 opcode 12", BYTES("\x8c\x80" MASK), 1, true},
    {"5.2 opcode 13", BYTES("\x8d\x80" MASK), 1, true},
    {"5.2 opcode 14", BYTES("\x8e\x80" MASK), 1, true},
    {"5.2 opcode 15", BYTES("\x8f\x80" MASK), 1, true},
    {"5.2 16 bits for 0", BYTES("\x81\xfe\x00\x00" MASK), 4, true},
    {"5.2 16 bits for 125", BYTES("\x81\xfe\x00\x7d" MASK), 4, true},
    {"5.2 64 bits for 0", BYTES("\x81\xff\0\0\0\0\0\0\0\0" MASK), 10, true},
    {"5.2 64 bits for 125", BYTES("\x81\xff\0\0\0\0\0\0\0\x7d" MASK), 10, true},
    {"5.2 64 bits for 126", BYTES("\x81\xff\0\0\0\0\0\0\0\x7e" MASK), 10, true},
    {"5.2 64 bits for 65535", BYTES("\x81\xff\0\0\0\0\0\0\xff\xff" MASK), 10, true},
    {"5.2 64 bits for 65535, server", BYTES("\x82\x7f\0\0\0\0\0\0\xff\xff"), 10, false},
    {"5.2 the top bit of 64", BYTES("\x81\xff\x80\0\0\0\0\0\0\0" MASK), 10, true},
    {"5.2 all bits of 64", BYTES("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK), 10, true},
    {"5.5 ping in pieces", BYTES("\x09\x80" MASK), 1, true},
    {"5.5 pong in pieces", BYTES("\x0a\x80" MASK), 1, true},
    {"5.5 close in pieces", BYTES("\x08\x80" MASK), 1, true},
    {"5.5 ping of 126", BYTES("\x89\xfe\x00\x7e" MASK), 2, true},
    {"5.5 pong of 126", BYTES("\x8a\xfe\x00\x7e" MASK), 2, true},
    {"5.5 close of 126", BYTES("\x88\xfe\x00\x7e" MASK), 2, true},
    {"5.5 ping of 65536", BYTES("\x89\xff\0\0\0\0\0\x01\0\0" MASK), 2, true},
    {"5.5 ping of 126, server", BYTES("\x89\x7e\x00\x7e"), 2, false},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        print_message("%s\n", row->rule);
        for (size_t len = 0; len <= row->len; len++) {
            struct ws_header header;
            enum weir_result expected = len < row->decided_at ? WEIR_AGAIN : WEIR_PROTOCOL;
            assert_int_equal(
                parse_exact(slice_of(row->bytes, len), row->expect_masked, &header), expected);
        }
    }
}

// The first two bytes exhaustively, against the rules written the long way round.
static bool two_bytes_allowed(unsigned first, unsigned second, bool expect_masked)
{
    unsigned opcode = first & 0xf;
    bool control = opcode >= 8;
    bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
    bool control_fine = !control || (first >= 0x80 && (second & 0x7f) < 126);
    return known && (first & 0x70) == 0 && control_fine && (second >= 0x80) == expect_masked;
}

static void test_first_two_bytes(void **state)
{
    (void)state;
    for (unsigned pair = 0; pair < 0x20000; pair++) {
        bool expect_masked = pair >= 0x10000;
        unsigned first = pair >> 8 & 0xff;
        unsigned second = pair & 0xff;
        char bytes[WS_HEADER_MAX] = {(char)first, (char)second, 1};
        struct ws_header header;
        // A length that needs neither more nor fewer bytes than it is given.
        bytes[7] = (second & 0x7f) == 127;
        bytes[2] = (second & 0x7f) == 126;
        bool allowed = two_bytes_allowed(first, second, expect_masked);
        assert_int_equal(ws_header_parse(slice_of(bytes, sizeof bytes), expect_masked, &header),
            allowed ? WEIR_OK : WEIR_PROTOCOL);
    }
}

// ---- Section 5.4: fragmentation -----------------------------------------------------------------

static const struct sequence_row {
    const char *rule;
    const char *frames; // T B C text, binary, continuation; lower case: unfinished; P O X control
    size_t fits_count;  // how many of them are accepted
} sequence_rows[] = {
    {"one text", "T", 1},
    {"one binary", "B", 1},
    {"text in two", "tC", 2},
    {"text in four", "tccC", 4},
    {"binary in three", "bcC", 3},
    {"message after message", "TBtCbCT", 7},
    {"5.4 control frames between fragments", "tPcOC", 5},
    {"5.4 a close between fragments", "tX", 2},
    {"5.4 control frames outside", "POPTX", 5},
    {"5.4 nothing to continue", "C", 0},
    {"5.4 nothing to continue, unfinished", "c", 0},
    {"5.4 nothing to continue after a whole message", "TC", 1},
    {"5.4 nothing to continue after the last fragment", "tCC", 2},
    {"5.4 a ping does not open a message", "PC", 1},
    {"5.4 text inside text", "tT", 1},
    {"5.4 text inside text, unfinished", "tt", 1},
    {"5.4 binary inside text", "tcB", 2},
    {"5.4 text inside binary", "bT", 1},
    {"5.4 text after an interleaved ping", "tPT", 2},
};

static struct ws_header header_of(char frame)
{
    struct ws_header header = {.fin = frame < 'a'};
    switch (frame < 'a' ? frame : frame - 'a' + 'A') {
    case 'T':
        header.opcode = WS_TEXT;
        break;
    case 'B':
        header.opcode = WS_BINARY;
        break;
    case 'C':
        header.opcode = WS_CONTINUATION;
        break;
    case 'P':
        header.opcode = WS_PING;
        break;
    case 'O':
        header.opcode = WS_PONG;
        break;
    default:
        header.opcode = WS_CLOSE;
        break;
    }
    return header;
}

static void test_sequences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(sequence_rows); i++) {
        const struct sequence_row *row = &sequence_rows[i];
        print_message("%s\n", row->rule);
        bool in_message = false;
        size_t count = 0;
        for (; row->frames[count] != '\0'; count++) {
            struct ws_header header = header_of(row->frames[count]);
            if (!ws_header_fits(&header, in_message)) {
                break;
            }
            in_message = header.opcode < WS_CLOSE ? !header.fin : in_message;
        }
        assert_int_equal(count, row->fits_count);
    }
}

// ---- Writing ------------------------------------------------------------------------------------

static const uint64_t written_lengths[] = {0, 1, 124, 125, 126, 127, 128, 255, 256, 65534, 65535,
    65536, 65537, 1048576, UINT32_MAX, INT64_MAX};

static void test_written_headers_read_back(void **state)
{
    (void)state;
    static const enum ws_opcode opcodes[] = {WS_TEXT, WS_BINARY, WS_CONTINUATION};
    const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
    for (size_t i = 0; i < COUNT(written_lengths); i++) {
        uint64_t len = written_lengths[i];
        char out[WS_HEADER_MAX + WS_UNMASKED_HEADER_MAX];
        struct ws_header header;
        enum ws_opcode opcode = opcodes[i % COUNT(opcodes)];

        size_t header_len = ws_header_write(out, len, opcode, mask);
        assert_int_equal(header_len, ws_header_len(len) + 4);
        assert_int_equal(parse_exact(slice_of(out, header_len), true, &header), WEIR_OK);
        assert_true(header.payload_len == len && header.fin && header.opcode == opcode);
        assert_memory_equal(header.mask, mask, 4);

        header_len = ws_header_write(out, len, opcode, NULL);
        assert_int_equal(header_len, ws_header_len(len));
        assert_int_equal(parse_exact(slice_of(out, header_len), false, &header), WEIR_OK);
        assert_true(header.payload_len == len && header.fin && header.opcode == opcode);

        char before[WS_UNMASKED_HEADER_MAX + 1];
        memset(before, 'x', sizeof before);
        char *payload = before + WS_UNMASKED_HEADER_MAX;
        char *begin = ws_header_write_before(payload, len, opcode);
        assert_int_equal(payload - begin, header_len);
        assert_memory_equal(begin, out, header_len);
        assert_int_equal(*payload, 'x');
        assert_true(begin == before || begin[-1] == 'x');
    }
}

// ---- Section 5.3: masking -----------------------------------------------------------------------

#define UNMASK_LEN_MAX 280
#define UNMASK_DISTANCE_MAX 14 // a header's length: how far a payload moves

static const uint8_t unmask_key[4] = {0xa5, 0x5a, 0x0f, 0x81};

#define ASCII_RUN 18 // plain_byte(18) is the first one above 127

static char plain_byte(size_t i)
{
    return (char)(i * 7 + 3);
}

// In a block of exactly the bytes concerned, so that a store or load past them is seen.
static void check_unmask(size_t len, uint64_t offset, size_t distance)
{
    size_t size = len + distance;
    char *block = malloc(size > 0 ? size : 1);
    assert_non_null(block);
    for (size_t i = 0; i < len; i++) {
        block[distance + i] = (char)(plain_byte(i) ^ (char)unmask_key[(offset + i) % 4]);
    }
    char behind[UNMASK_DISTANCE_MAX];
    size_t behind_len = distance < len ? distance : len;
    memcpy(behind, block + size - behind_len, behind_len);
    bool ascii = len <= ASCII_RUN;
    assert_int_equal(ws_unmask(block, block + distance, len, unmask_key, offset), ascii);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(block[i], plain_byte(i));
    }
    assert_memory_equal(block + size - behind_len, behind, behind_len);
    free(block);
}

static void test_unmask_in_place_and_downwards(void **state)
{
    (void)state;
    for (size_t len = 0; len <= UNMASK_LEN_MAX; len++) {
        for (uint64_t phase = 0; phase < 4; phase++) {
            for (size_t distance = 0; distance <= UNMASK_DISTANCE_MAX; distance++) {
                check_unmask(len, phase, distance);
            }
        }
    }
}

static void test_unmask_elsewhere(void **state)
{
    (void)state;
    char from[UNMASK_LEN_MAX + 16];
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = plain_byte(i);
    }
    for (size_t at = 0; at < 16; at++) {
        for (size_t len = 0; len <= UNMASK_LEN_MAX; len += 9) {
            char to[UNMASK_LEN_MAX + 2];
            memset(to, 'g', sizeof to);
            ws_unmask(to + 1, from + at, len, unmask_key, at);
            for (size_t i = 0; i < len; i++) {
                assert_int_equal(to[1 + i], (char)(from[at + i] ^ (char)unmask_key[(at + i) % 4]));
            }
            assert_int_equal(to[0], 'g');
            assert_int_equal(to[1 + len], 'g');
        }
    }
}

// One byte that is not ASCII is noticed wherever it stands.
static void test_unmask_tells_ascii(void **state)
{
    (void)state;
    for (size_t len = 0; len <= UNMASK_LEN_MAX; len++) {
        char text[UNMASK_LEN_MAX];
        char masked[UNMASK_LEN_MAX];
        memset(text, '\x7f', sizeof text);
        ws_unmask(masked, text, len, unmask_key, 0);
        assert_true(ws_unmask(text, masked, len, unmask_key, 0));
        for (size_t at = 0; at < len; at++) {
            masked[at] ^= '\x80';
            assert_false(ws_unmask(text, masked, len, unmask_key, 0));
            masked[at] ^= '\x80';
        }
    }
}

// A payload that arrives in pieces: each is unmasked with its own offset, however far in it is.
static void test_unmask_in_pieces(void **state)
{
    (void)state;
    const uint64_t base = UINT64_C(0x100000003);
    char whole[UNMASK_LEN_MAX];
    char pieces[UNMASK_LEN_MAX];
    for (size_t i = 0; i < sizeof whole; i++) {
        whole[i] = plain_byte(i);
    }
    ws_unmask(pieces, whole, sizeof whole, unmask_key, base);
    for (size_t cut = 0; cut <= sizeof whole; cut++) {
        char twice[UNMASK_LEN_MAX];
        ws_unmask(twice, whole, cut, unmask_key, base);
        ws_unmask(twice + cut, whole + cut, sizeof whole - cut, unmask_key, base + cut);
        assert_memory_equal(twice, pieces, sizeof twice);
        assert_int_equal(twice[0], (char)(whole[0] ^ (char)unmask_key[3]));
    }
}

// ---- Sections 5.5.1, 7.4, 8.1: closing ----------------------------------------------------------

static const struct close_row {
    const char *rule;
    const char *payload;
    size_t len;
    enum weir_result result;
    uint16_t code;
} close_rows[] = {
    {"7.1.5 no code", "", 0, WEIR_OK, 1005},
    {"5.5.1 half a code", BYTES("\x03"), WEIR_PROTOCOL, 0},
    {"7.4.1 1000", BYTES("\x03\xe8"), WEIR_OK, 1000},
    {"7.4.1 1000 with a reason", BYTES("\x03\xe8 bye"), WEIR_OK, 1000},
    {"8.1 reason in UTF-8", BYTES("\x03\xe8\xe2\x82\xac\xf0\x9f\x98\x80"), WEIR_OK, 1000},
    {"8.1 reason with a lone byte", BYTES("\x03\xe8 \x80"), WEIR_MALFORMED, 0},
    {"8.1 reason cut in a character", BYTES("\x03\xe8\xe2\x82"), WEIR_MALFORMED, 0},
    {"8.1 reason with a surrogate", BYTES("\x03\xe8\xed\xa0\x80"), WEIR_MALFORMED, 0},
    {"8.1 reason with an overlong form", BYTES("\x03\xe8\xc0\xaf"), WEIR_MALFORMED, 0},
    {"8.1 reason above U+10FFFF", BYTES("\x03\xe8\xf4\x90\x80\x80"), WEIR_MALFORMED, 0},
    {"7.4 a bad code with a bad reason", BYTES("\x03\xed\xff"), WEIR_PROTOCOL, 0},
};

static void test_close_payloads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(close_rows); i++) {
        const struct close_row *row = &close_rows[i];
        print_message("%s\n", row->rule);
        struct slice payload = copy_exact(slice_of(row->payload, row->len));
        uint16_t code = 0;
        struct slice reason;
        assert_int_equal(ws_close_parse(payload, &code, &reason), row->result);
        assert_int_equal(code, row->code);
        if (row->result == WEIR_OK) {
            assert_int_equal(reason.len, row->len < 2 ? 0 : row->len - 2);
            assert_memory_equal(reason.at, row->len < 2 ? "" : row->payload + 2, reason.len);
        }
        free((char *)(uintptr_t)payload.at);
    }
}

// Every code there is, against the ranges of section 7.4 and IANA's registry.
static const struct code_range {
    unsigned from;
    unsigned to;
} sendable_codes[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};

static void test_close_codes(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= UINT16_MAX; code++) {
        bool sendable = false;
        for (size_t i = 0; i < COUNT(sendable_codes); i++) {
            sendable |= code >= sendable_codes[i].from && code <= sendable_codes[i].to;
        }
        char payload[2] = {(char)(code >> 8), (char)code};
        uint16_t parsed = 0;
        struct slice reason;
        assert_int_equal(ws_close_parse(slice_of(payload, 2), &parsed, &reason),
            sendable ? WEIR_OK : WEIR_PROTOCOL);
        assert_int_equal(parsed, sendable ? code : 0);
    }
}

static void test_close_write(void **state)
{
    (void)state;
    char out[WS_CONTROL_PAYLOAD_MAX];
    assert_int_equal(ws_close_write(out, 1001, SLICE_EMPTY), 2);
    assert_memory_equal(out, "\x03\xe9", 2);
    assert_int_equal(ws_close_write(out, 4008, SLICE("slow")), 6);
    assert_memory_equal(out, "\x0f\xa8slow", 6);
}

// A reason that does not fit loses whole characters: shift one of 1-4 bytes across the limit.
static void test_close_write_cuts_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    const size_t reason_max = WS_CONTROL_PAYLOAD_MAX - 2;
    for (size_t i = 0; i < COUNT(characters); i++) {
        size_t width = strlen(characters[i]);
        for (size_t before = reason_max - 5; before <= reason_max + 1; before++) {
            char reason[2 * WS_CONTROL_PAYLOAD_MAX];
            memset(reason, 'a', sizeof reason);
            memcpy(reason + before, characters[i], width);
            char out[WS_CONTROL_PAYLOAD_MAX];
            size_t len = ws_close_write(out, 1008, slice_of(reason, before + width));
            size_t kept = before + width <= reason_max ? before + width : before;
            assert_int_equal(len, 2 + (kept < reason_max ? kept : reason_max));
            uint16_t code;
            struct slice parsed;
            assert_int_equal(ws_close_parse(slice_of(out, len), &code, &parsed), WEIR_OK);
            assert_int_equal(code, 1008);
            assert_memory_equal(parsed.at, reason, parsed.len);
        }
    }
}

// ---- Section 4: the opening key -----------------------------------------------------------------

static void test_accept_key(void **state)
{
    (void)state;
    char out[WS_ACCEPT_SIZE];
    // The example of section 1.3.
    assert_int_equal(ws_accept_key(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), out), WEIR_OK);
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(ws_accept_key(SLICE("dGhlIHNhbXBsZSBub25jZQ="), out), WEIR_INVALID);
    assert_int_equal(ws_accept_key(SLICE_EMPTY, out), WEIR_INVALID);
}

static const struct key_row {
    const char *key;
    bool valid;
} key_rows[] = {
    {"dGhlIHNhbXBsZSBub25jZQ==", true},
    {"AAAAAAAAAAAAAAAAAAAAAA==", true},
    {"++++++++++////////////==", true}, // trailing bits are not looked at
    {"", false},
    {"==", false},
    {"dGhlIHNhbXBsZSBub25jZQ", false},
    {"dGhlIHNhbXBsZSBub25jZQ=", false},
    {"dGhlIHNhbXBsZSBub25jZQ===", false},
    {"dGhlIHNhbXBsZSBub25jZQAA", false},
    {"dGhlIHNhbXBsZSBub25jZ===", false},
    {"dGhlIHNhbXBsZSBub25jZQ=A", false},
    {"dGhlIHNhbXBsZSBub25jZ-==", false},
    {"dGhlIHNhbXBsZSBub25jZ_==", false},
    {"dGhlIHNhbXBsZSBub25j Q==", false},
    {"dGhlIHNhbXBsZSBub25jZQZQ==", false},
    {"dGhlIHNhbXBsZSBub25j==", false},
    {" dGhlIHNhbXBsZSBub25jZ==", false},
};

static void test_key_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(key_rows); i++) {
        struct slice key = copy_exact(slice_str(key_rows[i].key));
        assert_int_equal(ws_key_valid(key), key_rows[i].valid);
        free((char *)(uintptr_t)key.at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_headers),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_first_two_bytes),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_written_headers_read_back),
        cmocka_unit_test(test_unmask_in_place_and_downwards),
        cmocka_unit_test(test_unmask_elsewhere),
        cmocka_unit_test(test_unmask_in_pieces),
        cmocka_unit_test(test_unmask_tells_ascii),
        cmocka_unit_test(test_close_payloads),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_close_write),
        cmocka_unit_test(test_close_write_cuts_characters),
        cmocka_unit_test(test_accept_key),
        cmocka_unit_test(test_key_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
