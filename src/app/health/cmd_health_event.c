// SPDX-License-Identifier: Apache-2.0
// weir health event: a deploy script tells a running monitor what it does, and whoever watches the
// monitor sees it (spec section 5.2). With --stdin every line of a pipe is told as it comes.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/health/cmd_health.h"
#include "app/health/health_fetch.h"
#include "base/time.h"
#include "proto/json_write.h"

#define BODY_MAX 65536 // what the monitor takes
#define LINE_SIZE 8192 // longer lines are told in pieces
#define TIMEOUT_NS (10 * NS_PER_S)
#define AGAIN_NS (250 * NS_PER_MS)

enum {
    OPTION_SERVICE,
    OPTION_MACHINE,
    OPTION_MESSAGE,
    OPTION_ERROR,
    OPTION_DEPLOYMENT,
    OPTION_RESULTS,
    OPTION_STDIN,
    OPTION_SERVER,
    OPTION_TOKEN,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_SERVICE] = {"--service", "NAME", "the service it is about"},
    [OPTION_MACHINE] = {"--machine", "NAME", "the machine it is about"},
    [OPTION_MESSAGE] = {"--message", "TEXT", "what there is to say"},
    [OPTION_ERROR] = {"--error", "TEXT", "what went wrong"},
    [OPTION_DEPLOYMENT] = {"--deployment-id", "ID", "what belongs together"},
    [OPTION_RESULTS] = {"--results", "JSON", "a list of {service, target, success, error}"},
    [OPTION_STDIN] = {"--stdin", NULL, "tell every line of standard input as its message"},
    [OPTION_SERVER] = {"--server", "URL", "the monitor; that of this machine (PORTOSER_URL)"},
    [OPTION_TOKEN] = {"--token", "TEXT", "a token of an operator (PORTOSER_TOKEN)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct telling {
    struct crew crew;
    const char *type;
    const char *const *values;
    struct health_server server;
    char line[LINE_SIZE]; // of standard input
    struct buf body;
    struct timer again;
    int exit_code;
};

// ---- The body

static void write_body(struct telling *telling, const char *message)
{
    static const struct {
        const char *key;
        int option;
    } texts[] = {
        {"service", OPTION_SERVICE},
        {"machine", OPTION_MACHINE},
        {"error", OPTION_ERROR},
        {"deployment_id", OPTION_DEPLOYMENT},
    };
    struct json_writer writer;
    buf_reset(&telling->body);
    buf_init(&telling->body, BODY_MAX);
    json_writer_init(&writer, &telling->body);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "type", telling->type);
    if (message != NULL) {
        jsonw_text(&writer, "message", message);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (telling->values[texts[i].option] != NULL) {
            jsonw_text(&writer, texts[i].key, telling->values[texts[i].option]);
        }
    }
    if (telling->values[OPTION_RESULTS] != NULL) {
        jsonw_raw(&writer, "results", slice_str(telling->values[OPTION_RESULTS]));
    }
    jsonw_object_end(&writer);
}

// The next line without its end; false at the end of the input.
static bool read_line(struct telling *telling)
{
    if (fgets(telling->line, sizeof telling->line, stdin) == NULL) {
        return false;
    }
    telling->line[strcspn(telling->line, "\r\n")] = '\0';
    return true;
}

// ---- The calls, one after the other

static void on_answer(void *arg, const struct http_call_result *result);

static void finish(struct telling *telling, int exit_code)
{
    telling->exit_code = exit_code;
    crew_stop(&telling->crew);
}

static void send_body(struct telling *telling)
{
    struct http_call *call = health_fetch_start(&telling->crew.workers[0], &telling->server,
        &(struct health_question){
            .method = "POST", .path = "/api/events", .body = buf_slice(&telling->body)},
        on_answer, telling);
    if (call == NULL) {
        fprintf(stderr, "weir health event: the address %s cannot be used\n", telling->server.base);
        finish(telling, EXIT_UNAVAILABLE);
    }
}

static void send_next(struct telling *telling)
{
    bool from_stdin = telling->values[OPTION_STDIN] != NULL;
    if (from_stdin && !read_line(telling)) {
        finish(telling, EXIT_FINE);
        return;
    }
    write_body(telling, from_stdin ? telling->line : telling->values[OPTION_MESSAGE]);
    if (telling->body.failed) {
        fputs("weir health event: the event is larger than 64 KiB\n", stderr);
        finish(telling, EXIT_DATA);
    } else {
        send_body(telling);
    }
}

static void on_again(struct timer *timer)
{
    send_body(container_of(timer, struct telling, again));
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct telling *telling = arg;
    if (result->outcome != HTTP_CALL_ANSWERED) {
        fprintf(stderr, "weir health event: the monitor cannot be reached: %s\n",
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time" : result->error);
        finish(telling, EXIT_UNAVAILABLE);
    } else if (result->status == 429) {
        worker_arm_in(&telling->crew.workers[0], &telling->again, AGAIN_NS);
    } else if (result->status / 100 != 2) {
        bool token = result->status == 401 || result->status == 403;
        fprintf(stderr, "weir health event: the monitor answers %u%s%.*s\n", result->status,
            token ? ": it wants an operator's token (--token, PORTOSER_TOKEN)" : ": ",
            token ? 0 : (int)result->body.len, result->body.at);
        finish(telling, token ? EXIT_REFUSED : EXIT_DATA);
    } else if (telling->values[OPTION_STDIN] != NULL) {
        send_next(telling);
    } else {
        finish(telling, EXIT_FINE);
    }
}

static enum weir_result start(struct worker *worker, void *arg)
{
    struct telling *telling = arg;
    (void)worker;
    timer_init(&telling->again, on_again);
    send_next(telling);
    return WEIR_OK;
}

static void stop(struct worker *worker, void *arg)
{
    (void)arg;
    http_client_fini(worker);
    worker_settle(worker);
}

static int tell(struct telling *telling)
{
    struct crew_hooks hooks = {start, stop, telling};
    signal(SIGPIPE, SIG_IGN);
    telling->exit_code = EXIT_FAILED;
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&telling->crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&telling->crew, &hooks);
        }
        crew_fini(&telling->crew);
        http_client_global_fini();
    }
    buf_reset(&telling->body);
    return result == WEIR_OK ? telling->exit_code : EXIT_FAILED;
}

// ---- The command line

static int tell_type(const char *type, const char *const *values)
{
    static struct telling telling;
    telling = (struct telling){.type = type, .values = values};
    (void)health_server_find(values[OPTION_SERVER], values[OPTION_TOKEN], &telling.server);
    telling.server.timeout_ns = TIMEOUT_NS;
    return tell(&telling);
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 1 || (count == 0 && values[OPTION_STDIN] == NULL)) {
        command_complain(command, "one TYPE is wanted; see --help");
        return EXIT_USAGE;
    }
    return tell_type(count == 0 ? "deployment_log" : argv[0], values);
}

// The older word for `--stdin`: what comes in a pipe is told line by line.
static int run_log(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        command_complain(command, "\"%s\" is not understood; see --help", argv[0]);
        return EXIT_USAGE;
    }
    values[OPTION_STDIN] = "1";
    return tell_type("deployment_log", values);
}

const struct command command_health_event = {
    .name = "health event",
    .summary = "Tell a running monitor of a deployment, for all who watch it",
    .usage = "TYPE | --stdin",
    .options = options,
    .run = run,
};

const struct command command_health_deploy_log = {
    .name = "health deploy-log",
    .summary = "Tell a running monitor every line of a pipe, as the log of a deployment",
    .usage = "--stdin",
    .options = options,
    .run = run_log,
};
