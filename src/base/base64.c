// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

static const char alphabet_std[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const char *alphabet, bool pad, const uint8_t *in, size_t len, char *text)
{
    char *out = text;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16;
        bits |= have > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= have > 2 ? (uint32_t)in[i + 2] : 0;
        for (size_t j = 0; j < 4; j++) {
            if (j <= have) {
                *out++ = alphabet[(bits >> (18 - 6 * j)) & 63];
            } else if (pad) {
                *out++ = '=';
            }
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

size_t base64_encode(const void *bytes, size_t len, char *text)
{
    return encode(alphabet_std, true, bytes, len, text);
}

size_t base64url_encode(const void *bytes, size_t len, char *text)
{
    return encode(alphabet_url, false, bytes, len, text);
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-') {
        return 62;
    }
    return c == '_' ? 63 : -1;
}

enum weir_result base64url_decode(struct slice text, void *bytes, size_t size, size_t *ret_len)
{
    uint8_t *out = bytes;
    size_t tail = text.len % 4;
    size_t len = text.len / 4 * 3 + (tail == 0 ? 0 : tail - 1);
    if (tail == 1) {
        return WEIR_MALFORMED;
    }
    if (len > size) {
        return WEIR_TOO_LARGE;
    }
    uint32_t bits = 0;
    int bit_count = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.at[i]);
        if (digit < 0) {
            return WEIR_MALFORMED;
        }
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            *out++ = (uint8_t)(bits >> bit_count);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0) {
        return WEIR_MALFORMED;
    }
    *ret_len = len;
    return WEIR_OK;
}
