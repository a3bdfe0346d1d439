// SPDX-License-Identifier: Apache-2.0
// Skims an HTTP/1 answer (RFC 9112) for its status and the end of its head, for who wants nothing
// else: nothing is stored. Lenient on purpose where the parser of http1.h is strict, because lines
// that end in a bare LF, or header lines that are none, do not make a server any less alive.
#ifndef WEIR_PROTO_HTTP1_SKIM_H
#define WEIR_PROTO_HTTP1_SKIM_H

#include <stdbool.h>

#include "base/result.h"
#include "base/slice.h"

#define HTTP1_SKIM_BYTES_MAX 65536 // of all heads together
#define HTTP1_SKIM_LINE_KEPT 16

struct http1_skim {
    unsigned status; // counts with WEIR_OK
    size_t len;      // bytes seen
    size_t line_len; // of the line under way, without its LF
    char line[HTTP1_SKIM_LINE_KEPT];
    bool in_headers; // the status line is behind us
};

// Zeroed before the first call. WEIR_OK: the head is complete, after interim ones (1xx but 101)
// that are skipped. WEIR_AGAIN: more bytes are needed. WEIR_MALFORMED: no HTTP/1, known at the
// first byte that says so. WEIR_TOO_LARGE. After anything but WEIR_AGAIN it is over.
enum weir_result http1_skim_feed(struct http1_skim *skim, struct slice bytes) WEIR_MUST_CHECK;

#endif
