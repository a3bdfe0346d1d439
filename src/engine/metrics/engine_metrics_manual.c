// SPDX-License-Identifier: Apache-2.0
// The page docs/reference/engine-metrics.md. A family is a run of rows of one name; its labels are
// shown once each, with every value that occurs.
#include "engine/metrics/engine_metrics.h"

#include <string.h>

// Takes key="value" off the front of *rest. False at the end. No value has a quote in it.
static bool next_label(struct slice *rest, struct slice *ret_key, struct slice *ret_value)
{
    struct slice value;
    if (rest->at == NULL || rest->len == 0 || !slice_split(rest, '=', ret_key)) {
        return false;
    }
    struct slice quoted = slice_skip(*rest, 1);
    if (!slice_split(&quoted, '"', &value)) {
        return false;
    }
    *ret_value = value;
    *rest = slice_skip(quoted, 1); // the comma
    return true;
}

// The value of label number `nth` of a row; false when it has not so many.
static bool label_at(
    const char *labels, unsigned nth, struct slice *ret_key, struct slice *ret_value)
{
    struct slice rest = slice_str(labels);
    for (unsigned i = 0; next_label(&rest, ret_key, ret_value); i++) {
        if (i == nth) {
            return true;
        }
    }
    return false;
}

static bool seen_before(size_t first, size_t index, unsigned nth, struct slice value)
{
    for (size_t i = first; i < index; i++) {
        struct engine_metrics_row row;
        struct slice key, other;
        if (engine_metrics_row_at(i, &row) && label_at(row.labels, nth, &key, &other) &&
            slice_eq(other, value)) {
            return true;
        }
    }
    return false;
}

// Label number nth of the rows first up to end. False when they have not so many.
static bool write_label(struct buf *out, size_t first, size_t end, unsigned nth)
{
    bool begun = false;
    for (size_t i = first; i < end; i++) {
        struct engine_metrics_row row;
        struct slice key, value;
        if (!engine_metrics_row_at(i, &row) || !label_at(row.labels, nth, &key, &value)) {
            return false;
        }
        if (!begun) {
            buf_printf(out, "%s`%.*s`: ", nth == 0 ? "" : "; ", SLICE_ARG(key));
        }
        if (!seen_before(first, i, nth, value)) {
            buf_printf(out, "%s%.*s", begun ? ", " : "", SLICE_ARG(value));
        }
        begun = true;
    }
    return true;
}

static void write_labels(
    struct buf *out, const struct engine_metrics_row *row, size_t first, size_t end)
{
    if (strchr(row->labels, '=') == NULL) {
        if (row->labels[0] != '\0') {
            buf_printf(out, "`%s`", row->labels);
        }
        return;
    }
    for (unsigned nth = 0; write_label(out, first, end, nth); nth++) {
    }
}

// The row behind the last one of the same name.
static size_t end_of_family(size_t first)
{
    struct engine_metrics_row row;
    struct engine_metrics_row other;
    size_t end = first + 1;
    if (!engine_metrics_row_at(first, &row)) {
        return end;
    }
    while (engine_metrics_row_at(end, &other) && strcmp(other.name, row.name) == 0) {
        end++;
    }
    return end;
}

void engine_metrics_manual(struct buf *out)
{
    struct engine_metrics_row row;
    buf_append_str(out,
        "# Metrics of the engine\n\n"
        "`metrics.prometheus` in the configuration serves them on a listener of their own, in "
        "Prometheus' text format, or as OpenMetrics when the scraper asks for it.\n"
        "Every series exists from the start, at 0; those of single tunnels only when "
        "`metrics.tunnel_labels` allows some.\n"
        "This page is the output of `weir config reference engine-metrics`.\n\n"
        "| name | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t first = 0; engine_metrics_row_at(first, &row);) {
        size_t end = end_of_family(first);
        buf_printf(out, "| `%s` | %s | ", row.name, prometheus_type_name(row.type));
        write_labels(out, &row, first, end);
        buf_printf(out, " | %s |\n", row.help);
        first = end;
    }
}
