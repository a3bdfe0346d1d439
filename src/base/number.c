// SPDX-License-Identifier: Apache-2.0
#include "base/number.h"

enum weir_result number_parse_u64(struct slice text, uint64_t max, uint64_t *ret_value)
{
    if (text.len == 0 || (text.len > 1 && text.at[0] == '0')) {
        return WEIR_MALFORMED;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return WEIR_MALFORMED;
        }
        uint64_t digit = (uint64_t)(text.at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return WEIR_TOO_LARGE;
        }
        value = value * 10 + digit;
    }
    if (value > max) {
        return WEIR_TOO_LARGE;
    }
    *ret_value = value;
    return WEIR_OK;
}

size_t number_put_u64(uint64_t value, char digits[NUMBER_DIGITS_MAX])
{
    char reversed[NUMBER_DIGITS_MAX];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < len; i++) {
        digits[i] = reversed[len - 1 - i];
    }
    return len;
}
