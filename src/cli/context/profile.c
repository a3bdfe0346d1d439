// SPDX-License-Identifier: Apache-2.0
#include "cli/context/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/jws.h"
#include "base/hostname.h"
#include "base/ip.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/context/config.h"
#include "cli/say.h"
#include "sys/clock.h"

#define TOKEN_LEN_MAX 8192 // spec section 7.1

struct resolving {
    const struct profile_ask *ask;
    const struct conf_source *variables;
    const struct config_context *context; // NULL: none is selected
    struct profile *profile;
    struct conf_problems *problems;
    uint64_t wall_ms;
    bool ok;
};

static void fail(struct resolving *resolving, const char *message)
{
    conf_error(resolving->problems, "%s", message);
    resolving->ok = false;
}

static void keep(struct resolving *resolving, char **field, const char *text)
{
    mem_free(*field);
    *field = text == NULL ? NULL : mem_copy(text, strlen(text));
    if (text != NULL && *field == NULL) {
        fail(resolving, weir_result_text(WEIR_MEMORY));
    }
}

// NULL for what is not set or empty.
static const char *variable(const struct resolving *resolving, const char *name)
{
    const char *value = resolving->variables->get(resolving->variables->arg, name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

// ---- The engine's address

static bool parse_host(struct slice text, char host[PROFILE_HOST_SIZE])
{
    struct ip ip;
    size_t len;
    if (text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']') {
        text = slice_of(text.at + 1, text.len - 2);
    }
    if (ip_parse(text, &ip) == WEIR_OK) {
        return slice_to_text(text, host, PROFILE_HOST_SIZE);
    }
    return hostname_normalize(text, host, &len) == WEIR_OK;
}

bool profile_parse_engine(
    const char *text, char host[PROFILE_HOST_SIZE], uint16_t *ret_port, const char **ret_problem)
{
    struct slice whole = slice_str(text);
    struct slice name;
    unsigned port;
    *ret_problem = NULL;
    if (strstr(text, "://") != NULL) {
        *ret_problem = "it is HOST or HOST:PORT, without a scheme";
    } else if (strpbrk(text, "/?#") != NULL) {
        *ret_problem = "it is HOST or HOST:PORT, without a path";
    } else if (strchr(text, '@') != NULL) {
        *ret_problem = "it is HOST or HOST:PORT, without a user or a password";
    } else if (hostname_split_port(whole, &name, &port) != WEIR_OK || port > 65535 ||
               (port == 0 && name.len != whole.len)) {
        *ret_problem = "its port is none; allowed: 1-65535";
    } else if (!parse_host(name, host)) {
        *ret_problem = "its host is none; allowed: a name like edge.example.com, or an address";
    } else {
        *ret_port = port == 0 ? PROFILE_PORT : (uint16_t)port;
    }
    return *ret_problem == NULL;
}

static bool same_engine(const char *a, const char *b)
{
    char hosts[2][PROFILE_HOST_SIZE];
    uint16_t ports[2];
    const char *problem;
    return profile_parse_engine(a, hosts[0], &ports[0], &problem) &&
           profile_parse_engine(b, hosts[1], &ports[1], &problem) && ports[0] == ports[1] &&
           strcmp(hosts[0], hosts[1]) == 0;
}

static void find_engine(struct resolving *resolving)
{
    struct profile *profile = resolving->profile;
    const char *from_variable = variable(resolving, "RSTREAM_ENGINE");
    const char *engine = resolving->ask->engine;
    profile->engine_from = "--engine";
    if (engine == NULL) {
        engine = from_variable;
        profile->engine_from = "RSTREAM_ENGINE";
    }
    if (engine == NULL) {
        engine = variable(resolving, "RSTREAM_ENGINE_ADDRESS");
        profile->engine_from = "RSTREAM_ENGINE_ADDRESS";
    }
    if (engine == NULL && resolving->context != NULL) {
        engine = resolving->context->engine;
        profile->engine_from = "the context";
    }
    if (engine == NULL) {
        profile->engine_from = NULL;
        return;
    }
    char host[PROFILE_HOST_SIZE];
    const char *problem;
    keep(resolving, &profile->engine, engine);
    if (profile_parse_engine(engine, host, &profile->port, &problem)) {
        keep(resolving, &profile->host, host);
    } else {
        // A URL may hold a password.
        conf_error(resolving->problems, "the engine of %s is not usable: %s", profile->engine_from,
            problem);
        resolving->ok = false;
    }
}

// ---- The token

static bool has_expired(const char *token, uint64_t wall_ms, char when[TIME_ISO_SIZE])
{
    struct jws jws = {0};
    int64_t expiry_s;
    bool expired = false;
    // What is no JWT is the engine's affair.
    if (jws_parse(slice_str(token), &jws) == WEIR_OK) {
        expired = jws_claim_time(&jws, "exp", &expiry_s) && expiry_s >= 0 &&
                  (uint64_t)expiry_s <= wall_ms / 1000;
        if (expired) {
            time_to_iso((uint64_t)expiry_s * 1000, when);
        }
    }
    jws_fini(&jws);
    return expired;
}

bool profile_check_token(
    const char *token, const char *from, uint64_t wall_ms, struct conf_problems *problems)
{
    char when[TIME_ISO_SIZE];
    bool usable = strlen(token) <= TOKEN_LEN_MAX;
    for (const char *at = token; *at != '\0'; at++) {
        usable = usable && *at > ' ' && *at <= '~';
    }
    if (!usable) {
        conf_error(problems,
            "the token of %s is not usable: at most %d plain characters without blanks", from,
            TOKEN_LEN_MAX);
        return false;
    }
    if (has_expired(token, wall_ms, when)) {
        conf_error(problems,
            "the token of %s expired at %s: get a new one (weir token engine, where the engine's "
            "secret is)",
            from, when);
        return false;
    }
    return true;
}

static void take_stored_token(struct resolving *resolving)
{
    const struct config_context *context = resolving->context;
    struct profile *profile = resolving->profile;
    if (context->keychain != NULL) {
        conf_error(resolving->problems,
            "context \"%s\" keeps its token in a keychain, which weir cannot open: weir context "
            "update %s --token-stdin, or set RSTREAM_AUTHENTICATION_TOKEN",
            context->name, context->name);
        resolving->ok = false;
    } else if (context->token != NULL && profile->engine != NULL &&
               (context->engine == NULL || !same_engine(profile->engine, context->engine))) {
        conf_error(resolving->problems,
            "the token stored in context \"%s\" is for %s and is not sent to the engine of %s: set "
            "RSTREAM_AUTHENTICATION_TOKEN to a token for it",
            context->name, context->engine == NULL ? "no engine" : context->engine,
            profile->engine_from);
        resolving->ok = false;
    } else if (context->token != NULL) {
        keep(resolving, &profile->token, context->token);
        profile->token_from = "the context";
    }
}

static void find_token(struct resolving *resolving)
{
    struct profile *profile = resolving->profile;
    const char *from_variable = variable(resolving, "RSTREAM_AUTHENTICATION_TOKEN");
    if (resolving->ask->token != NULL) {
        keep(resolving, &profile->token, resolving->ask->token);
        profile->token_from = "--token";
    } else if (from_variable != NULL) {
        keep(resolving, &profile->token, from_variable);
        profile->token_from = "RSTREAM_AUTHENTICATION_TOKEN";
    } else if (resolving->context != NULL) {
        take_stored_token(resolving);
    }
    if (profile->token != NULL && !profile_check_token(profile->token, profile->token_from,
                                      resolving->wall_ms, resolving->problems)) {
        resolving->ok = false;
    }
}

static void refuse_mtls(struct resolving *resolving)
{
    bool by_variable = variable(resolving, "RSTREAM_MTLS_CERT_FILE") != NULL ||
                       variable(resolving, "RSTREAM_MTLS_KEY_FILE") != NULL;
    bool by_context = resolving->context != NULL && resolving->context->mtls;
    if (!by_variable && !by_context) {
        return;
    }
    if (resolving->profile->token != NULL) {
        fail(resolving,
            by_variable
                ? "a token and a client certificate exclude one another: unset "
                  "RSTREAM_MTLS_CERT_FILE and RSTREAM_MTLS_KEY_FILE, or the token"
                : "the context has both a token and auth.mtls, which exclude one another: remove "
                  "auth.mtls");
    } else {
        fail(resolving, "self-hosted engines take no client certificates: use a token instead of "
                        "mTLS (RSTREAM_MTLS_CERT_FILE, auth.mtls)");
    }
}

// ---- Trust and transport

// A path of the file that begins with "~/".
static void keep_path(struct resolving *resolving, char **field, const char *path)
{
    const char *home = variable(resolving, "HOME");
    char full[CONFIG_PATH_SIZE];
    if (path == NULL || path[0] != '~' || path[1] != '/' || home == NULL) {
        keep(resolving, field, path);
        return;
    }
    int len = snprintf(full, sizeof full, "%s%s", home, path + 1);
    if (len < 0 || (size_t)len >= sizeof full) {
        fail(resolving, "the path of the engine's authorities is too long");
        return;
    }
    keep(resolving, field, full);
}

static void find_trust(struct resolving *resolving)
{
    struct profile *profile = resolving->profile;
    const struct profile_ask *ask = resolving->ask;
    const struct config_context *context = resolving->context;
    // What a context says of its engine is not said of another one.
    bool its_engine = context != NULL && profile->engine != NULL && context->engine != NULL &&
                      same_engine(profile->engine, context->engine);
    const char *ca_file =
        ask->ca_file != NULL ? ask->ca_file : variable(resolving, "WEIR_ENGINE_CA_FILE");
    const char *name = ask->server_name != NULL ? ask->server_name
                                                : variable(resolving, "WEIR_ENGINE_SERVER_NAME");
    char host[PROFILE_HOST_SIZE];
    if (ca_file == NULL && its_engine) {
        ca_file = context->ca_file;
    }
    if (name == NULL && its_engine) {
        name = context->server_name;
    }
    keep_path(resolving, &profile->ca_file, ca_file);
    profile->insecure_skip_verify =
        ask->insecure != NULL ? ask->insecure[0] == '1' : its_engine && context->insecure;
    if (name != NULL && !parse_host(slice_str(name), host)) {
        fail(resolving, "the engine's TLS server name is none; allowed: a name like "
                        "edge.example.com, or an address");
    } else {
        keep(resolving, &profile->server_name, name == NULL ? profile->host : host);
    }
}

static void check_transport(struct resolving *resolving)
{
    const struct profile_ask *ask = resolving->ask;
    const char *mode =
        ask->transport != NULL ? ask->transport : variable(resolving, "RSTREAM_TUNNEL_TRANSPORT");
    const char *quic = variable(resolving, "RSTREAM_QUIC_TRANSPORT");
    bool known = mode == NULL || strcmp(mode, "auto") == 0 || strcmp(mode, "tls") == 0;
    if (!known || (ask->transport == NULL && quic != NULL && strcmp(quic, "1") == 0)) {
        fail(resolving, "there is no QUIC here: --tunnel-transport (RSTREAM_TUNNEL_TRANSPORT) is "
                        "auto or tls, and RSTREAM_QUIC_TRANSPORT is not 1");
    }
    if (resolving->context != NULL && resolving->context->unsupported != NULL) {
        char path[YML_PATH_SIZE];
        yml_path(resolving->context->unsupported, path);
        conf_error(resolving->problems,
            "context \"%s\" sets %s, which weir does not have: remove it from the file, or use "
            "another context",
            resolving->context->name, path);
        resolving->ok = false;
    }
    if (ask->api_url != NULL || ask->region != NULL || variable(resolving, "RSTREAM_API_URL") ||
        variable(resolving, "RSTREAM_REGION")) {
        conf_warning(resolving->problems,
            "--api-url and --region (RSTREAM_API_URL, RSTREAM_REGION) belong to a hosted control "
            "plane and change nothing here");
    }
}

// ---- The context

static void select_context(struct resolving *resolving, const struct config *config)
{
    const char *name = resolving->ask->context;
    const char *who = "--context";
    if (name == NULL) {
        name = variable(resolving, "RSTREAM_CONTEXT");
        who = "RSTREAM_CONTEXT";
    }
    if (name == NULL) {
        name = config->default_context;
        who = "defaults.context.name";
    }
    if (name == NULL) {
        return;
    }
    size_t count = config_find(config, name, &resolving->context);
    keep(resolving, &resolving->profile->context, name);
    if (count == 1) {
        return;
    }
    resolving->context = NULL;
    resolving->ok = false;
    if (count == 0) {
        conf_error(resolving->problems,
            "context \"%s\" not found: %s names it, and %s has none of this name (weir context "
            "list)",
            name, who, resolving->profile->config_path);
    } else {
        conf_error(resolving->problems,
            "context \"%s\" is ambiguous: %s has %zu of this name, with different apiUrls", name,
            resolving->profile->config_path, count);
    }
}

static void load_config(struct resolving *resolving, struct config *config)
{
    char path[CONFIG_PATH_SIZE];
    const char *option = resolving->ask->config;
    enum weir_result result = config_path(option, resolving->variables, path);
    if (result != WEIR_OK) {
        if (result != WEIR_NOT_FOUND) {
            fail(resolving, "the path of the configuration is too long");
        }
        return;
    }
    keep(resolving, &resolving->profile->config_path, path);
    if (config_load(path, config, resolving->problems) != WEIR_OK) {
        resolving->ok = false;
    } else if (!config->there && option != NULL) {
        conf_error(resolving->problems, "--config %s: there is no such file", option);
        resolving->ok = false;
    }
}

static void refuse_missing(struct resolving *resolving, unsigned wants)
{
    if ((wants & PROFILE_WANTS_ENGINE) != 0 && resolving->profile->engine == NULL) {
        fail(resolving, "engine is required but not configured (set --engine or RSTREAM_ENGINE, or "
                        "select a context with --context or weir context use)");
    } else if ((wants & PROFILE_WANTS_TOKEN) != 0 && resolving->profile->token == NULL) {
        fail(resolving,
            "authentication is required but not configured (set RSTREAM_AUTHENTICATION_TOKEN or "
            "--token, or select a context with --context or weir context use)");
    }
}

bool profile_resolve(const struct profile_ask *ask, unsigned wants,
    const struct conf_source *variables, uint64_t wall_ms, struct profile *ret_profile,
    struct conf_problems *problems)
{
    struct config config = {0};
    struct resolving resolving = {
        .ask = ask,
        .variables = variables,
        .profile = ret_profile,
        .problems = problems,
        .wall_ms = wall_ms,
        .ok = true,
    };
    *ret_profile = (struct profile){0};
    load_config(&resolving, &config);
    ret_profile->config_there = config.there;
    if (resolving.ok) {
        ret_profile->stage = PROFILE_STAGE_CONTEXT;
        select_context(&resolving, &config);
    }
    if (resolving.ok) {
        ret_profile->stage = PROFILE_STAGE_ENGINE;
        find_engine(&resolving);
        find_trust(&resolving);
        check_transport(&resolving);
    }
    if (resolving.ok) {
        ret_profile->stage = PROFILE_STAGE_TOKEN;
        find_token(&resolving);
        refuse_mtls(&resolving);
    }
    if (resolving.ok) {
        ret_profile->stage = PROFILE_STAGE_MISSING;
        refuse_missing(&resolving, wants);
    }
    if (resolving.ok) {
        ret_profile->stage = PROFILE_RESOLVED;
    }
    config_fini(&config);
    return resolving.ok;
}

struct profile_ask profile_ask_of(const char *const *values)
{
    return (struct profile_ask){
        .config = values[PROFILE_CONFIG],
        .context = values[PROFILE_CONTEXT],
        .engine = values[PROFILE_ENGINE],
        .token = values[PROFILE_TOKEN],
        .ca_file = values[PROFILE_CA_FILE],
        .server_name = values[PROFILE_SERVER_NAME],
        .insecure = values[PROFILE_INSECURE],
        .transport = values[PROFILE_TRANSPORT],
        .api_url = values[PROFILE_API_URL],
        .region = values[PROFILE_REGION],
    };
}

bool profile_of_options(const struct command *command, const char *const *values, unsigned wants,
    struct profile *ret_profile)
{
    struct conf_problems problems;
    struct profile_ask ask = profile_ask_of(values);
    say_set(values[PROFILE_LOG_LEVEL], values[PROFILE_LOG_FORMAT], values[PROFILE_VERBOSE] != NULL);
    conf_problems_init(&problems);
    bool ok =
        profile_resolve(&ask, wants, &conf_environment, sys_wall_ms(), ret_profile, &problems);
    struct slice rest = buf_slice(&problems.warnings);
    struct slice line;
    while (slice_split(&rest, '\n', &line) && line.len > 0) {
        command_complain(command, "%.*s", SLICE_ARG(line));
    }
    rest = buf_slice(&problems.errors);
    while (slice_split(&rest, '\n', &line) && line.len > 0) {
        command_complain(command, "%.*s", SLICE_ARG(line));
    }
    if (!ok && problems.errors.len == 0) {
        command_complain(command, "out of memory");
    }
    conf_problems_fini(&problems);
    if (!ok) {
        profile_fini(ret_profile);
    }
    return ok;
}

void profile_fini(struct profile *profile)
{
    mem_free(profile->config_path);
    mem_free(profile->context);
    mem_free(profile->engine);
    mem_free(profile->host);
    mem_free(profile->token);
    mem_free(profile->ca_file);
    mem_free(profile->server_name);
    *profile = (struct profile){0};
}
