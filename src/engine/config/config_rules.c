// SPDX-License-Identifier: Apache-2.0
// The rules over the keys: spec section 2.3 and our own. Every rule runs, whatever the ones before
// have found; what is missing was reported by the table already.
#include <stdarg.h>
#include <stdio.h>

#include "base/hostname.h"
#include "base/mem.h"
#include "conf/yaml.h"
#include "engine/config/config_internal.h"
#include "sys/file.h"

#define SECRET_LEN_GOOD 32 // bytes of an HS256 key (RFC 7518 section 3.2)

static void complain(struct config_loading *loading, enum engine_config_row row, const char *format,
    ...) WEIR_PRINTF(3, 4);
static void warn(struct config_loading *loading, enum engine_config_row row, const char *format,
    ...) WEIR_PRINTF(3, 4);

static void write_message(char *line, size_t size, const struct config_loading *loading,
    enum engine_config_row row, const char *format, va_list args) WEIR_PRINTF(5, 0);

static void write_message(char *line, size_t size, const struct config_loading *loading,
    enum engine_config_row row, const char *format, va_list args)
{
    char label[CONF_LABEL_SIZE];
    conf_label(loading->file, &engine_config_table[row], label);
    int len = snprintf(line, size, "%s: ", label);
    vsnprintf(line + len, size - (size_t)len, format, args);
}

static void complain(
    struct config_loading *loading, enum engine_config_row row, const char *format, ...)
{
    char line[2 * CONF_LABEL_SIZE];
    va_list args;
    va_start(args, format);
    write_message(line, sizeof line, loading, row, format, args);
    va_end(args);
    conf_error(loading->problems, "%s", line);
}

static void warn(
    struct config_loading *loading, enum engine_config_row row, const char *format, ...)
{
    char line[2 * CONF_LABEL_SIZE];
    va_list args;
    va_start(args, format);
    write_message(line, sizeof line, loading, row, format, args);
    va_end(args);
    conf_warning(loading->problems, "%s", line);
}

static void replace(struct config_loading *loading, char **field, const char *text)
{
    char *copy = mem_copy(text, strlen(text));
    if (copy == NULL) {
        loading->out_of_memory = true;
        return;
    }
    mem_free(*field);
    *field = copy;
}

// ---- One key

static void rule_host(struct config_loading *loading)
{
    char name[HOSTNAME_SIZE];
    size_t len;
    const char *host = loading->config->host;
    if (host == NULL) {
        return;
    }
    if (hostname_normalize(slice_str(host), name, &len) != WEIR_OK ||
        slice_find(slice_of(name, len), '_') >= 0) {
        complain(loading, ROW_host,
            "\"%.120s\" is not usable; allowed: a host name like edge.example.com, without scheme, "
            "port and path, and no address",
            host);
        // Nothing more is said about what it is not.
        mem_free(loading->config->host);
        loading->config->host = NULL;
        return;
    }
    replace(loading, &loading->config->host, name);
}

static void rule_must_be_true(
    struct config_loading *loading, enum engine_config_row row, bool value)
{
    if (loading->set[row] && !value) {
        complain(loading, row, "must be true; there is no engine without it");
    }
}

static void rule_secret(struct config_loading *loading)
{
    const char *secret = loading->config->jwt_secret;
    if (secret == NULL) {
        return;
    }
    if (strlen(secret) < SECRET_LEN_GOOD) {
        warn(loading, ROW_jwt_secret,
            "the secret has %zu bytes; whoever finds it out mints tokens, so use %d or more, as "
            "from: openssl rand -hex 32",
            strlen(secret), SECRET_LEN_GOOD);
    }
    bool in_file = !yml_is_null(
        yml_find(loading->file->root, slice_str(engine_config_table[ROW_jwt_secret].name)));
    if (in_file && sys_file_is_public(loading->file->document->file)) {
        warn(loading, ROW_jwt_secret,
            "every user of this machine can read the file; chmod 0640 it, or set %sAUTH__JWT__"
            "TOKEN_JWT_SECRET",
            ENGINE_VARIABLE_PREFIX);
    }
}

static void rule_metrics_path(struct config_loading *loading)
{
    char path[CONF_TEXT_LEN_MAX + 2];
    const char *given = loading->config->metrics_path;
    if (given == NULL) {
        given = "";
    }
    snprintf(path, sizeof path, "%s%s", given[0] == '/' ? "" : "/", given);
    if (strpbrk(path, " ?#%") != NULL) {
        complain(loading, ROW_metrics_path,
            "\"%.120s\" is not usable; allowed: a path without blanks, '?', '#' and '%%'", given);
    }
    replace(loading, &loading->config->metrics_path, path);
}

static void rule_file(struct config_loading *loading, enum engine_config_row row, const char *path)
{
    if (path != NULL && !sys_file_exists(path)) {
        complain(loading, row, "\"%.240s\" does not exist", path);
    }
}

// ---- Several keys

static void rule_metrics(struct config_loading *loading)
{
    const struct engine_config *config = loading->config;
    if (!config->metrics_enabled) {
        return;
    }
    if (config->metrics_listen.host == NULL) {
        // One that was given has been refused already.
        if (!loading->set[ROW_metrics_listen]) {
            complain(loading, ROW_metrics_listen,
                "is required while metrics.prometheus.enabled is true, like 127.0.0.1:9090");
        }
    } else if (!conf_listen_is_loopback(&config->metrics_listen) && config->metrics_token == NULL) {
        complain(loading, ROW_metrics_token,
            "is required while metrics.prometheus.listen_addr is not loopback: whoever reaches it "
            "reads the metrics");
    }
}

static bool same_address(const struct conf_listen *a, const struct conf_listen *b)
{
    return a->host != NULL && b->host != NULL && a->port == b->port &&
           (a->host[0] == '\0' || b->host[0] == '\0' || strcmp(a->host, b->host) == 0);
}

static void rule_listeners(struct config_loading *loading)
{
    const struct engine_config *config = loading->config;
    if (config->http_enabled && same_address(&config->http_listen, &config->tls_listen)) {
        complain(loading, ROW_http_listen, "is the address of tls.listen_addr");
    }
    if (config->metrics_enabled &&
        (same_address(&config->metrics_listen, &config->tls_listen) ||
            (config->http_enabled &&
                same_address(&config->metrics_listen, &config->http_listen)))) {
        complain(loading, ROW_metrics_listen,
            "is the address of another listener; metrics have one of their own");
    }
    if (config->acme_challenge_dir != NULL && !config->http_enabled) {
        warn(loading, ROW_acme_challenge_dir, "does nothing while http.enabled is false");
    }
}

static void rule_proxy_protocol(struct config_loading *loading)
{
    const struct engine_config *config = loading->config;
    if (config->proxy_protocol && config->proxy_networks.count == 0) {
        complain(loading, ROW_proxy_networks,
            "is required while tls.proxy_protocol is true: whoever may send the header may claim "
            "any address");
    }
    if (!config->proxy_protocol && config->proxy_networks.count > 0) {
        warn(loading, ROW_proxy_networks, "does nothing while tls.proxy_protocol is false");
    }
}

static void rule_certificate(struct config_loading *loading)
{
    const struct engine_config *config = loading->config;
    char cert_label[CONF_LABEL_SIZE];
    char key_label[CONF_LABEL_SIZE];
    if (config->cert_file == NULL || config->key_file == NULL) {
        return;
    }
    conf_label(loading->file, &engine_config_table[ROW_cert_file], cert_label);
    conf_label(loading->file, &engine_config_table[ROW_key_file], key_label);
    engine_config_certs_check(config->cert_file, cert_label, config->key_file, key_label,
        config, loading->problems);
}

static void rule_extensions(struct config_loading *loading)
{
    static const enum engine_config_row rows[] = {
        ROW_extension_trusted_ips, ROW_extension_token_auth, ROW_extension_tcp_ports};
    struct engine_config *config = loading->config;
    if (config->extensions_enabled) {
        return;
    }
    bool on[] = {config->extension_trusted_ips, config->extension_token_auth,
        config->extension_tcp_ports.first > 0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (on[i]) {
            warn(loading, rows[i], "does nothing while extensions.enabled is false");
        }
    }
    if (config->cert_count > 0) {
        const struct yml_node *certs = yml_find(loading->file->root, SLICE("extensions.certs"));
        yml_warning(loading->file->document, certs, loading->problems,
            "does nothing while extensions.enabled is false");
    }
    config->extension_trusted_ips = false;
    config->extension_token_auth = false;
    config->extension_tcp_ports = (struct conf_ports){0};
}

void engine_config_rules_apply(struct config_loading *loading)
{
    const struct engine_config *config = loading->config;
    rule_host(loading);
    rule_must_be_true(loading, ROW_tls_enabled, config->tls_enabled);
    rule_must_be_true(loading, ROW_certs_enabled, config->certs_enabled);
    rule_must_be_true(loading, ROW_jwt_enabled, config->jwt_enabled);
    rule_secret(loading);
    rule_metrics(loading);
    rule_metrics_path(loading);
    rule_file(loading, ROW_page_not_found, config->page_not_found);
    rule_file(loading, ROW_page_unavailable, config->page_unavailable);
    rule_file(loading, ROW_acme_challenge_dir, config->acme_challenge_dir);
    rule_listeners(loading);
    rule_proxy_protocol(loading);
    rule_extensions(loading);
    rule_certificate(loading);
}
