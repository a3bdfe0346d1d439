// SPDX-License-Identifier: Apache-2.0
// Reads what prometheus.h writes: the samples of a page in text format 0.0.4 or OpenMetrics, one
// after the other. Comments and lines that are none are passed over.
#ifndef WEIR_PROTO_PROMETHEUS_READ_H
#define WEIR_PROTO_PROMETHEUS_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct prometheus_sample {
    struct slice name;
    struct slice labels; // what stands between the braces
    double value;
};

// rest is what is left of the page. False at its end.
bool prometheus_next(struct slice *rest, struct prometheus_sample *sample);
// A label's value, unescaped and cut to size. False: it has no such label.
bool prometheus_read_label(
    const struct prometheus_sample *sample, struct slice name, char *text, size_t size);

#endif
