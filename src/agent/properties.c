// SPDX-License-Identifier: Apache-2.0
// A tunnel's properties: what the program wishes, as it is copied and sent, and what the engine
// made of it (spec sections 4.4 and 5).
#include <stdio.h>

#include "agent/internal.h"
#include "base/utf8.h"

#define TEXT_LEN_MAX 1024
#define PEM_LEN_MAX 32768
#define TOLD_MAX 65536
#define HTTPS_PORT 443

// Members of weir_tunnel_options that are plain texts, and where they go.
#define TEXTS(X)                                                                                   \
    X(name, name, TEXT_LEN_MAX)                                                                    \
    X(type, type, TEXT_LEN_MAX)                                                                    \
    X(protocol, protocol, TEXT_LEN_MAX)                                                            \
    X(hostname, hostname, TEXT_LEN_MAX)                                                            \
    X(tls_mode, tls_mode, TEXT_LEN_MAX)                                                            \
    X(tls_min_version, tls_min_version, TEXT_LEN_MAX)                                              \
    X(http_version, http_version, TEXT_LEN_MAX)                                                    \
    X(mtls_cacert_pem, mtls_cacert_pem, PEM_LEN_MAX)

#define SWITCHES(X)                                                                                \
    X(publish)                                                                                     \
    X(upstream_tls)                                                                                \
    X(http_use_tls)                                                                                \
    X(mtls_auth)                                                                                   \
    X(token_auth)                                                                                  \
    X(rstream_auth)                                                                                \
    X(challenge_mode)                                                                              \
    X(datagram_guaranteed_delivery)                                                                \
    X(allow_cross_region_routing)

// Member, its count, its place in struct tunnel_lists.
#define LISTS(X)                                                                                   \
    X(tls_alpns, tls_alpn_count, alpns)                                                            \
    X(tls_ciphers, tls_cipher_count, ciphers)                                                      \
    X(geoip, geoip_count, geoip)                                                                   \
    X(trusted_ips, trusted_ip_count, trusted_ips)

#define LIST_ROOM(member) (sizeof((struct tunnel_lists *)0)->member / sizeof(struct slice))
#define LABEL_ROOM (sizeof((struct tunnel_lists *)0)->labels / sizeof(struct rstrm_label))

_Static_assert((int)WEIR_TUNNEL_NO == (int)RSTRM_FALSE && (int)WEIR_TUNNEL_YES == (int)RSTRM_TRUE,
    "switches have the same positions on both sides");

// ---- Wishes

bool text_is_sendable(const char *text, size_t len_max)
{
    struct slice bytes = slice_str(text);
    for (size_t i = 0; i < bytes.len; i++) {
        if ((unsigned char)bytes.at[i] <= ' ' || bytes.at[i] == 127) {
            return false;
        }
    }
    return bytes.len > 0 && bytes.len <= len_max && utf8_valid(bytes);
}

static bool is_fine(const char *text, size_t len_max)
{
    return text == NULL || (strlen(text) <= len_max && utf8_valid(slice_str(text)));
}

static bool are_fine(const char *const *texts, size_t count, size_t room)
{
    if (count > room || (count > 0 && texts == NULL)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL || !is_fine(texts[i], TEXT_LEN_MAX)) {
            return false;
        }
    }
    return true;
}

const char *tunnel_options_mistake(const struct weir_tunnel_options *options)
{
#define CHECK(member, target, len_max)                                                             \
    if (!is_fine(options->member, len_max)) {                                                      \
        return "the " #member " is too long, or no UTF-8";                                         \
    }
    TEXTS(CHECK)
#undef CHECK
#define CHECK(member, count, place)                                                                \
    if (!are_fine(options->member, options->count, LIST_ROOM(place))) {                            \
        return "one of the " #member " is too long, or no UTF-8, or there are too many";           \
    }
    LISTS(CHECK)
#undef CHECK
    if (options->label_count > LABEL_ROOM || (options->label_count > 0 && !options->labels)) {
        return "there are too many labels";
    }
    for (size_t i = 0; i < options->label_count; i++) {
        const struct weir_tunnel_label *label = &options->labels[i];
        if (label->key == NULL || label->value == NULL || !is_fine(label->key, TEXT_LEN_MAX) ||
            !is_fine(label->value, TEXT_LEN_MAX)) {
            return "a label is too long, or no UTF-8";
        }
    }
    return options->port > 65535 ? "the port is above 65535" : NULL;
}

static bool copy_text(struct arena *arena, const char **text)
{
    if (*text != NULL) {
        *text = arena_copy(arena, slice_str(*text));
        return *text != NULL;
    }
    return true;
}

static bool copy_list(struct arena *arena, const char *const **texts, size_t count)
{
    const char **copy = arena_alloc(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = arena_copy(arena, slice_str((*texts)[i]));
        if (copy[i] == NULL) {
            return false;
        }
    }
    *texts = copy;
    return copy != NULL;
}

static bool copy_labels(struct arena *arena, struct weir_tunnel_options *options)
{
    size_t count = options->label_count;
    struct weir_tunnel_label *copy = arena_alloc(arena, (count + 1) * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = options->labels[i];
        if (!copy_text(arena, &copy[i].key) || !copy_text(arena, &copy[i].value)) {
            return false;
        }
    }
    options->labels = copy;
    return copy != NULL;
}

enum weir_result tunnel_options_copy(
    struct arena *arena, const struct weir_tunnel_options *from, struct weir_tunnel_options *to)
{
    *to = *from;
    bool ok = copy_text(arena, &to->forward);
#define COPY(member, target, len_max) ok = ok && copy_text(arena, &to->member);
    TEXTS(COPY)
#undef COPY
#define COPY(member, count, place) ok = ok && copy_list(arena, &to->member, to->count);
    LISTS(COPY)
#undef COPY
    return ok && copy_labels(arena, to) ? WEIR_OK : WEIR_MEMORY;
}

// ---- As it is sent

static struct slice sent(const char *text)
{
    return text == NULL ? (struct slice){0} : slice_str(text);
}

static struct rstrm_list list_of(struct slice *place, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        place[i] = slice_str(texts[i]);
    }
    return (struct rstrm_list){place, count};
}

void tunnel_request(const struct weir_tunnel_options *options, struct tunnel_lists *lists,
    struct rstrm_tunnel_properties *ret_properties)
{
    *ret_properties = (struct rstrm_tunnel_properties){.has_port = options->port > 0,
        .port = options->port,
#define SEND(member, target, len_max) .target = sent(options->member),
        TEXTS(SEND)
#undef SEND
#define SEND(member) .member = (enum rstrm_switch)options->member,
            SWITCHES(SEND)
#undef SEND
#define SEND(member, count, place) .member = list_of(lists->place, options->member, options->count),
                LISTS(SEND)
#undef SEND
    };
    for (size_t i = 0; i < options->label_count; i++) {
        lists->labels[i] = (struct rstrm_label){
            slice_str(options->labels[i].key), slice_str(options->labels[i].value)};
    }
    ret_properties->labels = (struct rstrm_labels){lists->labels, options->label_count};
}

// ---- As the engine has it

static const char *told(struct arena *arena, struct slice text)
{
    char *copy = arena_copy(arena, text.at == NULL ? SLICE_EMPTY : text);
    if (copy != NULL) {
        utf8_make_plain(copy);
    }
    return copy;
}

// Spec section 5.7.
static void write_address(const struct weir_tunnel_info *info, char *text, size_t size)
{
    unsigned port = info->port == 0 ? HTTPS_PORT : info->port;
    bool plain = port == HTTPS_PORT;
    if (!info->publish) {
        snprintf(
            text, size, "rstrm://%s (unpublished)", info->name[0] == '\0' ? info->id : info->name);
    } else if (strcmp(info->protocol, "http") == 0) {
        snprintf(text, size, plain ? "https://%s" : "https://%s:%u", info->hostname, port);
    } else if (strcmp(info->protocol, "tls") == 0 || strcmp(info->protocol, "tcp") == 0) {
        snprintf(text, size, "%s:%u (%s)", info->hostname, port, info->protocol);
    } else {
        snprintf(text, size, plain ? "%s" : "%s:%u", info->hostname, port);
    }
}

enum weir_result tunnel_texts_of(
    struct tunnel_texts *texts, const struct rstrm_tunnel_properties *properties)
{
    struct arena *arena = &texts->arena;
    char address[2048];
    arena_reset(arena);
    arena_init(arena, TOLD_MAX);
    struct slice hostname = properties->hostname.len > 0 ? properties->hostname : properties->host;
    texts->info = (struct weir_tunnel_info){
        .id = told(arena, properties->id),
        .name = told(arena, properties->name),
        .type = told(arena, properties->type),
        .protocol = told(arena, properties->protocol),
        .hostname = told(arena, hostname),
        .port = properties->has_port ? properties->port : 0,
        .publish = properties->publish != RSTRM_FALSE,
        .tls_mode = told(arena, properties->tls_mode),
        .http_version = told(arena, properties->http_version),
        .upstream_tls = properties->upstream_tls == RSTRM_TRUE,
        .created = properties->creation_date == NULL ? 0 : properties->creation_date->seconds,
    };
    const struct weir_tunnel_info *info = &texts->info;
    if (!info->id || !info->name || !info->type || !info->protocol || !info->hostname ||
        !info->tls_mode || !info->http_version) {
        return WEIR_MEMORY;
    }
    write_address(info, address, sizeof address);
    texts->info.address = arena_copy(arena, slice_str(address));
    return texts->info.address == NULL ? WEIR_MEMORY : WEIR_OK;
}
