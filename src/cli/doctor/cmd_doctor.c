// SPDX-License-Identifier: Apache-2.0
// weir doctor: everything between this machine and an engine, one after the other, and what to
// change.
//
//   profile ──► probe (name, TLS, control channel) ──► clients ──► tunnels ──► clock ──► report
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/doctor/doctor.h"
#include "cli/engine/engine_api.h"
#include "cli/loop.h"
#include "cli/print.h"
#include "sys/clock.h"

#define OUTPUT_BYTES_MAX (1024 * 1024)
#define CLOCK_NS (10 * NS_PER_S)
#define HEAD_BYTES_MAX 65536 // of the first event, where its time is

enum { OPTION_OUTPUT = PROFILE_OPTION_COUNT, OPTION_JSON, OPTION_COUNT };

static const struct option_row options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_OUTPUT] = {"--output", "FORM", "how it is shown", .alias = "-o",
        .choices = "table|json"},
    [OPTION_JSON] = {"--json", NULL, "the same as -o json"},
    [OPTION_COUNT] = {NULL},
};

struct examination {
    struct profile profile;
    struct engine_api api;
    struct doctor_report report;
    struct cli_loop loop;
    struct probe *probe;
    struct http_call *call;
    struct timer timer;
    struct job clock_seen;
    struct buf head; // of the first event
    bool has_token;
};

static void end(struct examination *examination)
{
    cli_loop_end(&examination->loop, EXIT_FINE);
}

// ---- The clock: the first event of the engine's stream has a time

static void on_clock_seen(struct worker *worker, struct job *job)
{
    (void)worker;
    end(container_of(job, struct examination, clock_seen));
}

static bool find_time(struct slice text, uint64_t *ret_ms)
{
    static const char key[] = "\"created_at\":\"";
    for (size_t i = 0; i + sizeof key - 1 < text.len; i++) {
        struct slice rest = slice_skip(text, i);
        if (slice_starts_with(rest, slice_of(key, sizeof key - 1))) {
            rest = slice_skip(rest, sizeof key - 1);
            ptrdiff_t quote = slice_find(rest, '"');
            return quote > 0 && time_from_iso(slice_of(rest.at, (size_t)quote), ret_ms) == WEIR_OK;
        }
    }
    return false;
}

static void on_clock_chunk(void *arg, struct slice bytes)
{
    struct examination *examination = arg;
    uint64_t theirs_ms;
    buf_append_slice(&examination->head, bytes); // what does not fit is not wanted
    if (find_time(buf_slice(&examination->head), &theirs_ms) &&
        !list_linked(&examination->clock_seen.node)) {
        doctor_judge_clock(&examination->report, theirs_ms, sys_wall_ms());
        worker_defer(examination->loop.worker, &examination->clock_seen, on_clock_seen);
    }
}

static void on_clock_end(void *arg, const struct http_call_result *result)
{
    struct examination *examination = arg;
    (void)result;
    examination->call = NULL;
    end(examination);
}

static void on_clock_late(struct timer *timer)
{
    end(container_of(timer, struct examination, timer));
}

static void look_at_clock(struct examination *examination)
{
    examination->call = engine_api_start(examination->loop.worker, &examination->api, "/api/sse",
        on_clock_chunk, on_clock_end, examination);
    worker_arm_in(
        examination->loop.worker, &examination->timer, examination->call == NULL ? 0 : CLOCK_NS);
}

// ---- The lists

static void judge_list(
    struct examination *examination, enum doctor_check check, const struct http_call_result *result)
{
    char problem[ENGINE_API_PROBLEM_SIZE];
    examination->call = NULL;
    if (engine_api_exit_code(result) != EXIT_FINE) {
        engine_api_describe(&examination->api, result, problem);
        doctor_set(&examination->report, check, DOCTOR_FAIL, "%s", problem);
        return;
    }
    json_t *list = json_loadb(result->body.at, result->body.len, 0, NULL);
    size_t count = json_array_size(list);
    doctor_add_detail(&examination->report, check, "count", json_integer((json_int_t)count));
    if (json_is_array(list)) {
        doctor_set(&examination->report, check, DOCTOR_PASS, "%zu now", count);
    } else {
        doctor_set(&examination->report, check, DOCTOR_FAIL,
            "the answer is no list: is it an engine, and is its host name right?");
    }
    json_decref(list);
}

static void on_tunnels(void *arg, const struct http_call_result *result)
{
    struct examination *examination = arg;
    judge_list(examination, DOCTOR_ENGINE_TUNNELS, result);
    if (examination->report.findings[DOCTOR_ENGINE_TUNNELS].status == DOCTOR_PASS) {
        look_at_clock(examination);
    } else {
        end(examination);
    }
}

static void ask(struct examination *examination, const char *path, http_call_fn *done)
{
    examination->call = engine_api_start(
        examination->loop.worker, &examination->api, path, NULL, done, examination);
    if (examination->call == NULL) {
        end(examination);
    }
}

static void on_clients(void *arg, const struct http_call_result *result)
{
    struct examination *examination = arg;
    judge_list(examination, DOCTOR_ENGINE_CLIENTS, result);
    ask(examination, "/api/tunnels", on_tunnels);
}

static void on_probe(void *arg, const struct probe_result *result)
{
    struct examination *examination = arg;
    examination->probe = NULL;
    doctor_judge_probe(&examination->report, result, sys_wall_ms());
    // A token goes only to an engine that is trusted.
    if (examination->has_token && result->reached >= PROBE_CHANNEL) {
        ask(examination, "/api/clients", on_clients);
    } else {
        end(examination);
    }
}

static void start(struct cli_loop *loop)
{
    struct examination *examination = loop->arg;
    examination->probe = probe_start(
        loop->worker, &examination->profile, examination->has_token, on_probe, examination);
    if (examination->probe == NULL) {
        const char *path = examination->profile.ca_file;
        doctor_set(&examination->report, DOCTOR_TLS, DOCTOR_FAIL,
            "the authorities of %s cannot be read: it is a PEM file",
            path == NULL ? "the system (Debian: ca-certificates)" : path);
        end(examination);
    }
}

static void stop(struct cli_loop *loop)
{
    struct examination *examination = loop->arg;
    timer_cancel(&examination->timer);
    http_call_cancel(examination->call);
    probe_cancel(examination->probe);
    examination->call = NULL;
    examination->probe = NULL;
}

// ---- The command line

static bool print_report(const struct examination *examination, bool json)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    json_t *value = json ? doctor_to_json(&examination->report, sys_wall_ms()) : NULL;
    bool ok = json ? print_json(value, true)
                   : doctor_write_table(&examination->report, &out) == WEIR_OK && print_buf(&out);
    json_decref(value);
    buf_reset(&out);
    return ok;
}

static void examine(struct examination *examination, const char *const *values)
{
    struct profile_ask request = profile_ask_of(values);
    struct conf_problems problems;
    conf_problems_init(&problems);
    (void)profile_resolve(&request, PROFILE_WANTS_NOTHING, &conf_environment, sys_wall_ms(),
        &examination->profile, &problems); // what is wrong becomes findings
    const char *text = problems.errors.len == 0 ? NULL : buf_text(&problems.errors);
    examination->report.profile = &examination->profile;
    doctor_judge_profile(&examination->report, text, sys_wall_ms());
    conf_problems_fini(&problems);
    enum profile_stage stage = examination->profile.stage;
    examination->has_token = stage == PROFILE_RESOLVED && examination->profile.token != NULL;
    if (stage >= PROFILE_STAGE_TOKEN && examination->profile.host != NULL) {
        engine_api_init(&examination->api, &examination->profile);
        (void)cli_loop_run(&examination->loop); // what was found until then is told
    }
    doctor_skip_rest(&examination->report, "an earlier check has to pass first");
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    struct command_line line = {.values = values};
    int exit_code;
    if (!command_read(command, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    static struct examination examination; // large
    examination.loop = (struct cli_loop){.start = start, .stop = stop, .arg = &examination};
    timer_init(&examination.timer, on_clock_late);
    list_init(&examination.clock_seen.node);
    buf_init(&examination.head, HEAD_BYTES_MAX);
    examine(&examination, values);
    bool json = values[OPTION_JSON] != NULL ||
                (values[OPTION_OUTPUT] != NULL && strcmp(values[OPTION_OUTPUT], "json") == 0);
    bool printed = print_report(&examination, json);
    if (!printed) {
        command_complain(command, "the report cannot be written, or memory ran out");
    }
    bool fine = doctor_count(&examination.report, DOCTOR_FAIL) == 0;
    doctor_fini(&examination.report);
    buf_reset(&examination.head);
    profile_fini(&examination.profile);
    return printed && fine ? EXIT_FINE : EXIT_FAILED;
}

static const struct command_example examples[] = {
    {"doctor", "before the first tunnel, and when one does not come up"},
    {"doctor --engine edge.example.com -o json",
        "for a program; the exit code is 1 when a check fails"},
    {NULL},
};

const struct command command_doctor = {
    .name = "doctor",
    .summary = "Check everything between here and an engine, and say what to change",
    .usage = "",
    .options = options,
    .run = run,
    .examples = examples,
};
