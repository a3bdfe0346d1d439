// SPDX-License-Identifier: Apache-2.0
// Input: what a proxy sends first. What must hold: a header is complete to the byte, and its end
// does not depend on what follows.
#include <stdint.h>

#include "proto/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice whole = slice_of((const char *)data, size);
    struct proxy_header header;
    if (proxy_header_parse(whole, &header) != WEIR_OK) {
        return 0;
    }
    weir_assert(header.len > 0 && header.len <= size && header.len <= PROXY_HEADER_BYTES_MAX);
    struct proxy_header again;
    weir_assert(proxy_header_parse(slice_of(whole.at, header.len), &again) == WEIR_OK);
    weir_assert(again.len == header.len && again.has_source == header.has_source);
    weir_assert(!header.has_source ||
                (ip_eq(&again.source, &header.source) && again.source_port == header.source_port));
    for (size_t cut = 0; cut < header.len; cut++) {
        weir_assert(proxy_header_parse(slice_of(whole.at, cut), &again) == WEIR_AGAIN);
    }
    return 0;
}
