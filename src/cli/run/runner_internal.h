// SPDX-License-Identifier: Apache-2.0
// What the files of `weir run` share.
//
//   runner.c        the plan, and the life of the command
//   publication.c   one tunnel of the plan          run_link.c   control channels they share
#ifndef WEIR_CLI_RUNNER_INTERNAL_H
#define WEIR_CLI_RUNNER_INTERNAL_H

#include "agent/backoff.h"
#include "agent/embed.h"
#include "cli/run/docker.h"
#include "cli/run/runner.h"

#define RUN_RETRY_MIN_MS 1000
#define RUN_RETRY_MAX_MS 30000
#define RUN_RETRY_JITTER 20 // percent, downward
#define RUN_DRAIN_MS 3000
#define RUN_PROBLEM_SIZE 512

struct runner {
    const struct runner_options *options;
    struct run_plan plan;
    struct cli_loop loop;
    struct weir_agent_loop *agents;
    struct list publications;
    struct list links;
    struct file_watch watch;
    struct docker *docker; // NULL: a file
    bool asking;           // the containers, for the first time
    char *said;            // owned; what was wrong with them the last time
    struct inspector inspector;
    bool inspecting;
    bool closing;
};

// What is open is brought in line with the plan. May free publications and links.
void runner_settle(struct runner *runner);
// A line, or a JSON object, about something: "tunnel" or "engine" of the name `of`. NULL, or 0: not
// said.
struct run_news {
    const char *key;
    const char *of;
    const char *state;
    const char *forward;
    const char *address;
    const char *problem;
    uint32_t retry_ms;
};
void runner_say(struct runner *runner, const struct run_news *news);

// ---- run_link.c

// A control channel to an engine, with one token and one way of TLS, and who uses it.
struct run_link {
    struct list node; // of runner->links
    struct runner *runner;
    char *key; // owned, as is engine
    size_t key_len;
    char *engine;
    struct weir_agent *agent; // NULL: it has gone
    struct list users;        // publications
    size_t user_count;
    bool begun;   // CONNECTING was told
    bool closing; // nobody else may use it
};

// One that has room, or a new one that connects. NULL: problem says why.
struct run_link *run_link_get(struct runner *runner, size_t at, char *problem, size_t size);
// One user more or less; the last one to leave closes it.
void run_link_join(struct run_link *link, struct list *user);
void run_link_leave(struct run_link *link, struct list *user);
// drain_ms as in weir_agent_close.
void run_link_close(struct run_link *link, uint32_t drain_ms);

// ---- publication.c

struct publication {
    struct list node; // of runner->publications
    struct list user; // of link->users
    struct runner *runner;
    char *name; // owned, as are key and forward
    char *forward;
    char *key;
    size_t key_len;
    struct run_link *link; // NULL: it has no tunnel and will have none
    struct weir_tunnel *tunnel;
    struct timer timer; // when it is opened again; while closing, when its streams are cut
    struct backoff backoff;
    bool reopen; // when the tunnel has gone
    bool closing;
};

// NULL without memory.
struct publication *publication_new(struct runner *runner, size_t at) WEIR_MUST_CHECK;
void publication_free(struct publication *publication);
void publication_open(struct publication *publication);
// In order: its streams have RUN_DRAIN_MS.
void publication_close(struct publication *publication);
bool publication_is_over(const struct publication *publication);
struct publication *publication_of_user(struct list *user);
// By run_link.c.
void publication_say(struct publication *publication, const char *state,
    const struct weir_agent_problem *problem, uint32_t retry_ms);
// It will not be tried again before the plan says something else.
void publication_give_up(struct publication *publication, const char *problem);

#endif
