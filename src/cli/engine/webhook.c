// SPDX-License-Identifier: Apache-2.0
#include "cli/engine/webhook.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/number.h"
#include "conf/url.h"
#include "sys/entropy.h"

#define PREFIX "whsec_"
#define SECRET_BYTES 32
#define MAC_BYTES 32

bool webhook_make_secret(char secret[WEBHOOK_SECRET_SIZE])
{
    uint8_t bytes[SECRET_BYTES];
    _Static_assert(sizeof PREFIX + BASE64_SIZE(SECRET_BYTES) <= WEBHOOK_SECRET_SIZE, "it fits");
    if (sys_entropy(bytes, sizeof bytes) != WEIR_OK) {
        return false;
    }
    memcpy(secret, PREFIX, sizeof PREFIX - 1);
    base64url_encode(bytes, sizeof bytes, secret + sizeof PREFIX - 1);
    return true;
}

enum weir_result webhook_sign(const char *const *secrets, size_t count, uint64_t seconds,
    struct slice body, char signature[WEBHOOK_SIGNATURE_SIZE])
{
    char time[24];
    struct buf signed_text = BUF_INIT(body.len + sizeof time + 1);
    int time_len = snprintf(time, sizeof time, "%" PRIu64, seconds);
    buf_printf(&signed_text, "%s.", time);
    buf_append_slice(&signed_text, body);
    enum weir_result result = signed_text.failed ? WEIR_MEMORY : WEIR_OK;
    size_t len = (size_t)snprintf(signature, WEBHOOK_SIGNATURE_SIZE, "t=%.*s", time_len, time);
    for (size_t i = 0; i < count && i < WEBHOOK_SECRETS_MAX && result == WEIR_OK; i++) {
        unsigned char mac[EVP_MAX_MD_SIZE];
        unsigned mac_len = 0;
        struct slice text = buf_slice(&signed_text);
        if (HMAC(EVP_sha256(), secrets[i], (int)strlen(secrets[i]), (const unsigned char *)text.at,
                text.len, mac, &mac_len) == NULL ||
            mac_len != MAC_BYTES) {
            result = WEIR_CRYPTO;
            break;
        }
        len += (size_t)snprintf(signature + len, WEBHOOK_SIGNATURE_SIZE - len, ",v1=");
        for (unsigned byte = 0; byte < MAC_BYTES; byte++) {
            len +=
                (size_t)snprintf(signature + len, WEBHOOK_SIGNATURE_SIZE - len, "%02x", mac[byte]);
        }
    }
    buf_reset(&signed_text);
    return result;
}

bool webhook_delivers(const char *type)
{
    static const char *const types[] = {
        "client.created", "client.deleted", "tunnel.created", "tunnel.deleted"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i], type) == 0) {
            return true;
        }
    }
    return false;
}

json_t *webhook_body(const json_t *event)
{
    static const char *const members[] = {"id", "type", "created_at", "user_id", "workspace_id",
        "project_id", "cluster_id", "object"};
    json_t *body = json_object();
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(event, members[i]);
        if (value != NULL && json_object_set(body, members[i], value) != 0) {
            json_decref(body);
            return NULL;
        }
    }
    return body;
}

// ---- Redirects

static bool is_https(const struct conf_url *url)
{
    return slice_eq_nocase(url->scheme, SLICE("https"));
}

static bool is_http(const struct conf_url *url)
{
    return is_https(url) || slice_eq_nocase(url->scheme, SLICE("http"));
}

static uint64_t port_of(const struct conf_url *url)
{
    uint64_t port;
    return number_parse_u64(url->port, 65535, &port) == WEIR_OK ? port : is_https(url) ? 443 : 80;
}

bool webhook_redirect(const char *url, struct slice location, char *ret_url, size_t size)
{
    struct conf_url from;
    struct conf_url to;
    if (conf_url_parse(slice_str(url), &from) != WEIR_OK || location.len == 0) {
        return false;
    }
    bool from_root = location.at[0] == '/' && (location.len == 1 || location.at[1] != '/');
    if (from_root) {
        struct slice origin = slice_of(url, (size_t)(from.rest.at - url));
        int len = snprintf(ret_url, size, "%.*s%.*s", SLICE_ARG(origin), SLICE_ARG(location));
        return len > 0 && (size_t)len < size && conf_url_parse(slice_str(ret_url), &to) == WEIR_OK;
    }
    if (conf_url_parse(location, &to) != WEIR_OK || !is_http(&to) || to.has_userinfo ||
        !slice_eq_nocase(from.host, to.host)) {
        return false;
    }
    bool safer = !is_https(&from) && is_https(&to);
    bool as_safe = is_https(&from) == is_https(&to) && port_of(&from) == port_of(&to);
    return (safer || as_safe) && slice_to_text(location, ret_url, size);
}

void webhook_place(const char *url, char place[WEBHOOK_PLACE_SIZE])
{
    struct conf_url parts;
    if (conf_url_parse(slice_str(url), &parts) != WEIR_OK) {
        snprintf(place, WEBHOOK_PLACE_SIZE, "the URL");
        return;
    }
    snprintf(place, WEBHOOK_PLACE_SIZE, "%.*s://%.*s%s%.*s", SLICE_ARG(parts.scheme),
        SLICE_ARG(parts.host), parts.port.len == 0 ? "" : ":", SLICE_ARG(parts.port));
}
