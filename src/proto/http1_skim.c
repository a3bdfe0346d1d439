// SPDX-License-Identifier: Apache-2.0
#include "proto/http1_skim.h"

static const char version[] = "HTTP/1.";
#define VERSION_LEN (sizeof version - 1)

static void keep(struct http1_skim *skim, struct slice part)
{
    for (size_t i = 0; i < part.len && skim->line_len + i < HTTP1_SKIM_LINE_KEPT; i++) {
        skim->line[skim->line_len + i] = part.at[i];
    }
    skim->line_len += part.len;
}

static bool begins_well(const struct http1_skim *skim)
{
    return memcmp(skim->line, version,
               skim->line_len < VERSION_LEN ? skim->line_len : VERSION_LEN) == 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

// "HTTP/1.", a digit, blanks, three digits, and no fourth.
static bool read_status_line(struct http1_skim *skim)
{
    size_t len = skim->line_len < HTTP1_SKIM_LINE_KEPT ? skim->line_len : HTTP1_SKIM_LINE_KEPT;
    size_t at = VERSION_LEN + 1;
    unsigned status = 0;
    if (len < at || !is_digit(skim->line[at - 1])) {
        return false;
    }
    while (at < len && skim->line[at] == ' ') {
        at++;
    }
    if (at == VERSION_LEN + 1 || at + 3 > len) {
        return false;
    }
    for (size_t end = at + 3; at < end; at++) {
        if (!is_digit(skim->line[at])) {
            return false;
        }
        status = status * 10 + (unsigned)(skim->line[at] - '0');
    }
    skim->status = status;
    return status >= 100 && (at == len || !is_digit(skim->line[at]));
}

static enum weir_result end_line(struct http1_skim *skim)
{
    bool empty = skim->line_len == 0 || (skim->line_len == 1 && skim->line[0] == '\r');
    if (!skim->in_headers) {
        skim->in_headers = read_status_line(skim);
        skim->line_len = 0;
        return skim->in_headers ? WEIR_AGAIN : WEIR_MALFORMED;
    }
    skim->line_len = 0;
    if (!empty) {
        return WEIR_AGAIN;
    }
    bool interim = skim->status < 200 && skim->status != 101;
    skim->in_headers = false;
    return interim ? WEIR_AGAIN : WEIR_OK;
}

enum weir_result http1_skim_feed(struct http1_skim *skim, struct slice bytes)
{
    while (bytes.len > 0) {
        const char *end = memchr(bytes.at, '\n', bytes.len);
        size_t len = end == NULL ? bytes.len : (size_t)(end - bytes.at);
        keep(skim, slice_of(bytes.at, len));
        skim->len += len + (end != NULL);
        if (!skim->in_headers && !begins_well(skim)) {
            return WEIR_MALFORMED;
        }
        if (skim->len > HTTP1_SKIM_BYTES_MAX) {
            return WEIR_TOO_LARGE;
        }
        if (end == NULL) {
            return WEIR_AGAIN;
        }
        enum weir_result result = end_line(skim);
        if (result != WEIR_AGAIN) {
            return result;
        }
        bytes = slice_skip(bytes, len + 1);
    }
    return WEIR_AGAIN;
}
