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

#include "agent/embed.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/faults.h"
#include "cli/forward/forward_options.h"
#include "cli/print.h"
#include "cli/context/profile.h"
#include "cli/forward/tunnel_screen.h"
#include "cli/say.h"
#include "cli/inspect/inspector.h"
#include "sys/clock.h"
#include "sys/process.h"

#define TUNNELS_MAX 128
#define TARGET_DEFAULT "localhost:8080"
#define STATUS_SIZE 320
#define DRAIN_MS 1000
#define COMPLAIN_NS NS_PER_S // at most so often about local services

enum output { OUTPUT_XTERM, OUTPUT_TEXT, OUTPUT_JSON, OUTPUT_NONE };

struct forwarding;

struct forwarded {
    struct forwarding *all;
    struct weir_tunnel *tunnel; // NULL: not open
    const char *target;
    char id[64];
    char address[512];
    char status[STATUS_SIZE];
    uint64_t connections;
    uint64_t complained_ns;
};

struct forwarding {
    const struct command *command;
    const char *const *values;
    struct option_repeats repeats;
    struct forward_line line; // of these
    enum output output;
    struct profile profile;
    struct weir_agent_loop *loop;
    struct weir_agent *agent; // NULL: it has gone
    bool was_online;
    bool closing;
    bool lost;         // a line of the output
    char version[128]; // of the engine, as the next four
    char update[128];
    char plan[128];
    char provider[128];
    char region[128];
    struct forwarded tunnels[TUNNELS_MAX];
    size_t tunnel_count;
    char problem[TUNNEL_VIEW_TEXT_SIZE]; // that ended it, for when the screen has gone
    int exit_code;
    // of OUTPUT_XTERM
    struct tunnel_view view;
    struct tunnel_view_tunnel view_tunnels[TUNNELS_MAX];
    struct tunnel_screen screen;
    struct inspector inspector;
    bool inspecting;
};

// A stream under way.
struct live {
    uint64_t number; // among the tunnel's connections, or in the view
    struct inspector_tap *tap;
};

// ---- Telling

// Without memory, or when nobody reads, a line is lost; that is said once.
static void print_value(struct forwarding *all, json_t *value)
{
    if ((value == NULL || !print_json(value, false)) && !all->lost) {
        all->lost = true;
        command_complain(all->command, "a line of the output is lost");
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

static void say_status(struct forwarded *forwarded, const char *status)
{
    struct forwarding *all = forwarded->all;
    snprintf(forwarded->status, sizeof forwarded->status, "%s", status);
    tunnel_screen_touch(&all->screen);
    if (all->output == OUTPUT_TEXT) {
        say_text_status(forwarded, status);
    } else if (all->output == OUTPUT_JSON) {
        print_value(all, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "version", all->version,
                             "update", all->update, "plan", all->plan, "provider", all->provider,
                             "region", all->region, "status", status, "tunnel_id", forwarded->id,
                             "forwarding", forwarded->address, "forwarded", forwarded->target));
    }
}

static void say_status_of_all(struct forwarding *all, const char *status)
{
    for (size_t i = 0; i < all->tunnel_count; i++) {
        say_status(&all->tunnels[i], status);
    }
}

// What somebody has to do something about.
static void tell(struct forwarding *all, const char *text)
{
    if (all->output == OUTPUT_XTERM) {
        tunnel_view_problem(&all->view, text, sys_wall_ms());
        tunnel_screen_touch(&all->screen);
    } else {
        command_complain(all->command, "%s", text);
    }
}

static void fail(struct forwarding *all, const char *text)
{
    tell(all, text);
    snprintf(all->problem, sizeof all->problem, "%s", text);
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
        tunnel_screen_close(&all->screen);
        inspector_close(&all->inspector);
        weir_agent_loop_stop(all->loop);
        break;
    case WEIR_AGENT_IDLE:
    case WEIR_AGENT_CLOSING:
        break;
    }
}

static void on_message(void *arg, struct weir_agent *agent, const char *text)
{
    char line[TUNNEL_VIEW_TEXT_SIZE];
    (void)agent;
    snprintf(line, sizeof line, "the engine says: %s", text);
    tell(arg, line);
}

static void on_latency(void *arg, struct weir_agent *agent, uint32_t microseconds)
{
    struct forwarding *all = arg;
    (void)agent;
    all->view.latency_us = microseconds;
    tunnel_screen_touch(&all->screen);
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

// NULL: memory ran out, and the stream goes on unseen.
static struct live *live_new(struct forwarded *forwarded, const struct weir_stream_info *stream)
{
    struct forwarding *all = forwarded->all;
    struct live *live = mem_zalloc(sizeof *live);
    uint64_t index = forwarded->connections++;
    uint64_t number = tunnel_view_opened(
        &all->view, forwarded->target, stream->id, stream->source_ip, stream->opened_ms);
    tunnel_screen_touch(&all->screen);
    if (live != NULL) {
        live->number = all->output == OUTPUT_XTERM ? number : index;
        live->tap = !all->inspecting ? NULL
                                     : inspector_tap_open(&all->inspector, forwarded->address,
                                           forwarded->target, stream->id, stream->source_ip);
    }
    return live;
}

static void on_stream_opened(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream)
{
    struct forwarded *forwarded = arg;
    char date[TIME_ISO_SIZE];
    (void)tunnel;
    stream->user = live_new(forwarded, stream);
    time_to_iso(stream->opened_ms, date);
    if (forwarded->all->output == OUTPUT_TEXT) {
        printf("incoming connection: date=%s stream_id=%s source_ip=%s active=true\n", date,
            stream->id, stream->source_ip);
        fflush(stdout);
    } else if (forwarded->all->output == OUTPUT_JSON) {
        print_value(forwarded->all, json_pack("{s:b,s:s,s:s,s:s}", "active", 1, "date", date,
                                        "stream_id", stream->id, "source_ip", stream->source_ip));
    }
}

static void on_stream_closed(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
    const struct weir_stream_totals *totals, const struct weir_agent_problem *problem)
{
    struct forwarded *forwarded = arg;
    struct forwarding *all = forwarded->all;
    struct live *live = stream->user;
    (void)tunnel;
    (void)problem;
    if (live == NULL) {
        return;
    }
    if (all->output == OUTPUT_JSON) {
        print_value(all,
            json_pack("{s:s,s:I}", "event", "connection_closed", "idx", (json_int_t)live->number));
    } else if (all->output == OUTPUT_XTERM) {
        tunnel_view_closed(
            &all->view, live->number, totals->bytes_in, totals->bytes_out, totals->duration_ms);
        tunnel_screen_touch(&all->screen);
    }
    if (all->inspector.open) { // it ends taps itself when it is closed
        inspector_tap_close(&all->inspector, live->tap);
    }
    mem_free(live);
}

static void on_tap(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
    enum weir_stream_direction direction, const void *bytes, size_t len)
{
    struct forwarded *forwarded = arg;
    struct live *live = stream->user;
    (void)tunnel;
    if (live != NULL && forwarded->all->inspector.open) {
        inspector_tap_feed(&forwarded->all->inspector, live->tap,
            direction == WEIR_STREAM_IN ? CAPTURE_REQUEST : CAPTURE_ANSWER, slice_of(bytes, len));
    }
}

static void on_stream_refused(void *arg, struct weir_tunnel *tunnel,
    struct weir_stream_info *stream, const struct weir_agent_problem *problem)
{
    struct forwarded *forwarded = arg;
    uint64_t now_ns = sys_now_ns();
    (void)tunnel;
    if (forwarded->complained_ns == 0 || now_ns - forwarded->complained_ns > COMPLAIN_NS) {
        char line[TUNNEL_VIEW_TEXT_SIZE];
        forwarded->complained_ns = now_ns;
        snprintf(line, sizeof line, "a visitor from %s was turned away: %s",
            stream->source_ip[0] == '\0' ? "somewhere" : stream->source_ip, problem->text);
        tell(forwarded->all, line);
    }
}

// ---- Opening

static bool open_tunnels(struct forwarding *all, struct forward_wishes *wishes)
{
    const struct weir_tunnel_events events = {
        .state = on_tunnel_state,
        .stream_opened = on_stream_opened,
        .stream_closed = on_stream_closed,
        .stream_refused = on_stream_refused,
        .tap = all->inspecting ? on_tap : NULL,
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
    static const struct weir_agent_events events = {
        .state = on_agent_state, .message = on_message, .latency = on_latency};
    const struct profile *profile = &all->profile;
    char engine[PROFILE_HOST_SIZE + 16];
    char problem[256];
    uint32_t interval_ms;
    int32_t spares;
    if (!forward_read_number(&all->line, OPTION_RETRY_INTERVAL, 3600000, &interval_ms) ||
        !forward_read_spares(&all->line, &spares)) {
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
            .no_reconnect = forward_switch(all->values[OPTION_RETRY]) == WEIR_TUNNEL_NO,
            .retry_max_ms = interval_ms,
            .spare_connections = spares,
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

static void fill_view(struct forwarding *all)
{
    struct tunnel_view *view = &all->view;
    view->version = all->version;
    view->update = all->update;
    view->plan = all->plan;
    view->region = all->region;
    view->inspector = all->inspecting ? all->inspector.url : NULL;
    view->tunnels = all->view_tunnels;
    view->tunnel_count = all->tunnel_count;
    for (size_t i = 0; i < all->tunnel_count; i++) {
        const struct forwarded *forwarded = &all->tunnels[i];
        all->view_tunnels[i] = (struct tunnel_view_tunnel){
            forwarded->id, forwarded->address, forwarded->target, forwarded->status};
    }
}

// On the loop.
static void open_screen(void *arg)
{
    struct forwarding *all = arg;
    fill_view(all);
    if (all->output == OUTPUT_XTERM && !all->closing &&
        tunnel_screen_open(&all->screen, weir_agent_loop_worker(all->loop), &all->view,
            on_interrupt, all) != WEIR_OK) {
        all->output = OUTPUT_TEXT; // no terminal after all
    }
}

static bool open_inspector(struct forwarding *all)
{
    char problem[256];
    if (all->values[OPTION_INSPECT] == NULL) {
        return true;
    }
    all->inspecting = inspector_open(&all->inspector, weir_agent_loop_worker(all->loop),
        &(struct inspector_options){
            .address = all->values[OPTION_INSPECT],
            .secrets = all->values[OPTION_INSPECT_SECRETS] != NULL,
            .anywhere = all->values[OPTION_INSPECT_ANYWHERE] != NULL,
        },
        problem, sizeof problem);
    if (!all->inspecting) {
        command_complain(all->command, "%s", problem);
    } else if (all->output != OUTPUT_XTERM) {
        command_complain(all->command, "inspector at %s", all->inspector.url);
    }
    return all->inspecting;
}

static int run_loop(struct forwarding *all, struct forward_wishes *wishes)
{
    all->exit_code = EXIT_FINE;
    if (!make_agent(all) || !open_inspector(all) || !open_tunnels(all, wishes)) {
        return EXIT_USAGE;
    }
    if (!weir_agent_loop_catch(all->loop, SIGINT, on_interrupt, all) ||
        !weir_agent_loop_catch(all->loop, SIGTERM, on_interrupt, all) ||
        !weir_agent_loop_catch(all->loop, SIGHUP, on_hangup, all) ||
        !weir_agent_loop_post(all->loop, open_screen, all)) {
        command_complain(all->command, "out of memory");
        return EXIT_FAILED;
    }
    weir_agent_connect(all->agent);
    if (!weir_agent_loop_run(all->loop)) {
        command_complain(all->command, "it could not be started");
        return EXIT_FAILED;
    }
    if (all->output == OUTPUT_XTERM && all->problem[0] != '\0') {
        command_complain(all->command, "%s", all->problem); // the screen has taken it along
    }
    return all->exit_code;
}

static int run_forwarding(struct forwarding *all)
{
    struct forward_wishes *wishes = mem_zalloc(sizeof *wishes);
    int exit_code = EXIT_FAILED;
    faults_arm();
    all->loop = weir_agent_loop_new();
    if (wishes == NULL || all->loop == NULL) {
        command_complain(all->command, "out of memory or descriptors");
    } else {
        exit_code = forward_read_wishes(&all->line, wishes) ? run_loop(all, wishes) : EXIT_USAGE;
    }
    tunnel_screen_close(&all->screen);
    inspector_close(&all->inspector);
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

static enum output output_of(const char *const *values)
{
    const char *output = values[OPTION_JSON] != NULL ? "json" : values[OPTION_OUTPUT];
    bool screen = tunnel_screen_possible();
    if (output == NULL) {
        return screen && !say_is_verbose() ? OUTPUT_XTERM : OUTPUT_TEXT;
    }
    return output[0] == 'x' && screen ? OUTPUT_XTERM
           : output[0] == 'j'         ? OUTPUT_JSON
           : output[0] == 'n'         ? OUTPUT_NONE
                                      : OUTPUT_TEXT;
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
    all->line = (struct forward_line){command, values, &all->repeats};
    if (!command_parse_repeats(command, argc, argv, values, &all->repeats, &count, &exit_code)) {
        mem_free(all);
        return exit_code;
    }
    all->output = output_of(values);
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
    .options = forward_options,
    .run = run,
    .examples = examples,
};
