// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 heads: our own lines first, then llhttp, then what llhttp is lenient about.
//
//   bytes -> find_end: lines end in CRLF, none is folded, not too many      (AGAIN leaves here)
//         -> bytes_valid: no control characters, no CR on its own
//         -> llhttp: method, target, version, header names and values
//         -> check_request / check_response: the start line byte for byte, Host
//         -> read_framing: one way only to tell where the body ends
//
// 1. llhttp sees complete heads only, and must end where find_end said that the head ends. Two
//    parsers that disagree are how requests are smuggled, so a disagreement is a refusal.
// 2. A peer that sends a head byte by byte makes the caller ask again for each. Until the end is
//    there only memchr looks at the bytes, and it is called at most once a line: the limit on
//    header lines bounds an ask at a few microseconds.
// 3. Two headers that say the length are refused even when they agree: nobody sends them honestly,
//    and the next hop may take the other one.
#include "proto/http1.h"

#include <llhttp.h>

#include "base/hostname.h"
#include "base/number.h"

#define REQUEST_LINE_REST_MAX 32  // method, version, blanks and CR: 22 with the longest method
#define LEADING_EMPTY_LINES_MAX 8 // one is what RFC 9112 section 2.2 asks for

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_alpha(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

// ---- Where the head ends ------------------------------------------------------------------------

// What can be said of a start line by looking at one of its ends: HTTP/0.9 has no version there,
// and other versions are not ours.
static bool start_line_plausible(struct slice line, llhttp_type_t type)
{
    if (type == HTTP_RESPONSE) {
        return slice_starts_with(line, SLICE("HTTP/1.0 ")) ||
               slice_starts_with(line, SLICE("HTTP/1.1 "));
    }
    return slice_ends_with(line, SLICE(" HTTP/1.0")) || slice_ends_with(line, SLICE(" HTTP/1.1"));
}

// No method starts with anything but a capital letter, and no answer with anything but the version:
// a peer that speaks another protocol learns so from its first byte.
static bool first_bytes_plausible(struct slice bytes, llhttp_type_t type)
{
    if (type == HTTP_RESPONSE) {
        struct slice version = SLICE("HTTP/1.");
        version.len = bytes.len < version.len ? bytes.len : version.len;
        return slice_starts_with(bytes, version);
    }
    return bytes.at[0] >= 'A' && bytes.at[0] <= 'Z';
}

// How many bytes of empty lines to skip in front of a request; a CR whose LF is missing stays.
static size_t leading_empty_len(struct slice bytes)
{
    size_t len = 0;
    while (len < 2 * LEADING_EMPTY_LINES_MAX &&
           slice_starts_with(slice_skip(bytes, len), SLICE("\r\n"))) {
        len += 2;
    }
    return len;
}

// A target is past its limit by more than anything else on its line could be, or fills the head.
static bool line_too_long(size_t len, bool full, const struct http1_limits *limits)
{
    return len > limits->target_len_max + REQUEST_LINE_REST_MAX ||
           (full && len > limits->target_len_max);
}

// The length of the head that begins with its start line at bytes; limits->head_bytes_max is what
// may still be used.
static enum weir_result find_end(
    struct slice bytes, const struct http1_limits *limits, llhttp_type_t type, size_t *ret_len)
{
    size_t room = limits->head_bytes_max;
    size_t window = bytes.len < room ? bytes.len : room;
    size_t start = 0;
    for (size_t line_count = 0;; line_count++) {
        ptrdiff_t len = slice_find(slice_of(bytes.at + start, window - start), '\n');
        size_t line_len = len < 0 ? window - start : (size_t)len;
        if (line_count == 0 && type == HTTP_REQUEST &&
            line_too_long(line_len, window == room && len < 0, limits)) {
            return WEIR_TOO_LONG;
        }
        if (len < 0) {
            return window == room ? WEIR_TOO_LARGE : WEIR_AGAIN;
        }
        struct slice line = slice_of(bytes.at + start, (size_t)len);
        if (line.len == 0 || line.at[line.len - 1] != '\r') {
            return WEIR_MALFORMED;
        }
        line.len--;
        start += line.len + 2;
        if (line_count == 0) {
            if (!start_line_plausible(line, type)) {
                return WEIR_MALFORMED;
            }
            continue;
        }
        if (line.len == 0) {
            *ret_len = start;
            return WEIR_OK;
        }
        if (is_blank(line.at[0])) {
            return WEIR_MALFORMED; // folded: RFC 9112 section 5.2
        }
        if (line_count > limits->header_count_max) {
            return WEIR_TOO_LARGE;
        }
    }
}

#define IN_EACH_BYTE UINT64_C(0x0101010101010101)
#define HIGH_BITS (IN_EACH_BYTE * 0x80)

// Whether any of eight bytes is below a space, or 0x7f: a byte borrows from the next one only when it
// is one itself.
static bool has_controls(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    uint64_t low = (word - IN_EACH_BYTE * ' ') & ~word;
    uint64_t del = word ^ IN_EACH_BYTE * 0x7f;
    return ((low | ((del - IN_EACH_BYTE) & ~del)) & HIGH_BITS) != 0;
}

// Every LF of the head follows a CR (find_end saw to it); here every CR has to be in front of one.
static bool bytes_valid(struct slice head)
{
    size_t i = 0;
    while (i < head.len) {
        if (head.len - i >= 8 && !has_controls(head.at + i)) {
            i += 8;
            continue;
        }
        for (size_t end = head.len - i < 8 ? head.len : i + 8; i < end; i++) {
            unsigned char byte = (unsigned char)head.at[i];
            bool cr_lf = byte == '\r' && i + 1 < head.len && head.at[i + 1] == '\n';
            if ((byte < ' ' || byte == 0x7f) && byte != '\t' && byte != '\n' && !cr_lf) {
                return false;
            }
        }
    }
    return true;
}

// ---- llhttp -------------------------------------------------------------------------------------

static int on_method(llhttp_t *parser, const char *at, size_t len)
{
    struct http1_head *head = parser->data;
    head->method = slice_of(at, len);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct http1_head *head = parser->data;
    head->target = slice_of(at, len);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct http1_head *head = parser->data;
    // A name is followed by its colon: no blanks between, and llhttp has handed it out whole.
    if (head->header_count == HTTP1_HEADERS_MAX || len == 0 || at[len] != ':') {
        return -1;
    }
    head->headers[head->header_count++] =
        (struct http1_header){slice_of(at, len), slice_of(at + len + 1, 0)};
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http1_head *head = parser->data;
    struct http1_header *header = &head->headers[head->header_count - 1];
    if (header->value.len > 0) {
        return -1; // a second piece: a value has one
    }
    header->value = slice_trim(slice_of(at, len));
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

static enum weir_result run_llhttp(
    struct slice bytes, llhttp_type_t type, struct http1_head *ret_head)
{
    llhttp_t parser;
    llhttp_init(&parser, type, &settings);
    parser.data = ret_head;
    if (llhttp_execute(&parser, bytes.at, bytes.len) != HPE_PAUSED ||
        llhttp_get_error_pos(&parser) != bytes.at + bytes.len) {
        return WEIR_MALFORMED;
    }
    ret_head->minor_version = parser.http_minor;
    ret_head->status = type == HTTP_RESPONSE ? parser.status_code : 0;
    return WEIR_OK;
}

// ---- What llhttp is lenient about ---------------------------------------------------------------

// The characters of uri-host and port (RFC 3986 section 3.2) but the comma, which would let two
// hosts pass as one.
static bool host_valid(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        char byte = host.at[i];
        if (!is_alpha(byte) && !is_digit(byte) &&
            (byte == '\0' || strchr("-._~%!$&'()*+;=:[]", byte) == NULL)) {
            return false;
        }
    }
    return true;
}

static enum weir_result check_request(struct slice line_at, const struct http1_head *head)
{
    // "METHOD SP target SP HTTP/1.x": one space each, and nothing else on the line.
    size_t line_len = head->method.len + 1 + head->target.len + sizeof " HTTP/1.x" - 1;
    if (head->method.at != line_at.at || head->target.len == 0 ||
        slice_find(line_at, '\r') != (ptrdiff_t)line_len) {
        return WEIR_MALFORMED;
    }
    size_t host_count = http1_count(head, SLICE("host"));
    if (host_count > 1 || (host_count == 0 && head->minor_version == 1)) {
        return WEIR_MALFORMED;
    }
    const struct http1_header *host = http1_find(head, SLICE("host"));
    return host == NULL || host_valid(host->value) ? WEIR_OK : WEIR_MALFORMED;
}

static enum weir_result check_response(const struct http1_head *head)
{
    return head->status >= 100 && head->status <= 999 ? WEIR_OK : WEIR_MALFORMED;
}

// RFC 9112 section 6. A coding other than chunked is none we can undo, and HTTP/1.0 has none.
static enum weir_result read_framing(struct http1_head *head)
{
    size_t length_count = http1_count(head, SLICE("content-length"));
    size_t coding_count = http1_count(head, SLICE("transfer-encoding"));
    if (length_count + coding_count > 1) {
        return WEIR_MALFORMED;
    }
    head->content_length = 0;
    head->has_content_length = length_count == 1;
    head->chunked = coding_count == 1;
    if (head->chunked) {
        struct slice coding = http1_find(head, SLICE("transfer-encoding"))->value;
        bool known = head->minor_version == 1 && slice_eq_nocase(coding, SLICE("chunked"));
        return known ? WEIR_OK : WEIR_MALFORMED;
    }
    if (head->has_content_length) {
        struct slice text = http1_find(head, SLICE("content-length"))->value;
        bool number = number_parse_u64(text, INT64_MAX, &head->content_length) == WEIR_OK;
        return number ? WEIR_OK : WEIR_MALFORMED;
    }
    return WEIR_OK;
}

static void read_connection(struct http1_head *head)
{
    struct slice name = SLICE("connection");
    bool persistent = head->minor_version == 1 || http1_has_token(head, name, SLICE("keep-alive"));
    head->keep_alive = persistent && !http1_has_token(head, name, SLICE("close"));
    head->upgrade =
        http1_has_token(head, name, SLICE("upgrade")) && http1_find(head, SLICE("upgrade")) != NULL;
}

static enum weir_result parse(struct slice bytes, llhttp_type_t type,
    const struct http1_limits *limits, struct http1_head *ret_head)
{
    size_t skipped = type == HTTP_REQUEST ? leading_empty_len(bytes) : 0;
    struct slice rest = slice_skip(bytes, skipped);
    if (rest.len == 0 || (rest.len == 1 && rest.at[0] == '\r' && type == HTTP_REQUEST)) {
        return WEIR_AGAIN;
    }
    if (!first_bytes_plausible(rest, type)) {
        return WEIR_MALFORMED;
    }
    size_t len;
    struct http1_limits left = *limits;
    left.head_bytes_max -= skipped;
    enum weir_result result = find_end(rest, &left, type, &len);
    if (result != WEIR_OK) {
        return result;
    }
    rest.len = len;
    if (!bytes_valid(rest)) {
        return WEIR_MALFORMED;
    }

    ret_head->method = ret_head->target = SLICE_EMPTY;
    ret_head->header_count = 0;
    result = run_llhttp(rest, type, ret_head);
    if (result == WEIR_OK) {
        result = type == HTTP_REQUEST ? check_request(rest, ret_head) : check_response(ret_head);
    }
    if (result == WEIR_OK && ret_head->target.len > limits->target_len_max) {
        return WEIR_TOO_LONG;
    }
    if (result == WEIR_OK) {
        result = read_framing(ret_head);
    }
    if (result == WEIR_OK) {
        read_connection(ret_head);
        ret_head->head_len = skipped + len;
    }
    return result;
}

// As spec section 3 (relay) has them: a target is bounded by its head alone.
static const struct http1_limits default_limits = {
    HTTP1_HEAD_BYTES_MAX, HTTP1_HEADERS_MAX, SIZE_MAX / 2};

enum weir_result http1_parse_request(struct slice bytes, struct http1_head *ret_head)
{
    return parse(bytes, HTTP_REQUEST, &default_limits, ret_head);
}

static void check_limits(const struct http1_limits *limits)
{
    weir_assert(limits->header_count_max <= HTTP1_HEADERS_MAX);
    weir_assert(limits->head_bytes_max > 2 * LEADING_EMPTY_LINES_MAX);
}

enum weir_result http1_parse_request_within(
    struct slice bytes, const struct http1_limits *limits, struct http1_head *ret_head)
{
    check_limits(limits);
    return parse(bytes, HTTP_REQUEST, limits, ret_head);
}

enum weir_result http1_parse_response_within(
    struct slice bytes, const struct http1_limits *limits, struct http1_head *ret_head)
{
    check_limits(limits);
    return parse(bytes, HTTP_RESPONSE, limits, ret_head);
}

enum weir_result http1_parse_response(struct slice bytes, struct http1_head *ret_head)
{
    return parse(bytes, HTTP_RESPONSE, &default_limits, ret_head);
}

// ---- Headers ------------------------------------------------------------------------------------

const struct http1_header *http1_find(const struct http1_head *head, struct slice name)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (slice_eq_nocase(head->headers[i].name, name)) {
            return &head->headers[i];
        }
    }
    return NULL;
}

size_t http1_count(const struct http1_head *head, struct slice name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        count += slice_eq_nocase(head->headers[i].name, name);
    }
    return count;
}

bool http1_has_token(const struct http1_head *head, struct slice name, struct slice token)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (!slice_eq_nocase(head->headers[i].name, name)) {
            continue;
        }
        struct slice rest = head->headers[i].value;
        struct slice part;
        while (slice_split(&rest, ',', &part)) {
            if (slice_eq_nocase(slice_trim(part), token)) {
                return true;
            }
        }
    }
    return false;
}

const char *http1_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

// ---- The target ---------------------------------------------------------------------------------

// The length of "scheme://" at the front, 0 when there is none (RFC 3986 section 3.1).
static size_t scheme_len(struct slice target)
{
    size_t len = 0;
    while (
        len < target.len && (is_alpha(target.at[len]) ||
                                (len > 0 && (is_digit(target.at[len]) || target.at[len] == '+' ||
                                                target.at[len] == '-' || target.at[len] == '.')))) {
        len++;
    }
    return len > 0 && slice_starts_with(slice_skip(target, len), SLICE("://")) ? len + 3 : 0;
}

// No control characters, no blanks, nothing above ASCII, no fragment.
static bool target_bytes_valid(struct slice target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char byte = (unsigned char)target.at[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '#') {
            return false;
        }
    }
    return true;
}

enum weir_result http1_split_target(
    struct slice target, struct slice *ret_path, struct slice *ret_query)
{
    if (!target_bytes_valid(target)) {
        return WEIR_MALFORMED;
    }
    ptrdiff_t mark = slice_find(target, '?');
    struct slice path = mark < 0 ? target : slice_of(target.at, (size_t)mark);
    struct slice query = mark < 0 ? SLICE_EMPTY : slice_skip(target, (size_t)mark + 1);
    size_t scheme = scheme_len(path);
    if (scheme > 0) {
        struct slice authority = slice_skip(path, scheme);
        ptrdiff_t slash = slice_find(authority, '/');
        if (authority.len == 0 || slash == 0) {
            return WEIR_MALFORMED;
        }
        path = slash < 0 ? SLICE("/") : slice_skip(authority, (size_t)slash);
    }
    if (!slice_starts_with(path, SLICE("/"))) {
        return WEIR_MALFORMED;
    }
    *ret_path = path;
    *ret_query = query;
    return WEIR_OK;
}

// "scheme://authority/path?query"; a path there must be, so that what goes on is as received.
static enum weir_result read_absolute(struct slice target, struct http1_target *ret_target)
{
    if (!slice_starts_with_nocase(target, SLICE("http://")) &&
        !slice_starts_with_nocase(target, SLICE("https://"))) {
        return WEIR_MALFORMED;
    }
    struct slice rest = slice_skip(target, scheme_len(target));
    size_t len = 0;
    while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?') {
        len++;
    }
    ret_target->form = HTTP1_ABSOLUTE_FORM;
    ret_target->authority = slice_of(rest.at, len);
    ret_target->origin = len == rest.len ? SLICE("/") : slice_skip(rest, len);
    return ret_target->origin.at[0] == '/' ? WEIR_OK : WEIR_MALFORMED;
}

static enum weir_result read_form(const struct http1_head *head, struct http1_target *ret_target)
{
    struct slice target = head->target;
    if (slice_eq(head->method, SLICE("CONNECT"))) {
        *ret_target = (struct http1_target){HTTP1_AUTHORITY_FORM, target, SLICE_EMPTY};
        struct slice host;
        unsigned port;
        bool named = hostname_split_port(target, &host, &port) == WEIR_OK && host.len > 0;
        return named && port > 0 ? WEIR_OK : WEIR_MALFORMED;
    }
    if (target.at[0] == '/') {
        *ret_target = (struct http1_target){HTTP1_ORIGIN_FORM, SLICE_EMPTY, target};
        return WEIR_OK;
    }
    if (slice_eq(target, SLICE("*"))) {
        *ret_target = (struct http1_target){HTTP1_ASTERISK_FORM, SLICE_EMPTY, target};
        return slice_eq(head->method, SLICE("OPTIONS")) ? WEIR_OK : WEIR_MALFORMED;
    }
    return read_absolute(target, ret_target);
}

enum weir_result http1_read_target(const struct http1_head *head, struct http1_target *ret_target)
{
    if (!target_bytes_valid(head->target) || read_form(head, ret_target) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    const struct http1_header *host = http1_find(head, SLICE("host"));
    if (ret_target->form == HTTP1_ORIGIN_FORM || ret_target->form == HTTP1_ASTERISK_FORM) {
        ret_target->authority = host == NULL ? SLICE_EMPTY : host->value;
        return WEIR_OK;
    }
    // Two names for one place are an invitation to take the other one.
    if (ret_target->authority.len == 0 || !host_valid(ret_target->authority) ||
        (host != NULL && !slice_eq_nocase(host->value, ret_target->authority))) {
        return WEIR_MALFORMED;
    }
    return WEIR_OK;
}

static int hex_value(char digit)
{
    if (is_digit(digit)) {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

// Takes one decoded byte off the front of *rest, which is not empty.
static char next_decoded(struct slice *rest)
{
    char byte = rest->at[0];
    size_t used = 1;
    if (byte == '+') {
        byte = ' ';
    } else if (byte == '%' && rest->len >= 3) {
        int high = hex_value(rest->at[1]);
        int low = hex_value(rest->at[2]);
        if (high >= 0 && low >= 0) {
            byte = (char)(unsigned char)(high * 16 + low);
            used = 3;
        }
    }
    *rest = slice_skip(*rest, used);
    return byte;
}

static bool decodes_to(struct slice encoded, struct slice text)
{
    while (encoded.len > 0 && text.len > 0) {
        if (next_decoded(&encoded) != text.at[0]) {
            return false;
        }
        text = slice_skip(text, 1);
    }
    return encoded.len == 0 && text.len == 0;
}

static enum weir_result decode_value(struct slice encoded, char *text, size_t size, size_t *ret_len)
{
    size_t len = 0;
    while (encoded.len > 0) {
        char byte = next_decoded(&encoded);
        if (byte == '\0') {
            return WEIR_MALFORMED;
        }
        if (len + 1 >= size) {
            return WEIR_TOO_LARGE;
        }
        text[len++] = byte;
    }
    text[len] = '\0';
    *ret_len = len;
    return WEIR_OK;
}

enum weir_result http1_query_value(
    struct slice query, struct slice name, char *text, size_t size, size_t *ret_len)
{
    weir_assert(size > 0);
    struct slice part;
    while (slice_split(&query, '&', &part)) {
        ptrdiff_t equals = slice_find(part, '=');
        size_t name_len = equals < 0 ? part.len : (size_t)equals;
        if (decodes_to(slice_of(part.at, name_len), name)) {
            return decode_value(slice_skip(part, name_len + 1), text, size, ret_len);
        }
    }
    return WEIR_NOT_FOUND;
}
