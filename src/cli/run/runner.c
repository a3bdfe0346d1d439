// SPDX-License-Identifier: Apache-2.0
// What is open is brought in line with the plan, over and over:
//
//   start, file changed, SIGHUP ──► plan ──► settle: close what the plan has not, or has otherwise;
//   a tunnel has closed ───────────────────►         open what the plan has and nobody has open
//
// Invariants
//
// 1. There is one publication of a name at most. One whose key differs from the plan's is closing;
//    only when it has gone, with its host name, the next one opens.
// 2. A broken file changes nothing: the plan is replaced as a whole or not at all.
// 3. What was refused for good stays as a publication without a tunnel, so that it is not asked for
//    again before the file says something else.
// 4. What happens to one tunnel touches no other, but those of a control channel that is lost.
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/plain.h"
#include "cli/print.h"
#include "cli/run/runner_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define SAY_MAX 4096

// ---- Saying

static void append_json(struct buf *out, const struct run_news *news)
{
    const struct {
        const char *key;
        const char *text;
    } texts[] = {
        {news->key, news->of},
        {"status", news->state},
        {"forwarded", news->forward},
        {"forwarding", news->address},
        {"problem", news->problem},
    };
    struct json_writer writer;
    char iso[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), iso);
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "date", iso);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].text != NULL) {
            jsonw_text(&writer, texts[i].key, texts[i].text);
        }
    }
    if (news->retry_ms > 0) {
        jsonw_u64(&writer, "retry_ms", news->retry_ms);
    }
    jsonw_object_end(&writer);
}

static void append_line(struct buf *out, const struct run_news *news)
{
    buf_printf(out, "%s: %s", news->of, news->state);
    if (news->address != NULL) {
        buf_printf(out, ": %s -> %s", news->address, news->forward);
    }
    if (news->problem != NULL) {
        buf_append_str(out, ": ");
        (void)plain_append(out, slice_str(news->problem)); // the caller looks at out->failed
    }
    if (news->retry_ms > 0) {
        buf_printf(out, "; again in %.1f s", news->retry_ms / 1000.0);
    }
}

void runner_say(struct runner *runner, const struct run_news *news)
{
    struct buf out = BUF_INIT(SAY_MAX);
    if (runner->options->json) {
        append_json(&out, news);
    } else {
        append_line(&out, news);
    }
    buf_append_byte(&out, '\n');
    if (out.failed) {
        fprintf(stderr, "%s run: out of memory: a line is missing here\n", command_program());
    } else if (!print_buf(&out)) {
        cli_loop_end(&runner->loop, EXIT_FAILED); // nobody reads
    }
    buf_reset(&out);
}

// ---- In line with the plan

static bool is_as_wanted(const struct runner *runner, const struct publication *publication)
{
    const struct run_tunnel *tunnel = run_file_find(&runner->plan.file, publication->name);
    return !runner->closing && tunnel != NULL &&
           slice_eq(runner->plan.keys[tunnel - runner->plan.file.tunnels],
               slice_of(publication->key, publication->key_len));
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

static void close_what_differs(struct runner *runner)
{
    list_for_each_safe (node, &runner->publications) {
        struct publication *publication = container_of(node, struct publication, node);
        bool stays = !publication->closing && is_as_wanted(runner, publication);
        if (!stays && !publication->closing) {
            publication_close(publication);
        }
        if (!stays && publication_is_over(publication)) {
            publication_free(publication);
        }
    }
}

static void open_what_is_missing(struct runner *runner)
{
    for (size_t i = 0; i < runner->plan.file.tunnel_count; i++) {
        if (is_there(runner, runner->plan.file.tunnels[i].name)) {
            continue;
        }
        struct publication *publication = publication_new(runner, i);
        if (publication == NULL) {
            fprintf(stderr, "%s run: out of memory\n", command_program());
            cli_loop_end(&runner->loop, EXIT_FAILED);
            return;
        }
        publication_open(publication);
    }
}

void runner_settle(struct runner *runner)
{
    close_what_differs(runner);
    if (!runner->closing) {
        open_what_is_missing(runner);
    }
    bool hopes = runner->asking || runner->options->watch;
    if (list_empty(&runner->links) && (runner->closing || !hopes)) {
        cli_loop_end(&runner->loop, runner->closing ? EXIT_FINE : EXIT_FAILED);
    }
}

static void say_problems(struct conf_problems *problems)
{
    (void)command_print_problems(problems); // the caller knows whether there are errors
}

static void take_plan(struct runner *runner, const struct run_plan *fresh)
{
    run_plan_close(&runner->plan);
    runner->plan = *fresh;
    runner_settle(runner);
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
    take_plan(runner, &fresh);
}

static void on_file(struct file_watch *watch)
{
    reload(container_of(watch, struct runner, watch));
}

// ---- Containers

// Said when it is another one than the last time: containers come and go, and what is wrong with
// one stays wrong.
static void say_new_problems(struct runner *runner, struct conf_problems *problems)
{
    const char *text = buf_text(&problems->errors);
    if (text == NULL || runner->said == NULL || strcmp(text, runner->said) != 0) {
        fputs(text == NULL ? "weir: out of memory\n" : text, stderr);
    }
    mem_free(runner->said);
    runner->said = text == NULL ? NULL : mem_copy(text, strlen(text));
}

// Each of them has been read alone: a mistake here is one of memory.
static bool plan_containers(struct runner *runner, struct slice text, struct run_plan *ret_plan)
{
    const struct runner_options *options = runner->options;
    const struct run_text whole = {text, "labels", RUN_SOURCE_DOCKER};
    struct conf_problems problems;
    conf_problems_init(&problems);
    bool good = run_plan_parse(
        &whole, options->ask, options->variables, sys_wall_ms(), ret_plan, &problems);
    say_problems(&problems);
    conf_problems_fini(&problems);
    return good;
}

static void on_containers(void *arg, struct slice list)
{
    struct runner *runner = arg;
    struct buf text = BUF_INIT(DOCKER_TEXT_MAX);
    struct run_plan fresh = {0};
    struct conf_problems problems;
    size_t count = 0;
    conf_problems_init(&problems);
    bool good =
        docker_labels_read(list, runner->options->rules, sys_wall_ms(), &text, &problems, &count);
    say_new_problems(runner, &problems);
    conf_problems_fini(&problems);
    good = good && (count == 0 || plan_containers(runner, buf_slice(&text), &fresh));
    buf_reset(&text);
    runner->asking = false;
    if (good && !runner->closing) {
        take_plan(runner, &fresh);
    } else {
        run_plan_close(&fresh);
        runner_settle(runner);
    }
}

static void on_docker_problem(void *arg, const char *text, uint32_t wait_ms)
{
    struct runner *runner = arg;
    fprintf(stderr, "%s run: %s", command_program(), text);
    if (wait_ms > 0) {
        fprintf(stderr, "; again in %.1f s", wait_ms / 1000.0);
    }
    fputc('\n', stderr);
    runner->asking = false;
    runner_settle(runner);
}

static bool open_docker(struct runner *runner)
{
    const struct runner_options *options = runner->options;
    runner->asking = true;
    runner->docker = docker_open(runner->loop.worker, &(struct docker_options){
                                                          .socket = options->docker,
                                                          .follow = options->watch,
                                                          .list = on_containers,
                                                          .problem = on_docker_problem,
                                                          .arg = runner,
                                                      });
    return runner->docker != NULL;
}

// ---- Life

static void close_all(struct runner *runner)
{
    list_for_each (node, &runner->publications) {
        struct publication *publication = container_of(node, struct publication, node);
        if (!publication->closing) {
            publication_close(publication);
        }
    }
}

static void on_hangup(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    list_for_each (node, &runner->links) {
        weir_agent_nudge(container_of(node, struct run_link, node)->agent);
    }
    if (runner->docker != NULL) {
        docker_look(runner->docker);
    } else {
        reload(runner);
    }
}

static void on_interrupt(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    bool again = runner->closing;
    runner->closing = true;
    close_all(runner);
    list_for_each (node, &runner->links) {
        struct run_link *link = container_of(node, struct run_link, node);
        if (again) {
            weir_agent_close(link->agent, 0);
        }
        run_link_close(link, RUN_DRAIN_MS);
    }
    runner_settle(runner);
}

static bool open_inspector(struct runner *runner)
{
    char problem[RUN_PROBLEM_SIZE];
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
    if (runner->agents == NULL || !open_inspector(runner) ||
        (runner->options->docker != NULL && !open_docker(runner))) {
        cli_loop_end(loop, EXIT_FAILED);
        return;
    }
    if (runner->options->watch && runner->docker == NULL) {
        file_watch_open(&runner->watch, loop->worker, runner->options->path, on_file);
    }
    runner_settle(runner);
}

static void stop(struct cli_loop *loop)
{
    struct runner *runner = loop->arg;
    runner->closing = true;
    close_all(runner);
    docker_close(runner->docker);
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
    list_init(&runner.links);
    runner.loop = (struct cli_loop){
        .start = start,
        .stop = stop,
        .interrupt = on_interrupt,
        .hangup = on_hangup,
        .arg = &runner,
    };
    int exit_code = cli_loop_run(&runner.loop);
    run_plan_close(&runner.plan);
    mem_free(runner.said);
    return exit_code;
}
