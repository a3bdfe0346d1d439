// SPDX-License-Identifier: Apache-2.0
#include "app/parts/health_neighbours.h"

#include <stdio.h>
#include <string.h>

#include "conf/url.h"
#include "engine/control/token.h"
#include "sys/clock.h"
#include "sys/file.h"

// ---- Options

static bool read_url(const char *option, const char *text, char *url, size_t size)
{
    struct conf_url parts;
    struct slice trimmed = slice_str(text);
    while (slice_ends_with(trimmed, SLICE("/"))) {
        trimmed.len--;
    }
    if (conf_url_parse(trimmed, &parts) == WEIR_OK && !parts.has_userinfo &&
        (slice_eq(parts.scheme, SLICE("http")) || slice_eq(parts.scheme, SLICE("https"))) &&
        slice_to_text(trimmed, url, size)) {
        return true;
    }
    fprintf(stderr,
        "weir health: %s \"%s\" is not usable; allowed: http://HOST[:PORT], https://HOST[:PORT]\n",
        option, text);
    return false;
}

static bool read_token(const char *option, const char *path, char *token)
{
    struct buf text = BUF_INIT(NEIGHBOUR_TOKEN_SIZE - 1);
    if (path == NULL) {
        return true;
    }
    enum weir_result result = sys_file_read_plain(path, NEIGHBOUR_TOKEN_SIZE - 1, &text);
    struct slice trimmed = slice_trim(buf_slice(&text));
    bool usable = result == WEIR_OK && trimmed.len > 0 && slice_find(trimmed, '\n') < 0 &&
                  slice_find(trimmed, '\r') < 0 &&
                  slice_to_text(trimmed, token, NEIGHBOUR_TOKEN_SIZE);
    buf_reset(&text);
    if (!usable) {
        fprintf(stderr, "weir health: %s %s: %s\n", option, path,
            result == WEIR_OK ? "holds no token on one line" : weir_result_text(result));
    }
    return usable;
}

static bool read_place(struct neighbour_place *place, const char *const names[2], const char *url,
    const char *token_file, const char *ca_file)
{
    place->tls = (struct http_tls_profile){.verify = true, .ca_path = ca_file};
    if (url == NULL) {
        if (token_file == NULL && ca_file == NULL) {
            return true;
        }
        fprintf(stderr, "weir health: what goes with %s wants it, too\n", names[0]);
        return false;
    }
    return read_url(names[0], url, place->url, sizeof place->url) &&
           read_token(names[1], token_file, place->token);
}

bool health_neighbours_read(
    const struct health_neighbour_options *options, struct neighbour_place *places)
{
    static const char *const relay[] = {"--relay", "--relay-token-file"};
    static const char *const engine[] = {"--engine", "--engine-token-file"};
    struct neighbour_place *engine_place = &places[NEIGHBOUR_ENGINE];
    return read_place(&places[NEIGHBOUR_RELAY], relay, options->relay, options->relay_token_file,
               options->relay_ca_file) &&
           read_place(engine_place, engine, options->engine, options->engine_token_file,
               options->engine_ca_file) &&
           (options->engine_metrics == NULL ||
               read_url("--engine-metrics", options->engine_metrics, engine_place->metrics_url,
                   sizeof engine_place->metrics_url));
}

// ---- Parts of this process: a listener of our own needs no certificate to be known by

static void write_own(const struct sys_address *address, char *text, size_t size)
{
    char host[IP_TEXT_SIZE];
    ip_to_text(&address->ip, host);
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool v6 = strchr(host, ':') != NULL && !any;
    snprintf(text, size, "%s%s%s:%u", v6 ? "[" : "", any ? "127.0.0.1" : host, v6 ? "]" : "",
        address->port);
}

void health_neighbours_relay(
    struct neighbour_place *place, const struct relay *relay, const char *admin_token)
{
    char own[64];
    write_own(&relay->address, own, sizeof own);
    *place = (struct neighbour_place){.tls = {.verify = false}};
    snprintf(
        place->url, sizeof place->url, "%s://%s", relay->config->tls_enabled ? "https" : "http", own);
    snprintf(place->token, sizeof place->token, "%s", admin_token == NULL ? "" : admin_token);
}

void health_neighbours_engine(struct neighbour_place *place, const struct engine *engine,
    const struct engine_config *config)
{
    const struct token_request request = {
        .subject = SLICE("weir dashboard"), .permissions = SLICE("tunnels.resources.read-only")};
    struct buf token = BUF_INIT(NEIGHBOUR_TOKEN_SIZE - 1);
    char own[64];
    *place = (struct neighbour_place){.tls = {.verify = false}};
    if (token_mint(&request, slice_str(config->jwt_secret), sys_wall_ms(), &token) == WEIR_OK &&
        slice_to_text(buf_slice(&token), place->token, sizeof place->token)) {
        write_own(&engine->address, place->connect_to, sizeof place->connect_to);
        snprintf(place->url, sizeof place->url, "https://%s:%u", config->host,
            engine->address.port);
        if (config->metrics_enabled) {
            write_own(&engine->metrics_listen.address, own, sizeof own);
            snprintf(place->metrics_url, sizeof place->metrics_url, "http://%s%s", own,
                config->metrics_path);
        }
    }
    buf_reset(&token);
}
