// SPDX-License-Identifier: Apache-2.0
// weir relay health: asks the relay of this environment for /health, for whoever looks after a
// process by running a command: a container's HEALTHCHECK, a probe. The relay's own settings say
// where it listens, so that nothing is said twice. The certificate is not looked at: it is this
// machine that is asked, and only whether it is well.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/relay_part.h"
#include "base/mem.h"
#include "base/time.h"
#include "http/client.h"

#define ANSWER_MAX (64 * 1024)
#define TIMEOUT_NS (3 * NS_PER_S)
#define HEALTH_URL_SIZE 320

enum { OPTION_LISTEN, OPTION_COUNT };

static const struct option_row options[] = {
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where it listens (RELAY_LISTEN_HOST, _PORT)"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct question {
    struct crew crew;
    char url[HEALTH_URL_SIZE];
    int exit_code;
};

static const struct http_tls_profile anybody = {.verify = false};

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct question *question = arg;
    if (result->outcome != HTTP_CALL_ANSWERED) {
        fprintf(stderr, "weir: %s: %s\n", question->url,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer within 3 s" : result->error);
    } else if (result->status != 200) {
        fprintf(stderr, "weir: %s answers %u%s\n", question->url, result->status,
            result->status == 503 ? ": it drains, or a worker does not turn" : "");
    } else {
        printf("%s: fine\n", question->url);
        question->exit_code = EXIT_FINE;
    }
    crew_stop(&question->crew);
}

static enum weir_result start(struct worker *worker, void *arg)
{
    struct question *question = arg;
    const struct http_call_options call = {
        .method = "GET",
        .url = question->url,
        .tls = &anybody,
        .timeout_ns = TIMEOUT_NS,
        .response_max = ANSWER_MAX,
    };
    return http_call_start(worker, &call, on_answer, question) == NULL ? WEIR_MEMORY : WEIR_OK;
}

static void stop(struct worker *worker, void *arg)
{
    (void)arg;
    http_client_fini(worker);
    worker_settle(worker);
}

static int ask(struct question *question)
{
    struct crew_hooks hooks = {start, stop, question};
    signal(SIGPIPE, SIG_IGN);
    question->exit_code = EXIT_FAILED;
    enum weir_result result = http_client_global_init();
    if (result == WEIR_OK) {
        result = crew_init(&question->crew, 1);
        if (result == WEIR_OK) {
            result = crew_run(&question->crew, &hooks);
        }
        crew_fini(&question->crew);
        http_client_global_fini();
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir: %s cannot be asked: %s\n", question->url, weir_result_text(result));
    }
    return question->exit_code;
}

// Who listens on all addresses listens on loopback, too.
static void set_url(struct question *question, const struct relay_config *config)
{
    const char *host = config->listen_host;
    bool all = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool brackets = !all && strchr(host, ':') != NULL;
    snprintf(question->url, sizeof question->url, "%s://%s%s%s:%u/health",
        config->tls_enabled ? "https" : "http", brackets ? "[" : "", all ? "127.0.0.1" : host,
        brackets ? "]" : "", (unsigned)config->listen_port);
}

static int run_health(const char *listen)
{
    struct conf_problems problems;
    struct question question;
    struct relay_part *relay = mem_zalloc(sizeof *relay);
    if (relay == NULL) {
        fputs("weir: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    conf_problems_init(&problems);
    int exit_code = relay_part_init(relay,
        &(struct relay_part_options){.source = &conf_environment, .listen = listen}, &problems);
    if (exit_code == EXIT_FINE) {
        set_url(&question, &relay->config);
        exit_code = ask(&question);
    }
    conf_problems_fini(&problems);
    relay_part_fini(relay);
    mem_free(relay);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        fprintf(stderr,
            "weir relay health: \"%s\" is not understood; see weir relay health --help\n", argv[0]);
        return EXIT_USAGE;
    }
    return run_health(values[OPTION_LISTEN]);
}

const struct command command_relay_health = {
    .name = "relay health",
    .summary =
        "Ask the relay that runs with these variables whether it is well: 0 if it is, else 1",
    .usage = "",
    .options = options,
    .run = run,
};
