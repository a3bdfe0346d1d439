// SPDX-License-Identifier: Apache-2.0
// Shared by properties.c (checks) and properties_make.c (the tunnel).
#ifndef WEIR_ENGINE_PROPERTIES_INTERNAL_H
#define WEIR_ENGINE_PROPERTIES_INTERNAL_H

#include "engine/control/properties.h"

// The words of the protocol, numbered in this order.
enum word_type { TYPE_NONE, TYPE_BYTESTREAM, TYPE_DATAGRAM };
enum word_protocol {
    PROTOCOL_NONE,
    PROTOCOL_HTTP,
    PROTOCOL_TLS,
    PROTOCOL_TCP,
    PROTOCOL_DTLS,
    PROTOCOL_QUIC,
    PROTOCOL_WEBTTY,
};
enum word_http { HTTP_NONE, HTTP_1, HTTP_H2C, HTTP_H3 };
enum word_mode { MODE_NONE, MODE_TERMINATED, MODE_PASSTHROUGH };
enum word_tls { TLS_NONE, TLS_12, TLS_13 };

// What a request asks for.
enum mark {
    MARK_HOSTNAME = 1 << 0,
    MARK_PORT = 1 << 1,
    MARK_HTTP_VERSION = 1 << 2,
    MARK_HTTP_USE_TLS = 1 << 3,
    MARK_UPSTREAM_TLS = 1 << 4,
    MARK_TLS_TERMINATED = 1 << 5,
    MARK_TLS_PASSTHROUGH = 1 << 6,
    MARK_TLS_ALPNS = 1 << 7,
    MARK_TLS_MIN_VERSION = 1 << 8,
    MARK_TLS_CIPHERS = 1 << 9,
    MARK_TRUSTED_IPS = 1 << 10,
    MARK_TOKEN_AUTH = 1 << 11,
};

// Spec section 5.3.
enum properties_shape {
    SHAPE_PRIVATE,
    SHAPE_HTTP,
    SHAPE_TLS,
    SHAPE_PASSTHROUGH,
    SHAPE_TCP,
    SHAPE_COUNT
};

// A request under examination.
struct properties_request {
    const struct rstrm_tunnel_properties *asked;
    const struct tunnel_rules *rules;
    const struct tunnel_owner *owner;
    struct tunnel_refusal *refusal;
    enum word_type type;
    enum word_protocol protocol;
    enum word_http http;
    enum word_mode mode;
    enum word_tls tls;
    bool publish;
    unsigned marks;
    enum properties_shape shape;
};

// Fills the refusal; returns false.
bool properties_refuse(struct properties_request *request, enum rstrm_code code, const char *format,
    ...) WEIR_PRINTF(3, 4);
// OpenSSL's name of a cipher suite; "" for one of TLS 1.3, NULL when it is not offered.
const char *properties_cipher(struct slice iana);
// The tunnel of a request that passed all checks; NULL, and the refusal is filled, without memory
// or when the hostname is none.
struct tunnel *properties_make(struct properties_request *request) WEIR_MUST_CHECK;

#endif
