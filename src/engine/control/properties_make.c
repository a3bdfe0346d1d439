// SPDX-License-Identifier: Apache-2.0
// The tunnel and everything it points to is one block: its size is measured by laying it out once
// without memory (struct layout).
#include "engine/control/properties_internal.h"

#include <openssl/ssl.h>
#include <stdio.h>

#include "base/ip.h"
#include "base/mem.h"
#include "engine/control/tunnel_host.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define JSON_BYTES_MAX (512u * 1024)

static const enum tunnel_protocol protocols[SHAPE_COUNT] = {
    [SHAPE_PRIVATE] = TUNNEL_PRIVATE,
    [SHAPE_HTTP] = TUNNEL_HTTP,
    [SHAPE_TLS] = TUNNEL_TLS,
    [SHAPE_PASSTHROUGH] = TUNNEL_TLS,
    [SHAPE_TCP] = TUNNEL_TCP,
};

// ---- Layout.

struct layout {
    char *at; // NULL: only measured
    size_t used;
};

static void *lay(struct layout *layout, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    void *place = layout->at == NULL ? NULL : layout->at + layout->used;
    layout->used += (size + align - 1) / align * align;
    return place;
}

static struct slice lay_text(struct layout *layout, struct slice text)
{
    char *place = lay(layout, text.len + 1); // a NUL behind it
    if (place == NULL || text.len == 0) {
        return (struct slice){text.len == 0 ? NULL : "", 0};
    }
    memcpy(place, text.at, text.len);
    return slice_of(place, text.len);
}

static struct rstrm_list lay_list(struct layout *layout, const struct rstrm_list *list)
{
    struct slice *items = lay(layout, list->count * sizeof *items);
    for (size_t i = 0; i < list->count; i++) {
        struct slice copy = lay_text(layout, list->at[i]);
        if (items != NULL) {
            items[i] = copy;
        }
    }
    return (struct rstrm_list){items, list->count};
}

static struct rstrm_labels lay_labels(struct layout *layout, const struct rstrm_labels *labels)
{
    struct rstrm_label *items = lay(layout, labels->count * sizeof *items);
    for (size_t i = 0; i < labels->count; i++) {
        struct slice key = lay_text(layout, labels->at[i].key);
        struct slice value = lay_text(layout, labels->at[i].value);
        if (items != NULL) {
            items[i] = (struct rstrm_label){key, value};
        }
    }
    return (struct rstrm_labels){items, labels->count};
}

static struct slice lay_alpns(struct layout *layout, const struct rstrm_list *list)
{
    size_t len = 0;
    for (size_t i = 0; i < list->count; i++) {
        len += 1 + list->at[i].len;
    }
    char *place = lay(layout, len);
    if (place == NULL || len == 0) {
        return SLICE_EMPTY;
    }
    char *at = place;
    for (size_t i = 0; i < list->count; i++) {
        *at++ = (char)list->at[i].len;
        memcpy(at, list->at[i].at, list->at[i].len);
        at += list->at[i].len;
    }
    return slice_of(place, len);
}

// OpenSSL's list of the suites for TLS 1.2; NULL when none of them is for it.
static const char *lay_ciphers(struct layout *layout, const struct rstrm_list *list)
{
    size_t len = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = properties_cipher(list->at[i]);
        len += name[0] == '\0' ? 0 : strlen(name) + 1;
    }
    char *place = lay(layout, len);
    char *at = place;
    for (size_t i = 0; place != NULL && i < list->count; i++) {
        const char *name = properties_cipher(list->at[i]);
        if (name[0] != '\0') {
            at += sprintf(at, "%s%s", at == place ? "" : ":", name);
        }
    }
    return len == 0 ? NULL : place;
}

static struct conf_networks lay_networks(struct layout *layout, const struct rstrm_list *list)
{
    struct ip_network *items = lay(layout, list->count * sizeof *items);
    for (size_t i = 0; items != NULL && i < list->count; i++) {
        enum weir_result result = ip_network_parse(list->at[i], &items[i]);
        weir_assert(result == WEIR_OK); // check_networks
    }
    return (struct conf_networks){items, list->count};
}

static enum rstrm_switch switch_of(bool value)
{
    return value ? RSTRM_TRUE : RSTRM_FALSE;
}

static bool wants_upstream_tls(const struct properties_request *request)
{
    return (request->marks & (MARK_HTTP_USE_TLS | MARK_UPSTREAM_TLS)) != 0;
}

// ---- The tunnel.

// What comes from the request alone. tunnel may be a scratch one, for measuring.
static void lay_out(
    const struct properties_request *request, struct layout *layout, struct tunnel *tunnel)
{
    const struct rstrm_tunnel_properties *asked = request->asked;
    struct rstrm_tunnel_properties *properties = &tunnel->properties;
    tunnel->user_id = lay_text(layout, request->owner->user_id);
    tunnel->alpns = lay_alpns(layout, &asked->tls_alpns);
    tunnel->tls_ciphers = lay_ciphers(layout, &asked->tls_ciphers);
    tunnel->trusted_ips = lay_networks(layout, &asked->trusted_ips);
    properties->labels = lay_labels(layout, &asked->labels);
    properties->trusted_ips = lay_list(layout, &asked->trusted_ips);
    properties->tls_alpns = lay_list(layout, &asked->tls_alpns);
    properties->tls_ciphers = lay_list(layout, &asked->tls_ciphers);
}

static void fill_facts(const struct properties_request *request, struct tunnel *tunnel)
{
    bool only_13 = request->asked->tls_ciphers.count > 0 && tunnel->tls_ciphers == NULL;
    tunnel->protocol = protocols[request->shape];
    tunnel->published = request->publish;
    tunnel->passthrough = request->shape == SHAPE_PASSTHROUGH;
    tunnel->upstream_tls = wants_upstream_tls(request);
    tunnel->upstream = request->http == HTTP_H2C ? TUNNEL_UPSTREAM_H2C
                       : tunnel->upstream_tls && request->http == HTTP_NONE
                           ? TUNNEL_UPSTREAM_NEGOTIATED
                           : TUNNEL_UPSTREAM_HTTP1;
    tunnel->tls_version_min = request->tls == TLS_13 || only_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    tunnel->token_auth = (request->marks & MARK_TOKEN_AUTH) != 0;
    tunnel->created_ms = sys_wall_ms();
    tunnel->worker = request->owner->worker;
    tunnel->channel = request->owner->channel;
    snprintf(tunnel->client_id, sizeof tunnel->client_id, "%s", request->owner->client_id);
    snprintf(tunnel->identity, sizeof tunnel->identity, "%s", request->owner->identity);
    bool fits = slice_to_text(request->asked->name, tunnel->name, sizeof tunnel->name);
    weir_assert(fits); // check_name
}

static bool fill_address(struct properties_request *request, struct tunnel *tunnel)
{
    const struct tunnel_rules *rules = request->rules;
    struct slice host = slice_str(rules->host);
    uint32_t random;
    if (!request->publish) {
        return true;
    }
    tunnel->port = rules->public_port;
    if (request->shape == SHAPE_TCP) {
        bool asked = (request->marks & MARK_PORT) != 0;
        tunnel->port = asked ? (uint16_t)request->asked->port : rules->tcp_port_free;
        snprintf(tunnel->hostname, sizeof tunnel->hostname, "%s", rules->host);
        return true;
    }
    if ((request->marks & MARK_HOSTNAME) == 0) {
        tunnel->host_generated = true;
        return (sys_entropy(&random, sizeof random) == WEIR_OK &&
                   tunnel_host_generate(random, host, tunnel->hostname) == WEIR_OK) ||
               properties_refuse(request, RSTRM_CODE_INTERNAL, "hostname: none could be made.");
    }
    return tunnel_host_assign(request->asked->hostname, host, tunnel->hostname) == WEIR_OK ||
           properties_refuse(request, RSTRM_CODE_INVALID_REQUEST,
               "hostname: allowed is one label, or <label>.t.%.180s.", rules->host);
}

static struct slice text_or_absent(const char *text)
{
    return text[0] == '\0' ? (struct slice){NULL, 0} : slice_str(text);
}

// The effective properties, as they go back to the agent (spec sections 4.8, 5.1).
static void fill_answer(const struct properties_request *request, struct tunnel *tunnel)
{
    static const char *const min_versions[] = {"", "tls1.2", "tls1.3"};
    struct rstrm_tunnel_properties *answer = &tunnel->properties;
    bool http = request->shape == SHAPE_HTTP;
    bool tls = tunnel->protocol == TUNNEL_TLS;
    tunnel->created.seconds = (int64_t)(tunnel->created_ms / 1000);
    tunnel->created.nanos = (int32_t)(tunnel->created_ms % 1000) * 1000000;
    answer->id = slice_str(tunnel->id);
    answer->creation_date = &tunnel->created;
    answer->name = text_or_absent(tunnel->name);
    answer->type = SLICE("bytestream");
    answer->publish = switch_of(tunnel->published);
    answer->hostname = text_or_absent(tunnel->hostname);
    answer->host = answer->hostname;
    answer->has_port = tunnel->port != 0;
    answer->port = tunnel->port;
    if (!tunnel->published) {
        return;
    }
    answer->protocol = http ? SLICE("http") : tls ? SLICE("tls") : SLICE("tcp");
    answer->tls_min_version = text_or_absent(min_versions[request->tls]);
    if (tls) {
        answer->tls_mode = tunnel->passthrough ? SLICE("passthrough") : SLICE("terminated");
    }
    if (http || (tls && !tunnel->passthrough)) {
        answer->upstream_tls = switch_of(tunnel->upstream_tls);
    }
    if (http) {
        answer->http_use_tls = answer->upstream_tls;
        answer->http_version = tunnel->upstream == TUNNEL_UPSTREAM_NEGOTIATED
                                   ? (struct slice){NULL, 0}
                               : tunnel->upstream == TUNNEL_UPSTREAM_H2C ? SLICE("h2c")
                                                                         : SLICE("http/1.1");
    }
    answer->token_auth = tunnel->token_auth ? RSTRM_TRUE : RSTRM_ABSENT;
}

static bool fill_json(struct tunnel *tunnel)
{
    struct buf text = BUF_INIT(JSON_BYTES_MAX);
    tunnel_write_json(tunnel, true, &text);
    char *copy = text.failed ? NULL : mem_copy(buf_slice(&text).at, text.len);
    if (copy != NULL) {
        tunnel->json = slice_of(copy, text.len);
    }
    buf_reset(&text);
    return copy != NULL;
}

struct tunnel *properties_make(struct properties_request *request)
{
    struct tunnel scratch = {0};
    struct layout layout = {0};
    lay_out(request, &layout, &scratch);
    // The struct itself, and what is laid behind it.
    size_t head = (sizeof(struct tunnel) + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) *
                  _Alignof(max_align_t);
    struct tunnel *tunnel = mem_zalloc(head + layout.used);
    if (tunnel == NULL) {
        (void)properties_refuse(request, RSTRM_CODE_INTERNAL, "The engine has run out of memory.");
        return NULL;
    }
    layout = (struct layout){.at = (char *)tunnel + head};
    atomic_init(&tunnel->refs, 1);
    lay_out(request, &layout, tunnel);
    fill_facts(request, tunnel);
    bool good = fill_address(request, tunnel);
    if (good) {
        good = tunnel_random_id(tunnel->id) == WEIR_OK;
        fill_answer(request, tunnel);
        good = (good && fill_json(tunnel)) ||
               properties_refuse(request, RSTRM_CODE_INTERNAL, "The engine has run out of memory.");
    }
    if (!good) {
        tunnel_unref(tunnel);
        return NULL;
    }
    return tunnel;
}
