// SPDX-License-Identifier: Apache-2.0
// Tunnels for one engine, with one token and the same TLS settings, share a control channel: TLS
// sessions are what an idle tunnel costs.
//
// Invariants
//
// 1. It lives as long as it has users; then it closes, and is freed when its agent has gone.
// 2. At most TUNNELS_MAX use one: engines bound what a channel may have, and an agent dials so many
//    streams at once only.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/run/runner_internal.h"

#define TUNNELS_MAX 32

static void free_link(struct run_link *link)
{
    list_remove(&link->node);
    mem_free(link->key);
    mem_free(link->engine);
    mem_free(link);
}

static void tell_users(struct run_link *link, const char *state,
    const struct weir_agent_problem *problem, uint32_t retry_ms)
{
    list_for_each (node, &link->users) {
        publication_say(publication_of_user(node), state, problem, retry_ms);
    }
}

static void give_up(struct run_link *link, const char *problem)
{
    run_link_close(link, 0);
    list_for_each_safe (node, &link->users) {
        publication_give_up(publication_of_user(node), problem);
    }
}

static void on_state(void *arg, struct weir_agent *agent, const struct weir_agent_status *status)
{
    struct run_link *link = arg;
    struct runner *runner = link->runner;
    (void)agent;
    switch (status->state) {
    case WEIR_AGENT_CONNECTING:
        link->begun = true;
        tell_users(link, "connecting", NULL, 0);
        break;
    case WEIR_AGENT_WAITING:
        tell_users(link, "disconnected", status->problem, status->retry_in_ms);
        break;
    case WEIR_AGENT_FAILED:
        give_up(link, status->problem->text);
        break;
    case WEIR_AGENT_CLOSED:
        free_link(link);
        runner_settle(runner);
        break;
    case WEIR_AGENT_IDLE:
    case WEIR_AGENT_ONLINE: // the tunnels' states say it
    case WEIR_AGENT_CLOSING:
        break;
    }
}

static void on_message(void *arg, struct weir_agent *agent, const char *text)
{
    struct run_link *link = arg;
    (void)agent;
    runner_say(link->runner,
        &(struct run_news){
            .key = "engine", .of = link->engine, .state = "the engine says", .problem = text});
}

static struct run_link *link_new(struct runner *runner, size_t at, char *problem, size_t size)
{
    static const struct weir_agent_events events = {.state = on_state, .message = on_message};
    const struct profile *profile = &runner->plan.profiles[at];
    struct slice key = runner->plan.engine_keys[at];
    struct run_link *link = mem_zalloc(sizeof *link);
    snprintf(problem, size, "out of memory");
    if (link == NULL) {
        return NULL;
    }
    link->runner = runner;
    link->key = mem_copy(key.at, key.len);
    link->key_len = key.len;
    link->engine = mem_copy(profile->engine, strlen(profile->engine));
    list_init(&link->users);
    list_init(&link->node);
    if (link->key != NULL && link->engine != NULL) {
        link->agent = weir_agent_new(runner->agents,
            &(struct weir_agent_options){
                .size = sizeof(struct weir_agent_options),
                .engine = profile->engine,
                .token = profile->token,
                .ca_file = profile->ca_file,
                .server_name = profile->server_name,
                .insecure = profile->insecure_skip_verify,
                .retry_min_ms = RUN_RETRY_MIN_MS,
                .retry_max_ms = RUN_RETRY_MAX_MS,
                .retry_jitter = RUN_RETRY_JITTER,
                .agent_name = "weir",
                .agent_channel = "run",
            },
            &events, link, problem, size);
    }
    if (link->agent == NULL) {
        free_link(link);
        return NULL;
    }
    list_push_back(&runner->links, &link->node);
    weir_agent_connect(link->agent);
    return link;
}

struct run_link *run_link_get(struct runner *runner, size_t at, char *problem, size_t size)
{
    struct slice key = runner->plan.engine_keys[at];
    list_for_each (node, &runner->links) {
        struct run_link *link = container_of(node, struct run_link, node);
        if (!link->closing && link->user_count < TUNNELS_MAX &&
            slice_eq(slice_of(link->key, link->key_len), key)) {
            return link;
        }
    }
    return link_new(runner, at, problem, size);
}

void run_link_join(struct run_link *link, struct list *user)
{
    list_push_back(&link->users, user);
    link->user_count++;
}

void run_link_leave(struct run_link *link, struct list *user)
{
    list_remove(user);
    if (--link->user_count == 0) {
        run_link_close(link, 0);
    }
}

void run_link_close(struct run_link *link, uint32_t drain_ms)
{
    if (!link->closing) {
        link->closing = true;
        weir_agent_close(link->agent, drain_ms);
    }
}
