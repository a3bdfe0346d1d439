// SPDX-License-Identifier: Apache-2.0
// Input: one byte that says where the answer is cut, then the answer. What must hold: the verdict
// is the same fed whole and fed in pieces, and a status has three digits.
#include <stdint.h>

#include "proto/http1_skim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice text = slice_of((const char *)data + 1, size - 1);
    size_t piece = (size_t)data[0] + 1;
    struct http1_skim whole = {0};
    struct http1_skim cut = {0};
    enum weir_result result = WEIR_AGAIN;
    enum weir_result at_once = http1_skim_feed(&whole, text);
    while (text.len > 0 && result == WEIR_AGAIN) {
        size_t len = text.len < piece ? text.len : piece;
        result = http1_skim_feed(&cut, slice_of(text.at, len));
        text = slice_skip(text, len);
    }
    weir_assert(result == at_once);
    weir_assert(result != WEIR_OK || cut.status == whole.status);
    weir_assert(result != WEIR_OK || (cut.status >= 100 && cut.status <= 999));
    return 0;
}
