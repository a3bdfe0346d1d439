// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_BASE_NUMBER_H
#define WEIR_BASE_NUMBER_H

#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

// Decimal digits only, no sign, no blanks, no leading zeros beyond "0"; at most max.
enum weir_result number_parse_u64(
    struct slice text, uint64_t max, uint64_t *ret_value) WEIR_MUST_CHECK;

#define NUMBER_DIGITS_MAX 20
// Writes the decimal digits, without a NUL, and returns how many they are. Many times faster than
// printf, for documents that are full of numbers.
size_t number_put_u64(uint64_t value, char digits[NUMBER_DIGITS_MAX]);

#endif
