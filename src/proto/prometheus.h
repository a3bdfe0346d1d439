// SPDX-License-Identifier: Apache-2.0
// The text a Prometheus server scrapes: format 0.0.4, and OpenMetrics 1.0
// (https://prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification
// version 1.0). Everything appends to a bounded buffer whose `failed` says at the end whether all
// of it fitted. Names are given as 0.0.4 spells them, with their _total; OpenMetrics wants the
// family of a counter without it, which is done here. A gauge keeps its name in both.
//
// One family: prometheus_family, then its samples without a gap. A page of OpenMetrics ends with
// prometheus_end.
#ifndef WEIR_PROTO_PROMETHEUS_H
#define WEIR_PROTO_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum exposition { EXPOSITION_PROMETHEUS, EXPOSITION_OPENMETRICS };

enum prometheus_type { PROMETHEUS_COUNTER, PROMETHEUS_GAUGE, PROMETHEUS_HISTOGRAM };

struct prometheus_label {
    const char *name;
    struct slice value; // any bytes; invalid UTF-8 becomes U+FFFD
};

// The format to answer an Accept header with: OpenMetrics when it is asked for by name and plain
// text is not preferred to it (RFC 9110 section 12.5.1). An empty header gives 0.0.4.
enum exposition prometheus_choose(struct slice accept);
const char *prometheus_content_type(enum exposition exposition);
const char *prometheus_type_name(enum prometheus_type type);

// HELP and TYPE.
void prometheus_family(struct buf *out, enum exposition exposition, enum prometheus_type type,
    const char *name, const char *help);
// One sample of a counter or gauge; label may be NULL.
void prometheus_int(
    struct buf *out, const char *name, const struct prometheus_label *label, int64_t value);
void prometheus_double(
    struct buf *out, const char *name, const struct prometheus_label *label, double value);
// The same with labels that are written out and escaped already: `kind="http",result="ok"`, or "".
void prometheus_int_labelled(struct buf *out, const char *name, const char *labels, int64_t value);

struct prometheus_histogram {
    const char *labels;   // written out, as above; NULL: none
    const double *bounds; // ascending upper bounds, without +Inf
    size_t bound_count;
    const uint64_t *buckets; // bound_count + 1 counts, each of its own bucket only
    double sum;
};
// All samples of a histogram.
void prometheus_histogram(struct buf *out, enum exposition exposition, const char *name,
    const struct prometheus_histogram *histogram);
void prometheus_end(struct buf *out, enum exposition exposition);

#endif
