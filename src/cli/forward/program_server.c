// SPDX-License-Identifier: Apache-2.0
// A stream comes ──► a pair of sockets: `ours` is joined to the stream by the library, `theirs` is
// the program's standard input and output.
//
//   spawned ──► it runs: joined ──► it ends by itself: the end of its output, its input runs dry
//          │                   └──► it is killed: the stream is cut
//          └──► it cannot be run: the stream is refused
//
// Invariants
//
// 1. A child is freed when its program was reaped, its stream has closed and its watches too,
//    whichever is last.
// 2. A stream that breaks, and our own end, end the program: nobody listens to it any more.
// 3. We hold `theirs` as long as the program runs, so the visitor sees no end before it is known
//    how the program ended. What it wrote arrives whole then, whatever it left unread: that is
//    read and dropped, so that nothing breaks on it, for LINGER_NS at most.
#include "cli/forward/program_server.h"

#include <stdio.h>

#include "agent/embed.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/loop.h"
#include "loop/watch.h"
#include "sys/socket.h"
#include "sys/spawn.h"

#define CHILDREN_MAX 64
#define PROBLEM_SIZE 512
#define DRAIN_MS 1000
#define LINGER_NS (10 * NS_PER_S)
#define DROP_PIECES 16 // of what the visitor still says, a turn

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
    struct weir_stream *stream; // NULL: over
    struct sys_child process;
    struct watch started; // the report of the process; while `starting`
    struct watch ended;   // the process; while `running`
    struct watch unread;  // `theirs`, after the end; while `dropping`
    struct timer linger;
    bool starting;
    bool running;
    bool dropping;
    int ours;   // -1: the library's
    int theirs; // -1: closed
};

static void say(const struct server *server, const char *what, const char *text)
{
    fprintf(stderr, "%s nc: %s: %s%s%s\n", command_program(), server->options->name, what,
        text[0] == '\0' ? "" : ": ", text);
}

// ---- The end

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        sys_close(*fd);
        *fd = -1;
    }
}

static void child_let_go(struct child *child)
{
    if (child->stream == NULL && !child->starting && !child->running && !child->dropping) {
        timer_cancel(&child->linger);
        close_fd(&child->ours);
        close_fd(&child->theirs);
        child->server->child_count--;
        list_remove(&child->node);
        mem_free(child);
    }
}

static void on_started_closed(struct watch *watch)
{
    struct child *child = container_of(watch, struct child, started);
    child->starting = false;
    child_let_go(child);
}

static void on_ended_closed(struct watch *watch)
{
    struct child *child = container_of(watch, struct child, ended);
    child->running = false;
    child_let_go(child);
}

static void on_unread_closed(struct watch *watch)
{
    struct child *child = container_of(watch, struct child, unread);
    child->dropping = false;
    child_let_go(child);
}

static void on_stream_closed(void *arg, const struct weir_agent_problem *problem)
{
    struct child *child = arg;
    child->stream = NULL;
    if (problem != NULL && child->process.handle >= 0) {
        sys_child_terminate(&child->process);
    }
    child_let_go(child);
}

// ---- What a program leaves unread

static void on_unread(struct watch *watch, unsigned events)
{
    struct child *child = container_of(watch, struct child, unread);
    struct worker *worker = watch->worker;
    enum weir_result result = WEIR_OK;
    (void)events;
    for (int i = 0; i < DROP_PIECES && result == WEIR_OK; i++) {
        size_t len;
        result = sys_recv(child->theirs, worker->read_area, WORKER_READ_AREA_SIZE, &len);
    }
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        watch_close(watch, on_unread_closed);
    }
}

static void on_linger(struct timer *timer)
{
    struct child *child = container_of(timer, struct child, linger);
    if (child->stream != NULL) {
        weir_stream_close(child->stream);
    }
}

static void drop_unread(struct child *child)
{
    struct worker *worker = child->server->loop.worker;
    sys_shutdown_send(child->theirs);
    child->dropping = sys_adopt(child->theirs) == WEIR_OK &&
                      watch_open(worker, &child->unread, child->theirs, on_unread) == WEIR_OK;
    if (child->dropping) {
        watch_want(&child->unread, WATCH_READ);
    }
    worker_arm_in(worker, &child->linger, LINGER_NS);
}

// ---- Programs

static void join(struct child *child)
{
    if (child->stream != NULL && child->ours >= 0) {
        weir_stream_join(child->stream, child->ours);
        child->ours = -1;
    }
}

static void on_started(struct watch *watch, unsigned events)
{
    struct child *child = container_of(watch, struct child, started);
    (void)events;
    if (sys_child_runs(&child->process)) {
        join(child);
    } // else its end follows, and says why
    watch_close(watch, on_started_closed);
}

static void settle(struct child *child, const struct sys_exit *exit)
{
    const char *program = child->server->options->argv[0];
    char how[64];
    if (exit->started != WEIR_OK) {
        say(child->server, program, weir_result_text(exit->started));
        if (child->stream != NULL) {
            weir_stream_refuse(child->stream, "the program cannot be run");
        }
    } else if (exit->signal != 0) {
        snprintf(how, sizeof how, "ended by signal %d", exit->signal);
        say(child->server, program, how);
        if (child->stream != NULL) {
            weir_stream_close(child->stream);
        }
    } else {
        if (exit->code != 0) {
            snprintf(how, sizeof how, "exit status %d", exit->code);
            say(child->server, program, how);
        }
        join(child); // when both words come at once, this one may be the first
        drop_unread(child);
    }
}

static void close_process(struct child *child)
{
    if (child->starting) {
        watch_close(&child->started, on_started_closed);
    }
    if (child->running) {
        watch_close(&child->ended, on_ended_closed);
    }
    sys_child_close(&child->process);
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
    close_process(child);
    if (result == WEIR_OK) {
        settle(child, &exit);
    } else if (child->stream != NULL) {
        weir_stream_close(child->stream);
    }
}

static enum weir_result watch_process(struct child *child)
{
    struct worker *worker = child->server->loop.worker;
    enum weir_result result = watch_open(worker, &child->ended, child->process.handle, on_ended);
    if (result != WEIR_OK) {
        return result;
    }
    child->running = true;
    watch_want(&child->ended, WATCH_READ);
    result = watch_open(worker, &child->started, child->process.report, on_started);
    child->starting = result == WEIR_OK;
    if (child->starting) {
        watch_want(&child->started, WATCH_READ);
    }
    return result;
}

// False: there is no program; it has been said why.
static bool start_program(struct child *child)
{
    enum weir_result result = sys_socket_pair(&child->ours, &child->theirs);
    if (result == WEIR_OK) {
        result = sys_spawn(&(struct sys_spawn_options){.argv = child->server->options->argv,
                               .stdio = &child->theirs},
            &child->process);
        if (result == WEIR_OK) {
            sys_close(child->process.output); // nothing comes there
            result = watch_process(child);
        }
        if (result != WEIR_OK && child->process.handle >= 0) {
            sys_child_kill(&child->process);
            close_process(child);
        }
    }
    if (result != WEIR_OK) {
        say(child->server, child->server->options->argv[0], weir_result_text(result));
    }
    return result == WEIR_OK;
}
static struct child *child_new(struct server *server)
{
    struct child *child = server->child_count < CHILDREN_MAX ? mem_zalloc(sizeof *child) : NULL;
    if (child != NULL) {
        child->server = server;
        child->ours = child->theirs = -1;
        child->process.handle = -1;
        timer_init(&child->linger, on_linger);
        list_init(&child->node);
        list_push_back(&server->children, &child->node);
        server->child_count++;
    }
    return child;
}

static void on_accept(void *arg, struct weir_tunnel *tunnel, struct weir_stream *stream,
    const struct weir_stream_info *info)
{
    static const struct weir_stream_events events = {.closed = on_stream_closed};
    struct child *child = child_new(arg);
    (void)tunnel;
    (void)info;
    if (child == NULL) {
        weir_stream_refuse(stream, "too many programs run");
    } else if (!start_program(child)) {
        weir_stream_refuse(stream, "the program cannot be run");
        child_let_go(child);
    } else {
        child->stream = stream;
        weir_stream_take(stream, &events, child);
    }
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
        if (child->process.handle >= 0) {
            sys_child_kill(&child->process);
            close_process(child);
        }
        if (child->dropping) {
            watch_close(&child->unread, on_unread_closed);
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
