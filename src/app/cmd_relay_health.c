// SPDX-License-Identifier: Apache-2.0
// weir relay health: asks the relay of this environment for /health, for whoever looks after a
// process by running a command: a container's HEALTHCHECK, a probe. The relay's own settings say
// where it listens, so that nothing is said twice. The certificate is not looked at: it is this
// machine that is asked, and only whether it is well.
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/parts/relay_part.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/loop.h"
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
    struct cli_loop loop;
    char url[HEALTH_URL_SIZE];
};

static const struct http_tls_profile anybody = {.verify = false};

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct question *question = arg;
    bool well = result->outcome == HTTP_CALL_ANSWERED && result->status == 200;
    if (well) {
        printf("%s: fine\n", question->url);
    } else if (result->outcome == HTTP_CALL_ANSWERED) {
        fprintf(stderr, "weir: %s answers %u%s\n", question->url, result->status,
            result->status == 503 ? ": it drains, or a worker does not turn" : "");
    } else {
        fprintf(stderr, "weir: %s: %s\n", question->url,
            result->outcome == HTTP_CALL_TIMEOUT ? "no answer within 3 s" : result->error);
    }
    cli_loop_end(&question->loop, well ? EXIT_FINE : EXIT_FAILED);
}

static void ask(struct cli_loop *loop)
{
    struct question *question = container_of(loop, struct question, loop);
    const struct http_call_options call = {
        .method = "GET",
        .url = question->url,
        .tls = &anybody,
        .timeout_ns = TIMEOUT_NS,
        .response_max = ANSWER_MAX,
    };
    if (http_call_start(loop->worker, &call, on_answer, question) == NULL) {
        fputs("weir: out of memory\n", stderr);
        cli_loop_end(loop, EXIT_FAILED);
    }
}

// Whoever does not wait for the answer has none.
static void give_up(struct cli_loop *loop)
{
    cli_loop_end(loop, EXIT_FAILED);
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
    struct question question = {.loop = {.start = ask, .interrupt = give_up}};
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
        exit_code = cli_loop_run(&question.loop);
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
