// SPDX-License-Identifier: Apache-2.0
// Writes exposition text. How a number looks follows the Go client, because dashboards and
// recording rules have been written against its pages: an upper bound is le="1" in 0.0.4 and
// le="1.0" in OpenMetrics, whose parsers refuse the short form.
#include "proto/prometheus.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

#define DOUBLE_SIZE 40
#define REPLACEMENT "\xef\xbf\xbd"

// ---- Which format.

#define QUALITY_MAX 1000

// "0.5" as 500; anything unreadable counts as 1, as if it were not there.
static unsigned quality_of(struct slice parameters)
{
    struct slice part;
    while (slice_split(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (!slice_starts_with_nocase(part, SLICE("q="))) {
            continue;
        }
        char text[8];
        char *end;
        if (!slice_to_text(slice_skip(part, 2), text, sizeof text)) {
            return QUALITY_MAX;
        }
        double quality = strtod(text, &end);
        bool usable = end != text && *end == '\0' && quality >= 0 && quality <= 1;
        return usable ? (unsigned)(quality * QUALITY_MAX) : QUALITY_MAX;
    }
    return QUALITY_MAX;
}

enum exposition prometheus_choose(struct slice accept)
{
    unsigned openmetrics = 0;
    unsigned plain = 0;
    struct slice range;
    while (slice_split(&accept, ',', &range)) {
        struct slice media;
        if (!slice_split(&range, ';', &media)) {
            continue;
        }
        media = slice_trim(media);
        unsigned quality = quality_of(range);
        if (slice_eq_nocase(media, SLICE("application/openmetrics-text"))) {
            openmetrics = quality > openmetrics ? quality : openmetrics;
        } else if (slice_eq_nocase(media, SLICE("text/plain"))) {
            plain = quality > plain ? quality : plain;
        }
    }
    return openmetrics > 0 && openmetrics >= plain ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
}

const char *prometheus_content_type(enum exposition exposition)
{
    return exposition == EXPOSITION_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

const char *prometheus_type_name(enum prometheus_type type)
{
    static const char *const names[] = {
        [PROMETHEUS_COUNTER] = "counter",
        [PROMETHEUS_GAUGE] = "gauge",
        [PROMETHEUS_HISTOGRAM] = "histogram",
    };
    return names[type];
}

// ---- Text.

static void append_escaped(struct buf *out, struct slice text, bool quotes)
{
    while (text.len > 0) {
        size_t len = utf8_sequence_len(text);
        char first = text.at[0];
        if (len == 0) {
            buf_append_str(out, REPLACEMENT);
            len = utf8_broken_len(text);
        } else if (first == '\n') {
            buf_append_str(out, "\\n");
        } else if (first == '\\' || (first == '"' && quotes)) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, first);
        } else {
            buf_append(out, text.at, len);
        }
        text = slice_skip(text, len);
    }
}

// The fewest significant digits that read back as the same value.
static int shortest_precision(double value)
{
    int precision = 1;
    for (; precision < 17; precision++) {
        char text[DOUBLE_SIZE];
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return precision;
}

static void format_double(double value, char text[DOUBLE_SIZE])
{
    if (isnan(value)) {
        snprintf(text, DOUBLE_SIZE, "NaN");
    } else if (isinf(value)) {
        snprintf(text, DOUBLE_SIZE, value < 0 ? "-Inf" : "+Inf");
    } else {
        int precision = shortest_precision(value);
        snprintf(text, DOUBLE_SIZE, "%.*g", precision < 15 ? 15 : precision, value);
    }
}

// The canonical number of OpenMetrics: "1.0", "0.0005", "1.048576e+06".
static void format_canonical(double value, char text[DOUBLE_SIZE])
{
    if (fabs(value) >= 1e6) {
        snprintf(text, DOUBLE_SIZE, "%.*e", shortest_precision(value) - 1, value);
        return;
    }
    format_double(value, text);
    if (strpbrk(text, ".e") == NULL) {
        size_t len = strlen(text);
        snprintf(text + len, DOUBLE_SIZE - len, ".0");
    }
}

// ---- Families and samples.

void prometheus_family(struct buf *out, enum exposition exposition, enum prometheus_type type,
    const char *name, const char *help)
{
    struct slice family = slice_str(name);
    if (exposition == EXPOSITION_OPENMETRICS && type == PROMETHEUS_COUNTER &&
        slice_ends_with(family, SLICE("_total"))) {
        family.len -= strlen("_total");
    }
    buf_printf(out, "# HELP %.*s ", SLICE_ARG(family));
    append_escaped(out, slice_str(help), exposition == EXPOSITION_OPENMETRICS);
    buf_printf(out, "\n# TYPE %.*s %s\n", SLICE_ARG(family), prometheus_type_name(type));
}

static void sample_name(struct buf *out, const char *name, const struct prometheus_label *label)
{
    buf_append_str(out, name);
    if (label != NULL) {
        buf_printf(out, "{%s=\"", label->name);
        append_escaped(out, label->value, true);
        buf_append_str(out, "\"}");
    }
    buf_append_byte(out, ' ');
}

void prometheus_int(
    struct buf *out, const char *name, const struct prometheus_label *label, int64_t value)
{
    sample_name(out, name, label);
    buf_printf(out, "%" PRId64 "\n", value);
}

void prometheus_double(
    struct buf *out, const char *name, const struct prometheus_label *label, double value)
{
    char text[DOUBLE_SIZE];
    format_double(value, text);
    sample_name(out, name, label);
    buf_printf(out, "%s\n", text);
}

void prometheus_int_labelled(struct buf *out, const char *name, const char *labels, int64_t value)
{
    buf_append_str(out, name);
    if (labels[0] != '\0') {
        buf_printf(out, "{%s}", labels);
    }
    buf_printf(out, " %" PRId64 "\n", value);
}

void prometheus_histogram(struct buf *out, enum exposition exposition, const char *name,
    const struct prometheus_histogram *histogram)
{
    const char *labels = histogram->labels == NULL ? "" : histogram->labels;
    const char *comma = labels[0] == '\0' ? "" : ",";
    const char *open = labels[0] == '\0' ? "" : "{";
    const char *close = labels[0] == '\0' ? "" : "}";
    uint64_t total = 0;
    char text[DOUBLE_SIZE];
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        total += histogram->buckets[i];
        if (i == histogram->bound_count) {
            format_double(HUGE_VAL, text);
        } else if (exposition == EXPOSITION_OPENMETRICS) {
            format_canonical(histogram->bounds[i], text);
        } else {
            format_double(histogram->bounds[i], text);
        }
        buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels, comma, text, total);
    }
    format_double(histogram->sum, text);
    buf_printf(out, "%s_sum%s%s%s %s\n", name, open, labels, close, text);
    buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, total);
}

void prometheus_end(struct buf *out, enum exposition exposition)
{
    if (exposition == EXPOSITION_OPENMETRICS) {
        buf_append_str(out, "# EOF\n");
    }
}
