// SPDX-License-Identifier: Apache-2.0
// A request is taken apart into marks: one bit for each option that asks for something. What an
// explicit false or an empty text says is nothing asked. The shape of the tunnel (private, http,
// ...) then names the marks it may have, so that a new option is a row here and a bit there.
#include "engine/control/properties.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/ip.h"
#include "engine/control/properties_internal.h"

#define LABEL_KEY_MAX 128
#define LABEL_VALUE_MAX 256
#define ALPNS_MAX 16
#define ALPN_LEN_MAX 255
#define CIPHERS_MAX 32
#define TRUSTED_MAX 64

static const char *const type_words[] = {"bytestream", "datagram", NULL};
static const char *const protocol_words[] = {"http", "tls", "tcp", "dtls", "quic", "webtty", NULL};
static const char *const http_words[] = {"http/1.1", "h2c", "h3", NULL};
static const char *const mode_words[] = {"terminated", "passthrough", NULL};
static const char *const tls_words[] = {"tls1.2", "tls1.3", NULL};

// Suites of TLS 1.2 that a tunnel may ask for; those of TLS 1.3 are not chosen.
static const struct {
    const char *iana;
    const char *openssl; // "": of TLS 1.3
} ciphers[] = {
    {"TLS_AES_128_GCM_SHA256", ""},
    {"TLS_AES_256_GCM_SHA384", ""},
    {"TLS_CHACHA20_POLY1305_SHA256", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384"},
};
#define CIPHER_COUNT (sizeof ciphers / sizeof ciphers[0])

static const char *const mark_names[] = {"hostname", "port", "http_version", "http_use_tls",
    "upstream_tls", "tls_mode=terminated", "tls_mode=passthrough", "tls_alpns", "tls_min_version",
    "tls_ciphers", "trusted_ips", "token_auth"};
#define MARK_COUNT (sizeof mark_names / sizeof mark_names[0])

// Spec section 5.3. The last two marks exist with extensions only (5.8).
static const struct {
    const char *name;
    unsigned marks; // that it may have
} shapes[SHAPE_COUNT] = {
    [SHAPE_PRIVATE] = {"a private tunnel", 0},
    [SHAPE_HTTP] = {"protocol=http", MARK_HOSTNAME | MARK_PORT | MARK_HTTP_VERSION |
                                         MARK_HTTP_USE_TLS | MARK_UPSTREAM_TLS |
                                         MARK_TLS_TERMINATED | MARK_TLS_MIN_VERSION |
                                         MARK_TLS_CIPHERS | MARK_TRUSTED_IPS | MARK_TOKEN_AUTH},
    [SHAPE_TLS] = {"protocol=tls", MARK_HOSTNAME | MARK_UPSTREAM_TLS | MARK_TLS_TERMINATED |
                                       MARK_TLS_ALPNS | MARK_TLS_MIN_VERSION | MARK_TLS_CIPHERS |
                                       MARK_TRUSTED_IPS},
    [SHAPE_PASSTHROUGH] = {"tls_mode=passthrough",
        MARK_HOSTNAME | MARK_TLS_PASSTHROUGH | MARK_TRUSTED_IPS},
    [SHAPE_TCP] = {"protocol=tcp", MARK_PORT | MARK_TRUSTED_IPS},
};

bool properties_refuse(
    struct properties_request *request, enum rstrm_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    request->refusal->code = code;
    vsnprintf(request->refusal->message, sizeof request->refusal->message, format, args);
    va_end(args);
    return false;
}

// ---- Syntax (2000).

// A word's number, counted from 1; 0 for an empty or absent text, -1 for no word.
static int word_of(const char *const *words, struct slice text)
{
    if (text.len == 0) {
        return 0;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (slice_eq(text, slice_str(words[i]))) {
            return i + 1;
        }
    }
    return -1;
}

static bool read_words(struct properties_request *request)
{
    const struct rstrm_tunnel_properties *asked = request->asked;
    const struct {
        const char *name;
        const char *const *words;
        struct slice text;
    } rows[] = {
        {"type", type_words, asked->type},
        {"protocol", protocol_words, asked->protocol},
        {"http_version", http_words, asked->http_version},
        {"tls_mode", mode_words, asked->tls_mode},
        {"tls_min_version", tls_words, asked->tls_min_version},
    };
    int found[sizeof rows / sizeof rows[0]];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        found[i] = word_of(rows[i].words, rows[i].text);
        if (found[i] < 0) {
            return properties_refuse(
                request, RSTRM_CODE_INVALID_REQUEST, "%s: not a known value.", rows[i].name);
        }
    }
    request->type = (enum word_type)found[0];
    request->protocol = (enum word_protocol)found[1];
    request->http = (enum word_http)found[2];
    request->mode = (enum word_mode)found[3];
    request->tls = (enum word_tls)found[4];
    request->publish = asked->publish != RSTRM_FALSE;
    return true;
}

static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

static bool looks_like_id(struct slice name)
{
    if (name.len != TUNNEL_ID_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        char byte = name.at[i];
        bool hex = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
                   (byte >= 'A' && byte <= 'F');
        if (dash ? byte != '-' : !hex) {
            return false;
        }
    }
    return true;
}

static bool check_name(struct properties_request *request)
{
    struct slice name = request->asked->name;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_name_byte(name.at[i])) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "name: allowed are letters, digits and the characters . _ -");
        }
    }
    if (name.len >= TUNNEL_NAME_SIZE || looks_like_id(name)) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
            "name: at most %d characters, and not in the form of an id.", TUNNEL_NAME_SIZE - 1);
    }
    return true;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte < 0x20 || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool check_labels(struct properties_request *request)
{
    const struct rstrm_labels *labels = &request->asked->labels;
    for (size_t i = 0; i < labels->count; i++) {
        const struct rstrm_label *label = &labels->at[i];
        if (label->key.len == 0 || has_control(label->key) || has_control(label->value)) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "labels: a key must not be empty, and control characters are not allowed.");
        }
    }
    return true;
}

static bool check_alpns(struct properties_request *request)
{
    const struct rstrm_list *alpns = &request->asked->tls_alpns;
    for (size_t i = 0; i < alpns->count; i++) {
        if (alpns->at[i].len == 0 || alpns->at[i].len > ALPN_LEN_MAX ||
            slice_eq(alpns->at[i], SLICE(RSTRM_ALPN))) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "tls_alpns: each has 1 to %d bytes and is not " RSTRM_ALPN ".", ALPN_LEN_MAX);
        }
    }
    return true;
}

const char *properties_cipher(struct slice iana)
{
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        if (slice_eq(iana, slice_str(ciphers[i].iana))) {
            return ciphers[i].openssl;
        }
    }
    return NULL;
}

static bool check_ciphers(struct properties_request *request)
{
    const struct rstrm_list *list = &request->asked->tls_ciphers;
    for (size_t i = 0; i < list->count; i++) {
        if (properties_cipher(list->at[i]) == NULL) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "tls_ciphers: number %zu is no cipher suite that is offered, by its IANA name.",
                i + 1);
        }
    }
    return true;
}

static bool check_networks(struct properties_request *request)
{
    const struct rstrm_list *list = &request->asked->trusted_ips;
    for (size_t i = 0; request->rules->trusted_ips && i < list->count; i++) {
        struct ip_network network;
        if (ip_network_parse(list->at[i], &network) != WEIR_OK) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "trusted_ips: number %zu is neither an address nor a network.", i + 1);
        }
    }
    return true;
}

static bool check_syntax(struct properties_request *request)
{
    if (request->asked->has_port && request->asked->port > UINT16_MAX) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST, "port: at most 65535.");
    }
    return read_words(request) && check_name(request) && check_labels(request) &&
           check_alpns(request) && check_ciphers(request) && check_networks(request);
}

// ---- What is not offered (5000; spec sections 1.5, 5.8, 5.9).

static bool has_terminal_label(const struct rstrm_labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        if (slice_starts_with(labels->at[i].key, SLICE("rstream.webtty"))) {
            return true;
        }
    }
    return false;
}

static bool check_offered(struct properties_request *request)
{
    const struct rstrm_tunnel_properties *asked = request->asked;
    const struct tunnel_rules *rules = request->rules;
    const struct {
        const char *option;
        bool asked;
        bool offered;
    } rows[] = {
        {"type=datagram", request->type == TYPE_DATAGRAM, false},
        {"protocol=dtls", request->protocol == PROTOCOL_DTLS, false},
        {"protocol=quic", request->protocol == PROTOCOL_QUIC, false},
        {"protocol=webtty", request->protocol == PROTOCOL_WEBTTY, false},
        {"protocol=tcp", request->protocol == PROTOCOL_TCP && request->publish,
            rules->tcp_port_min != 0},
        {"http_version=h3", request->http == HTTP_H3, false},
        {"datagram_guaranteed_delivery", asked->datagram_guaranteed_delivery == RSTRM_TRUE, false},
        {"rstream_auth", asked->rstream_auth == RSTRM_TRUE, false},
        {"token_auth", asked->token_auth == RSTRM_TRUE, rules->token_auth},
        {"challenge_mode", asked->challenge_mode == RSTRM_TRUE, false},
        {"geoip", asked->geoip.count > 0, false},
        {"trusted_ips", asked->trusted_ips.count > 0, rules->trusted_ips},
        {"mtls_auth", asked->mtls_auth == RSTRM_TRUE, false},
        {"mtls_cacert_pem", asked->mtls_cacert_pem.len > 0, false},
        {"labels rstream.webtty", has_terminal_label(&asked->labels), false},
        {"allow_cross_region_routing", asked->allow_cross_region_routing == RSTRM_TRUE, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].asked && !rows[i].offered) {
            return properties_refuse(request, RSTRM_CODE_FEATURE_NOT_AVAILABLE,
                "%s is not available on this engine.", rows[i].option);
        }
    }
    return true;
}

// ---- Combinations (2000; spec section 5.3).

static unsigned marks_of(const struct properties_request *request)
{
    const struct rstrm_tunnel_properties *asked = request->asked;
    const bool set[MARK_COUNT] = {
        asked->hostname.len > 0,
        asked->has_port && asked->port != 0,
        request->http != HTTP_NONE,
        asked->http_use_tls == RSTRM_TRUE,
        asked->upstream_tls == RSTRM_TRUE,
        request->mode == MODE_TERMINATED,
        request->mode == MODE_PASSTHROUGH,
        asked->tls_alpns.count > 0,
        request->tls != TLS_NONE,
        asked->tls_ciphers.count > 0,
        asked->trusted_ips.count > 0,
        asked->token_auth == RSTRM_TRUE,
    };
    unsigned marks = 0;
    for (size_t i = 0; i < MARK_COUNT; i++) {
        marks |= set[i] ? 1u << i : 0;
    }
    return marks;
}

static enum properties_shape shape_of(const struct properties_request *request)
{
    if (!request->publish) {
        return SHAPE_PRIVATE;
    }
    if (request->protocol == PROTOCOL_TCP) {
        return SHAPE_TCP;
    }
    if (request->protocol == PROTOCOL_TLS) {
        return request->mode == MODE_PASSTHROUGH ? SHAPE_PASSTHROUGH : SHAPE_TLS;
    }
    return SHAPE_HTTP;
}

static bool check_port(struct properties_request *request)
{
    const struct tunnel_rules *rules = request->rules;
    uint32_t port = request->asked->port;
    if (request->shape == SHAPE_TCP && (request->marks & MARK_PORT) == 0) {
        return rules->tcp_port_free != 0 ||
               properties_refuse(
                   request, RSTRM_CODE_CAPACITY_EXHAUSTED, "port: no TCP port is left.");
    }
    if (request->shape == SHAPE_TCP && (port < rules->tcp_port_min || port > rules->tcp_port_max)) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
            "port: TCP ports are %u to %u here.", rules->tcp_port_min, rules->tcp_port_max);
    }
    if (request->shape == SHAPE_HTTP && (request->marks & MARK_PORT) != 0 &&
        port != rules->public_port) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
            "port: for protocol=http it is %u here.", rules->public_port);
    }
    return true;
}

static bool check_upstream(struct properties_request *request)
{
    enum rstrm_switch old = request->asked->http_use_tls;
    enum rstrm_switch new = request->asked->upstream_tls;
    if (old != RSTRM_ABSENT && new != RSTRM_ABSENT && old != new) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
            "http_use_tls and upstream_tls contradict one another.");
    }
    if ((request->marks & (MARK_HTTP_USE_TLS | MARK_UPSTREAM_TLS)) != 0 &&
        request->http == HTTP_H2C) {
        return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
            "http_version=h2c: with upstream_tls the version is negotiated.");
    }
    return true;
}

static bool check_combination(struct properties_request *request)
{
    request->marks = marks_of(request);
    request->shape = shape_of(request);
    unsigned excess = request->marks & ~shapes[request->shape].marks;
    for (size_t i = 0; i < MARK_COUNT; i++) {
        if ((excess & 1u << i) != 0) {
            return properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
                "%s: not possible with %s.", mark_names[i], shapes[request->shape].name);
        }
    }
    return check_upstream(request) && check_port(request);
}

// ---- Sizes (7000).

static bool check_sizes(struct properties_request *request)
{
    const struct rstrm_tunnel_properties *asked = request->asked;
    const struct {
        const char *name;
        size_t count;
        size_t max;
    } rows[] = {
        {"labels", asked->labels.count, request->rules->labels_max},
        {"tls_alpns", asked->tls_alpns.count, ALPNS_MAX},
        {"tls_ciphers", asked->tls_ciphers.count, CIPHERS_MAX},
        {"trusted_ips", asked->trusted_ips.count, TRUSTED_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].count > rows[i].max) {
            return properties_refuse(request, RSTRM_CODE_CAPACITY_EXHAUSTED, "%s: at most %zu.",
                rows[i].name, rows[i].max);
        }
    }
    for (size_t i = 0; i < asked->labels.count; i++) {
        if (asked->labels.at[i].key.len > LABEL_KEY_MAX ||
            asked->labels.at[i].value.len > LABEL_VALUE_MAX) {
            return properties_refuse(request, RSTRM_CODE_CAPACITY_EXHAUSTED,
                "labels: a key has at most %d bytes, a value %d.", LABEL_KEY_MAX, LABEL_VALUE_MAX);
        }
    }
    return true;
}

struct tunnel *properties_accept(const struct rstrm_tunnel_properties *asked,
    const struct tunnel_rules *rules, const struct tunnel_owner *owner,
    struct tunnel_refusal *ret_refusal)
{
    struct properties_request request = {
        .asked = asked, .rules = rules, .owner = owner, .refusal = ret_refusal};
    *ret_refusal = (struct tunnel_refusal){0};
    bool good = check_syntax(&request) && check_offered(&request) && check_combination(&request) &&
                check_sizes(&request);
    return good ? properties_make(&request) : NULL;
}
