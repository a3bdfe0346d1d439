// SPDX-License-Identifier: Apache-2.0
// The rules that tie variables together: spec section 2.3, in its order, with the decisions of 2.4.
#include "relay/config.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

static const struct conf_row rows[] = {
#define KEY(field, type, name, other, fallback, min, max, choices, group, meaning)                 \
    {name, other, fallback, choices, group, meaning, offsetof(struct relay_config, field), min,    \
        max, CONF_##type},
#include "relay/config.def"
#undef KEY
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

enum row_index {
#define KEY(field, ...) ROW_##field,
#include "relay/config.def"
#undef KEY
};

struct loading {
    struct relay_config *config;
    const struct conf_source *source;
    struct conf_problems *problems;
    bool set[ROW_COUNT];
    bool out_of_memory;
};

static void put(struct loading *loading, char **field, const char *format, ...)
    WEIR_PRINTF(3, 4);

static void put(struct loading *loading, char **field, const char *format, ...)
{
    char text[4096];
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

// ---- URLs and hosts

// The host of a URL, in lower or upper case as written, without port; brackets kept.
static struct slice host_of(const char *url)
{
    struct slice rest = slice_str(url);
    const char *scheme_end = url == NULL ? NULL : strstr(url, "://");
    if (scheme_end == NULL) {
        return SLICE_EMPTY;
    }
    rest = slice_skip(rest, (size_t)(scheme_end - url) + 3);
    size_t len = strcspn(rest.at, "/?#");
    rest.len = len;
    ptrdiff_t at = slice_find(rest, '@');
    rest = slice_skip(rest, at < 0 ? 0 : (size_t)at + 1);
    if (rest.len > 0 && rest.at[0] == '[') {
        ptrdiff_t end = slice_find(rest, ']');
        return end < 0 ? rest : slice_of(rest.at, (size_t)end + 1);
    }
    ptrdiff_t colon = slice_find(rest, ':');
    return colon < 0 ? rest : slice_of(rest.at, (size_t)colon);
}

static bool is_loopback(struct slice host)
{
    return slice_eq_nocase(host, SLICE("localhost")) || slice_eq(host, SLICE("127.0.0.1")) ||
           slice_eq(host, SLICE("::1")) || slice_eq(host, SLICE("[::1]"));
}

static bool is_localish(struct slice host)
{
    struct slice tail = slice_skip(host, host.len < 5 ? 0 : host.len - 5);
    return is_loopback(host) || slice_eq_nocase(tail, SLICE(".test"));
}

static void put_origin(struct loading *loading, char **field, const char *url)
{
    const char *authority = strstr(url, "://") + 3;
    size_t len = (size_t)(authority - url) + strcspn(authority, "/?#");
    put(loading, field, "%.*s", (int)len, url);
}

// ---- Rules, in the order of section 2.3

static void rule_tls(struct loading *loading)
{
    struct relay_config *config = loading->config;
    const struct conf_source *source = loading->source;
    if (config->tls_cert_path == NULL) {
        put(loading, &config->tls_cert_path, "%s/%s.crt", config->tls_cert_dir, config->tls_host);
    }
    if (config->tls_key_path == NULL) {
        put(loading, &config->tls_key_path, "%s/%s.key", config->tls_cert_dir, config->tls_host);
    }
    if (loading->out_of_memory) {
        return;
    }
    bool cert = source->file_exists(source->arg, config->tls_cert_path);
    bool key = source->file_exists(source->arg, config->tls_key_path);
    config->tls_enabled = config->tls == SWITCH_ON || (config->tls == SWITCH_AUTO && cert && key);
    if (config->tls == SWITCH_ON && !cert) {
        conf_error(loading->problems,
            "RELAY_TLS_CERT_PATH: \"%s\" does not exist; allowed: a PEM certificate chain while "
            "RELAY_TLS is 1",
            config->tls_cert_path);
    }
    if (config->tls == SWITCH_ON && !key) {
        conf_error(loading->problems,
            "RELAY_TLS_KEY_PATH: \"%s\" does not exist; allowed: a PEM private key while RELAY_TLS "
            "is 1",
            config->tls_key_path);
    }
}

static void rule_security_mode(struct loading *loading)
{
    struct relay_config *config = loading->config;
    struct slice host = slice_str(config->listen_host);
    bool no_platform = config->server_url == NULL && config->validate_url == NULL &&
                       config->public_ws_base_url == NULL;
    bool local = no_platform || is_loopback(host) || is_localish(host_of(config->server_url)) ||
                 is_localish(host_of(config->validate_url)) ||
                 is_localish(host_of(config->public_ws_base_url));
    if (config->relay_mode == MODE_AUTO) {
        config->security_mode = local ? SECURITY_MODE_DEV : SECURITY_MODE_PROD;
    } else {
        config->security_mode = (enum security_mode)(config->relay_mode - MODE_DEV);
    }
}

static void require_file(struct loading *loading, const char *name, const char *path)
{
    if (path == NULL) {
        conf_error(loading->problems,
            "%s: not set; allowed: a PEM file while a client certificate is shown to the platform",
            name);
    } else if (!loading->source->file_exists(loading->source->arg, path)) {
        conf_error(
            loading->problems, "%s: \"%s\" does not exist; allowed: a PEM file", name, path);
    }
}

static void rule_client_certificate(struct loading *loading)
{
    struct relay_config *config = loading->config;
    if (!loading->set[ROW_server_mtls]) {
        config->server_mtls =
            config->server_client_cert_path != NULL && config->server_client_key_path != NULL;
    }
    if (config->server_mtls) {
        require_file(loading, "RELAY_SERVER_CLIENT_CERT_PATH", config->server_client_cert_path);
        require_file(loading, "RELAY_SERVER_CLIENT_KEY_PATH", config->server_client_key_path);
    }
    if (config->server_ca_cert_path != NULL) {
        require_file(loading, "RELAY_SERVER_CA_CERT_PATH", config->server_ca_cert_path);
    }
}

static void rule_platform(struct loading *loading)
{
    struct relay_config *config = loading->config;
    if (config->server_url != NULL) {
        put_origin(loading, &config->platform_origin, config->server_url);
    } else if (config->validate_url != NULL) {
        put_origin(loading, &config->platform_origin, config->validate_url);
    } else {
        put(loading, &config->platform_origin, "https://api.getviewport.com");
    }
    if (loading->out_of_memory) {
        return;
    }
    if (config->validate_url != NULL) {
        put(loading, &config->admission_url, "%s", config->validate_url);
    } else {
        put(loading, &config->admission_url, "%s/api/runtime/internal/relay/validate",
            config->platform_origin);
    }
    struct slice host = host_of(config->platform_origin);
    struct slice tail = slice_skip(host, host.len < 5 ? 0 : host.len - 5);
    bool exempt = slice_eq_nocase(host, SLICE("localhost")) || slice_eq_nocase(tail, SLICE(".test"));
    config->server_tls_verify = config->server_tls_verify_choice == SWITCH_ON ||
                                (config->server_tls_verify_choice == SWITCH_AUTO && !exempt);
}

static void rule_backplane(struct loading *loading)
{
    struct relay_config *config = loading->config;
    static const char *const names[] = {"auto", "single", "server", "redis"};
    bool inferred = config->backplane_mode == BACKPLANE_AUTO;
    if (inferred) {
        bool server = config->bus_enabled || config->presence_sync_enabled;
        config->backplane_mode = server ? BACKPLANE_SERVER : BACKPLANE_SINGLE;
        if (!server && config->internal_key != NULL) {
            conf_warning(loading->problems,
                "RELAY_BACKPLANE_MODE: not set while RELAY_INTERNAL_KEY is; other relays would "
                "infer server, this version runs single; set RELAY_BACKPLANE_MODE=single to say "
                "so");
        }
    }
    if (config->backplane_mode != BACKPLANE_SINGLE) {
        conf_error(loading->problems,
            "RELAY_BACKPLANE_MODE: \"%s\"%s is not available in this version; allowed: single",
            names[config->backplane_mode],
            inferred ? " (inferred from RELAY_BUS_ENABLED or RELAY_PRESENCE_SYNC_ENABLED)" : "");
    }
    config->bus_enabled = config->presence_sync_enabled = config->client_redirect_enabled = false;
}

static void rule_exposure(struct loading *loading)
{
    struct relay_config *config = loading->config;
    const struct {
        const char *name;
        const char *url;
    } urls[] = {{"SERVER_URL", config->server_url},
        {"RELAY_PUBLIC_WS_BASE_URL", config->public_ws_base_url}};
    for (size_t i = 0; i < 2; i++) {
        if (urls[i].url != NULL && is_localish(host_of(urls[i].url)) &&
            !is_loopback(slice_str(config->listen_host))) {
            conf_error(loading->problems,
                "%s: \"%s\" is a local address while RELAY_LISTEN_HOST \"%s\" is not; allowed: a "
                "public host, or listening on 127.0.0.1",
                urls[i].name, urls[i].url, config->listen_host);
        }
    }
}

static bool is_placeholder(const char *key)
{
    struct slice text = slice_str(key);
    return text.len < 24 || slice_contains_nocase(text, SLICE("change-me")) ||
           slice_contains_nocase(text, SLICE("placeholder")) ||
           slice_contains_nocase(text, SLICE("example"));
}

// Only an explicit prod keeps every check (section 2.4).
static void rule_prod(struct loading *loading)
{
    struct relay_config *config = loading->config;
    if (config->relay_mode != MODE_PROD) {
        return;
    }
    if (!config->tls_enabled && config->tls_termination == 0) {
        conf_error(loading->problems,
            "RELAY_TLS: off in mode prod; allowed: a certificate, or "
            "RELAY_TLS_TERMINATION=platform behind a TLS terminator");
    }
    if (config->internal_key == NULL || is_placeholder(config->internal_key)) {
        conf_error(loading->problems,
            "RELAY_INTERNAL_KEY: missing, short or a placeholder in mode prod; allowed: at least "
            "24 characters, without change-me, placeholder or example");
    }
    if (config->server_auth_mode == 0) {
        if (!config->server_mtls) {
            conf_error(loading->problems,
                "RELAY_SERVER_MTLS: off in mode prod; allowed: a client certificate, or "
                "RELAY_SERVER_AUTH_MODE=private_network_shared_secret");
        }
        if (config->server_tls_verify_choice != SWITCH_ON) {
            conf_error(loading->problems,
                "RELAY_SERVER_TLS_VERIFY: not 1 in mode prod; allowed: 1 while "
                "RELAY_SERVER_AUTH_MODE is mtls");
        }
    } else if (is_localish(host_of(config->platform_origin))) {
        conf_error(loading->problems,
            "SERVER_URL: \"%s\" is local in mode prod; allowed: the platform's address in the "
            "private network",
            config->platform_origin);
    }
}

// ---- Everything else that follows

static void derive_names(struct loading *loading, const uint8_t random[6])
{
    struct relay_config *config = loading->config;
    if (config->relay_id == NULL) {
        put(loading, &config->relay_id, "%s:%llu:%02x%02x%02x%02x%02x%02x", config->listen_host,
            (unsigned long long)config->listen_port, random[0], random[1], random[2], random[3],
            random[4], random[5]);
    }
    if (config->public_ws_base_url == NULL) {
        bool documented = config->listen_port == 7781 &&
                          strcmp(config->tls_host, "relay.getviewport.com") == 0;
        if (documented) {
            put(loading, &config->public_ws_base_url, "wss://relay.getviewport.com/ws");
        } else {
            put(loading, &config->public_ws_base_url, "%s://%s:%llu/ws",
                config->tls_enabled ? "wss" : "ws", config->tls_host,
                (unsigned long long)config->listen_port);
        }
    }
    if (!loading->set[ROW_state_include_client_ids]) {
        config->state_include_client_ids = config->security_mode == SECURITY_MODE_DEV;
    }
    if (!loading->set[ROW_health_verbose] && config->compat == COMPAT_REFERENCE) {
        config->health_verbose = config->security_mode == SECURITY_MODE_DEV;
    }
    if (!loading->set[ROW_max_logs] && config->compat == COMPAT_REFERENCE) {
        config->max_logs = 400;
    }
}

static void digest_admin_token(struct relay_config *config)
{
    if (config->admin_token == NULL) {
        return;
    }
    size_t len = strlen(config->admin_token);
    SHA256((const unsigned char *)config->admin_token, len, config->admin_token_sha256);
    OPENSSL_cleanse(config->admin_token, len);
    mem_free(config->admin_token);
    config->admin_token = NULL;
    config->has_admin_token = true;
}

enum weir_result relay_config_load(const struct conf_source *source, const uint8_t random[6],
    struct relay_config *ret_config, struct conf_problems *problems)
{
    struct loading loading = {.config = ret_config, .source = source, .problems = problems};
    *ret_config = (struct relay_config){0};
    enum weir_result result =
        conf_read(rows, ROW_COUNT, source, ret_config, loading.set, problems);
    if (result != WEIR_OK) {
        return result;
    }
    rule_tls(&loading);
    rule_security_mode(&loading);
    rule_client_certificate(&loading);
    if (!loading.out_of_memory) {
        rule_platform(&loading);
    }
    rule_backplane(&loading);
    rule_exposure(&loading);
    if (!loading.out_of_memory) {
        rule_prod(&loading);
        derive_names(&loading, random);
    }
    digest_admin_token(ret_config);
    return loading.out_of_memory ? WEIR_MEMORY : WEIR_OK;
}

void relay_config_free(struct relay_config *config)
{
    conf_release(rows, ROW_COUNT, config);
    mem_free(config->platform_origin);
    mem_free(config->admission_url);
    *config = (struct relay_config){0};
}

void relay_config_manual(struct buf *out)
{
    buf_append_str(out,
        "# Configuration of the relay\n\n"
        "Environment variables, read once at the start; files they name are read again when they "
        "change.\nAn empty variable counts as not set. Where two names are given, the first wins; "
        "when both are set and\ndiffer, the start logs a warning. Every mistake is reported at "
        "once, and the start ends with code 1.\n\nThis page is the output of `weir config "
        "reference relay`.\n");
    conf_manual(rows, ROW_COUNT, out);
}

const char *security_mode_name(enum security_mode mode)
{
    static const char *const names[] = {"dev", "staging", "prod"};
    return names[mode];
}
