// SPDX-License-Identifier: Apache-2.0
// weir forward: publishes local services for as long as it runs (spec engine, section 11.5). One
// control channel carries all tunnels of the command line; the library does the rest.
//
// What is told: a status for each change, a line for each connection, in the form that -o asks for,
// on standard output; what somebody has to do something about also on standard error. The first
// Ctrl-C closes in order, a second one at once; SIGHUP reconnects, or asks for a sign of life.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <weir/agent.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/faults.h"
#include "cli/print.h"
#include "cli/profile.h"
#include "sys/clock.h"
#include "sys/process.h"

#define TUNNELS_MAX 64
#define ENTRIES_MAX 64
#define TARGET_DEFAULT "localhost:8080"
#define STATUS_SIZE 320
#define DRAIN_MS 1000
#define COMPLAIN_NS NS_PER_S // at most so often about local services

enum {
    OPTION_NAME = PROFILE_OPTION_COUNT,
    OPTION_HOST,
    OPTION_LABEL,
    OPTION_PUBLISH,
    OPTION_HTTP,
    OPTION_TLS,
    OPTION_TCP,
    OPTION_DTLS,
    OPTION_QUIC,
    OPTION_BYTESTREAM,
    OPTION_DATAGRAM,
    OPTION_TCP_PORT,
    OPTION_HTTP_VERSION,
    OPTION_UPSTREAM_TLS,
    OPTION_TLS_MODE,
    OPTION_TLS_ALPN,
    OPTION_TLS_MIN_VERSION,
    OPTION_TLS_CIPHERS,
    OPTION_MTLS,
    OPTION_GEOIP,
    OPTION_TRUSTED_IPS,
    OPTION_TOKEN_AUTH,
    OPTION_RSTREAM_AUTH,
    OPTION_CHALLENGE_MODE,
    OPTION_DATAGRAM_DELIVERY,
    OPTION_CROSS_REGION,
    OPTION_RETRY,
    OPTION_RETRY_INTERVAL,
    OPTION_OUTPUT,
    OPTION_JSON,
    OPTION_COUNT
};

#define GROUP_SERVICE "the published service"
#define GROUP_ACCESS "who may use it (where the engine offers it)"

static const struct option_row options[] = {
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
    [OPTION_OUTPUT] = {"--output", "FORM", "how changes are told", .alias = "-o",
        .choices = "text|json|none"},
    [OPTION_JSON] = {"--json", NULL, "the same as -o json"},
    [OPTION_COUNT] = {NULL},
};

enum output { OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_NONE };

struct forwarding;

struct forwarded {
    struct forwarding *all;
    struct weir_tunnel *tunnel; // NULL: not open
    const char *target;
    char id[64];
    char address[512];
    uint64_t connections;
    uint64_t complained_ns;
};

struct forwarding {
    const struct command *command;
    const char *const *values;
    struct option_repeats repeats;
    enum output output;
    struct profile profile;
    struct weir_agent_loop *loop;
    struct weir_agent *agent; // NULL: it has gone
    bool was_online;
    bool closing;
    char version[128]; // of the engine, as the next four
    char update[128];
    char plan[128];
    char provider[128];
    char region[128];
    struct forwarded tunnels[TUNNELS_MAX];
    size_t tunnel_count;
    int exit_code;
};

// ---- Telling

static void print_value(json_t *value)
{
    if (value != NULL) {
        (void)print_json(value, false); // who does not read does not want to know
    }
    json_decref(value);
}

static void say_text_status(const struct forwarded *forwarded, const char *status)
{
    const struct forwarding *all = forwarded->all;
    const char *const rows[][2] = {
        {"version", all->version},
        {"update", all->update},
        {"plan", all->plan},
        {"provider", all->provider},
        {"region", all->region},
        {"status", status},
        {"tunnel ID", forwarded->id},
        {"forwarding", forwarded->address},
        {"forwarded", forwarded->target},
    };
    puts("tunnel status");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        printf("  %-12s: %s\n", rows[i][0], rows[i][1][0] == '\0' ? "-" : rows[i][1]);
    }
    fflush(stdout);
}

static void say_status(const struct forwarded *forwarded, const char *status)
{
    const struct forwarding *all = forwarded->all;
    if (all->output == OUTPUT_TEXT) {
        say_text_status(forwarded, status);
    } else if (all->output == OUTPUT_JSON) {
        print_value(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "version", all->version,
            "update", all->update, "plan", all->plan, "provider", all->provider, "region",
            all->region, "status", status, "tunnel_id", forwarded->id, "forwarding",
            forwarded->address, "forwarded", forwarded->target));
    }
}

static void say_status_of_all(const struct forwarding *all, const char *status)
{
    for (size_t i = 0; i < all->tunnel_count; i++) {
        say_status(&all->tunnels[i], status);
    }
}

static void fail(struct forwarding *all, const char *text)
{
    command_complain(all->command, "%s", text);
    all->exit_code = EXIT_FAILED;
    if (!all->closing && all->agent != NULL) {
        all->closing = true;
        weir_agent_close(all->agent, 0);
    }
}

// ---- The agent

static void take_engine(struct forwarding *all, const struct weir_agent_engine *engine)
{
    snprintf(all->version, sizeof all->version, "%s", engine->version);
    snprintf(all->update, sizeof all->update, "%s", engine->update);
    snprintf(all->plan, sizeof all->plan, "%s", engine->plan);
    snprintf(all->provider, sizeof all->provider, "%s", engine->provider);
    snprintf(all->region, sizeof all->region, "%s", engine->region);
}

static void say_lost(struct forwarding *all, const struct weir_agent_status *status)
{
    char text[STATUS_SIZE];
    if (all->was_online) {
        all->was_online = false;
        snprintf(text, sizeof text, "disconnected (%s)", status->problem->text);
    } else {
        snprintf(text, sizeof text, "connection failed (%s)", status->problem->text);
    }
    say_status_of_all(all, text);
}

static void on_agent_state(
    void *arg, struct weir_agent *agent, const struct weir_agent_status *status)
{
    struct forwarding *all = arg;
    (void)agent;
    switch (status->state) {
    case WEIR_AGENT_CONNECTING:
        say_status_of_all(all, "connecting");
        break;
    case WEIR_AGENT_ONLINE:
        all->was_online = true;
        take_engine(all, status->engine);
        say_status_of_all(all, "connected");
        break;
    case WEIR_AGENT_WAITING:
        say_lost(all, status);
        break;
    case WEIR_AGENT_FAILED:
        say_lost(all, status);
        fail(all, status->problem->text);
        break;
    case WEIR_AGENT_CLOSED:
        all->agent = NULL;
        weir_agent_loop_stop(all->loop);
        break;
    case WEIR_AGENT_IDLE:
    case WEIR_AGENT_CLOSING:
        break;
    }
}

static void on_message(void *arg, struct weir_agent *agent, const char *text)
{
    const struct forwarding *all = arg;
    (void)agent;
    command_complain(all->command, "the engine says: %s", text);
}

// ---- Tunnels

static void on_tunnel_state(
    void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    struct forwarded *forwarded = arg;
    struct forwarding *all = forwarded->all;
    char text[STATUS_SIZE];
    (void)tunnel;
    if (status->state == WEIR_TUNNEL_ONLINE) {
        snprintf(forwarded->id, sizeof forwarded->id, "%s", status->info->id);
        snprintf(forwarded->address, sizeof forwarded->address, "%s", status->info->address);
        say_status(forwarded, "online");
    } else if (status->state == WEIR_TUNNEL_REFUSED) {
        snprintf(text, sizeof text, "tunnel creation failed (%s)", status->problem->text);
        say_status(forwarded, text);
        if (status->problem->final) {
            fail(all, status->problem->text);
        }
    } else if (status->state == WEIR_TUNNEL_CLOSING && status->problem != NULL) {
        say_status(forwarded, "disconnected");
        fail(all, status->problem->text);
    } else if (status->state == WEIR_TUNNEL_CLOSED) {
        forwarded->tunnel = NULL;
    }
}

static void on_stream_opened(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream)
{
    struct forwarded *forwarded = arg;
    char date[TIME_ISO_SIZE];
    (void)tunnel;
    stream->user = (void *)(uintptr_t)forwarded->connections++; // its number
    time_to_iso(stream->opened_ms, date);
    if (forwarded->all->output == OUTPUT_TEXT) {
        printf("incoming connection: date=%s stream_id=%s source_ip=%s active=true\n", date,
            stream->id, stream->source_ip);
        fflush(stdout);
    } else if (forwarded->all->output == OUTPUT_JSON) {
        print_value(json_pack("{s:b,s:s,s:s,s:s}", "active", 1, "date", date, "stream_id",
            stream->id, "source_ip", stream->source_ip));
    }
}

static void on_stream_closed(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
    const struct weir_stream_totals *totals, const struct weir_agent_problem *problem)
{
    struct forwarded *forwarded = arg;
    (void)tunnel;
    (void)totals;
    (void)problem;
    if (forwarded->all->output == OUTPUT_JSON) {
        print_value(json_pack(
            "{s:s,s:I}", "event", "connection_closed", "idx", (json_int_t)(uintptr_t)stream->user));
    }
}

static void on_stream_refused(void *arg, struct weir_tunnel *tunnel,
    struct weir_stream_info *stream, const struct weir_agent_problem *problem)
{
    struct forwarded *forwarded = arg;
    uint64_t now_ns = sys_now_ns();
    (void)tunnel;
    if (forwarded->complained_ns == 0 || now_ns - forwarded->complained_ns > COMPLAIN_NS) {
        forwarded->complained_ns = now_ns;
        command_complain(forwarded->all->command, "a visitor from %s was turned away: %s",
            stream->source_ip[0] == '\0' ? "somewhere" : stream->source_ip, problem->text);
    }
}

// ---- From the command line

static enum weir_tunnel_switch switch_of(const char *value)
{
    return value == NULL ? WEIR_TUNNEL_UNSET : value[0] == '0' ? WEIR_TUNNEL_NO : WEIR_TUNNEL_YES;
}

struct wishes {
    struct weir_tunnel_options options;
    struct weir_tunnel_label labels[ENTRIES_MAX];
    char keys[ENTRIES_MAX][160];
    const char *alpns[ENTRIES_MAX];
    const char *ciphers[ENTRIES_MAX];
    const char *geoip[ENTRIES_MAX];
    const char *trusted_ips[ENTRIES_MAX];
};

static bool add(const char **list, size_t *count, const char *value)
{
    if (*count == ENTRIES_MAX) {
        return false;
    }
    list[(*count)++] = value;
    return true;
}

static bool add_label(struct wishes *wishes, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t count = wishes->options.label_count;
    if (equals == NULL || equals == text || count == ENTRIES_MAX ||
        (size_t)(equals - text) >= sizeof wishes->keys[0]) {
        return false;
    }
    memcpy(wishes->keys[count], text, (size_t)(equals - text));
    wishes->labels[count] = (struct weir_tunnel_label){wishes->keys[count], equals + 1};
    wishes->options.label_count++;
    return true;
}

static bool read_repeats(const struct forwarding *all, struct wishes *wishes)
{
    struct weir_tunnel_options *to = &wishes->options;
    for (size_t i = 0; i < all->repeats.count; i++) {
        const char *value = all->repeats.items[i].value;
        int option = all->repeats.items[i].option;
        bool ok = option == OPTION_LABEL      ? add_label(wishes, value)
                  : option == OPTION_TLS_ALPN ? add(wishes->alpns, &to->tls_alpn_count, value)
                  : option == OPTION_TLS_CIPHERS
                      ? add(wishes->ciphers, &to->tls_cipher_count, value)
                  : option == OPTION_GEOIP ? add(wishes->geoip, &to->geoip_count, value)
                                           : add(wishes->trusted_ips, &to->trusted_ip_count, value);
        if (!ok) {
            command_complain(all->command, "%s \"%s\" is not usable%s", options[option].name, value,
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

static bool read_number(
    const struct forwarding *all, int option, uint64_t max, uint32_t *ret_number)
{
    uint64_t number = 0;
    const char *text = all->values[option];
    if (text != NULL &&
        (number_parse_u64(slice_str(text), max, &number) != WEIR_OK || number == 0)) {
        command_complain(all->command, "%s \"%s\" is not usable; allowed: 1 to %llu",
            options[option].name, text, (unsigned long long)max);
        return false;
    }
    *ret_number = (uint32_t)number;
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

static bool read_wishes(const struct forwarding *all, struct wishes *wishes)
{
    const char *const *values = all->values;
    struct weir_tunnel_options *to = &wishes->options;
    bool private = switch_of(values[OPTION_PUBLISH]) == WEIR_TUNNEL_NO;
    to->size = sizeof *to;
    to->no_retry = switch_of(values[OPTION_RETRY]) == WEIR_TUNNEL_NO;
    to->name = values[OPTION_NAME];
    to->type = values[OPTION_DATAGRAM] != NULL ? "datagram" : "bytestream";
    to->protocol = private ? NULL : protocol_of(values);
    to->publish = private ? WEIR_TUNNEL_NO : WEIR_TUNNEL_YES;
    to->hostname = values[OPTION_HOST];
    to->tls_mode = values[OPTION_TLS_MODE];
    to->tls_min_version = values[OPTION_TLS_MIN_VERSION];
    to->http_version = values[OPTION_HTTP_VERSION];
    to->upstream_tls = switch_of(values[OPTION_UPSTREAM_TLS]);
    to->mtls_auth = switch_of(values[OPTION_MTLS]);
    to->token_auth = switch_of(values[OPTION_TOKEN_AUTH]);
    to->rstream_auth = switch_of(values[OPTION_RSTREAM_AUTH]);
    to->challenge_mode = switch_of(values[OPTION_CHALLENGE_MODE]);
    to->datagram_guaranteed_delivery = switch_of(values[OPTION_DATAGRAM_DELIVERY]);
    to->allow_cross_region_routing = switch_of(values[OPTION_CROSS_REGION]);
    return read_repeats(all, wishes) && read_number(all, OPTION_TCP_PORT, 65535, &to->port);
}

static bool open_tunnels(struct forwarding *all, struct wishes *wishes)
{
    static const struct weir_tunnel_events events = {
        .state = on_tunnel_state,
        .stream_opened = on_stream_opened,
        .stream_closed = on_stream_closed,
        .stream_refused = on_stream_refused,
    };
    char problem[256];
    for (size_t i = 0; i < all->tunnel_count; i++) {
        struct forwarded *forwarded = &all->tunnels[i];
        forwarded->all = all;
        wishes->options.forward = forwarded->target;
        forwarded->tunnel = weir_tunnel_open(
            all->agent, &wishes->options, &events, forwarded, problem, sizeof problem);
        if (forwarded->tunnel == NULL) {
            command_complain(all->command, "%s", problem);
            return false;
        }
    }
    return true;
}

static bool make_agent(struct forwarding *all)
{
    static const struct weir_agent_events events = {.state = on_agent_state, .message = on_message};
    const struct profile *profile = &all->profile;
    char engine[PROFILE_HOST_SIZE + 16];
    char problem[256];
    uint32_t interval_ms;
    if (!read_number(all, OPTION_RETRY_INTERVAL, 3600000, &interval_ms)) {
        return false;
    }
    snprintf(engine, sizeof engine, strchr(profile->host, ':') == NULL ? "%s:%u" : "[%s]:%u",
        profile->host, (unsigned)profile->port);
    all->agent = weir_agent_new(all->loop,
        &(struct weir_agent_options){
            .size = sizeof(struct weir_agent_options),
            .engine = engine,
            .token = profile->token,
            .ca_file = profile->ca_file,
            .server_name = profile->server_name,
            .insecure = profile->insecure_skip_verify,
            .no_reconnect = switch_of(all->values[OPTION_RETRY]) == WEIR_TUNNEL_NO,
            .retry_max_ms = interval_ms,
            .agent_name = "weir",
            .agent_channel = "cli",
        },
        &events, all, problem, sizeof problem);
    if (all->agent == NULL) {
        command_complain(all->command, "%s", problem);
    }
    return all->agent != NULL;
}

// ---- Running

static void on_interrupt(void *arg)
{
    struct forwarding *all = arg;
    all->closing = true;
    if (all->agent != NULL) {
        weir_agent_close(all->agent, DRAIN_MS);
    }
}

static void on_hangup(void *arg)
{
    struct forwarding *all = arg;
    if (all->agent != NULL) {
        weir_agent_nudge(all->agent);
    }
}

static int run_loop(struct forwarding *all, struct wishes *wishes)
{
    all->exit_code = EXIT_FINE;
    if (!make_agent(all) || !open_tunnels(all, wishes)) {
        return EXIT_USAGE;
    }
    if (!weir_agent_loop_catch(all->loop, SIGINT, on_interrupt, all) ||
        !weir_agent_loop_catch(all->loop, SIGTERM, on_interrupt, all) ||
        !weir_agent_loop_catch(all->loop, SIGHUP, on_hangup, all)) {
        command_complain(all->command, "out of memory");
        return EXIT_FAILED;
    }
    weir_agent_connect(all->agent);
    if (!weir_agent_loop_run(all->loop)) {
        command_complain(all->command, "it could not be started");
        return EXIT_FAILED;
    }
    return all->exit_code;
}

static int run_forwarding(struct forwarding *all)
{
    struct wishes *wishes = mem_zalloc(sizeof *wishes);
    int exit_code = EXIT_FAILED;
    faults_arm();
    all->loop = weir_agent_loop_new();
    if (wishes == NULL || all->loop == NULL) {
        command_complain(all->command, "out of memory or descriptors");
    } else {
        exit_code = read_wishes(all, wishes) ? run_loop(all, wishes) : EXIT_USAGE;
    }
    weir_agent_loop_free(all->loop);
    faults_report();
    mem_free(wishes);
    return exit_code;
}

static bool take_targets(struct forwarding *all, int argc, char **argv)
{
    static const char *const ours[] = {"--name", "--host"};
    if (argc > TUNNELS_MAX) {
        command_complain(all->command, "at most %d services at once", TUNNELS_MAX);
        return false;
    }
    for (size_t i = 0; argc > 1 && i < 2; i++) {
        if (all->values[i == 0 ? OPTION_NAME : OPTION_HOST] != NULL) {
            command_complain(all->command, "%s is for one service, not for %d", ours[i], argc);
            return false;
        }
    }
    all->tunnels[0].target = TARGET_DEFAULT;
    for (int i = 0; i < argc; i++) {
        all->tunnels[i].target = argv[i];
    }
    all->tunnel_count = argc == 0 ? 1 : (size_t)argc;
    return true;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    struct forwarding *all = mem_zalloc(sizeof *all);
    if (all == NULL) {
        command_complain(command, "out of memory");
        return EXIT_FAILED;
    }
    all->command = command;
    all->values = values;
    if (!command_parse_repeats(command, argc, argv, values, &all->repeats, &count, &exit_code)) {
        mem_free(all);
        return exit_code;
    }
    const char *output = values[OPTION_JSON] != NULL ? "json" : values[OPTION_OUTPUT];
    all->output = output == NULL || output[0] == 't' ? OUTPUT_TEXT
                  : output[0] == 'j'                 ? OUTPUT_JSON
                                                     : OUTPUT_NONE;
    exit_code = EXIT_USAGE;
    if (take_targets(all, count, argv)) {
        exit_code = EXIT_CONFIG;
        if (profile_of_options(command, values, PROFILE_WANTS_ALL, &all->profile)) {
            (void)sys_raise_descriptor_limit();
            exit_code = run_forwarding(all);
            profile_fini(&all->profile);
        }
    }
    mem_free(all);
    return exit_code;
}

static const struct command_example examples[] = {
    {"forward 3000", "publish what listens on port 3000 of this machine"},
    {"forward --host demo 192.168.1.5:8080", "publish another machine as demo.t.<engine>"},
    {"forward --no-publish --name db localhost:5432", "for those alone who dial \"db\""},
    {NULL},
};

const struct command command_forward = {
    .name = "forward",
    .summary = "Publish local services through an engine",
    .usage = "[[HOST:]PORT|unix:PATH]...",
    .options = options,
    .run = run,
    .examples = examples,
};
