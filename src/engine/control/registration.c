// SPDX-License-Identifier: Apache-2.0
// The texts of conflicts are those that reference command lines know as worth another try (spec
// section 5.6). A refused token is never told why.
#include "engine/control/registration.h"

#include <stdio.h>

#include "engine/engine.h"

#define MADE_UP_TRIES 8 // for a hostname or a port that the engine chose itself

static const struct {
    enum rstrm_code code;
    const char *message;
} refusals[] = {
    [DIRECTORY_ADDED] = {RSTRM_CODE_UNSPECIFIED, ""},
    [DIRECTORY_HOST_TAKEN] = {RSTRM_CODE_INVALID_REQUEST, "Hostname is already in use."},
    [DIRECTORY_PORT_TAKEN] = {RSTRM_CODE_INVALID_REQUEST, "TCP port is already in use."},
    [DIRECTORY_NAME_TAKEN] = {RSTRM_CODE_INVALID_REQUEST, "Tunnel name is already in use."},
    [DIRECTORY_FULL] = {RSTRM_CODE_CAPACITY_EXHAUSTED, "The engine has no room for more tunnels."},
    [DIRECTORY_MEMORY] = {RSTRM_CODE_INTERNAL, "The engine has run out of memory."},
};

static void refuse(struct registration *result, enum rstrm_code code, const char *message)
{
    result->refusal.code = code;
    snprintf(result->refusal.message, sizeof result->refusal.message, "%s", message);
}

static void unauthorized(struct registration *result, const char *reason)
{
    refuse(result, RSTRM_CODE_UNAUTHORIZED, "Unauthorized.");
    result->refusal.reason = reason;
}

// The engine chose what is taken: it may choose again.
static bool made_up(enum directory_outcome outcome, const struct tunnel *tunnel,
    const struct rstrm_tunnel_properties *asked)
{
    return (outcome == DIRECTORY_HOST_TAKEN && tunnel->host_generated) ||
           (outcome == DIRECTORY_PORT_TAKEN && (!asked->has_port || asked->port == 0));
}

// False: try again.
static bool try_once(struct directory *directory, const struct directory_limits *limits,
    const struct rstrm_tunnel_properties *asked, const struct tunnel_rules *rules,
    const struct tunnel_owner *owner, const struct token *token, struct registration *result)
{
    struct tunnel_rules now = *rules;
    now.tcp_port_free = directory_free_port(directory, rules->tcp_port_min, rules->tcp_port_max);
    struct tunnel *tunnel = properties_accept(asked, &now, owner, &result->refusal);
    if (tunnel == NULL) {
        return true;
    }
    if (!token_reaches(token, SCOPE_CREATE, tunnel)) {
        unauthorized(result, "the token's resources do not allow this tunnel");
        tunnel_unref(tunnel);
        return true;
    }
    enum directory_outcome outcome = directory_add(directory, tunnel, limits, &result->holder);
    if (outcome == DIRECTORY_ADDED) {
        result->tunnel = tunnel;
        return true;
    }
    refuse(result, refusals[outcome].code, refusals[outcome].message);
    bool again = made_up(outcome, tunnel, asked);
    tunnel_unref(tunnel);
    return !again;
}

void registration_try(struct directory *directory, const struct directory_limits *limits,
    const struct rstrm_tunnel_properties *asked, const struct tunnel_rules *rules,
    const struct tunnel_owner *owner, const struct token *token, struct registration *ret_result)
{
    static const struct rstrm_tunnel_properties defaults;
    *ret_result = (struct registration){0};
    if (!token_permits(token, TOKEN_CREATE)) {
        unauthorized(
            ret_result, "the token is without the permission tunnels.tunnels.create-delete");
        return;
    }
    for (int i = 0; i < MADE_UP_TRIES; i++) {
        tunnel_unref(ret_result->holder);
        ret_result->holder = NULL;
        if (try_once(directory, limits, asked == NULL ? &defaults : asked, rules, owner, token,
                ret_result)) {
            return;
        }
    }
}

void registration_rules(const struct engine *engine, struct tunnel_rules *ret_rules,
    struct directory_limits *ret_limits)
{
    const struct engine_config *config = engine->config;
    *ret_rules = (struct tunnel_rules){
        .host = config->host,
        .public_port =
            (uint16_t)(config->public_port != 0 ? config->public_port : engine->address.port),
        .labels_max = config->limit_labels,
        .trusted_ips = config->extension_trusted_ips,
        .token_auth = config->extension_token_auth,
        .tcp_port_min = (uint16_t)config->extension_tcp_ports.first,
        .tcp_port_max = (uint16_t)config->extension_tcp_ports.last,
    };
    *ret_limits = (struct directory_limits){
        .clients = config->limit_channels,
        .clients_each = config->limit_channels_per_subject,
        .tunnels = config->limit_tunnels,
    };
}
