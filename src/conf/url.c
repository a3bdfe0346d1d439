// SPDX-License-Identifier: Apache-2.0
#include "conf/url.h"

#include <ctype.h>

#include "base/ip.h"
#include "base/number.h"

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte <= ' ' || byte == 0x7f || strchr("\"<>\\^`{|}", byte) != NULL) {
            return false;
        }
    }
    return true;
}

static bool is_scheme(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (!isalpha(byte) && (i == 0 || (!isdigit(byte) && strchr("+-.", byte) == NULL))) {
            return false;
        }
    }
    return text.len > 0;
}

// Takes what stands before the first of the bytes off the front of *rest.
static struct slice take_until(struct slice *rest, const char *bytes)
{
    size_t len = 0;
    while (len < rest->len && strchr(bytes, rest->at[len]) == NULL) {
        len++;
    }
    struct slice front = slice_of(rest->at, len);
    *rest = slice_skip(*rest, len);
    return front;
}

static bool is_port(struct slice text)
{
    uint64_t port;
    while (text.len > 1 && text.at[0] == '0') {
        text = slice_skip(text, 1);
    }
    return text.len == 0 || number_parse_u64(text, 65535, &port) == WEIR_OK;
}

static bool split_brackets(struct slice *authority, struct slice *ret_host)
{
    ptrdiff_t end = slice_find(*authority, ']');
    struct ip ip;
    if (end < 0 || ip_parse(slice_of(authority->at + 1, (size_t)end - 1), &ip) != WEIR_OK ||
        ip_is_v4(&ip)) {
        return false;
    }
    *ret_host = slice_of(authority->at, (size_t)end + 1);
    *authority = slice_skip(*authority, (size_t)end + 1);
    return true;
}

static bool split_host(struct slice authority, struct conf_url *url)
{
    if (authority.len > 0 && authority.at[0] == '[') {
        if (!split_brackets(&authority, &url->host)) {
            return false;
        }
    } else {
        url->host = take_until(&authority, ":");
    }
    if (authority.len > 0 && authority.at[0] != ':') {
        return false;
    }
    url->port = slice_skip(authority, 1);
    return url->host.len > 0 && is_port(url->port);
}

enum weir_result conf_url_parse(struct slice text, struct conf_url *ret_url)
{
    struct conf_url url = {.userinfo = SLICE_EMPTY};
    struct slice rest = text;
    url.scheme = take_until(&rest, ":");
    if (!is_plain(text) || !is_scheme(url.scheme) || !slice_starts_with(rest, SLICE("://"))) {
        return WEIR_MALFORMED;
    }
    rest = slice_skip(rest, 3);
    struct slice authority = take_until(&rest, "/?#");
    url.rest = rest;
    for (ptrdiff_t at = slice_find(authority, '@'); at >= 0; at = slice_find(authority, '@')) {
        authority = slice_skip(authority, (size_t)at + 1);
        url.has_userinfo = true;
    }
    if (!split_host(authority, &url)) {
        return WEIR_MALFORMED;
    }
    if (url.has_userinfo) {
        const char *start = url.scheme.at + url.scheme.len + 3;
        url.userinfo = slice_of(start, (size_t)(url.host.at - start) - 1);
    }
    *ret_url = url;
    return WEIR_OK;
}
