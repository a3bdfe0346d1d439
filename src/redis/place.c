// SPDX-License-Identifier: Apache-2.0
#include "redis/place.h"

#include <stdio.h>

#include "base/ip.h"
#include "base/number.h"

#define PORT_REDIS 6379
#define PORT_SENTINEL 26379

static const struct {
    const char *scheme;
    enum redis_kind kind;
    bool tls;
} schemes[] = {
    {"redis", REDIS_SINGLE, false},
    {"rediss", REDIS_SINGLE, true},
    {"redis+sentinel", REDIS_SENTINEL, false},
    {"rediss+sentinel", REDIS_SENTINEL, true},
    {"redis+cluster", REDIS_CLUSTER, false},
    {"rediss+cluster", REDIS_CLUSTER, true},
};

struct parser {
    struct redis_place place;
    const char *problem; // NULL: none yet
};

static bool refuse(struct parser *parser, const char *problem)
{
    parser->problem = problem;
    return false;
}

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

static bool decode(struct slice text, char out[REDIS_TEXT_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.at[i];
        if (byte == '%') {
            if (i + 2 >= text.len || hex_value(text.at[i + 1]) < 0 ||
                hex_value(text.at[i + 2]) < 0) {
                return false;
            }
            byte = (char)(hex_value(text.at[i + 1]) * 16 + hex_value(text.at[i + 2]));
            i += 2;
        }
        if (byte == '\0' || len + 1 >= REDIS_TEXT_SIZE) {
            return false;
        }
        out[len++] = byte;
    }
    out[len] = '\0';
    return true;
}

static bool read_scheme(struct parser *parser, struct slice *rest)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct slice scheme = slice_str(schemes[i].scheme);
        if (slice_starts_with_nocase(*rest, scheme) &&
            slice_starts_with(slice_skip(*rest, scheme.len), SLICE("://"))) {
            parser->place.kind = schemes[i].kind;
            parser->place.tls = schemes[i].tls;
            *rest = slice_skip(*rest, scheme.len + 3);
            return true;
        }
    }
    return refuse(parser, "it must begin with redis://, rediss://, redis+sentinel://, "
                          "rediss+sentinel://, redis+cluster:// or rediss+cluster://");
}

static bool read_user(struct parser *parser, struct slice userinfo)
{
    ptrdiff_t colon = slice_find(userinfo, ':');
    struct slice user = colon < 0 ? userinfo : slice_of(userinfo.at, (size_t)colon);
    struct slice password = colon < 0 ? SLICE_EMPTY : slice_skip(userinfo, (size_t)colon + 1);
    if (!decode(user, parser->place.user) || !decode(password, parser->place.password)) {
        return refuse(parser, "user and password may have 255 bytes each, with %XX for "
                              "'@', ':', '/', '%' and what is not printable");
    }
    return user.len == 0 || password.len > 0 ||
           refuse(parser, "a user needs a password: USER:PASSWORD@");
}

static bool is_host_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_';
}

static bool read_host(struct slice text, char host[REDIS_TEXT_SIZE])
{
    struct ip ip;
    if (text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']') {
        text = slice_of(text.at + 1, text.len - 2);
        return ip_parse(text, &ip) == WEIR_OK && slice_to_text(text, host, REDIS_TEXT_SIZE);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_host_byte(text.at[i])) {
            return false;
        }
    }
    return text.len > 0 && slice_to_text(text, host, REDIS_TEXT_SIZE);
}

static bool read_address(struct parser *parser, struct slice text)
{
    struct redis_place *place = &parser->place;
    if (place->seed_count == REDIS_SEEDS_MAX) {
        return refuse(parser, "it names more than 16 hosts; some of them are enough");
    }
    struct redis_address *address = &place->seeds[place->seed_count++];
    size_t host_len = text.len;
    for (size_t i = text.len; i-- > 0 && text.at[i] != ']';) {
        if (text.at[i] == ':') {
            host_len = i;
            break;
        }
    }
    uint64_t port = place->kind == REDIS_SENTINEL ? PORT_SENTINEL : PORT_REDIS;
    if (!read_host(slice_of(text.at, host_len), address->host)) {
        return refuse(parser, "a host must be a name, an IPv4 address or an IPv6 address in "
                              "brackets");
    }
    if (host_len < text.len &&
        (number_parse_u64(slice_skip(text, host_len + 1), 65535, &port) != WEIR_OK || port == 0)) {
        return refuse(parser, "a port must be a number from 1 to 65535");
    }
    address->port = (uint16_t)port;
    return true;
}

static bool read_addresses(struct parser *parser, struct slice text)
{
    struct slice part;
    while (slice_split(&text, ',', &part)) {
        if (!read_address(parser, part)) {
            return false;
        }
    }
    return (parser->place.kind != REDIS_SINGLE || parser->place.seed_count == 1) ||
           refuse(parser, "redis:// takes one host; several are redis+sentinel:// or "
                          "redis+cluster://");
}

static bool read_database(struct parser *parser, struct slice text)
{
    uint64_t number = 0;
    if (text.len > 0 && number_parse_u64(text, REDIS_DATABASE_MAX, &number) != WEIR_OK) {
        return refuse(parser, "the database must be a number from 0 to 1024");
    }
    if (number > 0 && parser->place.kind == REDIS_CLUSTER) {
        return refuse(parser, "a cluster has no databases");
    }
    parser->place.database = (unsigned)number;
    return true;
}

// path is what follows the slash.
static bool read_path(struct parser *parser, struct slice path)
{
    if (parser->place.kind != REDIS_SENTINEL) {
        return read_database(parser, path);
    }
    struct slice name;
    if (!slice_split(&path, '/', &name) || name.len == 0 || !decode(name, parser->place.name)) {
        return refuse(parser, "sentinels need the name of the master they watch: "
                              "redis+sentinel://HOST,HOST/NAME");
    }
    return path.at == NULL || read_database(parser, path);
}

static bool read_url(struct parser *parser, struct slice url)
{
    struct slice rest = url;
    if (!read_scheme(parser, &rest)) {
        return false;
    }
    ptrdiff_t slash = slice_find(rest, '/');
    struct slice authority = slash < 0 ? rest : slice_of(rest.at, (size_t)slash);
    struct slice path = slash < 0 ? SLICE_EMPTY : slice_skip(rest, (size_t)slash + 1);
    ptrdiff_t at = -1;
    for (size_t i = 0; i < authority.len; i++) {
        at = authority.at[i] == '@' ? (ptrdiff_t)i : at;
    }
    if (at >= 0) {
        if (!read_user(parser, slice_of(authority.at, (size_t)at))) {
            return false;
        }
        authority = slice_skip(authority, (size_t)at + 1);
    }
    return read_addresses(parser, authority) && read_path(parser, path);
}

enum weir_result redis_place_parse(
    struct slice url, struct redis_place *ret_place, char *problem, size_t size)
{
    struct parser parser = {.problem = NULL};
    if (!read_url(&parser, url)) {
        snprintf(problem, size, "%s", parser.problem);
        return WEIR_MALFORMED;
    }
    *ret_place = parser.place;
    return WEIR_OK;
}
