// SPDX-License-Identifier: Apache-2.0
// Input: one byte that chooses request or response, then the head. What must hold: what is accepted
// is complete to the byte, points into the input and says one length only; a request's target and
// query can be taken apart.
#include <stdint.h>

#include "proto/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum weir_result parse(bool request, struct slice bytes, struct http1_head *head)
{
    return request ? http1_parse_request(bytes, head) : http1_parse_response(bytes, head);
}

static void check_inside(struct slice part, struct slice whole)
{
    weir_assert(
        part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len));
    for (size_t i = 0; i < part.len; i++) {
        unsigned char byte = (unsigned char)part.at[i];
        weir_assert((byte >= ' ' || byte == '\t') && byte != 0x7f);
    }
}

static void check_head(const struct http1_head *head, struct slice whole, bool request)
{
    weir_assert(head->head_len <= whole.len && head->head_len <= HTTP1_HEAD_BYTES_MAX);
    weir_assert(
        memcmp(whole.at + head->head_len - 4, "\r\n\r\n", 4) == 0 || head->header_count == 0);
    weir_assert(head->header_count <= HTTP1_HEADERS_MAX && head->minor_version <= 1);
    weir_assert(!head->chunked || !head->has_content_length);
    weir_assert(head->has_content_length || head->content_length == 0);
    weir_assert(http1_count(head, SLICE("content-length")) +
                    http1_count(head, SLICE("transfer-encoding")) <=
                1);
    if (request) {
        weir_assert(head->method.len > 0 && head->target.len > 0);
        weir_assert(http1_count(head, SLICE("host")) == 1 || head->minor_version == 0);
    } else {
        weir_assert(head->status >= 100 && head->status <= 999);
    }
    check_inside(head->method, whole);
    check_inside(head->target, whole);
    for (size_t i = 0; i < head->header_count; i++) {
        check_inside(head->headers[i].name, whole);
        check_inside(head->headers[i].value, whole);
        weir_assert(head->headers[i].name.len > 0);
    }
}

static void check_target(struct slice target)
{
    struct slice path;
    struct slice query;
    if (http1_split_target(target, &path, &query) != WEIR_OK) {
        return;
    }
    weir_assert(path.len > 0 && path.at[0] == '/' && slice_find(path, '?') < 0);
    char text[64];
    size_t len;
    if (http1_query_value(query, SLICE("a"), text, sizeof text, &len) == WEIR_OK) {
        weir_assert(len < sizeof text && strlen(text) == len);
    }
}

static void check_form(const struct http1_head *head, struct slice whole)
{
    struct http1_target target;
    if (http1_read_target(head, &target) != WEIR_OK) {
        return;
    }
    check_inside(target.authority, whole);
    bool connect = slice_eq(head->method, SLICE("CONNECT"));
    weir_assert(connect == (target.form == HTTP1_AUTHORITY_FORM));
    weir_assert(connect == (target.origin.len == 0));
    weir_assert(connect || target.form == HTTP1_ASTERISK_FORM || target.origin.at[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool request = (data[0] & 1) != 0;
    struct slice whole = slice_of((const char *)data + 1, size - 1);
    check_target(whole);
    struct http1_head head;
    if (parse(request, whole, &head) != WEIR_OK) {
        return 0;
    }
    check_head(&head, whole, request);
    check_target(head.target);
    if (request) {
        check_form(&head, whole);
    }
    size_t head_len = head.head_len;
    // Neither what follows nor where it was cut changes the answer.
    weir_assert(parse(request, slice_of(whole.at, head_len), &head) == WEIR_OK);
    for (size_t cut = 0; cut < head_len; cut++) {
        weir_assert(parse(request, slice_of(whole.at, cut), &head) == WEIR_AGAIN);
    }
    return 0;
}
