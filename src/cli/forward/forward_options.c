// SPDX-License-Identifier: Apache-2.0
#include "cli/forward/forward_options.h"

#include <string.h>

#include "base/number.h"
#include "cli/inspect/inspector.h"

#define GROUP_SERVICE "the published service"
#define GROUP_ACCESS "who may use it (where the engine offers it)"

const struct option_row forward_options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_NAME] = {"--name", "NAME", "what the tunnel is called", .group = GROUP_SERVICE},
    [OPTION_HOST] = {"--host", "LABEL", "its host name: a label, or all of it",
        .group = GROUP_SERVICE},
    [OPTION_LABEL] = {"--label", "KEY=VALUE", "shown with the tunnel", .group = GROUP_SERVICE,
        .flags = OPTION_REPEATABLE},
    [OPTION_PUBLISH] = {"--publish", NULL, "for everybody (default), or only for weir dial",
        .group = GROUP_SERVICE, .flags = OPTION_NEGATABLE},
    [OPTION_HTTP] = {"--http", NULL, "an HTTP service (default)", .group = GROUP_SERVICE},
    [OPTION_TLS] = {"--tls", NULL, "any service, with TLS to visitors", .group = GROUP_SERVICE},
    [OPTION_TCP] = {"--tcp", NULL, "any service, on a TCP port", .group = GROUP_SERVICE},
    [OPTION_DTLS] = {"--dtls", NULL, "not offered by this kind of engine", .group = GROUP_SERVICE},
    [OPTION_QUIC] = {"--quic", NULL, "not offered by this kind of engine", .group = GROUP_SERVICE},
    [OPTION_BYTESTREAM] = {"--bytestream", NULL, "streams of bytes (default)",
        .group = GROUP_SERVICE},
    [OPTION_DATAGRAM] = {"--datagram", NULL, "not offered by this kind of engine",
        .group = GROUP_SERVICE},
    [OPTION_TCP_PORT] = {"--tcp-port", "PORT", "the public port of --tcp", .group = GROUP_SERVICE},
    [OPTION_HTTP_VERSION] = {"--http-version", "VERSION", "of the service: http/1.1 or h2c",
        .group = GROUP_SERVICE},
    [OPTION_UPSTREAM_TLS] = {"--upstream-tls", NULL, "the service speaks TLS",
        .group = GROUP_SERVICE, .flags = OPTION_NEGATABLE},
    [OPTION_TLS_MODE] = {"--tls-mode", "MODE", "of --tls: who has the certificate",
        .group = GROUP_SERVICE, .choices = "terminated|passthrough"},
    [OPTION_TLS_ALPN] = {"--tls-alpn", "PROTOCOL", "of --tls: that visitors may ask for",
        .group = GROUP_SERVICE, .flags = OPTION_REPEATABLE},
    [OPTION_TLS_MIN_VERSION] = {"--tls-min-version", "VERSION", "of visitors",
        .group = GROUP_SERVICE, .choices = "tls1.2|tls1.3"},
    [OPTION_TLS_CIPHERS] = {"--tls-ciphers", "NAME", "of visitors' TLS 1.2", .group = GROUP_SERVICE,
        .flags = OPTION_REPEATABLE},
    [OPTION_MTLS] = {"--mtls", NULL, "visitors show a certificate", .group = GROUP_ACCESS,
        .flags = OPTION_NEGATABLE},
    [OPTION_GEOIP] = {"--geoip", "COUNTRY", "visitors from there", .group = GROUP_ACCESS,
        .flags = OPTION_REPEATABLE},
    [OPTION_TRUSTED_IPS] = {"--trusted-ips", "ADDRESS[/BITS]", "visitors from there",
        .group = GROUP_ACCESS, .flags = OPTION_REPEATABLE},
    [OPTION_TOKEN_AUTH] = {"--token-auth", NULL, "visitors show a token", .group = GROUP_ACCESS,
        .flags = OPTION_NEGATABLE},
    [OPTION_RSTREAM_AUTH] = {"--rstream-auth", NULL, "visitors log in", .group = GROUP_ACCESS,
        .flags = OPTION_NEGATABLE},
    [OPTION_CHALLENGE_MODE] = {"--challenge-mode", NULL, "visitors pass a challenge",
        .group = GROUP_ACCESS, .flags = OPTION_NEGATABLE},
    [OPTION_DATAGRAM_DELIVERY] = {"--datagram-guaranteed-delivery", NULL, "of --datagram",
        .group = GROUP_SERVICE, .flags = OPTION_NEGATABLE},
    [OPTION_CROSS_REGION] = {"--allow-cross-region-routing", NULL, "of engines with regions",
        .group = GROUP_SERVICE, .flags = OPTION_NEGATABLE},
    [OPTION_RETRY] = {"--retry", NULL, "come back after a loss (default)",
        .flags = OPTION_NEGATABLE},
    [OPTION_RETRY_INTERVAL] = {"--retry-interval", "MS", "wait at most so long between attempts"},
    [OPTION_SPARES] = {"--spare-connections", "N",
        "kept ready for the next visitor, so that it waits for no handshake (2; 0: none)"},
    [OPTION_OUTPUT] = {"--output", "FORM",
        "how changes are told; xterm (a screen) on a terminal, text elsewhere", .alias = "-o",
        .choices = "xterm|text|json|none"},
    [OPTION_JSON] = {"--json", NULL, "the same as -o json"},
    INSPECT_OPTION_ROWS(OPTION_INSPECT, OPTION_INSPECT_SECRETS, OPTION_INSPECT_ANYWHERE),
    [OPTION_COUNT] = {NULL},
};

enum weir_tunnel_switch forward_switch(const char *value)
{
    return value == NULL ? WEIR_TUNNEL_UNSET : value[0] == '0' ? WEIR_TUNNEL_NO : WEIR_TUNNEL_YES;
}

static bool add(const char **list, size_t *count, const char *value)
{
    if (*count == FORWARD_ENTRIES_MAX) {
        return false;
    }
    list[(*count)++] = value;
    return true;
}

static bool add_label(struct forward_wishes *wishes, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t count = wishes->options.label_count;
    if (equals == NULL || equals == text || count == FORWARD_ENTRIES_MAX ||
        (size_t)(equals - text) >= sizeof wishes->keys[0]) {
        return false;
    }
    memcpy(wishes->keys[count], text, (size_t)(equals - text));
    wishes->labels[count] = (struct weir_tunnel_label){wishes->keys[count], equals + 1};
    wishes->options.label_count++;
    return true;
}

static bool read_repeats(const struct forward_line *line, struct forward_wishes *wishes)
{
    struct weir_tunnel_options *to = &wishes->options;
    for (size_t i = 0; i < line->repeats->count; i++) {
        const char *value = line->repeats->items[i].value;
        int option = line->repeats->items[i].option;
        bool ok = option == OPTION_LABEL      ? add_label(wishes, value)
                  : option == OPTION_TLS_ALPN ? add(wishes->alpns, &to->tls_alpn_count, value)
                  : option == OPTION_TLS_CIPHERS
                      ? add(wishes->ciphers, &to->tls_cipher_count, value)
                  : option == OPTION_GEOIP ? add(wishes->geoip, &to->geoip_count, value)
                                           : add(wishes->trusted_ips, &to->trusted_ip_count, value);
        if (!ok) {
            command_complain(line->command, "%s \"%s\" is not usable%s",
                forward_options[option].name, value,
                option == OPTION_LABEL ? "; allowed: KEY=VALUE, 64 of them"
                                       : ": there are too many");
            return false;
        }
    }
    to->labels = wishes->labels;
    to->tls_alpns = wishes->alpns;
    to->tls_ciphers = wishes->ciphers;
    to->geoip = wishes->geoip;
    to->trusted_ips = wishes->trusted_ips;
    return true;
}

bool forward_read_number(
    const struct forward_line *line, int option, uint64_t max, uint32_t *ret_number)
{
    uint64_t number = 0;
    const char *text = line->values[option];
    if (text != NULL &&
        (number_parse_u64(slice_str(text), max, &number) != WEIR_OK || number == 0)) {
        command_complain(line->command, "%s \"%s\" is not usable; allowed: 1 to %llu",
            forward_options[option].name, text, (unsigned long long)max);
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

bool forward_read_spares(const struct forward_line *line, int32_t *ret_count)
{
    const char *text = line->values[OPTION_SPARES];
    uint64_t number = 0;
    if (text != NULL && number_parse_u64(slice_str(text), 8, &number) != WEIR_OK) {
        command_complain(
            line->command, "--spare-connections \"%s\" is not usable; allowed: 0 to 8", text);
        return false;
    }
    *ret_count = text != NULL && number == 0 ? -1 : (int32_t)number;
    return true;
}

static const char *protocol_of(const char *const *values)
{
    return values[OPTION_TLS] != NULL    ? "tls"
           : values[OPTION_TCP] != NULL  ? "tcp"
           : values[OPTION_DTLS] != NULL ? "dtls"
           : values[OPTION_QUIC] != NULL ? "quic"
                                         : "http";
}

bool forward_read_wishes(const struct forward_line *line, struct forward_wishes *wishes)
{
    const char *const *values = line->values;
    struct weir_tunnel_options *to = &wishes->options;
    bool private = forward_switch(values[OPTION_PUBLISH]) == WEIR_TUNNEL_NO;
    to->size = sizeof *to;
    to->no_retry = forward_switch(values[OPTION_RETRY]) == WEIR_TUNNEL_NO;
    to->name = values[OPTION_NAME];
    to->type = values[OPTION_DATAGRAM] != NULL ? "datagram" : "bytestream";
    to->protocol = private ? NULL : protocol_of(values);
    to->publish = private ? WEIR_TUNNEL_NO : WEIR_TUNNEL_YES;
    to->hostname = values[OPTION_HOST];
    to->tls_mode = values[OPTION_TLS_MODE];
    to->tls_min_version = values[OPTION_TLS_MIN_VERSION];
    to->http_version = values[OPTION_HTTP_VERSION];
    to->upstream_tls = forward_switch(values[OPTION_UPSTREAM_TLS]);
    to->mtls_auth = forward_switch(values[OPTION_MTLS]);
    to->token_auth = forward_switch(values[OPTION_TOKEN_AUTH]);
    to->rstream_auth = forward_switch(values[OPTION_RSTREAM_AUTH]);
    to->challenge_mode = forward_switch(values[OPTION_CHALLENGE_MODE]);
    to->datagram_guaranteed_delivery = forward_switch(values[OPTION_DATAGRAM_DELIVERY]);
    to->allow_cross_region_routing = forward_switch(values[OPTION_CROSS_REGION]);
    return read_repeats(line, wishes) &&
           forward_read_number(line, OPTION_TCP_PORT, 65535, &to->port);
}
