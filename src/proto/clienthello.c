// SPDX-License-Identifier: Apache-2.0
// A ClientHello, read through two layers at once. A cursor gives the bytes of the handshake message
// and steps over record headers as they come, so the parser above it does not know that records
// exist. Every length says how far its part goes; a part must end exactly where it said.
//
// 1. Nothing is kept between asks: the bytes were peeked, and the walk over a hello that is still
//    incomplete costs a step per record and per extension.
// 2. A hello is judged as far as it is there. AGAIN comes from the cursor alone, when it has run
//    out of bytes; so a part that is not there is never called malformed, nor the other way round.
#include "proto/clienthello.h"

#define RECORD_HEADER_LEN 5
#define RECORD_HANDSHAKE 22
#define RECORD_PAYLOAD_MAX 16384
#define HANDSHAKE_CLIENT_HELLO 1
#define RANDOM_LEN 32

enum extension {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_ALPN = 16,
    EXTENSION_SUPPORTED_VERSIONS = 43,
    EXTENSION_ECH = 0xfe0d,
};

// Which of the extensions above have been seen; none may come twice (RFC 8446 section 4.2).
enum seen { SEEN_SERVER_NAME = 1, SEEN_ALPN = 2, SEEN_VERSIONS = 4, SEEN_ECH = 8 };

struct cursor {
    struct slice rest;       // of the raw bytes
    size_t used;             // raw bytes taken
    size_t record_left;      // of the record at hand
    size_t left;             // of the part at hand
    enum weir_result result; // the first that was not WEIR_OK
};

// ---- Records ------------------------------------------------------------------------------------

static bool fail(struct cursor *cursor, enum weir_result result)
{
    cursor->result = result;
    return false;
}

// What is there of a record header must look like one, so that a peer that does not speak TLS
// learns so from its first byte.
static bool open_record(struct cursor *cursor)
{
    const uint8_t *at = (const uint8_t *)cursor->rest.at;
    size_t len = cursor->rest.len;
    if ((len > 0 && at[0] != RECORD_HANDSHAKE) || (len > 1 && at[1] != 3) ||
        (len > 2 && at[2] > 4)) {
        return fail(cursor, WEIR_MALFORMED);
    }
    if (len < RECORD_HEADER_LEN) {
        return fail(cursor, WEIR_AGAIN);
    }
    size_t payload_len = (size_t)at[3] << 8 | at[4];
    if (payload_len == 0 || payload_len > RECORD_PAYLOAD_MAX) {
        return fail(cursor, WEIR_MALFORMED);
    }
    cursor->record_left = payload_len;
    cursor->rest = slice_skip(cursor->rest, RECORD_HEADER_LEN);
    cursor->used += RECORD_HEADER_LEN;
    return true;
}

// Takes len bytes of the message; `to` may be NULL. The part at hand must have them.
static bool take(struct cursor *cursor, size_t len, void *to)
{
    if (len > cursor->left) {
        return fail(cursor, WEIR_MALFORMED);
    }
    cursor->left -= len;
    char *out = to;
    while (len > 0) {
        if (cursor->record_left == 0 && !open_record(cursor)) {
            return false;
        }
        size_t step = len < cursor->record_left ? len : cursor->record_left;
        step = step < cursor->rest.len ? step : cursor->rest.len;
        if (step == 0) {
            return fail(cursor, WEIR_AGAIN);
        }
        if (out != NULL) {
            memcpy(out, cursor->rest.at, step);
            out += step;
        }
        cursor->rest = slice_skip(cursor->rest, step);
        cursor->used += step;
        cursor->record_left -= step;
        len -= step;
    }
    return true;
}

static bool take_number(struct cursor *cursor, size_t size, size_t *ret_value)
{
    uint8_t bytes[3];
    if (!take(cursor, size, bytes)) {
        return false;
    }
    size_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[i];
    }
    *ret_value = value;
    return true;
}

// Enters a part that begins with its length; *ret_outer is what remains behind it, for leave.
static bool enter(struct cursor *cursor, size_t length_size, size_t *ret_outer)
{
    size_t len;
    if (!take_number(cursor, length_size, &len)) {
        return false;
    }
    if (len > cursor->left) {
        return fail(cursor, WEIR_MALFORMED);
    }
    *ret_outer = cursor->left - len;
    cursor->left = len;
    return true;
}

static bool leave(struct cursor *cursor, size_t outer)
{
    if (cursor->left > 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    cursor->left = outer;
    return true;
}

// A vector of min to max bytes in steps of unit, whose content does not matter here.
static bool skip_vector(
    struct cursor *cursor, size_t length_size, size_t min, size_t max, size_t unit)
{
    size_t outer;
    if (!enter(cursor, length_size, &outer)) {
        return false;
    }
    if (cursor->left < min || cursor->left > max || cursor->left % unit != 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    return take(cursor, cursor->left, NULL) && leave(cursor, outer);
}

// ---- Extensions ---------------------------------------------------------------------------------

// RFC 6066 section 3: a list that, of the one type there is, has one name.
static bool read_server_name(struct cursor *cursor, struct clienthello *hello)
{
    size_t outer;
    size_t type;
    size_t name_outer;
    if (!enter(cursor, 2, &outer) || !take_number(cursor, 1, &type)) {
        return false;
    }
    if (type != 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    if (!enter(cursor, 2, &name_outer)) {
        return false;
    }
    char name[HOSTNAME_SIZE]; // one more than the longest: that may be a dot at the end
    size_t len = cursor->left;
    if (len > sizeof name || name_outer != 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    if (!take(cursor, len, name)) {
        return false;
    }
    size_t normal_len;
    if (hostname_normalize(slice_of(name, len), hello->server_name, &normal_len) != WEIR_OK) {
        return fail(cursor, WEIR_MALFORMED);
    }
    hello->server_name_len = (uint8_t)normal_len;
    return leave(cursor, name_outer) && leave(cursor, outer);
}

bool clienthello_alpn_next(const struct clienthello *hello, size_t *at, struct slice *ret_protocol)
{
    if (*at >= hello->alpn_len) {
        return false;
    }
    size_t len = (uint8_t)hello->alpn[*at];
    *ret_protocol = slice_of(hello->alpn + *at + 1, len);
    *at += 1 + len;
    return true;
}

static bool alpn_valid(const struct clienthello *hello)
{
    size_t at = 0;
    while (at < hello->alpn_len) {
        size_t len = (uint8_t)hello->alpn[at];
        if (len == 0 || len > hello->alpn_len - at - 1u) {
            return false;
        }
        at += 1 + len;
    }
    return hello->alpn_len > 0;
}

static bool read_alpn(struct cursor *cursor, struct clienthello *hello)
{
    size_t outer;
    if (!enter(cursor, 2, &outer)) {
        return false;
    }
    if (cursor->left > sizeof hello->alpn) {
        return fail(cursor, WEIR_TOO_LARGE);
    }
    hello->alpn_len = (uint16_t)cursor->left;
    hello->has_alpn = true;
    if (!take(cursor, cursor->left, hello->alpn)) {
        return false;
    }
    return alpn_valid(hello) ? leave(cursor, outer) : fail(cursor, WEIR_MALFORMED);
}

// RFC 8446 section 4.2.1: when this is there, the version in front says nothing.
static bool read_versions(struct cursor *cursor, struct clienthello *hello)
{
    size_t outer;
    if (!enter(cursor, 1, &outer)) {
        return false;
    }
    if (cursor->left < 2 || cursor->left % 2 != 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    hello->version_max = 0;
    while (cursor->left > 0) {
        size_t version;
        if (!take_number(cursor, 2, &version)) {
            return false;
        }
        if (version <= TLS_VERSION_1_3 && version > hello->version_max) {
            hello->version_max = (uint16_t)version;
        }
    }
    return leave(cursor, outer);
}

static bool first_time(struct cursor *cursor, unsigned *seen, enum seen which)
{
    if ((*seen & which) != 0) {
        return fail(cursor, WEIR_MALFORMED);
    }
    *seen |= which;
    return true;
}

static bool read_extension(
    struct cursor *cursor, size_t type, unsigned *seen, struct clienthello *hello)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return first_time(cursor, seen, SEEN_SERVER_NAME) && read_server_name(cursor, hello);
    case EXTENSION_ALPN:
        return first_time(cursor, seen, SEEN_ALPN) && read_alpn(cursor, hello);
    case EXTENSION_SUPPORTED_VERSIONS:
        return first_time(cursor, seen, SEEN_VERSIONS) && read_versions(cursor, hello);
    case EXTENSION_ECH:
        hello->has_ech = true;
        return first_time(cursor, seen, SEEN_ECH) && take(cursor, cursor->left, NULL);
    default:
        return take(cursor, cursor->left, NULL);
    }
}

static bool read_extensions(struct cursor *cursor, struct clienthello *hello)
{
    if (cursor->left == 0) {
        return true; // RFC 5246 section 7.4.1.2: there need not be any
    }
    size_t outer;
    if (!enter(cursor, 2, &outer)) {
        return false;
    }
    unsigned seen = 0;
    while (cursor->left > 0) {
        size_t type;
        size_t extension_outer;
        if (!take_number(cursor, 2, &type) || !enter(cursor, 2, &extension_outer) ||
            !read_extension(cursor, type, &seen, hello) || !leave(cursor, extension_outer)) {
            return false;
        }
    }
    return leave(cursor, outer);
}

// ---- The message --------------------------------------------------------------------------------

static bool read_hello(struct cursor *cursor, struct clienthello *hello)
{
    size_t type;
    size_t len;
    size_t version;
    if (!take_number(cursor, 1, &type)) {
        return false;
    }
    if (type != HANDSHAKE_CLIENT_HELLO) {
        return fail(cursor, WEIR_MALFORMED);
    }
    if (!take_number(cursor, 3, &len)) {
        return false;
    }
    if (len > cursor->left) {
        return fail(cursor, WEIR_TOO_LARGE);
    }
    cursor->left = len;
    if (!take_number(cursor, 2, &version)) {
        return false;
    }
    if (version >> 8 != 3) {
        return fail(cursor, WEIR_MALFORMED);
    }
    hello->version_max = version < TLS_VERSION_1_2 ? (uint16_t)version : TLS_VERSION_1_2;
    if (!take(cursor, RANDOM_LEN, NULL) || !skip_vector(cursor, 1, 0, 32, 1) ||
        !skip_vector(cursor, 2, 2, 65534, 2) || !skip_vector(cursor, 1, 1, 255, 1) ||
        !read_extensions(cursor, hello)) {
        return false;
    }
    return cursor->left == 0 && cursor->record_left == 0 ? true : fail(cursor, WEIR_MALFORMED);
}

enum weir_result clienthello_parse(struct slice bytes, struct clienthello *ret_hello)
{
    // Everything but the list of protocols, which alpn_len says the length of.
    memset(ret_hello, 0, offsetof(struct clienthello, alpn));
    bool cut = bytes.len > CLIENTHELLO_BYTES_MAX;
    struct cursor cursor = {
        .rest = cut ? slice_of(bytes.at, CLIENTHELLO_BYTES_MAX) : bytes,
        .left = CLIENTHELLO_BYTES_MAX,
        .result = WEIR_OK,
    };
    if (!read_hello(&cursor, ret_hello)) {
        bool full = bytes.len >= CLIENTHELLO_BYTES_MAX && cursor.result == WEIR_AGAIN;
        return full ? WEIR_TOO_LARGE : cursor.result;
    }
    ret_hello->len = cursor.used;
    return WEIR_OK;
}

bool clienthello_offers(const struct clienthello *hello, struct slice protocol)
{
    size_t at = 0;
    struct slice offered;
    while (clienthello_alpn_next(hello, &at, &offered)) {
        if (slice_eq(offered, protocol)) {
            return true;
        }
    }
    return false;
}

bool clienthello_offers_only(const struct clienthello *hello, struct slice protocol)
{
    size_t at = 0;
    struct slice offered;
    return clienthello_alpn_next(hello, &at, &offered) && slice_eq(offered, protocol) &&
           at == hello->alpn_len;
}
