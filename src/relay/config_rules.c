// SPDX-License-Identifier: Apache-2.0
// The rules that tie variables together: spec section 2.3 with the decisions of 2.4. Numbers in the
// names of its rules below are those of 2.3.
//
//   1 TLS and its files             needs nothing
//   2 local hosts                   (functions)
//   3 security mode                 from the listening host and the platform's URLs
//   4 client certificate
//   5 backplane mode                before the platform, which may come from it
//     platform and admission URL, id and public URL
//   6 what a backplane mode needs   ends the start unless the mode is single
//   7 exposure                      needs the public URL
//   8 prod                          needs all of the above
//
// Every rule runs, whatever the ones before have found; a refused value has left its default.
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "conf/url.h"
#include "redis/place.h"
#include "relay/config_internal.h"

#define INTERNAL_KEY_LEN_MIN 24 // in mode prod
#define RELAY_ID_LEN_MAX 255

static void put(struct config_loading *loading, char **field, const char *format, ...)
    WEIR_PRINTF(3, 4);

// Replaces an owned string.
static void put(struct config_loading *loading, char **field, const char *format, ...)
{
    char text[2 * CONF_TEXT_LEN_MAX + 64]; // two values and what stands between them
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *copy = len < 0 || (size_t)len >= sizeof text ? NULL : mem_copy(text, (size_t)len);
    if (copy == NULL) {
        loading->out_of_memory = true;
        return;
    }
    mem_free(*field);
    *field = copy;
}

static bool file_exists(const struct config_loading *loading, const char *path)
{
    return loading->source->file_exists(loading->source->arg, path);
}

// ---- 2: Hosts

static struct slice host_of(const char *url)
{
    struct conf_url parts;
    return conf_url_parse(slice_str(url), &parts) == WEIR_OK ? parts.host : SLICE_EMPTY;
}

static bool is_loopback(struct slice host)
{
    return slice_eq_nocase(host, SLICE("localhost")) || slice_eq(host, SLICE("127.0.0.1")) ||
           slice_eq(host, SLICE("::1")) || slice_eq(host, SLICE("[::1]"));
}

static bool is_test_host(struct slice host)
{
    return slice_eq_nocase(
        slice_skip(host, host.len < 5 ? host.len : host.len - 5), SLICE(".test"));
}

static bool is_localish(const char *url)
{
    return is_loopback(host_of(url)) || is_test_host(host_of(url));
}

// HOST is a name that some shells export, so the line has to name both variables.
static void rule_listen_host(struct config_loading *loading)
{
    const char *host = loading->config->listen_host;
    struct ip ip;
    if (!slice_eq_nocase(slice_str(host), SLICE("localhost")) &&
        ip_parse(slice_str(host), &ip) != WEIR_OK) {
        conf_error(loading->problems,
            "RELAY_LISTEN_HOST (or HOST): \"%s\" is not usable; allowed: an IP address without "
            "brackets, or localhost",
            host);
    }
}

// ---- 1: TLS

static void require_tls_file(
    struct config_loading *loading, const char *name, const char *path, const char *what)
{
    if (!file_exists(loading, path)) {
        conf_error(loading->problems, "%s: \"%s\" does not exist; allowed: %s while RELAY_TLS is 1",
            name, path, what);
    }
}

static void rule_tls(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    if (config->tls_cert_path == NULL) {
        put(loading, &config->tls_cert_path, "%s/%s.crt", config->tls_cert_dir, config->tls_host);
    }
    if (config->tls_key_path == NULL) {
        put(loading, &config->tls_key_path, "%s/%s.key", config->tls_cert_dir, config->tls_host);
    }
    if (loading->out_of_memory) {
        return;
    }
    bool cert = file_exists(loading, config->tls_cert_path);
    bool key = file_exists(loading, config->tls_key_path);
    config->tls_enabled = config->tls == SWITCH_ON || (config->tls == SWITCH_AUTO && cert && key);
    if (config->tls == SWITCH_ON) {
        require_tls_file(
            loading, "RELAY_TLS_CERT_PATH", config->tls_cert_path, "a PEM certificate chain");
        require_tls_file(loading, "RELAY_TLS_KEY_PATH", config->tls_key_path, "a PEM private key");
    } else if (config->tls == SWITCH_AUTO && cert != key) {
        conf_warning(loading->problems,
            "RELAY_TLS: auto, and \"%s\" exists but \"%s\" does not, so TLS is off; set RELAY_TLS "
            "to 1 or 0",
            cert ? config->tls_cert_path : config->tls_key_path,
            cert ? config->tls_key_path : config->tls_cert_path);
    }
}

// ---- 3: Security mode

static void rule_security_mode(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    bool no_platform = config->server_url == NULL && config->validate_url == NULL &&
                       config->public_ws_base_url == NULL;
    bool local_platform = no_platform || is_localish(config->server_url) ||
                          is_localish(config->validate_url);
    bool local = (local_platform && !loading->own_platform) ||
                 is_loopback(slice_str(config->listen_host)) ||
                 is_localish(config->public_ws_base_url);
    if (config->relay_mode == MODE_AUTO) {
        config->security_mode = local ? SECURITY_MODE_DEV : SECURITY_MODE_PROD;
    } else {
        config->security_mode = (enum security_mode)(config->relay_mode - MODE_DEV);
    }
}

// ---- 4: Client certificate

static void require_file(struct config_loading *loading, const char *name, const char *path)
{
    if (path == NULL) {
        conf_error(loading->problems,
            "%s: not set; allowed: a PEM file while RELAY_SERVER_MTLS is on", name);
    } else if (!file_exists(loading, path)) {
        conf_error(loading->problems, "%s: \"%s\" does not exist; allowed: a PEM file", name, path);
    }
}

static void rule_client_certificate(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    bool cert = config->server_client_cert_path != NULL;
    bool key = config->server_client_key_path != NULL;
    if (!loading->set[ROW_server_mtls]) {
        config->server_mtls = cert && key;
        if (cert != key) {
            conf_warning(loading->problems,
                "%s: set without %s, so no client certificate is shown to the platform",
                cert ? "RELAY_SERVER_CLIENT_CERT_PATH" : "RELAY_SERVER_CLIENT_KEY_PATH",
                cert ? "RELAY_SERVER_CLIENT_KEY_PATH" : "RELAY_SERVER_CLIENT_CERT_PATH");
        }
    }
    if (config->server_mtls) {
        require_file(loading, "RELAY_SERVER_CLIENT_CERT_PATH", config->server_client_cert_path);
        require_file(loading, "RELAY_SERVER_CLIENT_KEY_PATH", config->server_client_key_path);
    }
    if (config->server_ca_cert_path != NULL) {
        require_file(loading, "RELAY_SERVER_CA_CERT_PATH", config->server_ca_cert_path);
    }
}

// ---- The platform

static void put_origin(struct config_loading *loading, const char *url)
{
    struct conf_url parts;
    if (conf_url_parse(slice_str(url), &parts) == WEIR_OK) {
        put(loading, &loading->config->platform_origin, "%.*s://%.*s%s%.*s",
            SLICE_ARG(parts.scheme), SLICE_ARG(parts.host), parts.port.len > 0 ? ":" : "",
            SLICE_ARG(parts.port));
    }
}

// The documented RELAY_VALIDATE_URL wins over the address made from SERVER_URL, or, following the
// reference relay, the other way round.
static void put_admission_url(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    put(loading, &config->admission_url, "%s/api/runtime/internal/relay/validate",
        config->platform_origin);
    if (config->validate_url == NULL || loading->out_of_memory) {
        return;
    }
    bool differ = strcmp(config->validate_url, config->admission_url) != 0;
    bool server_wins = config->compat == COMPAT_REFERENCE && config->server_url != NULL;
    if (differ && config->server_url != NULL) {
        conf_warning(loading->problems,
            "RELAY_VALIDATE_URL and SERVER_URL are both set and name different addresses; "
            "admission asks the one of %s, everything else goes to SERVER_URL",
            server_wins ? "SERVER_URL" : "RELAY_VALIDATE_URL");
    }
    if (!server_wins) {
        put(loading, &config->admission_url, "%s", config->validate_url);
    }
}

// Whether a URL of the platform needs its certificate checked, or has a host made for trying things
// out; plain http is neither.
static void look_at_tls(const char *url, bool *strict, bool *lenient)
{
    struct conf_url parts;
    if (url != NULL && conf_url_parse(slice_str(url), &parts) == WEIR_OK &&
        slice_eq_nocase(parts.scheme, SLICE("https"))) {
        bool exempt = slice_eq_nocase(parts.host, SLICE("localhost")) || is_test_host(parts.host);
        *strict = *strict || !exempt;
        *lenient = *lenient || exempt;
    }
}

static void rule_platform(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    bool strict = false;
    bool lenient = false;
    if (config->server_url != NULL) {
        put_origin(loading, config->server_url);
    } else if (config->backplane_mode == BACKPLANE_SERVER && config->backplane_url != NULL) {
        put_origin(loading, config->backplane_url);
    } else if (config->validate_url != NULL) {
        put_origin(loading, config->validate_url);
    } else {
        put_origin(loading, "https://api.getviewport.com");
    }
    if (loading->out_of_memory) {
        return;
    }
    put_admission_url(loading);
    look_at_tls(config->platform_origin, &strict, &lenient);
    look_at_tls(config->admission_url, &strict, &lenient);
    look_at_tls(config->jwks_url, &strict, &lenient);
    config->server_tls_verify =
        config->server_tls_verify_choice == SWITCH_ON ||
        (config->server_tls_verify_choice == SWITCH_AUTO && (strict || !lenient));
}

// ---- 5 and 6: Backplane

static void rule_backplane_mode(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    if (config->backplane_mode != BACKPLANE_AUTO) {
        return;
    }
    bool server =
        config->internal_key != NULL || config->bus_enabled || config->presence_sync_enabled;
    config->backplane_mode = server ? BACKPLANE_SERVER : BACKPLANE_SINGLE;
}

// Several hosts are more than a URL can have, so the rows take these as text.
static void check_redis_url(struct config_loading *loading, const char *name, const char *url)
{
    struct redis_place place;
    char problem[256];
    if (redis_place_parse(slice_str(url), &place, problem, sizeof problem) != WEIR_OK) {
        conf_error(loading->problems, "%s: %s", name, problem);
    }
}

static void check_platform_url(struct config_loading *loading, const char *url)
{
    struct conf_url parts;
    if (conf_url_parse(slice_str(url), &parts) != WEIR_OK ||
        (!slice_eq_nocase(parts.scheme, SLICE("http")) &&
            !slice_eq_nocase(parts.scheme, SLICE("https")))) {
        conf_error(loading->problems,
            "RELAY_BACKPLANE_URL: what is set cannot be used; allowed: scheme://host[:port][/path] "
            "with a scheme of: http, https; or a Redis");
    }
}

static void check_backplane_url(struct config_loading *loading)
{
    const struct relay_config *config = loading->config;
    const char *url = config->backplane_url;
    bool is_redis = slice_starts_with_nocase(slice_str(url), SLICE("redis"));
    if (config->redis_url != NULL) {
        check_redis_url(loading, "RELAY_REDIS_URL", config->redis_url);
    }
    if (config->redis_ca_cert_path != NULL) {
        require_file(loading, "RELAY_REDIS_CA_CERT_PATH", config->redis_ca_cert_path);
    }
    if (url == NULL) {
        return;
    }
    if (is_redis) {
        check_redis_url(loading, "RELAY_BACKPLANE_URL", url);
    } else {
        check_platform_url(loading, url);
    }
    if (config->backplane_mode == BACKPLANE_SINGLE) {
        conf_warning(loading->problems,
            "RELAY_BACKPLANE_URL: not used while RELAY_BACKPLANE_MODE is single");
    } else if (is_redis != (config->backplane_mode == BACKPLANE_REDIS)) {
        conf_error(loading->problems,
            "RELAY_BACKPLANE_URL: the scheme does not fit the mode; allowed: http or https in mode "
            "server, redis, rediss, redis+sentinel or redis+cluster in mode redis");
    } else if (is_redis && config->redis_url != NULL && strcmp(config->redis_url, url) != 0) {
        conf_warning(loading->problems,
            "RELAY_BACKPLANE_URL and RELAY_REDIS_URL are both set and differ; %s is used",
            config->compat == COMPAT_DOCS ? "RELAY_BACKPLANE_URL" : "RELAY_REDIS_URL");
    }
}

const char *relay_config_redis_url(const struct relay_config *config)
{
    bool documented = config->backplane_url != NULL &&
                      (config->compat == COMPAT_DOCS || config->redis_url == NULL);
    return documented ? config->backplane_url : config->redis_url;
}

static void check_bus_key(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    if (!config->bus_enabled || config->bus_hmac_key != NULL) {
        return;
    }
    if (loading->set[ROW_bus_enabled]) {
        conf_error(loading->problems,
            "RELAY_BUS_HMAC_KEY: not set; allowed: a secret while RELAY_BUS_ENABLED is 1");
    } else if (config->backplane_mode == BACKPLANE_SERVER) {
        config->bus_enabled = false;
        conf_warning(loading->problems,
            "RELAY_BUS_HMAC_KEY: not set, so nothing is forwarded between relays");
    } else {
        conf_warning(loading->problems,
            "RELAY_BUS_HMAC_KEY: not set, so frames between relays are NOT SIGNED: whoever can "
            "write to the Redis can inject frames");
    }
}

static void check_other_relays(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    if (!loading->set[ROW_presence_sync_enabled]) {
        config->presence_sync_enabled = true;
    }
    if (!loading->set[ROW_bus_enabled]) {
        config->bus_enabled = config->compat == COMPAT_DOCS;
    }
    if (!loading->set[ROW_client_redirect_enabled]) {
        config->client_redirect_enabled = config->compat == COMPAT_REFERENCE;
    }
    if (config->internal_key == NULL) {
        conf_error(loading->problems,
            "RELAY_INTERNAL_KEY: not set; allowed: the key the platform expects, in modes server "
            "and redis");
    }
    if (config->backplane_mode == BACKPLANE_REDIS && config->redis_url == NULL &&
        config->backplane_url == NULL) {
        conf_error(loading->problems,
            "RELAY_BACKPLANE_URL: not set; allowed in mode redis: redis://, rediss://, "
            "redis+sentinel:// or redis+cluster://");
    }
    check_bus_key(loading);
}

static void rule_backplane(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    check_backplane_url(loading);
    if (config->backplane_mode == BACKPLANE_SINGLE) {
        config->bus_enabled = false;
        config->presence_sync_enabled = false;
        config->client_redirect_enabled = false;
        return;
    }
    check_other_relays(loading);
}

// ---- Names, and defaults that follow from the mode

static void put_public_url(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    if (config->public_ws_base_url != NULL) {
        return;
    }
    config->public_url_derived = true;
    if (config->listen_port == 7781 &&
        slice_eq(slice_str(config->tls_host), SLICE("relay.getviewport.com"))) {
        put(loading, &config->public_ws_base_url, "wss://relay.getviewport.com/ws");
    } else {
        put(loading, &config->public_ws_base_url, "%s://%s:%llu/ws",
            config->tls_enabled ? "wss" : "ws", config->tls_host,
            (unsigned long long)config->listen_port);
    }
}

enum weir_result relay_config_use_port(struct relay_config *config, uint16_t port)
{
    struct config_loading loading = {.config = config};
    config->listen_port = port;
    if (config->relay_id_derived) {
        const char *random = strrchr(config->relay_id, ':') + 1;
        put(&loading, &config->relay_id, "%s:%u:%s", config->listen_host, port, random);
    }
    if (config->public_url_derived) {
        put(&loading, &config->public_ws_base_url, "%s://%s:%u/ws",
            config->tls_enabled ? "wss" : "ws", config->tls_host, port);
    }
    return loading.out_of_memory ? WEIR_MEMORY : WEIR_OK;
}

static void derive_defaults(struct config_loading *loading)
{
    struct relay_config *config = loading->config;
    const uint8_t *random = loading->random;
    bool dev = config->security_mode == SECURITY_MODE_DEV;
    put_public_url(loading);
    if (config->relay_id == NULL) {
        config->relay_id_derived = true;
        put(loading, &config->relay_id, "%s:%llu:%02x%02x%02x%02x%02x%02x", config->listen_host,
            (unsigned long long)config->listen_port, random[0], random[1], random[2], random[3],
            random[4], random[5]);
    }
    if (slice_str(config->relay_id).len > RELAY_ID_LEN_MAX) {
        conf_error(loading->problems, "RELAY_ID: \"%s\" is too long; allowed: %d bytes at most",
            config->relay_id, RELAY_ID_LEN_MAX);
    }
    if (!loading->set[ROW_state_include_client_ids]) {
        config->state_include_client_ids = dev;
    }
    if (!loading->set[ROW_health_verbose] && config->compat == COMPAT_REFERENCE) {
        config->health_verbose = dev;
    }
    if (!loading->set[ROW_max_logs] && config->compat == COMPAT_REFERENCE) {
        config->max_logs = 400;
    }
}

// ---- 7: Exposure

static void rule_exposure(struct config_loading *loading)
{
    const struct relay_config *config = loading->config;
    const struct {
        const char *name;
        const char *url;
    } urls[] = {
        {"SERVER_URL", loading->own_platform ? NULL : config->server_url},
        {"RELAY_VALIDATE_URL", loading->own_platform ? NULL : config->validate_url},
        {loading->set[ROW_public_ws_base_url] ? "RELAY_PUBLIC_WS_BASE_URL" : "RELAY_TLS_HOST",
            config->public_ws_base_url},
    };
    if (is_loopback(slice_str(config->listen_host))) {
        return;
    }
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        if (is_localish(urls[i].url)) {
            conf_error(loading->problems,
                "%s: \"%s\" is local while RELAY_LISTEN_HOST \"%s\" is not; allowed: an address "
                "that others reach, or RELAY_LISTEN_HOST=127.0.0.1",
                urls[i].name, urls[i].url, config->listen_host);
        }
    }
}

// ---- 8: prod

static bool is_placeholder(const char *key)
{
    struct slice text = slice_str(key);
    return text.len < INTERNAL_KEY_LEN_MIN || slice_contains_nocase(text, SLICE("change-me")) ||
           slice_contains_nocase(text, SLICE("placeholder")) ||
           slice_contains_nocase(text, SLICE("example"));
}

static void check_platform_trust(struct config_loading *loading)
{
    const struct relay_config *config = loading->config;
    if (config->server_auth_mode == SERVER_AUTH_SHARED_SECRET) {
        if (is_localish(config->platform_origin)) {
            conf_error(loading->problems,
                "SERVER_URL: \"%s\" is local in mode prod; allowed: the platform's address in the "
                "private network",
                config->platform_origin);
        }
        return;
    }
    if (!config->server_mtls) {
        conf_error(loading->problems,
            "RELAY_SERVER_MTLS: off in mode prod; allowed: a client certificate, or "
            "RELAY_SERVER_AUTH_MODE=private_network_shared_secret");
    }
    if (config->server_tls_verify_choice != SWITCH_ON) {
        conf_error(loading->problems,
            "RELAY_SERVER_TLS_VERIFY: not 1 in mode prod; allowed: 1 while RELAY_SERVER_AUTH_MODE "
            "is mtls");
    }
}

// A prod that was not asked for refuses nothing (section 2.4).
static void rule_prod(struct config_loading *loading)
{
    const struct relay_config *config = loading->config;
    bool asked = config->relay_mode == MODE_PROD || config->compat == COMPAT_REFERENCE;
    if (config->security_mode != SECURITY_MODE_PROD || !asked) {
        return;
    }
    if (!config->tls_enabled && config->tls_termination == TLS_TERMINATION_SELF) {
        conf_error(loading->problems, "RELAY_TLS: off in mode prod; allowed: a certificate, or "
                                      "RELAY_TLS_TERMINATION=platform behind a TLS terminator");
    }
    if (is_placeholder(config->internal_key)) {
        conf_error(loading->problems,
            "RELAY_INTERNAL_KEY: missing, short or a placeholder in mode prod; allowed: at least "
            "%d characters, without change-me, placeholder or example",
            INTERNAL_KEY_LEN_MIN);
    }
    check_platform_trust(loading);
}

void config_rules_apply(struct config_loading *loading)
{
    rule_tls(loading);
    rule_listen_host(loading);
    rule_security_mode(loading);
    rule_client_certificate(loading);
    rule_backplane_mode(loading);
    rule_platform(loading);
    derive_defaults(loading);
    rule_backplane(loading);
    rule_exposure(loading);
    rule_prod(loading);
}
