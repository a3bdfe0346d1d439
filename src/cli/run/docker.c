// SPDX-License-Identifier: Apache-2.0
//   look ──► GET /containers/json ──► list ──► GET /events (since before it)
//    ▲                                           │ any word of it: look again soon
//    └──────────────── a wait ◄──────────────────┘ it ends
//
// Invariants
//
// 1. Events are asked for from before the list on: what changes in between is told twice, never not
//    at all.
// 2. There is one question for the list at a time; what comes meanwhile makes for another one.
#include "cli/run/docker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/backoff.h"
#include "base/mem.h"
#include "base/time.h"
#include "http/client.h"
#include "sys/clock.h"
#include "sys/entropy.h"

#define LIST_NS (10 * NS_PER_S)
#define LIST_MAX (8u * 1024 * 1024)
#define SETTLE_NS (100 * NS_PER_MS) // events come in groups
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 30000
#define RETRY_JITTER 20
#define PROBLEM_SIZE 512
#define HOST "http://localhost" // the socket is what counts
// {"type":["container","network"],"event":["start","die","pause",...]}
#define FILTERS                                                                                    \
    "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B"                    \
    "%22start%22%2C%22die%22%2C%22pause%22%2C%22unpause%22%2C%22rename%22%2C"                      \
    "%22connect%22%2C%22disconnect%22%5D%7D"

struct docker {
    struct worker *worker;
    struct docker_options options;
    const char *path;
    struct http_call *events; // NULL: they are not followed
    struct http_call *list;   // NULL: it is not asked for
    struct timer timer;       // the next look
    struct backoff backoff;
    uint64_t asked_s; // since 1970; when the list was asked for last
    bool dirty;       // something has changed since the list was asked for
};

static void plan_look(struct docker *docker, uint64_t delay_ns)
{
    worker_arm_in(docker->worker, &docker->timer, delay_ns);
}

// ---- Problems

static void explain(const struct docker *docker, const char *what,
    const struct http_call_result *result, char text[PROBLEM_SIZE])
{
    if (result == NULL) {
        snprintf(text, PROBLEM_SIZE, "%s: out of memory", docker->path);
    } else if (result->outcome == HTTP_CALL_ANSWERED && result->status != 200) {
        snprintf(text, PROBLEM_SIZE, "%s: %s: HTTP %u", docker->path, what, result->status);
    } else if (result->outcome == HTTP_CALL_ANSWERED) {
        snprintf(text, PROBLEM_SIZE, "%s: %s: it has ended", docker->path, what);
    } else if (result->outcome == HTTP_CALL_FAILED) {
        snprintf(text, PROBLEM_SIZE, "%s: %s: %s", docker->path, what, result->error);
    } else {
        snprintf(text, PROBLEM_SIZE, "%s: %s: %s", docker->path, what,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time" : "too much of it");
    }
}

static void fail(struct docker *docker, const char *what, const struct http_call_result *result)
{
    char text[PROBLEM_SIZE];
    uint32_t number = 0;
    uint32_t wait_ms = 0;
    if (docker->options.follow) {
        enum weir_result random = sys_entropy(&number, sizeof number);
        (void)random; // without entropy it is the longest wait less its random part
        wait_ms = backoff_next(&docker->backoff, number);
        plan_look(docker, time_from_ms(wait_ms));
    }
    explain(docker, what, result, text);
    docker->options.problem(docker->options.arg, text, wait_ms);
}

// ---- Events

static void on_event(void *arg, struct slice bytes)
{
    struct docker *docker = arg;
    (void)bytes;
    docker->dirty = true;
    if (docker->list == NULL) {
        plan_look(docker, SETTLE_NS);
    }
}

static void on_events_end(void *arg, const struct http_call_result *result)
{
    struct docker *docker = arg;
    docker->events = NULL;
    fail(docker, "following it", result);
}

static void follow(struct docker *docker)
{
    char url[1024];
    snprintf(
        url, sizeof url, HOST "/events?since=%" PRIu64 "&filters=%s", docker->asked_s - 1, FILTERS);
    docker->events = http_call_start(docker->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .unix_path = docker->path,
            .chunk = on_event,
            .response_max = PROBLEM_SIZE,
            .once = true,
        },
        on_events_end, docker);
    if (docker->events == NULL) {
        fail(docker, "following it", NULL);
    }
}

// ---- The list

static void on_list(void *arg, const struct http_call_result *result)
{
    struct docker *docker = arg;
    docker->list = NULL;
    if (result->outcome != HTTP_CALL_ANSWERED || result->status != 200) {
        fail(docker, "the list of containers", result);
        return;
    }
    docker->backoff.attempts = 1;
    if (docker->dirty) {
        plan_look(docker, SETTLE_NS);
    }
    if (docker->options.follow && docker->events == NULL) {
        follow(docker);
    }
    docker->options.list(docker->options.arg, result->body);
}

static void ask_list(struct docker *docker)
{
    docker->dirty = false;
    docker->asked_s = sys_wall_ms() / 1000;
    docker->list = http_call_start(docker->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = HOST "/containers/json",
            .unix_path = docker->path,
            .timeout_ns = LIST_NS,
            .response_max = LIST_MAX,
            .once = true,
        },
        on_list, docker);
    if (docker->list == NULL) {
        fail(docker, "the list of containers", NULL);
    }
}

// ---- Life

static void look(struct docker *docker)
{
    if (docker->list == NULL) {
        ask_list(docker);
    } else {
        docker->dirty = true;
    }
}

static void on_timer(struct timer *timer)
{
    look(container_of(timer, struct docker, timer));
}

struct docker *docker_open(struct worker *worker, const struct docker_options *options)
{
    static const char scheme[] = "unix://";
    struct docker *docker = mem_zalloc(sizeof *docker);
    if (docker == NULL) {
        return NULL;
    }
    bool url = strncmp(options->socket, scheme, sizeof scheme - 1) == 0;
    docker->worker = worker;
    docker->options = *options;
    docker->path = options->socket + (url ? sizeof scheme - 1 : 0);
    docker->backoff = (struct backoff){
        .min_ms = RETRY_MIN_MS, .max_ms = RETRY_MAX_MS, .jitter = RETRY_JITTER, .attempts = 1};
    timer_init(&docker->timer, on_timer);
    plan_look(docker, 0);
    return docker;
}

void docker_look(struct docker *docker)
{
    look(docker);
}

void docker_close(struct docker *docker)
{
    if (docker != NULL) {
        timer_cancel(&docker->timer);
        http_call_cancel(docker->events);
        http_call_cancel(docker->list);
        mem_free(docker);
    }
}
