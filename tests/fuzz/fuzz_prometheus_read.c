// SPDX-License-Identifier: Apache-2.0
// Input: a page of metrics of whoever was asked. What must hold: it comes to an end, and samples
// are parts of the page.
#include <stdint.h>

#include "base/result.h"
#include "proto/prometheus_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct slice part, const char *page, size_t size)
{
    return part.len == 0 || (part.at >= page && part.at + part.len <= page + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *page = (const char *)data;
    struct slice rest = slice_of(page, size);
    struct prometheus_sample sample;
    char text[16];
    size_t before = size + 1;
    while (prometheus_next(&rest, &sample)) {
        weir_assert(rest.len < before);
        before = rest.len;
        weir_assert(sample.name.len > 0 && is_within(sample.name, page, size));
        weir_assert(is_within(sample.labels, page, size));
        if (prometheus_read_label(&sample, SLICE("le"), text, sizeof text)) {
            weir_assert(strlen(text) < sizeof text);
        }
    }
    return 0;
}
