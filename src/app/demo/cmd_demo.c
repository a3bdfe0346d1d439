// SPDX-License-Identifier: Apache-2.0
// A daemon and a client that a person can watch: both dial the relay of `weir up`, shake hands with
// Noise through it, and what is typed at the client comes back from the daemon. The relay forwards
// what it cannot read.
//
// The daemon's identity is a file in the state directory, so that a client started apart finds the
// public key it has to trust.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/demo/demo_peer.h"
#include "app/state_dir.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "loop/watch.h"
#include "platform/platform.h"
#include "relay/frame.h"
#include "stream/tls_context.h"
#include "stream/ws_client.h"
#include "sys/file.h"

#define WORKSPACE "demo"
#define TARGET "laptop"
#define LINE_MAX_LEN 2048
#define FRAME_MAX 65536

enum { OPTION_AS, OPTION_PORT, OPTION_PLAIN, OPTION_STATE_DIR, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_AS] = {"--as", "WHO", "daemon or client; both when not given"},
    [OPTION_PORT] = {"--port", "PORT", "of the relay on loopback; 7781"},
    [OPTION_PLAIN] = {"--plain", NULL, "the relay listens without TLS"},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR", "the one of weir up (WEIR_STATE_DIR)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct demo;

struct end {
    struct ws ws;
    struct demo *demo;
    struct demo_session session;
    const char *role;
    char target[6000]; // path and query
    struct buf token;
    bool used;
    bool alive; // connected, and its memory not given back by the transport yet
};

struct demo {
    struct crew crew;
    struct ws_policy policy;
    struct end daemon;
    struct end client;
    struct watch input;
    bool watching_input;
    bool input_ended;
    bool stopping;
    unsigned echoes_due;
    SSL_CTX *tls;
    struct sys_address address;
    uint16_t port;
    uint8_t daemon_key[NOISE_POINT_LEN];
    struct buf line;
    int exit_code;
};

// Says goodbye to the relay; the last end that has gone stops the process.
static void stop(struct demo *demo, int exit_code)
{
    struct end *ends[] = {&demo->client, &demo->daemon};
    bool open = false;
    demo->exit_code = exit_code;
    demo->stopping = true;
    for (size_t i = 0; i < 2; i++) {
        open = open || ends[i]->alive;
        if (ends[i]->alive) {
            ws_close(&ends[i]->ws, &close_DONE);
        }
    }
    if (!open) {
        crew_stop(&demo->crew);
    }
}

static void send_frame(struct end *end, struct buf *frame)
{
    ws_send(&end->ws, WS_TEXT, buf_slice(frame));
    buf_reset(frame);
}

// ---- Input

static void send_line(struct demo *demo, struct slice text)
{
    struct buf frame;
    buf_init(&frame, FRAME_MAX);
    if (text.len > 0 && demo_seal(&demo->client.session, text, &frame)) {
        demo->echoes_due++;
        send_frame(&demo->client, &frame);
    }
    buf_reset(&frame);
}

static void end_when_answered(struct demo *demo)
{
    if (demo->input_ended && demo->echoes_due == 0) {
        stop(demo, EXIT_FINE);
    }
}

static void take_lines(struct demo *demo)
{
    ptrdiff_t end = slice_find(buf_slice(&demo->line), '\n');
    for (; end >= 0; end = slice_find(buf_slice(&demo->line), '\n')) {
        send_line(demo, slice_of(buf_slice(&demo->line).at, (size_t)end));
        buf_consume(&demo->line, (size_t)end + 1);
    }
}

// True when there may be more.
static bool read_input(struct demo *demo)
{
    char chunk[512];
    size_t len = 0;
    enum weir_result result = sys_read_some(STDIN_FILENO, chunk, sizeof chunk, &len);
    if (result == WEIR_AGAIN) {
        return true;
    }
    if (result != WEIR_OK || buf_append(&demo->line, chunk, len) != WEIR_OK) {
        send_line(demo, buf_slice(&demo->line));
        buf_reset(&demo->line);
        demo->input_ended = true;
        end_when_answered(demo);
        return false;
    }
    take_lines(demo);
    return true;
}

static void on_input(struct watch *watch, unsigned events)
{
    struct demo *demo = container_of(watch, struct demo, input);
    (void)events;
    if (!read_input(demo)) {
        watch_want(watch, WATCH_NONE);
    }
}

// A terminal or a pipe is watched; a file cannot be, and is read at once.
static void start_input(struct demo *demo)
{
    if (demo->watching_input) {
        return;
    }
    fputs("type a line; the daemon sends it back (Ctrl-D ends)\n", stderr);
    if (watch_open(&demo->crew.workers[0], &demo->input, STDIN_FILENO, on_input) == WEIR_OK) {
        demo->watching_input = true;
        watch_want(&demo->input, WATCH_READ);
        return;
    }
    while (read_input(demo)) {
        // the whole file
    }
}

// ---- Frames

static void daemon_message(struct end *daemon, struct slice text)
{
    struct buf frame;
    struct buf plain;
    buf_init(&frame, FRAME_MAX);
    buf_init(&plain, FRAME_MAX);
    if (demo_answer_init(&daemon->session, text, &frame)) {
        fprintf(stderr, "daemon: session %s\n", daemon->session.session_id);
        send_frame(daemon, &frame);
    } else if (demo_open(&daemon->session, text, &plain) &&
               demo_seal(&daemon->session, buf_slice(&plain), &frame)) {
        send_frame(daemon, &frame);
    } else {
        fprintf(stderr, "daemon: a frame that is none of ours\n");
    }
    buf_reset(&frame);
    buf_reset(&plain);
}

static void client_message(struct end *client, struct slice text)
{
    struct demo *demo = client->demo;
    struct buf plain;
    buf_init(&plain, FRAME_MAX);
    if (demo_open(&client->session, text, &plain)) {
        printf("echo: %.*s\n", SLICE_ARG(buf_slice(&plain)));
        fflush(stdout);
        demo->echoes_due -= demo->echoes_due > 0;
        end_when_answered(demo);
    } else if (demo_finish(&client->session, text)) {
        fprintf(stderr, "client: session %s, end-to-end encrypted\n",
            client->session.session_id);
        start_input(demo);
    } else {
        fprintf(stderr, "client: the relay says %.*s\n", SLICE_ARG(text));
        stop(demo, EXIT_UNAVAILABLE);
    }
    buf_reset(&plain);
}

static struct end *end_of(struct ws *ws)
{
    return container_of(ws, struct end, ws);
}

static void on_message(struct ws *ws, struct ws_message *message)
{
    struct end *end = end_of(ws);
    struct slice text = slice_of(message->bytes, message->len);
    if (end == &end->demo->daemon) {
        daemon_message(end, text);
    } else {
        client_message(end, text);
    }
}

static void on_drained(struct ws *ws)
{
    (void)ws;
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    struct end *end = end_of(ws);
    if (!end->demo->stopping) {
        fprintf(stderr, "%s: the connection ended: %s\n", end->role, reason->english);
        end->demo->exit_code = EXIT_UNAVAILABLE;
    }
}

static void on_gone(struct ws *ws)
{
    struct end *end = end_of(ws);
    end->alive = false;
    stop(end->demo, end->demo->exit_code);
}

static const struct ws_events ws_events = {on_message, on_drained, on_ended, on_gone};

// ---- Connecting

static void dial(struct end *end);

static void on_connected(void *arg)
{
    struct end *end = arg;
    struct demo *demo = end->demo;
    struct buf frame;
    end->alive = true;
    fprintf(stderr, "%s: connected\n", end->role);
    if (end == &demo->daemon) {
        if (demo->client.used) {
            dial(&demo->client);
        }
        return;
    }
    buf_init(&frame, FRAME_MAX);
    if (demo_begin(&end->session, demo->daemon_key, &frame)) {
        send_frame(end, &frame);
    } else {
        stop(demo, EXIT_FAILED);
    }
}

static void on_failed(void *arg, const char *reason, unsigned status)
{
    struct end *end = arg;
    (void)status; // the reason names it
    fprintf(stderr, "%s: cannot connect to port %u: %s\n", end->role, end->demo->port, reason);
    stop(end->demo, EXIT_UNAVAILABLE);
}

static void dial(struct end *end)
{
    static const struct ws_dial_events events = {on_connected, on_failed};
    struct demo *demo = end->demo;
    struct ws_dial *started = ws_dial_start(&demo->crew.workers[0], &end->ws,
        &(struct ws_dial_options){
            .peer = "the relay",
            .host = "localhost",
            .port = demo->port,
            .target = end->target,
            .token = buf_text(&end->token),
            .tls = demo->tls,
            .verify_host = true,
            .address = demo->address,
            .timeout_ns = 10 * NS_PER_S,
            .policy = &demo->policy,
        },
        &events, end);
    if (started == NULL) {
        on_failed(end, "out of memory or descriptors", 0);
    }
}

static enum weir_result start_worker(struct worker *worker, void *arg)
{
    struct demo *demo = arg;
    enum weir_result result = ws_worker_init(worker, 1024 * 1024);
    if (result == WEIR_OK) {
        dial(demo->daemon.used ? &demo->daemon : &demo->client);
    }
    return result;
}

static void on_input_closed(struct watch *watch)
{
    (void)watch;
}

static void stop_worker(struct worker *worker, void *arg)
{
    struct demo *demo = arg;
    struct end *ends[] = {&demo->daemon, &demo->client};
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->alive) {
            ws_cut(&ends[i]->ws, &close_GOING_AWAY);
        }
    }
    if (demo->watching_input) {
        watch_close(&demo->input, on_input_closed);
    }
    worker_settle(worker);
    ws_worker_fini(worker);
}

// ---- Preparation

static bool load_identity(struct demo *demo, const char *state_dir)
{
    char path[4200];
    struct buf scalar;
    struct noise_keypair pair;
    buf_init(&scalar, NOISE_SCALAR_LEN);
    snprintf(path, sizeof path, "%s/demo-daemon.key", state_dir);
    enum weir_result result = sys_file_read(path, NOISE_SCALAR_LEN, &scalar);
    if (result == WEIR_OK && scalar.len == NOISE_SCALAR_LEN) {
        result = noise_keypair_from_scalar((const uint8_t *)buf_slice(&scalar).at, &pair);
    } else {
        result = noise_keypair_generate(&pair);
        if (result == WEIR_OK) {
            result = sys_file_write_private(
                path, slice_of((const char *)pair.private_scalar, NOISE_SCALAR_LEN));
        }
    }
    buf_reset(&scalar);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir relay demo: cannot use %s: %s\n", path, weir_result_text(result));
        return false;
    }
    demo->daemon.session.static_pair = pair;
    memcpy(demo->daemon_key, pair.public_point, NOISE_POINT_LEN);
    return true;
}

static bool prepare_end(struct end *end, struct demo *demo, const struct platform *platform,
    const char *role, bool used)
{
    end->demo = demo;
    end->role = role;
    end->used = used;
    buf_init(&end->token, 5000);
    snprintf(end->target, sizeof end->target,
        "/ws?role=%s&workspaceId=" WORKSPACE "&runtimeTargetId=" TARGET, role);
    struct relay_token_request request = {
        .role = slice_str(role),
        .workspace_id = SLICE(WORKSPACE),
        .runtime_target_id = SLICE(TARGET),
        .daemon_issue_generation = -1,
    };
    return platform_mint_relay_token(platform, &request, &end->token) == WEIR_OK;
}

static int prepare(struct demo *demo, const char *state_dir, const char *as, bool plain)
{
    enum weir_result result;
    char ca[4200];
    struct platform *platform = platform_open(state_dir, NULL, &result);
    if (platform == NULL) {
        fprintf(stderr, "weir relay demo: cannot use the state directory %s: %s\n", state_dir,
            weir_result_text(result));
        return EXIT_FAILED;
    }
    bool daemon = as == NULL || strcmp(as, "daemon") == 0;
    bool client = as == NULL || strcmp(as, "client") == 0;
    bool ok = prepare_end(&demo->daemon, demo, platform, "workspace-daemon", daemon) &&
              prepare_end(&demo->client, demo, platform, "client", client);
    platform_free(platform);
    snprintf(ca, sizeof ca, "%s/localhost.crt", state_dir);
    if (ok && !plain) {
        demo->tls = tls_client_new(ca, true);
        if (demo->tls == NULL) {
            fprintf(stderr, "weir relay demo: cannot use %s; is weir up running with this state "
                            "directory?\n", ca);
            return EXIT_UNAVAILABLE;
        }
    }
    return ok && load_identity(demo, state_dir) && frame_rules_init() == WEIR_OK ? EXIT_FINE
                                                                                  : EXIT_FAILED;
}

static void demo_free(struct demo *demo)
{
    crew_fini(&demo->crew);
    SSL_CTX_free(demo->tls);
    frame_rules_fini();
    buf_reset(&demo->daemon.token);
    buf_reset(&demo->client.token);
    buf_reset(&demo->line);
    demo_wipe(&demo->daemon.session);
    demo_wipe(&demo->client.session);
    mem_free(demo);
}

static int run_demo(struct demo *demo)
{
    struct crew_hooks hooks = {start_worker, stop_worker, demo};
    demo->policy = (struct ws_policy){.events = &ws_events, .message_max = FRAME_MAX,
        .queue_max = 1024 * 1024, .queue_high = 512 * 1024, .queue_low = 256 * 1024,
        .message_timeout_ns = 60 * NS_PER_S, .client = true};
    buf_init(&demo->line, LINE_MAX_LEN);
    enum weir_result result = sys_address_parse("localhost", demo->port, &demo->address);
    if (result == WEIR_OK) {
        result = crew_init(&demo->crew, 1);
    }
    if (result == WEIR_OK) {
        result = crew_run(&demo->crew, &hooks);
    }
    return result == WEIR_OK ? demo->exit_code : EXIT_FAILED;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    char state_dir[4096];
    uint64_t port = 7781;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    const char *as = values[OPTION_AS];
    bool known = as == NULL || strcmp(as, "daemon") == 0 || strcmp(as, "client") == 0;
    if (count > 0 || !known ||
        (values[OPTION_PORT] != NULL &&
            number_parse_u64(slice_str(values[OPTION_PORT]), 65535, &port) != WEIR_OK)) {
        fputs("weir relay demo: not understood; see weir relay demo --help\n", stderr);
        return EXIT_USAGE;
    }
    if (!state_dir_find(values[OPTION_STATE_DIR], state_dir, sizeof state_dir)) {
        return EXIT_USAGE;
    }
    struct demo *demo = mem_zalloc(sizeof *demo);
    if (demo == NULL) {
        return EXIT_FAILED;
    }
    demo->port = (uint16_t)port;
    exit_code = prepare(demo, state_dir, as, values[OPTION_PLAIN] != NULL);
    if (exit_code == EXIT_FINE) {
        exit_code = run_demo(demo);
    }
    demo_free(demo);
    return exit_code;
}

const struct command command_demo = {
    .name = "relay demo",
    .summary = "A daemon and a client that meet through the relay of weir up and echo what is typed",
    .usage = "",
    .options = options,
    .run = run,
};
