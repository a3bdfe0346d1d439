// SPDX-License-Identifier: Apache-2.0
// Bodies as they stream by. Payload is a run of bytes in the caller's hands; framing goes through a
// machine that sees one byte at a time and keeps no more than where it is:
//
//            ┌──────────────────────────────────────────────┐
//            ▼                                              │
//   SIZE ─(;)─► EXTENSION ─(CR)─► SIZE_LF ─┬─► PAYLOAD ─► CHUNK_CR ─► CHUNK_LF
//     └────────────(CR)──────────────▲     │
//                                          └─(0)─► TRAILER ◄─► TRAILER_LF
//                                                   └─(CR, nothing before)─► LAST_LF ─► DONE
//
// 1. A CR is followed by LF and an LF follows a CR, everywhere in the framing. Two readers that
//    differ in what ends a line is how a chunk extension becomes a request.
// 2. A size is digits, then ';' or CR. Blanks around it, signs and "0x" are refused, although some
//    readers take them, because others do not.
// 3. Trailers are checked line by line as they end, so what trailer_next gives is fine by then.
#include "proto/http1_body.h"

#include <string.h>

enum state {
    STATE_SIZE,
    STATE_EXTENSION,
    STATE_QUOTED,
    STATE_ESCAPED,
    STATE_SIZE_LF,
    STATE_PAYLOAD,
    STATE_CHUNK_CR,
    STATE_CHUNK_LF,
    STATE_TRAILER,
    STATE_TRAILER_LF,
    STATE_LAST_LF,
    STATE_DONE,
};

static void init(struct http1_body *body, enum http1_body_kind kind, uint64_t left)
{
    static const enum state first[] = {
        [HTTP1_BODY_NONE] = STATE_DONE,
        [HTTP1_BODY_LENGTH] = STATE_PAYLOAD,
        [HTTP1_BODY_CHUNKED] = STATE_SIZE,
        [HTTP1_BODY_UNTIL_CLOSE] = STATE_PAYLOAD,
    };
    *body = (struct http1_body){
        .kind = kind,
        .state = (uint8_t)first[kind],
        .left = left,
        .trailers = BUF_INIT(HTTP1_TRAILER_BYTES_MAX),
    };
}

static void init_framed(
    struct http1_body *body, const struct http1_head *head, enum http1_body_kind unframed)
{
    if (head->chunked) {
        init(body, HTTP1_BODY_CHUNKED, 0);
    } else if (head->has_content_length && head->content_length > 0) {
        init(body, HTTP1_BODY_LENGTH, head->content_length);
    } else if (head->has_content_length) {
        init(body, HTTP1_BODY_NONE, 0);
    } else {
        init(body, unframed, UINT64_MAX);
    }
}

void http1_body_init_request(struct http1_body *body, const struct http1_head *head)
{
    init_framed(body, head, HTTP1_BODY_NONE);
}

void http1_body_init_response(
    struct http1_body *body, const struct http1_head *head, struct slice request_method)
{
    unsigned status = head->status;
    if (status < 200 || status == 204 || status == 304 || slice_eq(request_method, SLICE("HEAD")) ||
        (status < 300 && slice_eq(request_method, SLICE("CONNECT")))) {
        init(body, HTTP1_BODY_NONE, 0);
        return;
    }
    init_framed(body, head, HTTP1_BODY_UNTIL_CLOSE);
}

void http1_body_fini(struct http1_body *body)
{
    buf_reset(&body->trailers);
}

// ---- Payload ------------------------------------------------------------------------------------

static struct slice take_payload(struct http1_body *body, struct slice *bytes)
{
    size_t len = bytes->len < body->left ? bytes->len : (size_t)body->left;
    struct slice payload = slice_of(bytes->at, len);
    *bytes = slice_skip(*bytes, len);
    body->len += len;
    if (body->kind != HTTP1_BODY_UNTIL_CLOSE) {
        body->left -= len;
    }
    if (body->left == 0) {
        body->state = body->kind == HTTP1_BODY_CHUNKED ? STATE_CHUNK_CR : STATE_DONE;
    }
    return payload;
}

// ---- Chunk lines --------------------------------------------------------------------------------

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    char letter = (char)(byte | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static bool is_text(char byte)
{
    return (byte >= ' ' && byte <= '~') || byte == '\t';
}

static enum weir_result step_size(struct http1_body *body, char byte)
{
    int digit = hex_value(byte);
    if (digit >= 0) {
        if (body->line_len == 16 || body->left > INT64_MAX >> 4) {
            return WEIR_MALFORMED;
        }
        body->left = body->left << 4 | (uint64_t)digit;
        body->line_len++;
        return WEIR_OK;
    }
    if (body->line_len == 0 || (byte != ';' && byte != '\r')) {
        return WEIR_MALFORMED;
    }
    body->line_len++;
    body->state = byte == ';' ? STATE_EXTENSION : STATE_SIZE_LF;
    return WEIR_OK;
}

static enum state state_in_extension(enum state state, char byte)
{
    switch (byte) {
    case '"':
        return state == STATE_EXTENSION ? STATE_QUOTED : STATE_EXTENSION;
    case '\\':
        return state == STATE_QUOTED ? STATE_ESCAPED : state;
    default:
        return state;
    }
}

// Quoted strings are followed to their end: in one that is open a CR ends nothing, so it is
// refused.
static enum weir_result step_extension(struct http1_body *body, char byte)
{
    if (byte == '\r' && body->state == STATE_EXTENSION) {
        body->state = STATE_SIZE_LF;
        return WEIR_OK;
    }
    if (!is_text(byte)) {
        return WEIR_MALFORMED;
    }
    body->state = body->state == STATE_ESCAPED
                      ? (uint8_t)STATE_QUOTED
                      : (uint8_t)state_in_extension((enum state)body->state, byte);
    return ++body->line_len > HTTP1_CHUNK_LINE_MAX ? WEIR_TOO_LARGE : WEIR_OK;
}

static enum weir_result expect(struct http1_body *body, char byte, char wanted, enum state next)
{
    if (byte != wanted) {
        return WEIR_MALFORMED;
    }
    body->state = (uint8_t)next;
    body->line_len = 0;
    return WEIR_OK;
}

// ---- Trailers -----------------------------------------------------------------------------------

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i];
        char letter = (char)(byte | 0x20);
        bool alnum = (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9');
        if (!alnum && (byte == '\0' || strchr("!#$%&'*+-.^_`|~", byte) == NULL)) {
            return false;
        }
    }
    return text.len > 0;
}

static bool split_trailer(struct slice line, struct http1_header *ret_trailer)
{
    ptrdiff_t colon = slice_find(line, ':');
    if (colon < 0) {
        return false;
    }
    *ret_trailer = (struct http1_header){
        slice_of(line.at, (size_t)colon), slice_trim(slice_skip(line, (size_t)colon + 1))};
    return true;
}

static bool trailer_valid(struct slice line)
{
    struct http1_header trailer;
    if (!split_trailer(line, &trailer) || !is_token(trailer.name)) {
        return false;
    }
    for (size_t i = 0; i < line.len; i++) {
        unsigned char byte = (unsigned char)line.at[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

// The line that ends here is the tail of the section.
static enum weir_result end_trailer(struct http1_body *body)
{
    struct slice section = buf_slice(&body->trailers);
    if (!trailer_valid(slice_skip(section, section.len - body->line_len))) {
        return WEIR_MALFORMED;
    }
    if (body->trailer_count == HTTP1_TRAILERS_MAX) {
        return WEIR_TOO_LARGE;
    }
    body->trailer_count++;
    body->line_len = 0;
    body->state = STATE_TRAILER;
    // The bytes of CRLF are kept as one: lines hold no LF of their own.
    enum weir_result result = buf_append_byte(&body->trailers, '\n');
    return result == WEIR_FULL ? WEIR_TOO_LARGE : result;
}

static enum weir_result step_trailer(struct http1_body *body, char byte)
{
    if (byte == '\r') {
        body->state = body->line_len == 0 ? STATE_LAST_LF : STATE_TRAILER_LF;
        return WEIR_OK;
    }
    if (byte == '\n') {
        return WEIR_MALFORMED;
    }
    body->line_len++;
    enum weir_result result = buf_append_byte(&body->trailers, byte);
    return result == WEIR_FULL ? WEIR_TOO_LARGE : result;
}

// ---- All together -------------------------------------------------------------------------------

static enum weir_result step(struct http1_body *body, char byte)
{
    switch ((enum state)body->state) {
    case STATE_SIZE:
        return step_size(body, byte);
    case STATE_EXTENSION:
    case STATE_QUOTED:
    case STATE_ESCAPED:
        return step_extension(body, byte);
    case STATE_SIZE_LF:
        return expect(body, byte, '\n', body->left == 0 ? STATE_TRAILER : STATE_PAYLOAD);
    case STATE_CHUNK_CR:
        return expect(body, byte, '\r', STATE_CHUNK_LF);
    case STATE_CHUNK_LF:
        return expect(body, byte, '\n', STATE_SIZE);
    case STATE_TRAILER:
        return step_trailer(body, byte);
    case STATE_TRAILER_LF:
        return byte == '\n' ? end_trailer(body) : WEIR_MALFORMED;
    case STATE_LAST_LF:
        return expect(body, byte, '\n', STATE_DONE);
    case STATE_PAYLOAD:
    case STATE_DONE:
        break;
    }
    return WEIR_INVALID;
}

enum weir_result http1_body_next(
    struct http1_body *body, struct slice *bytes, struct slice *ret_payload)
{
    *ret_payload = SLICE_EMPTY;
    while (body->state != STATE_DONE && bytes->len > 0) {
        if (body->state == STATE_PAYLOAD) {
            *ret_payload = take_payload(body, bytes);
            return WEIR_OK;
        }
        enum weir_result result = step(body, bytes->at[0]);
        if (result != WEIR_OK) {
            return result;
        }
        *bytes = slice_skip(*bytes, 1);
    }
    return http1_body_done(body) ? WEIR_CLOSED : WEIR_OK;
}

bool http1_body_done(const struct http1_body *body)
{
    return body->state == STATE_DONE;
}

bool http1_body_ends_at_close(const struct http1_body *body)
{
    return body->kind == HTTP1_BODY_UNTIL_CLOSE || http1_body_done(body);
}

// In any case, and with '_' for '-': many services make variables of names, where the two are one.
static bool begins_as(struct slice name, const char *lower)
{
    size_t len = strlen(lower);
    for (size_t i = 0; i < len; i++) {
        char byte = i < name.len ? name.at[i] : '\0';
        byte = byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
        if ((byte == '_' ? '-' : byte) != lower[i]) {
            return false;
        }
    }
    return true;
}

// Fields that say where a message ends, whose it is or what it means: too late for them here, and a
// next hop that merges trailers into the head would believe them.
bool http1_trailer_allowed(struct slice name)
{
    static const char *const refused[] = {"authorization", "cache-control", "connection",
        "content-encoding", "content-length", "content-range", "content-type", "cookie", "expect",
        "forwarded", "host", "keep-alive", "max-forwards", "pragma", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "range", "set-cookie", "te", "trailer",
        "transfer-encoding", "upgrade", "www-authenticate", "x-real-ip"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (begins_as(name, refused[i]) && name.len == strlen(refused[i])) {
            return false;
        }
    }
    return !begins_as(name, "x-forwarded-");
}

bool http1_body_trailer_next(
    const struct http1_body *body, size_t *at, struct http1_header *ret_trailer)
{
    while (*at < body->trailers.len) {
        struct slice rest = slice_skip(buf_slice(&body->trailers), *at);
        ptrdiff_t len = slice_find(rest, '\n');
        if (len < 0) {
            return false; // the line is not complete
        }
        *at += (size_t)len + 1;
        if (split_trailer(slice_of(rest.at, (size_t)len), ret_trailer) &&
            http1_trailer_allowed(ret_trailer->name)) {
            return true;
        }
    }
    return false;
}

// ---- Writing ------------------------------------------------------------------------------------

size_t http1_chunk_head_write(char out[HTTP1_CHUNK_HEAD_MAX], uint64_t payload_len)
{
    weir_assert(payload_len > 0);
    size_t digits = 1;
    while (digits < 16 && payload_len >> (4 * digits) != 0) {
        digits++;
    }
    for (size_t i = 0; i < digits; i++) {
        out[i] = "0123456789abcdef"[payload_len >> (4 * (digits - 1 - i)) & 0xf];
    }
    memcpy(out + digits, "\r\n", 2);
    return digits + 2;
}
