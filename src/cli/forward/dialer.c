// SPDX-License-Identifier: Apache-2.0
// A stream for standard input and output; or for each connection to a listener, which the library
// joins with it.
#include "cli/forward/dialer.h"

#include <stdio.h>

#include "agent/embed.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "cli/forward/stdio_pump.h"
#include "cli/loop.h"
#include "stream/listener.h"

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
    struct weir_stream *stream; // NULL: not dialed, or over
    struct stdio_pump pump;
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

static enum weir_stream_result read_stream(void *arg, void *bytes, size_t size, size_t *ret_len)
{
    struct dialer *dialer = arg;
    return weir_stream_read(dialer->stream, bytes, size, ret_len);
}

static enum weir_stream_result write_stream(
    void *arg, const void *bytes, size_t len, size_t *ret_len)
{
    struct dialer *dialer = arg;
    return weir_stream_write(dialer->stream, bytes, len, ret_len);
}

static void finish_stream(void *arg)
{
    struct dialer *dialer = arg;
    weir_stream_finish(dialer->stream);
}

static void close_stream(void *arg)
{
    struct dialer *dialer = arg;
    weir_stream_close(dialer->stream);
}

static void on_ready(void *arg, struct weir_stream *stream)
{
    struct dialer *dialer = arg;
    (void)stream;
    stdio_pump_ready(&dialer->pump);
}

static void on_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct dialer *dialer = arg;
    dialer->stream = NULL;
    stdio_pump_stop(&dialer->pump);
    if (problem != NULL) {
        complain(dialer, problem->text);
    }
    cli_loop_end(&dialer->loop, problem == NULL ? EXIT_FINE : EXIT_FAILED);
}

static const struct weir_stream_events stdio_events = {
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
    static const struct stdio_ops ops = {read_stream, write_stream, finish_stream, close_stream};
    dialer->stream = dial(dialer, &stdio_events, dialer);
    stdio_pump_open(&dialer->pump, dialer->loop.worker, &ops, dialer);
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

static void stop(struct cli_loop *loop)
{
    struct dialer *dialer = loop->arg;
    if (dialer->listening) {
        dialer->listening = false;
        listener_close(&dialer->listener);
    }
    stdio_pump_close(&dialer->pump);
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
