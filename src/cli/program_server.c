// SPDX-License-Identifier: Apache-2.0
// A stream comes ──► a pair of sockets: one for the program, one joined to the stream by the
// library.
//
// Invariants
//
// 1. A child is freed when its program was reaped and its stream has closed, whichever is later.
// 2. A stream that breaks, and our own end, end the program: nobody listens to it any more.
#include "cli/program_server.h"

#include <stdio.h>

#include "agent/embed.h"
#include "base/list.h"
#include "base/mem.h"
#include "cli/loop.h"
#include "loop/watch.h"
#include "sys/socket.h"
#include "sys/spawn.h"

#define CHILDREN_MAX 64
#define PROBLEM_SIZE 512
#define DRAIN_MS 1000

struct server {
    const struct program_server_options *options;
    struct cli_loop loop;
    struct weir_agent_loop *agents;
    struct weir_agent *agent;
    struct list children;
    size_t child_count;
};

struct child {
    struct list node;
    struct server *server;
    struct sys_child process;
    struct watch ended;
    bool streaming;
    bool running;
};

static void say(const struct server *server, const char *what, const char *text)
{
    fprintf(stderr, "%s nc: %s: %s%s%s\n", command_program(), server->options->name, what,
        text[0] == '\0' ? "" : ": ", text);
}

// ---- Programs

static void child_let_go(struct child *child)
{
    if (!child->streaming && !child->running) {
        child->server->child_count--;
        list_remove(&child->node);
        mem_free(child);
    }
}

static void on_watch_closed(struct watch *watch)
{
    struct child *child = container_of(watch, struct child, ended);
    child->running = false;
    child_let_go(child);
}

static void on_ended(struct watch *watch, unsigned events)
{
    struct child *child = container_of(watch, struct child, ended);
    struct sys_exit exit;
    (void)events;
    enum weir_result result = sys_child_reap(&child->process, &exit);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK && exit.started != WEIR_OK) {
        say(child->server, child->server->options->argv[0], weir_result_text(exit.started));
    }
    sys_child_close(&child->process);
    watch_close(watch, on_watch_closed);
}

static void on_stream_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct child *child = arg;
    child->streaming = false;
    if (problem != NULL && child->running) {
        sys_child_terminate(&child->process);
    }
    child_let_go(child);
}

// False: there is no program, and the descriptors are closed.
static bool start_program(struct child *child, int *ret_fd)
{
    int other;
    if (sys_socket_pair(ret_fd, &other) != WEIR_OK) {
        return false;
    }
    enum weir_result result = sys_spawn(
        &(struct sys_spawn_options){.argv = child->server->options->argv, .stdio = &other},
        &child->process);
    sys_close(other);
    if (result == WEIR_OK) {
        sys_close(child->process.output); // nothing comes there
        result =
            watch_open(child->server->loop.worker, &child->ended, child->process.handle, on_ended);
        child->running = result == WEIR_OK;
        if (!child->running) {
            sys_child_kill(&child->process);
            sys_child_close(&child->process);
        }
    }
    if (result != WEIR_OK) {
        say(child->server, child->server->options->argv[0], weir_result_text(result));
        sys_close(*ret_fd);
        return false;
    }
    watch_want(&child->ended, WATCH_READ);
    return true;
}

static void on_accept(void *arg, struct weir_tunnel *tunnel, struct weir_stream *stream,
    const struct weir_stream_info *info)
{
    static const struct weir_stream_events events = {.closed = on_stream_closed};
    struct server *server = arg;
    struct child *child = server->child_count < CHILDREN_MAX ? mem_zalloc(sizeof *child) : NULL;
    int fd;
    (void)tunnel;
    (void)info;
    if (child == NULL) {
        weir_stream_refuse(stream, "too many programs run");
        return;
    }
    child->server = server;
    list_init(&child->node);
    list_push_back(&server->children, &child->node);
    server->child_count++;
    if (!start_program(child, &fd)) {
        weir_stream_refuse(stream, "the program cannot be run");
        child_let_go(child);
        return;
    }
    child->streaming = true;
    weir_stream_take(stream, &events, child);
    weir_stream_join(stream, fd);
}

// ---- The tunnel

static void end(struct server *server)
{
    server->loop.exit_code = EXIT_FAILED;
    if (server->agent != NULL) {
        weir_agent_close(server->agent, 0);
    } else {
        cli_loop_end(&server->loop, EXIT_FAILED);
    }
}

static void on_agent_state(
    void *arg, struct weir_agent *agent, const struct weir_agent_status *status)
{
    struct server *server = arg;
    (void)agent;
    if (status->state == WEIR_AGENT_WAITING) {
        say(server, "disconnected", status->problem->text);
    } else if (status->state == WEIR_AGENT_FAILED) {
        say(server, "stopped", status->problem->text);
        end(server);
    } else if (status->state == WEIR_AGENT_CLOSED) {
        server->agent = NULL;
        cli_loop_end(&server->loop, server->loop.exit_code);
    }
}

static void on_tunnel_state(
    void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    struct server *server = arg;
    (void)tunnel;
    if (status->state == WEIR_TUNNEL_ONLINE) {
        say(server, "online", status->info->address);
    } else if (status->state == WEIR_TUNNEL_REFUSED) {
        say(server, "refused", status->problem->text);
    }
    bool over = status->state == WEIR_TUNNEL_CLOSING && status->problem != NULL;
    if (over || (status->state == WEIR_TUNNEL_REFUSED && status->retry_in_ms == 0)) {
        end(server);
    }
}

// ---- Life

static bool open_agent(struct server *server, char *problem, size_t size)
{
    static const struct weir_agent_events events = {.state = on_agent_state};
    static const struct weir_tunnel_events tunnel_events = {
        .state = on_tunnel_state, .accept = on_accept};
    const struct profile *profile = server->options->profile;
    server->agents = weir_agent_loop_embed(server->loop.worker);
    if (server->agents == NULL) {
        snprintf(problem, size, "out of memory");
        return false;
    }
    server->agent = weir_agent_new(server->agents,
        &(struct weir_agent_options){
            .size = sizeof(struct weir_agent_options),
            .engine = profile->engine,
            .token = profile->token,
            .ca_file = profile->ca_file,
            .server_name = profile->server_name,
            .insecure = profile->insecure_skip_verify,
            .agent_name = "weir",
            .agent_channel = "nc",
        },
        &events, server, problem, size);
    const struct weir_tunnel_options options = {
        .size = sizeof options,
        .name = server->options->name,
        .type = "bytestream",
        .publish = WEIR_TUNNEL_NO,
    };
    return server->agent != NULL &&
           weir_tunnel_open(server->agent, &options, &tunnel_events, server, problem, size) != NULL;
}

static void start(struct cli_loop *loop)
{
    struct server *server = loop->arg;
    char problem[PROBLEM_SIZE];
    if (open_agent(server, problem, sizeof problem)) {
        weir_agent_connect(server->agent);
    } else {
        say(server, "stopped", problem);
        cli_loop_end(loop, EXIT_FAILED);
    }
}

static void on_interrupt(struct cli_loop *loop)
{
    struct server *server = loop->arg;
    if (server->agent != NULL) {
        weir_agent_close(server->agent, DRAIN_MS);
    }
}

static void stop(struct cli_loop *loop)
{
    struct server *server = loop->arg;
    weir_agent_loop_free(server->agents);
    list_for_each (node, &server->children) {
        struct child *child = container_of(node, struct child, node);
        if (child->running) {
            sys_child_kill(&child->process);
            sys_child_close(&child->process);
            watch_close(&child->ended, on_watch_closed);
        }
    }
    worker_settle(loop->worker);
}

int program_server_run(const struct program_server_options *options)
{
    struct server server = {.options = options};
    list_init(&server.children);
    server.loop =
        (struct cli_loop){.start = start, .stop = stop, .interrupt = on_interrupt, .arg = &server};
    return cli_loop_run(&server.loop);
}
