// SPDX-License-Identifier: Apache-2.0
// Standard input and output:
//
//   stdin ──► in ──► stream ──► stdout      end of input: weir_stream_finish, the answer goes on
//                                           end of the stream: stdout is closed, input goes on
//
// A listener: each connection gets a stream of its own, and the library joins the two.
//
// Invariants
//
// 1. At most INPUT_SIZE bytes are held: nothing is read from stdin before the stream took them.
// 2. Standard input may be a file, which cannot be watched: then it is always ready. Otherwise it
// is
//    read only when it is: it blocks, and stays so, because others share it.
#include "cli/dialer.h"

#include <stdio.h>
#include <unistd.h>

#include "agent/embed.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "cli/loop.h"
#include "stream/listener.h"
#include "sys/file.h"

#define INPUT_SIZE 65536
#define OUTPUT_SIZE 65536
#define PROBLEM_SIZE 512
#define CONNECTIONS_MAX 512
#define AGENT_DIALS_MAX 256

struct dialer {
    const struct dialer_options *options;
    struct cli_loop loop;
    struct weir_agent_loop *agents;
    struct weir_agent *agent;
    struct listener listener;
    bool listening;
    size_t connections;
    // of standard input and output
    struct weir_stream *stream; // NULL: not dialed, or over
    struct watch keys;
    bool keys_open;
    bool opened;
    bool input_ended;
    bool finished;
    bool output_ended;
    struct job again; // input that cannot be watched
    size_t input_len;
    size_t input_at;
    char input[INPUT_SIZE];
};

bool dialer_parse_listen(const char *text, struct sys_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon == NULL ? text : colon + 1;
    struct slice host = colon == NULL ? SLICE("127.0.0.1") : slice_of(text, (size_t)(colon - text));
    char name[IP_TEXT_SIZE];
    uint64_t port;
    if (host.len > 1 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    return number_parse_u64(slice_str(digits), 65535, &port) == WEIR_OK &&
           slice_to_text(host, name, sizeof name) &&
           sys_address_parse(name, (uint16_t)port, ret_address) == WEIR_OK;
}

const char *dialer_endpoint_name(const char *text)
{
    static const char scheme[] = "rstrm:";
    if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
        return NULL;
    }
    text += sizeof scheme - 1;
    text += strncmp(text, "//", 2) == 0 ? 2 : 0;
    return text[0] == '\0' ? NULL : text;
}

static void complain(const struct dialer *dialer, const char *text)
{
    fprintf(stderr, "%s: %s: %s\n", command_program(), dialer->options->target, text);
}

// ---- Standard input and output

static void pump_input(struct dialer *dialer);

static void on_again(struct worker *worker, struct job *job)
{
    (void)worker;
    pump_input(container_of(job, struct dialer, again));
}

// True: there may be more; false: nothing now, or never again.
static bool read_input(struct dialer *dialer)
{
    size_t len = 0;
    if (dialer->keys_open && !sys_wait_readable(STDIN_FILENO, 0)) {
        return false;
    }
    enum weir_result result = sys_read_some(STDIN_FILENO, dialer->input, INPUT_SIZE, &len);
    if (result == WEIR_OK) {
        dialer->input_at = 0;
        dialer->input_len = len;
        return true;
    }
    dialer->input_ended = result != WEIR_AGAIN;
    return false;
}

static bool write_input(struct dialer *dialer)
{
    while (dialer->input_at < dialer->input_len) {
        size_t len = 0;
        if (weir_stream_write(dialer->stream, dialer->input + dialer->input_at,
                dialer->input_len - dialer->input_at, &len) != WEIR_STREAM_OK) {
            return false; // ready, or closed, follows
        }
        dialer->input_at += len;
    }
    return true;
}

// One piece a turn.
static void pump_input(struct dialer *dialer)
{
    if (!dialer->opened || dialer->stream == NULL || dialer->finished) {
        return;
    }
    bool taken = write_input(dialer);
    bool more = taken && !dialer->input_ended && read_input(dialer);
    if (more) {
        taken = write_input(dialer);
    }
    if (taken && dialer->input_ended) {
        dialer->finished = true;
        weir_stream_finish(dialer->stream);
    }
    if (dialer->keys_open) {
        watch_want(&dialer->keys, taken && !dialer->input_ended ? WATCH_READ : WATCH_NONE);
    } else if (more && taken) {
        worker_defer(dialer->loop.worker, &dialer->again, on_again);
    }
}

static void on_keys(struct watch *watch, unsigned events)
{
    (void)events;
    pump_input(container_of(watch, struct dialer, keys));
}

static void pump_output(struct dialer *dialer)
{
    char bytes[OUTPUT_SIZE];
    size_t len = 0;
    enum weir_stream_result result = WEIR_STREAM_OK;
    while (!dialer->output_ended && result == WEIR_STREAM_OK) {
        result = weir_stream_read(dialer->stream, bytes, sizeof bytes, &len);
        if (result == WEIR_STREAM_OK && sys_write_all(STDOUT_FILENO, bytes, len) != WEIR_OK) {
            weir_stream_close(dialer->stream); // nobody reads
            return;
        }
    }
    if (result == WEIR_STREAM_END) {
        dialer->output_ended = true;
        sys_close(STDOUT_FILENO); // who reads it sees the end, too
    }
}

static void on_opened(void *arg, struct weir_stream *stream)
{
    struct dialer *dialer = arg;
    (void)stream;
    dialer->opened = true;
}

static void on_ready(void *arg, struct weir_stream *stream)
{
    struct dialer *dialer = arg;
    (void)stream;
    pump_output(dialer);
    pump_input(dialer);
}

static void on_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct dialer *dialer = arg;
    dialer->stream = NULL;
    if (problem != NULL) {
        complain(dialer, problem->text);
    }
    cli_loop_end(&dialer->loop, problem == NULL ? EXIT_FINE : EXIT_FAILED);
}

static const struct weir_stream_events stdio_events = {
    .opened = on_opened,
    .ready = on_ready,
    .closed = on_closed,
};

static struct weir_stream *dial(
    struct dialer *dialer, const struct weir_stream_events *events, void *arg)
{
    char problem[PROBLEM_SIZE];
    struct weir_stream *stream = weir_stream_dial(dialer->agent,
        &(struct weir_stream_dial_options){
            .size = sizeof(struct weir_stream_dial_options),
            .target = dialer->options->target,
            .timeout_ms = dialer->options->timeout_ms,
        },
        events, arg, problem, sizeof problem);
    if (stream == NULL) {
        complain(dialer, problem);
    }
    return stream;
}

static bool start_stdio(struct dialer *dialer)
{
    dialer->stream = dial(dialer, &stdio_events, dialer);
    dialer->keys_open =
        watch_open(dialer->loop.worker, &dialer->keys, STDIN_FILENO, on_keys) == WEIR_OK;
    return dialer->stream != NULL;
}

// ---- A listener

static void on_joined_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct dialer *dialer = arg;
    if (problem != NULL) {
        complain(dialer, problem->text);
    }
    if (dialer->connections-- == CONNECTIONS_MAX && dialer->listening) {
        listener_resume(&dialer->listener);
    }
}

static const struct weir_stream_events joined_events = {.closed = on_joined_closed};

static void on_accepted(struct listener *listener, int fd, const struct sys_address *peer)
{
    struct dialer *dialer = listener->owner;
    (void)peer;
    struct weir_stream *stream = dial(dialer, &joined_events, dialer);
    if (stream == NULL) {
        sys_close_hard(fd);
        return;
    }
    weir_stream_join(stream, fd);
    if (++dialer->connections == CONNECTIONS_MAX) {
        listener_pause(listener);
    }
}

static bool start_listener(struct dialer *dialer)
{
    struct sys_address address = *dialer->options->listen;
    char ip[IP_TEXT_SIZE];
    int fd;
    enum weir_result result = sys_listen_alone(&address, &fd);
    if (result == WEIR_OK) {
        result = listener_open(&dialer->listener, dialer->loop.worker, fd, on_accepted, dialer);
    }
    ip_to_text(&address.ip, ip);
    dialer->listening = result == WEIR_OK;
    fprintf(stderr, "%s: %s %s port %u%s%s\n", command_program(),
        dialer->listening ? "listening at" : "cannot listen at", ip, address.port,
        dialer->listening ? ", for " : ": ",
        dialer->listening ? dialer->options->target : weir_result_text(result));
    return dialer->listening;
}

// ---- Life

static bool make_agent(struct dialer *dialer)
{
    const struct profile *profile = dialer->options->profile;
    char problem[PROBLEM_SIZE] = "out of memory";
    dialer->agents = weir_agent_loop_embed(dialer->loop.worker);
    if (dialer->agents != NULL) {
        dialer->agent = weir_agent_new(dialer->agents,
            &(struct weir_agent_options){
                .size = sizeof(struct weir_agent_options),
                .engine = profile->engine,
                .token = profile->token,
                .ca_file = profile->ca_file,
                .server_name = profile->server_name,
                .insecure = profile->insecure_skip_verify,
                .dials_max = AGENT_DIALS_MAX,
                .agent_name = "weir",
                .agent_channel = "dial",
            },
            NULL, NULL, problem, sizeof problem);
    }
    if (dialer->agent == NULL) {
        complain(dialer, problem);
    }
    return dialer->agent != NULL;
}

static void start(struct cli_loop *loop)
{
    struct dialer *dialer = loop->arg;
    bool good = make_agent(dialer) &&
                (dialer->options->listen == NULL ? start_stdio(dialer) : start_listener(dialer));
    if (!good) {
        cli_loop_end(loop, EXIT_FAILED);
    }
}

static void on_keys_closed(struct watch *watch)
{
    (void)watch; // its memory outlives the loop
}

static void stop(struct cli_loop *loop)
{
    struct dialer *dialer = loop->arg;
    if (dialer->listening) {
        dialer->listening = false;
        listener_close(&dialer->listener);
    }
    if (dialer->keys_open) {
        dialer->keys_open = false;
        watch_close(&dialer->keys, on_keys_closed);
    }
    weir_agent_loop_free(dialer->agents);
}

int dialer_run(const struct dialer_options *options)
{
    struct dialer *dialer = mem_zalloc(sizeof *dialer);
    if (dialer == NULL) {
        fprintf(stderr, "%s: out of memory\n", command_program());
        return EXIT_FAILED;
    }
    dialer->options = options;
    dialer->loop = (struct cli_loop){.start = start, .stop = stop, .arg = dialer};
    int exit_code = cli_loop_run(&dialer->loop);
    mem_free(dialer);
    return exit_code;
}
