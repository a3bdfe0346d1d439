// SPDX-License-Identifier: Apache-2.0
#include "relay/redirect.h"

#include "conf/url.h"
#include "obs/log.h"

#define URL_LEN_MAX 2048

static struct slice host_of(const char *url)
{
    struct conf_url parts;
    return conf_url_parse(slice_str(url), &parts) == WEIR_OK ? parts.host : SLICE_EMPTY;
}

static bool is_allowed_host(const struct relay_config *config, struct slice host)
{
    const struct conf_words *allowed = &config->redirect_allowed_hosts;
    if (allowed->count == 0) {
        return config->security_mode != SECURITY_MODE_PROD ||
               slice_eq_nocase(host, host_of(config->public_ws_base_url)) ||
               slice_eq_nocase(host, slice_str(config->tls_host));
    }
    for (size_t i = 0; i < allowed->count; i++) {
        if (slice_eq_nocase(host, slice_str(allowed->items[i]))) {
            return true;
        }
    }
    return false;
}

// It goes into a header as it is.
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c) != NULL) {
            return false;
        }
    }
    return text.len > 0 && text.len <= URL_LEN_MAX;
}

// Why not, in English; NULL: fine.
static const char *fault_of(const struct relay_config *config, struct slice url)
{
    struct conf_url parts;
    if (!is_plain(url) || conf_url_parse(url, &parts) != WEIR_OK || parts.host.len == 0) {
        return "not a URL";
    }
    bool secure = slice_eq_nocase(parts.scheme, SLICE("wss"));
    if (!secure && (config->security_mode == SECURITY_MODE_PROD ||
                       !slice_eq_nocase(parts.scheme, SLICE("ws")))) {
        return "its scheme is not allowed";
    }
    if (parts.has_userinfo || slice_contains_nocase(parts.rest, SLICE("?")) ||
        slice_contains_nocase(parts.rest, SLICE("#"))) {
        return "it has a user, a query or a fragment";
    }
    return is_allowed_host(config, parts.host) ? NULL : "its host is not allowed";
}

bool redirect_is_usable(const struct shard *shard, struct slice url)
{
    const struct relay_config *config = shard->relay->config;
    if (slice_eq(url, slice_str(config->public_ws_base_url))) {
        return false;
    }
    const char *fault = fault_of(config, url);
    if (fault == NULL) {
        return true;
    }
    struct log_line line;
    log_begin(&line, LOG_RELAY_PRESENCE_RESOLVE_INVALID_REDIRECT);
    log_str(&line, "relayWsBaseUrl", url);
    log_text(&line, "reason", fault);
    log_end(&line);
    return false;
}
