// SPDX-License-Identifier: Apache-2.0
// What is open is brought in line with the plan, over and over:
//
//   start, file changed, SIGHUP ──► plan ──► settle: close what the plan has not, or has otherwise;
//   an agent has closed ───────────────────►         open what the plan has and nobody has open
//
// Invariants
//
// 1. There is one publication of a name at most. One whose key differs from the plan's is closing;
//    only when it has gone, with its host name, the next one opens.
// 2. A broken file changes nothing: the plan is replaced as a whole or not at all.
// 3. What was refused for good stays as a publication without an agent, so that it is not asked for
//    again before the file says something else.
#include "cli/runner.h"

#include <stdio.h>

#include "agent/embed.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/plain.h"
#include "cli/print.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 30000
#define DRAIN_MS 3000
#define PROBLEM_SIZE 512
#define SAY_MAX 4096

struct runner {
    const struct runner_options *options;
    struct run_plan plan;
    struct cli_loop loop;
    struct weir_agent_loop *agents;
    struct list publications;
    struct file_watch watch;
    struct inspector inspector;
    bool inspecting;
    bool closing;
};

struct publication {
    struct list node;
    struct runner *runner;
    char *name; // owned, as key and forward
    char *forward;
    char *key;
    size_t key_len;
    struct weir_agent *agent; // NULL: it has gone
    struct timer again;       // after the engine closed the tunnel
    uint64_t wait_ms;
    bool closing;
};

// ---- Saying

static void say(struct publication *publication, const char *state, const char *address,
    const char *problem, uint32_t retry_ms)
{
    struct runner *runner = publication->runner;
    struct buf out = BUF_INIT(SAY_MAX);
    if (runner->options->json) {
        struct json_writer writer;
        char iso[TIME_ISO_SIZE];
        time_to_iso(sys_wall_ms(), iso);
        json_writer_init(&writer, &out);
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "date", iso);
        jsonw_text(&writer, "tunnel", publication->name);
        jsonw_text(&writer, "status", state);
        jsonw_text(&writer, "forwarded", publication->forward);
        if (address != NULL) {
            jsonw_text(&writer, "forwarding", address);
        }
        if (problem != NULL) {
            jsonw_text(&writer, "problem", problem);
        }
        if (retry_ms > 0) {
            jsonw_u64(&writer, "retry_ms", retry_ms);
        }
        jsonw_object_end(&writer);
    } else {
        buf_printf(&out, "%s: %s", publication->name, state);
        if (address != NULL) {
            buf_printf(&out, ": %s -> %s", address, publication->forward);
        }
        if (problem != NULL) {
            buf_append_str(&out, ": ");
            (void)plain_append(&out, slice_str(problem)); // out.failed is looked at below
        }
        if (retry_ms > 0) {
            buf_printf(&out, "; again in %.1f s", retry_ms / 1000.0);
        }
    }
    buf_append_byte(&out, '\n');
    if (!out.failed && !print_buf(&out)) {
        cli_loop_end(&runner->loop, EXIT_FAILED); // nobody reads
    }
    buf_reset(&out);
}

static const char *text_of(const struct weir_agent_problem *problem)
{
    return problem == NULL ? NULL : problem->text;
}

// ---- Publications

static void settle(struct runner *runner);

static void publication_free(struct publication *publication)
{
    timer_cancel(&publication->again);
    list_remove(&publication->node);
    mem_free(publication->name);
    mem_free(publication->forward);
    mem_free(publication->key);
    mem_free(publication);
}

static void close_publication(struct publication *publication)
{
    publication->closing = true;
    timer_cancel(&publication->again);
    if (publication->agent != NULL) {
        weir_agent_close(publication->agent, DRAIN_MS);
    }
}

// It will not be tried again before the file changes.
static void give_up(struct publication *publication, const struct weir_agent_problem *problem)
{
    if (!publication->closing) {
        say(publication, "stopped", NULL, text_of(problem), 0);
        timer_cancel(&publication->again);
        weir_agent_close(publication->agent, 0);
    }
}

static void on_agent_state(
    void *arg, struct weir_agent *agent, const struct weir_agent_status *status)
{
    struct publication *publication = arg;
    (void)agent;
    switch (status->state) {
    case WEIR_AGENT_CONNECTING:
        say(publication, "connecting", NULL, NULL, 0);
        break;
    case WEIR_AGENT_WAITING:
        say(publication, "disconnected", NULL, text_of(status->problem), status->retry_in_ms);
        break;
    case WEIR_AGENT_FAILED:
        give_up(publication, status->problem);
        break;
    case WEIR_AGENT_CLOSED:
        publication->agent = NULL;
        if (publication->closing) {
            say(publication, "closed", NULL, NULL, 0);
        }
        settle(publication->runner);
        break;
    case WEIR_AGENT_IDLE:
    case WEIR_AGENT_ONLINE: // the tunnel's state says it
    case WEIR_AGENT_CLOSING:
        break;
    }
}

static void on_message(void *arg, struct weir_agent *agent, const char *text)
{
    (void)agent;
    say(arg, "the engine says", NULL, text, 0);
}

static void wait_and_reopen(struct publication *publication)
{
    uint64_t wait_ms = publication->wait_ms == 0 ? RETRY_MIN_MS : 2 * publication->wait_ms;
    publication->wait_ms = wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
    worker_arm_in(
        publication->runner->loop.worker, &publication->again, time_from_ms(publication->wait_ms));
}

static void on_tunnel_state(
    void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    struct publication *publication = arg;
    (void)tunnel;
    switch (status->state) {
    case WEIR_TUNNEL_ONLINE:
        publication->wait_ms = 0;
        say(publication, "online", status->info->address, NULL, 0);
        break;
    case WEIR_TUNNEL_REFUSED:
        if (status->retry_in_ms == 0) {
            give_up(publication, status->problem);
        } else {
            say(publication, "refused", NULL, text_of(status->problem), status->retry_in_ms);
        }
        break;
    case WEIR_TUNNEL_CLOSING:
        if (status->problem != NULL && !publication->closing) {
            wait_and_reopen(publication); // the engine closed it
            say(publication, "closed", NULL, status->problem->text, (uint32_t)publication->wait_ms);
        }
        break;
    case WEIR_TUNNEL_CLOSED:
    case WEIR_TUNNEL_OPENING:
    case WEIR_TUNNEL_OFFLINE: // the agent's state says it
        break;
    }
}

static void on_stream_refused(void *arg, struct weir_tunnel *tunnel,
    struct weir_stream_info *stream, const struct weir_agent_problem *problem)
{
    (void)tunnel;
    (void)stream;
    say(arg, "a visitor got no stream", NULL, problem->text, 0);
}

static void on_stream_opened(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream)
{
    struct publication *publication = arg;
    (void)tunnel;
    if (publication->runner->inspecting) {
        stream->user = inspector_tap_open(&publication->runner->inspector, publication->name,
            publication->forward, stream->id, stream->source_ip);
    }
}

static void on_stream_closed(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
    const struct weir_stream_totals *totals, const struct weir_agent_problem *problem)
{
    struct publication *publication = arg;
    (void)tunnel;
    (void)totals;
    (void)problem;
    if (publication->runner->inspecting) {
        inspector_tap_close(&publication->runner->inspector, stream->user);
    }
}

static void on_tap(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
    enum weir_stream_direction direction, const void *bytes, size_t len)
{
    struct publication *publication = arg;
    (void)tunnel;
    inspector_tap_feed(&publication->runner->inspector, stream->user,
        direction == WEIR_STREAM_IN ? CAPTURE_REQUEST : CAPTURE_ANSWER, slice_of(bytes, len));
}

static const struct run_tunnel *wanted(
    const struct runner *runner, const char *name, size_t *ret_at)
{
    const struct run_tunnel *tunnel = run_file_find(&runner->plan.file, name);
    *ret_at = tunnel == NULL ? 0 : (size_t)(tunnel - runner->plan.file.tunnels);
    return tunnel;
}

// False: it has been said why.
static bool open_tunnel(struct publication *publication)
{
    static const struct weir_tunnel_events events = {
        .state = on_tunnel_state,
        .stream_opened = on_stream_opened,
        .stream_closed = on_stream_closed,
        .stream_refused = on_stream_refused,
    };
    struct runner *runner = publication->runner;
    struct weir_tunnel_events own = events;
    char problem[PROBLEM_SIZE] = "";
    size_t at;
    const struct run_tunnel *tunnel = wanted(runner, publication->name, &at);
    own.tap = runner->inspecting ? on_tap : NULL;
    bool open = weir_tunnel_open(publication->agent, &tunnel->options, &own, publication, problem,
                    sizeof problem) != NULL;
    if (!open) {
        say(publication, "stopped", NULL, problem, 0);
        weir_agent_close(publication->agent, 0);
    }
    return open;
}

static void on_again(struct timer *timer)
{
    (void)open_tunnel(container_of(timer, struct publication, again)); // it says why not
}

static struct publication *publication_new(struct runner *runner, size_t at)
{
    const struct run_tunnel *tunnel = &runner->plan.file.tunnels[at];
    struct slice key = runner->plan.keys[at];
    struct publication *publication = mem_zalloc(sizeof *publication);
    if (publication == NULL) {
        return NULL;
    }
    publication->runner = runner;
    publication->name = mem_copy(tunnel->name, strlen(tunnel->name));
    publication->forward = mem_copy(tunnel->forward, strlen(tunnel->forward));
    publication->key = mem_copy(key.at, key.len);
    publication->key_len = key.len;
    timer_init(&publication->again, on_again);
    list_init(&publication->node);
    if (publication->name == NULL || publication->forward == NULL || publication->key == NULL) {
        publication_free(publication);
        return NULL;
    }
    list_push_back(&runner->publications, &publication->node);
    return publication;
}

static void open_publication(struct runner *runner, size_t at)
{
    static const struct weir_agent_events events = {
        .state = on_agent_state,
        .message = on_message,
    };
    const struct profile *profile = &runner->plan.profiles[at];
    char problem[PROBLEM_SIZE] = "";
    struct publication *publication = publication_new(runner, at);
    if (publication == NULL) {
        fputs("weir run: out of memory\n", stderr);
        cli_loop_end(&runner->loop, EXIT_FAILED);
        return;
    }
    publication->agent = weir_agent_new(runner->agents,
        &(struct weir_agent_options){
            .size = sizeof(struct weir_agent_options),
            .engine = profile->engine,
            .token = profile->token,
            .ca_file = profile->ca_file,
            .server_name = profile->server_name,
            .insecure = profile->insecure_skip_verify,
            .retry_min_ms = RETRY_MIN_MS,
            .retry_max_ms = RETRY_MAX_MS,
            .agent_name = "weir",
            .agent_channel = "run",
        },
        &events, publication, problem, sizeof problem);
    if (publication->agent == NULL) {
        say(publication, "stopped", NULL, problem, 0);
    } else if (open_tunnel(publication)) {
        weir_agent_connect(publication->agent);
    }
}

// ---- In line with the plan

static bool is_as_wanted(const struct runner *runner, const struct publication *publication)
{
    size_t at;
    return !runner->closing && wanted(runner, publication->name, &at) != NULL &&
           slice_eq(runner->plan.keys[at], slice_of(publication->key, publication->key_len));
}

static bool is_there(const struct runner *runner, const char *name)
{
    list_for_each (node, &runner->publications) {
        if (strcmp(container_of(node, struct publication, node)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_any_alive(const struct runner *runner)
{
    list_for_each (node, &runner->publications) {
        if (container_of(node, struct publication, node)->agent != NULL) {
            return true;
        }
    }
    return false;
}

static void settle(struct runner *runner)
{
    list_for_each_safe (node, &runner->publications) {
        struct publication *publication = container_of(node, struct publication, node);
        bool stays = !publication->closing && is_as_wanted(runner, publication);
        if (!stays && publication->agent == NULL) {
            publication_free(publication);
        } else if (!stays && !publication->closing) {
            close_publication(publication);
        }
    }
    for (size_t i = 0; !runner->closing && i < runner->plan.file.tunnel_count; i++) {
        if (!is_there(runner, runner->plan.file.tunnels[i].name)) {
            open_publication(runner, i);
        }
    }
    if (!is_any_alive(runner)) {
        cli_loop_end(&runner->loop, runner->closing ? EXIT_FINE : EXIT_FAILED);
    }
}

static void say_problems(struct conf_problems *problems)
{
    (void)command_print_problems(problems); // the caller knows whether there are errors
}

static void reload(struct runner *runner)
{
    const struct runner_options *options = runner->options;
    struct run_plan fresh;
    struct conf_problems problems;
    if (runner->closing) {
        return;
    }
    conf_problems_init(&problems);
    bool good = run_plan_load(
        options->path, options->ask, options->variables, sys_wall_ms(), &fresh, &problems);
    say_problems(&problems);
    conf_problems_fini(&problems);
    if (!good) {
        run_plan_close(&fresh);
        fprintf(stderr, "%s run: %s is not used; everything stays as it is\n", command_program(),
            options->path);
        return;
    }
    run_plan_close(&runner->plan);
    runner->plan = fresh;
    settle(runner);
}

static void on_file(struct file_watch *watch)
{
    reload(container_of(watch, struct runner, watch));
}

// ---- Life

static void on_hangup(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    list_for_each (node, &runner->publications) {
        struct publication *publication = container_of(node, struct publication, node);
        if (publication->agent != NULL) {
            weir_agent_nudge(publication->agent);
        }
    }
    reload(runner);
}

static void on_interrupt(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    bool again = runner->closing;
    runner->closing = true;
    list_for_each (node, &runner->publications) {
        struct publication *publication = container_of(node, struct publication, node);
        if (again && publication->agent != NULL) {
            weir_agent_close(publication->agent, 0);
        }
    }
    settle(runner);
}

static bool open_inspector(struct runner *runner)
{
    char problem[PROBLEM_SIZE];
    if (runner->options->inspect == NULL) {
        return true;
    }
    runner->inspecting = inspector_open(&runner->inspector, runner->loop.worker,
        &(struct inspector_options){
            .address = runner->options->inspect,
            .secrets = runner->options->inspect_secrets,
            .anywhere = runner->options->inspect_anywhere,
        },
        problem, sizeof problem);
    if (!runner->inspecting) {
        fprintf(stderr, "%s run: %s\n", command_program(), problem);
        return false;
    }
    fprintf(stderr, "%s run: inspector at %s\n", command_program(), runner->inspector.url);
    return true;
}

static void start(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    runner->agents = weir_agent_loop_embed(loop->worker);
    if (runner->agents == NULL || !open_inspector(runner)) {
        cli_loop_end(loop, EXIT_FAILED);
        return;
    }
    if (runner->options->watch) {
        file_watch_open(&runner->watch, loop->worker, runner->options->path, on_file);
    }
    settle(runner);
}

static void stop(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    runner->closing = true;
    file_watch_close(&runner->watch);
    weir_agent_loop_free(runner->agents);
    inspector_close(&runner->inspector);
    list_for_each_safe (node, &runner->publications) {
        publication_free(container_of(node, struct publication, node));
    }
}

int runner_run(const struct runner_options *options, struct run_plan *plan)
{
    struct runner runner = {.options = options, .plan = *plan};
    *plan = (struct run_plan){0};
    list_init(&runner.publications);
    runner.loop = (struct cli_loop){
        .start = start,
        .stop = stop,
        .interrupt = on_interrupt,
        .hangup = on_hangup,
        .arg = &runner,
    };
    int exit_code = cli_loop_run(&runner.loop);
    run_plan_close(&runner.plan);
    return exit_code;
}
