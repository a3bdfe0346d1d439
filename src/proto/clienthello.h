// SPDX-License-Identifier: Apache-2.0
// What a TLS client says first (RFC 8446 sections 4.1.2 and 5.1, RFC 5246 section 7.4.1.2), read
// from bytes that were only peeked at: nothing is answered, nothing is decrypted. Where a
// connection goes (spec engine, sections 1.4 and 6.6) is decided from it.
#ifndef WEIR_PROTO_CLIENTHELLO_H
#define WEIR_PROTO_CLIENTHELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hostname.h"
#include "base/result.h"
#include "base/slice.h"

// Record headers included. A hello with post-quantum key shares is about 2 KiB.
#define CLIENTHELLO_BYTES_MAX 17408
#define CLIENTHELLO_ALPN_BYTES_MAX 1024

#define TLS_VERSION_1_2 0x0303
#define TLS_VERSION_1_3 0x0304

// Owns its bytes: a hello may be cut into records anywhere, so there may be nothing to borrow.
struct clienthello {
    size_t len;                      // of the records the hello fills, headers included
    char server_name[HOSTNAME_SIZE]; // as hostname_normalize leaves it; "" when there is none
    uint8_t server_name_len;
    uint16_t version_max; // the highest known version it offers, TLS_VERSION_1_3 at most
    uint16_t alpn_len;
    bool has_alpn;
    bool has_ech; // encrypted_client_hello (0xfe0d): real, or only for show
    char alpn[CLIENTHELLO_ALPN_BYTES_MAX]; // the ProtocolNameList of RFC 7301 section 3.1
};

// Parses the hello at the front of bytes. WEIR_AGAIN: more is needed (what is there may already be
// known to be bad: WEIR_MALFORMED at once). WEIR_TOO_LARGE: past CLIENTHELLO_BYTES_MAX, or a list
// of protocols past CLIENTHELLO_ALPN_BYTES_MAX. WEIR_MALFORMED: not TLS, lengths that contradict
// one another, an extension of those read here twice, a server name that is an address or no host
// name, other messages in the last record. What *ret_hello holds after anything but WEIR_OK means
// nothing. Asking again for each new byte is fine: an ask costs a walk over headers, not over
// bytes.
enum weir_result clienthello_parse(
    struct slice bytes, struct clienthello *ret_hello) WEIR_MUST_CHECK;

// The server name; empty when there is none.
static inline struct slice clienthello_server_name(const struct clienthello *hello)
{
    return slice_of(hello->server_name, hello->server_name_len);
}

// The next protocol the client offers, in its order; *at begins as 0. False at the end.
bool clienthello_alpn_next(const struct clienthello *hello, size_t *at, struct slice *ret_protocol);
bool clienthello_offers(const struct clienthello *hello, struct slice protocol);
// The list holds this protocol and no other (spec engine, section 1.4).
bool clienthello_offers_only(const struct clienthello *hello, struct slice protocol);

#endif
