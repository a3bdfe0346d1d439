// SPDX-License-Identifier: Apache-2.0
// The body of an HTTP/1.1 message (RFC 9112 sections 6 and 7), decoded as it streams by: payload is
// handed out where it lies, framing is taken off, nothing is kept but trailers.
//
// Strict, because the next hop reads the same bytes: chunk lines end in CRLF, a size is 1-16
// hexadecimal digits with nothing around it, extensions are checked, bounded and dropped.
#ifndef WEIR_PROTO_HTTP1_BODY_H
#define WEIR_PROTO_HTTP1_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "proto/http1.h"

#define HTTP1_CHUNK_LINE_MAX 256     // size and extensions, without CRLF
#define HTTP1_TRAILER_BYTES_MAX 8192 // the whole section
#define HTTP1_TRAILERS_MAX 64

enum http1_body_kind {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH,
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_UNTIL_CLOSE,
};

struct http1_body {
    enum http1_body_kind kind;
    uint8_t state; // enum state of http1_body.c
    uint8_t trailer_count;
    uint16_t line_len;   // bytes of the line of framing at hand
    uint64_t left;       // payload bytes still to come, in this chunk or in all
    uint64_t len;        // payload bytes handed out so far
    struct buf trailers; // the lines of the section, once there is one
};

// A request's body: by length, chunked, or none.
void http1_body_init_request(struct http1_body *body, const struct http1_head *head);
// A response's body; request_method is that of the request it answers (RFC 9112 section 6.3: HEAD,
// 1xx, 204, 304 and a 2xx to CONNECT have none). What follows a 101 or a tunnel is not this
// decoder's.
void http1_body_init_response(
    struct http1_body *body, const struct http1_head *head, struct slice request_method);
// Gives back what trailers took. Safe to repeat, and on a zeroed struct.
void http1_body_fini(struct http1_body *body);

// Takes the next piece off the front of *bytes: framing is skipped, and *ret_payload is the next
// run of payload, empty when bytes ended in framing. WEIR_OK: there may be more; call again while
// *bytes is not empty. WEIR_CLOSED: the body is complete, what is left in *bytes is not its own.
// WEIR_MALFORMED; WEIR_TOO_LARGE: a chunk line or the trailers are past their limits; WEIR_MEMORY.
// After one of these three the body must not be asked again. A body without any payload is
// WEIR_CLOSED at the first call.
enum weir_result http1_body_next(
    struct http1_body *body, struct slice *bytes, struct slice *ret_payload) WEIR_MUST_CHECK;
// The whole body has been handed out: what http1_body_next would say to no bytes at all.
bool http1_body_done(const struct http1_body *body);
// The connection ended: true when that completes the body (it was until-close, or done before).
bool http1_body_ends_at_close(const struct http1_body *body);

// The next trailer, of those that are complete; *at begins as 0. Fields that frame, route or
// authenticate (RFC 9110 section 6.5.1) are passed over.
bool http1_body_trailer_next(
    const struct http1_body *body, size_t *at, struct http1_header *ret_trailer);

// Whether a field of that name may be a trailer: what the above passes over is not.
bool http1_trailer_allowed(struct slice name);

// ---- Writing ------------------------------------------------------------------------------------

#define HTTP1_CHUNK_HEAD_MAX 18 // 16 digits and CRLF
#define HTTP1_CHUNK_TAIL "\r\n"
#define HTTP1_LAST_CHUNK "0\r\n" // then trailers, then an empty line

// Writes "size CRLF" of a chunk that is not empty; returns the length. HTTP1_CHUNK_TAIL goes behind
// the payload.
size_t http1_chunk_head_write(char out[HTTP1_CHUNK_HEAD_MAX], uint64_t payload_len);

#endif
