// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 message heads and bodies (RFC 9112) over llhttp in strict mode, without I/O. What llhttp
// lets through and we do not: HTTP/0.9 and unknown versions, folded header lines, more than one
// Host, no Host in HTTP/1.1, a Host that is no host, Content-Length together with
// Transfer-Encoding, either of them twice, codings other than chunked, more than one space in a
// request line, control characters in a value, a bare CR or LF as a line end.
#ifndef WEIR_PROTO_HTTP1_H
#define WEIR_PROTO_HTTP1_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define HTTP1_HEADERS_MAX 100
#define HTTP1_HEAD_BYTES_MAX 16384 // spec section 3: more is 431

struct http1_header {
    struct slice name;  // as received
    struct slice value; // without blanks around it
};

// A parsed head. All slices borrow the bytes it was parsed from.
struct http1_head {
    // of a request
    struct slice method;
    struct slice target; // as received
    // of a response
    unsigned status;
    // of both
    unsigned minor_version; // HTTP/1.0 or 1.1
    struct http1_header headers[HTTP1_HEADERS_MAX];
    size_t header_count;
    size_t head_len;         // bytes up to and including the empty line
    uint64_t content_length; // 0 when chunked or absent
    bool has_content_length;
    bool chunked;
    bool keep_alive; // by version and Connection
    bool upgrade;    // Connection has "upgrade" and there is an Upgrade header
};

// Parses a complete request (or response) head at the front of bytes. WEIR_AGAIN: the empty line is
// not there yet (the bytes so far may already be known to be bad: then WEIR_MALFORMED at once).
// WEIR_TOO_LARGE: head or header count past the limits. WEIR_MALFORMED otherwise. Up to eight CRLFs
// before a request line are skipped (section 2.2) and are part of head_len. What *ret_head holds
// after anything but WEIR_OK means nothing. Asking again with more bytes is cheap while the empty
// line is missing; a caller that waits for a body should keep head_len and not ask again.
enum weir_result http1_parse_request(
    struct slice bytes, struct http1_head *ret_head) WEIR_MUST_CHECK;
enum weir_result http1_parse_response(
    struct slice bytes, struct http1_head *ret_head) WEIR_MUST_CHECK;

// What a request or response may be at most.
struct http1_limits {
    size_t head_bytes_max;   // 431
    size_t header_count_max; // 431; HTTP1_HEADERS_MAX at most
    size_t target_len_max;   // 414; of no meaning for a response
};

// The same for a request within limits of the caller's. WEIR_TOO_LONG: the target is past its
// limit, known when it is, or when the head's limit is reached before the request line ended.
// WEIR_TOO_LARGE: the others are.
enum weir_result http1_parse_request_within(struct slice bytes, const struct http1_limits *limits,
    struct http1_head *ret_head) WEIR_MUST_CHECK;

enum weir_result http1_parse_response_within(struct slice bytes, const struct http1_limits *limits,
    struct http1_head *ret_head) WEIR_MUST_CHECK;

// The first header of that name (case-insensitive), or NULL.
const struct http1_header *http1_find(const struct http1_head *head, struct slice name);
// How many headers of that name there are.
size_t http1_count(const struct http1_head *head, struct slice name);
// A comma-separated header holds the token (case-insensitive), over all headers of that name.
bool http1_has_token(const struct http1_head *head, struct slice name, struct slice token);

// The standard reason phrase; "Unknown" for a status we do not know.
const char *http1_reason(unsigned status);

// Parts of a request target in origin form or absolute form: path, and query without '?' (empty
// when there is none). WEIR_MALFORMED: neither form, control characters, a fragment.
enum weir_result http1_split_target(
    struct slice target, struct slice *ret_path, struct slice *ret_query) WEIR_MUST_CHECK;

enum http1_target_form {
    HTTP1_ORIGIN_FORM,    // "/path?query"
    HTTP1_ABSOLUTE_FORM,  // "https://host/path?query"
    HTTP1_AUTHORITY_FORM, // "host:port", of CONNECT
    HTTP1_ASTERISK_FORM,  // "*", of OPTIONS
};

// Where a request goes; the slices borrow what the head does.
struct http1_target {
    enum http1_target_form form;
    struct slice authority; // what Host says, or the target where it has one; empty without both
    struct slice origin;    // path and query as received; "*" in asterisk form, empty for CONNECT
};

// The four forms of RFC 9112 section 3.2, each with the methods that have it. WEIR_MALFORMED: none
// of them, another scheme than http and https, an authority with user information or none, a query
// without a path, control characters, a fragment, an authority that is not what Host says (in
// HTTP/1.0 there need not be a Host).
enum weir_result http1_read_target(
    const struct http1_head *head, struct http1_target *ret_target) WEIR_MUST_CHECK;

// The first value of a name in a query, decoded like an HTML form (%xx and '+'; a broken %xx stays
// as it is) into text (size bytes, NUL-terminated). WEIR_NOT_FOUND; WEIR_TOO_LARGE when it does not
// fit. NUL bytes in the value give WEIR_MALFORMED.
enum weir_result http1_query_value(struct slice query, struct slice name, char *text, size_t size,
    size_t *ret_len) WEIR_MUST_CHECK;

#endif
