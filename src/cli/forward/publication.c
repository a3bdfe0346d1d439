// SPDX-License-Identifier: Apache-2.0
//   joined to a link ──► tunnel ──► online ◄──► offline, refused for now
//                          │
//                          ├─ the engine closes it: again after ever longer waits
//                          ├─ refused for good: no tunnel, no link, but it stays
//                          └─ closed by us: its streams have RUN_DRAIN_MS; then it is freed
//
// Invariants
//
// 1. A new tunnel is opened only when the one before has gone, with its host name.
// 2. `link` is set exactly while it is one of the link's users.
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/run/runner_internal.h"
#include "sys/entropy.h"

static void open_tunnel(struct publication *publication);

struct publication *publication_of_user(struct list *user)
{
    return container_of(user, struct publication, user);
}

void publication_say(struct publication *publication, const char *state,
    const struct weir_agent_problem *problem, uint32_t retry_ms)
{
    runner_say(publication->runner, &(struct run_news){
                                        .key = "tunnel",
                                        .of = publication->name,
                                        .state = state,
                                        .forward = publication->forward,
                                        .problem = problem == NULL ? NULL : problem->text,
                                        .retry_ms = retry_ms,
                                    });
}

static void say_address(struct publication *publication, const char *address)
{
    runner_say(publication->runner, &(struct run_news){
                                        .key = "tunnel",
                                        .of = publication->name,
                                        .state = "online",
                                        .forward = publication->forward,
                                        .address = address,
                                    });
}

// ---- The end

static void leave(struct publication *publication)
{
    if (publication->link != NULL) {
        struct run_link *link = publication->link;
        publication->link = NULL;
        run_link_leave(link, &publication->user);
    }
}

void publication_give_up(struct publication *publication, const char *problem)
{
    if (publication->closing) {
        return;
    }
    struct weir_agent_problem said = {.text = problem};
    publication_say(publication, "stopped", &said, 0);
    timer_cancel(&publication->timer);
    publication->reopen = false;
    if (publication->tunnel != NULL) {
        weir_tunnel_close(publication->tunnel);
    } else {
        leave(publication);
    }
}

void publication_close(struct publication *publication)
{
    publication->closing = true;
    publication->reopen = false;
    timer_cancel(&publication->timer);
    if (publication->tunnel != NULL) {
        weir_tunnel_close(publication->tunnel);
        worker_arm_in(
            publication->runner->loop.worker, &publication->timer, time_from_ms(RUN_DRAIN_MS));
    } else if (publication->link != NULL) {
        publication_say(publication, "closed", NULL, 0);
        leave(publication);
    }
}

bool publication_is_over(const struct publication *publication)
{
    return publication->link == NULL;
}

void publication_free(struct publication *publication)
{
    timer_cancel(&publication->timer);
    list_remove(&publication->node);
    mem_free(publication->name);
    mem_free(publication->forward);
    mem_free(publication->key);
    mem_free(publication);
}

// ---- What the tunnel says

static uint32_t random_number(void)
{
    uint32_t number = 0; // without entropy: the longest wait but its random part
    enum weir_result result = sys_entropy(&number, sizeof number);
    (void)result;
    return number;
}

static void on_closing(struct publication *publication, const struct weir_agent_problem *problem)
{
    if (problem == NULL || publication->closing) {
        return;
    }
    // The engine closed it. Its streams have until then.
    uint32_t wait_ms = backoff_next(&publication->backoff, random_number());
    publication->reopen = true;
    worker_arm_in(publication->runner->loop.worker, &publication->timer, time_from_ms(wait_ms));
    publication_say(publication, "closed", problem, wait_ms);
}

// After this the publication may be no more.
static void on_closed(struct publication *publication)
{
    publication->tunnel = NULL;
    if (publication->closing) {
        publication_say(publication, "closed", NULL, 0);
    } else if (publication->reopen) {
        if (!timer_armed(&publication->timer)) {
            open_tunnel(publication);
        }
        return;
    }
    struct runner *runner = publication->runner;
    leave(publication);
    runner_settle(runner);
}

static void on_tunnel_state(
    void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status)
{
    struct publication *publication = arg;
    (void)tunnel;
    switch (status->state) {
    case WEIR_TUNNEL_ONLINE:
        publication->backoff.attempts = 1;
        say_address(publication, status->info->address);
        break;
    case WEIR_TUNNEL_REFUSED:
        if (status->retry_in_ms == 0) {
            publication_give_up(publication, status->problem->text);
        } else {
            publication_say(publication, "refused", status->problem, status->retry_in_ms);
        }
        break;
    case WEIR_TUNNEL_CLOSING:
        on_closing(publication, status->problem);
        break;
    case WEIR_TUNNEL_CLOSED:
        on_closed(publication);
        break;
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
    publication_say(arg, "a visitor got no stream", problem, 0);
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

// ---- Opening

static void open_tunnel(struct publication *publication)
{
    struct runner *runner = publication->runner;
    struct weir_tunnel_events events = {
        .state = on_tunnel_state,
        .stream_opened = on_stream_opened,
        .stream_closed = on_stream_closed,
        .stream_refused = on_stream_refused,
        .tap = runner->inspecting ? on_tap : NULL,
    };
    const struct run_tunnel *tunnel = run_file_find(&runner->plan.file, publication->name);
    char problem[RUN_PROBLEM_SIZE] = "";
    publication->reopen = false;
    publication->tunnel = weir_tunnel_open(
        publication->link->agent, &tunnel->options, &events, publication, problem, sizeof problem);
    if (publication->tunnel == NULL) {
        publication_give_up(publication, problem);
    }
}

static void on_timer(struct timer *timer)
{
    struct publication *publication = container_of(timer, struct publication, timer);
    if (publication->tunnel != NULL) {
        // Its streams have had their time: the second call ends them. Where the engine has closed
        // it, both are ours to make.
        weir_tunnel_close(publication->tunnel);
        if (publication->reopen) {
            weir_tunnel_close(publication->tunnel);
        }
    } else if (publication->reopen) {
        open_tunnel(publication);
    }
}

void publication_open(struct publication *publication)
{
    struct runner *runner = publication->runner;
    char problem[RUN_PROBLEM_SIZE] = "";
    const struct run_tunnel *tunnel = run_file_find(&runner->plan.file, publication->name);
    struct run_link *link =
        run_link_get(runner, (size_t)(tunnel - runner->plan.file.tunnels), problem, sizeof problem);
    if (link == NULL) {
        publication_give_up(publication, problem);
        return;
    }
    publication->link = link;
    run_link_join(link, &publication->user);
    if (link->begun) {
        publication_say(publication, "connecting", NULL, 0);
    }
    open_tunnel(publication);
}

struct publication *publication_new(struct runner *runner, size_t at)
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
    publication->backoff = (struct backoff){.min_ms = RUN_RETRY_MIN_MS,
        .max_ms = RUN_RETRY_MAX_MS,
        .jitter = RUN_RETRY_JITTER,
        .attempts = 1};
    timer_init(&publication->timer, on_timer);
    list_init(&publication->node);
    list_init(&publication->user);
    if (publication->name == NULL || publication->forward == NULL || publication->key == NULL) {
        publication_free(publication);
        return NULL;
    }
    list_push_back(&runner->publications, &publication->node);
    return publication;
}
