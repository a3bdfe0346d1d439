// SPDX-License-Identifier: Apache-2.0
#include "proto/prometheus_read.h"

#include <stdlib.h>

#define NUMBER_SIZE 64

// The end of the labels that begin behind an opening brace: braces may stand in their values.
static bool find_end(struct slice text, size_t *ret_len)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        if (quoted && text.at[i] == '\\') {
            i++;
        } else if (text.at[i] == '"') {
            quoted = !quoted;
        } else if (text.at[i] == '}' && !quoted) {
            *ret_len = i;
            return true;
        }
    }
    return false;
}

static bool read_number(struct slice text, double *ret_value)
{
    char number[NUMBER_SIZE];
    char *end;
    struct slice rest = text;
    struct slice first;
    if (!slice_split(&rest, ' ', &first) || !slice_to_text(first, number, sizeof number)) {
        return false;
    }
    *ret_value = strtod(number, &end);
    return end != number && *end == '\0';
}

static bool read_line(struct slice line, struct prometheus_sample *sample)
{
    size_t name_len = 0;
    size_t labels_len;
    while (name_len < line.len && line.at[name_len] != ' ' && line.at[name_len] != '{') {
        name_len++;
    }
    if (name_len == 0 || name_len == line.len || line.at[0] == '#') {
        return false;
    }
    sample->name = slice_of(line.at, name_len);
    sample->labels = SLICE_EMPTY;
    struct slice rest = slice_skip(line, name_len);
    if (rest.at[0] == '{') {
        rest = slice_skip(rest, 1);
        if (!find_end(rest, &labels_len)) {
            return false;
        }
        sample->labels = slice_of(rest.at, labels_len);
        rest = slice_skip(rest, labels_len + 1);
    }
    return read_number(slice_trim(rest), &sample->value);
}

bool prometheus_next(struct slice *rest, struct prometheus_sample *sample)
{
    struct slice line;
    while (rest->len > 0 && slice_split(rest, '\n', &line)) {
        if (read_line(slice_trim(line), sample)) {
            return true;
        }
    }
    return false;
}

// The value behind its opening quote, up to the closing one. Returns what was read of it.
static size_t unescape(struct slice value, char *text, size_t size)
{
    size_t len = 0;
    size_t i = 0;
    for (; i < value.len && value.at[i] != '"'; i++) {
        char byte = value.at[i];
        if (byte == '\\' && i + 1 < value.len) {
            byte = value.at[++i] == 'n' ? '\n' : value.at[i];
        }
        if (len + 1 < size) {
            text[len++] = byte;
        }
    }
    text[len] = '\0';
    return i;
}

bool prometheus_read_label(
    const struct prometheus_sample *sample, struct slice name, char *text, size_t size)
{
    struct slice rest = sample->labels;
    while (rest.len > 0) {
        ptrdiff_t equals = slice_find(rest, '=');
        if (equals < 0 || (size_t)equals + 1 >= rest.len || rest.at[equals + 1] != '"') {
            return false;
        }
        struct slice found = slice_trim(slice_of(rest.at, (size_t)equals));
        rest = slice_skip(rest, (size_t)equals + 2);
        rest = slice_skip(rest, unescape(rest, text, size));
        if (slice_eq(found, name)) {
            return true;
        }
        rest = slice_skip(rest, rest.len > 0);
        if (rest.len > 0 && rest.at[0] == ',') {
            rest = slice_skip(rest, 1);
        }
    }
    return false;
}
