// SPDX-License-Identifier: Apache-2.0
// weir health: what is asked, of whom, and how it is shown (spec section 6.2).
#include "app/health/cmd_health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/health/health_answer.h"
#include "app/health/health_diagnose.h"
#include "app/health/health_direct.h"
#include "app/health/health_fetch.h"
#include "app/health/health_setup.h"
#include "app/health/health_watch.h"
#include "base/number.h"
#include "base/time.h"
#include "sys/file.h"

#define DOCUMENT_MAX (64 * 1024 * 1024)
#define WATCH_INTERVAL_S 2
#define EXIT_UNKNOWN 3      // of Nagios plugins
#define EXIT_VERIFY_SETUP 2 // of `portoser verify`: there is nothing to verify
#define PROBLEM_SIZE (REGISTRY_PATH_SIZE + 256)
#define TIMEOUT_S_MAX 86400

enum {
    OPTION_REGISTRY,
    OPTION_MACHINE,
    OPTION_STATUS,
    OPTION_ALL,
    OPTION_WATCH,
    OPTION_ONCE,
    OPTION_SERVER,
    OPTION_TOKEN,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_NO_COLOR,
    OPTION_EXIT_ZERO,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_IMPLICIT,
    OPTION_COMPOSE,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_REGISTRY] = {"--registry", "PATH", "the registry.yml to read (CADDY_REGISTRY_PATH)"},
    [OPTION_MACHINE] = {"--machine", "NAME", "only services of this machine"},
    [OPTION_STATUS] = {"--status", "S,…", "only services with one of these states"},
    [OPTION_ALL] = {"--all", NULL, "all services; so it is anyway"},
    [OPTION_WATCH] = {"--watch", "[=SECONDS]", "again and again, every two seconds or so many"},
    [OPTION_ONCE] = {"--once", NULL, "check now, whether a monitor runs or not"},
    [OPTION_SERVER] = {"--server", "URL", "ask the monitor there (PORTOSER_URL)"},
    [OPTION_TOKEN] = {"--token", "TOKEN", "for the monitor (PORTOSER_TOKEN)"},
    [OPTION_TIMEOUT] = {"--timeout", "SECONDS", "the longest that a check may take"},
    [OPTION_JSON] = {"--json-output", NULL, "one JSON document", .alias = "--json"},
    [OPTION_NO_COLOR] = {"--no-color", NULL, "no colours, also on a terminal (NO_COLOR)"},
    [OPTION_EXIT_ZERO] = {"--exit-zero", NULL, "exit 0 whatever the health is"},
    [OPTION_QUIET] = {"-q", NULL, "no output, only the exit code"},
    [OPTION_VERBOSE] = {"-v", NULL, "grouped by machine; warnings of the registry"},
    [OPTION_IMPLICIT] = {"--implicit-checks", NULL,
        "a service with a port but without a check gets a tcp check"},
    [OPTION_COMPOSE] = {"--legacy-compose-health", NULL, "run health checks of compose files here"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct request {
    const char *const *values;
    struct health_setup setup;
    struct health_ask ask;
    struct health_server server;
    bool server_named; // by --server or PORTOSER_URL: no other will do
    int exit_code;
};

// ---- Asking

static bool read_statuses(const char *text, struct view_filter *filter)
{
    struct slice rest = slice_str(text);
    struct slice word;
    filter->by_status = text != NULL;
    while (text != NULL && slice_split(&rest, ',', &word)) {
        bool known = false;
        for (unsigned i = 0; i < HEALTH_STATUS_COUNT; i++) {
            if (slice_eq_nocase(slice_trim(word), slice_str(health_status_name(i)))) {
                filter->statuses[i] = known = true;
            }
        }
        if (!known) {
            fprintf(stderr,
                "weir health: --status \"%.*s\" is not usable; allowed: healthy, "
                "degraded, unhealthy, unknown\n",
                SLICE_ARG(word));
            return false;
        }
    }
    return true;
}

static bool read_seconds(const char *option, const char *text, uint64_t *ret_seconds)
{
    if (number_parse_u64(slice_str(text), TIMEOUT_S_MAX, ret_seconds) != WEIR_OK ||
        *ret_seconds == 0) {
        fprintf(stderr, "weir health: %s \"%s\" is not usable; allowed: 1-%d\n", option, text,
            TIMEOUT_S_MAX);
        return false;
    }
    return true;
}

static bool cap_timeouts(const char *text, struct registry *registry)
{
    uint64_t seconds = 0;
    if (text == NULL) {
        return true;
    }
    if (!read_seconds("--timeout", text, &seconds)) {
        return false;
    }
    for (size_t i = 0; i < registry->service_count; i++) {
        uint64_t *timeout_ns = &registry->services[i].check.timeout_ns;
        if (*timeout_ns > seconds * NS_PER_S) {
            *timeout_ns = seconds * NS_PER_S;
        }
    }
    return true;
}

// A service that was named must be there.
static bool find_service(
    const struct health_ask *ask, const struct registry *registry, char *problem)
{
    for (size_t i = 0; ask->service != NULL && i < registry->service_count; i++) {
        const struct service *service = &registry->services[i];
        if (strcmp(service->name, ask->service) != 0) {
            continue;
        }
        if (ask->filter.machine.len > 0 &&
            !slice_eq(ask->filter.machine, slice_str(service->machine->name))) {
            snprintf(problem, PROBLEM_SIZE, "service %s is on machine %s, not on %.*s",
                ask->service, service->machine->name, SLICE_ARG(ask->filter.machine));
            return false;
        }
        return true;
    }
    snprintf(problem, PROBLEM_SIZE, "there is no service \"%s\" in %s",
        ask->service == NULL ? "" : ask->service, registry->path);
    return ask->service == NULL;
}

static void print_notes(const struct health_ask *ask, const struct registry *registry)
{
    struct buf lines = BUF_INIT(CONF_PROBLEMS_BYTES_MAX);
    size_t mistakes = registry->note_counts[NOTE_ERROR];
    if (ask->verbose || registry->broken) {
        registry_print_notes(registry, ask->verbose ? NOTE_INFO : NOTE_ERROR, &lines);
        const char *text = buf_text(&lines);
        fputs(text == NULL ? "" : text, stderr);
    } else if (mistakes > 0 && !ask->json && !ask->quiet) {
        fprintf(stderr, "weir health: %zu mistake%s in %s; see weir health registry validate\n",
            mistakes, mistakes == 1 ? "" : "s", registry->path);
    }
    buf_reset(&lines);
}

static void show(void *arg, struct monitor *monitor)
{
    struct request *request = arg;
    struct view view;
    if (request->ask.form == FORM_DIAGNOSE) {
        struct buf out = BUF_INIT(DOCUMENT_MAX);
        health_diagnose_write(&request->ask, monitor, &out);
        request->exit_code = health_print(&out, EXIT_FINE);
        return;
    }
    request->exit_code = EXIT_FAILED;
    if (view_of_monitor(&view, monitor, &request->ask.filter) == WEIR_OK) {
        request->exit_code = health_answer(&request->ask, &view);
    }
    view_fini(&view);
}

static int watch(
    struct request *request, const struct health_server *server, struct registry *registry)
{
    const char *interval = request->values[OPTION_WATCH];
    uint64_t seconds = WATCH_INTERVAL_S;
    if (interval[0] != '\0' && !read_seconds("--watch", interval, &seconds)) {
        registry_unref(registry);
        return EXIT_USAGE;
    }
    return health_watch(&(struct health_watch_options){
        .ask = &request->ask,
        .interval_ns = seconds * NS_PER_S,
        .server = server,
        .registry = registry,
        .ssh_dir = registry == NULL ? NULL : health_setup_ssh_dir(&request->setup),
    });
}

// Reads the registry and checks here.
static int check_directly(struct request *request)
{
    struct health_ask *ask = &request->ask;
    char problem[PROBLEM_SIZE];
    struct registry *registry = health_setup_read(&request->setup);
    if (registry == NULL) {
        return health_complain(ask, EXIT_FAILED, "the registry is locked, or memory ran out");
    }
    print_notes(ask, registry);
    int exit_code = EXIT_FINE;
    if (registry->broken) {
        exit_code = health_complain(ask, EXIT_NO_INPUT, registry->notes[0]->message);
    } else if (!cap_timeouts(request->values[OPTION_TIMEOUT], registry)) {
        exit_code = EXIT_USAGE;
    } else if (!find_service(ask, registry, problem)) {
        exit_code = health_complain(ask, EXIT_UNKNOWN, problem);
    }
    if (exit_code != EXIT_FINE) {
        registry_unref(registry);
        return exit_code;
    }
    if (request->values[OPTION_WATCH] != NULL) {
        return watch(request, NULL, registry);
    }
    // Which statuses to show is known after the checks only.
    struct view_filter selected = ask->filter;
    selected.by_status = false;
    exit_code = health_direct(
        ask, registry, health_setup_ssh_dir(&request->setup), &selected, show, request);
    return exit_code == EXIT_FINE ? request->exit_code : exit_code;
}

// ---- Asking a monitor

// One that runs by itself is asked only about the registry that is meant here.
static bool is_about(const struct request *request, const struct view *view, bool registry_found)
{
    if (request->server_named || !registry_found) {
        return true;
    }
    return view->registry_path != NULL && sys_same_file(view->registry_path, request->setup.path);
}

static int answer_from(struct request *request, const struct view *view)
{
    const struct health_ask *ask = &request->ask;
    char problem[PROBLEM_SIZE];
    if (view->registry_error != NULL && !ask->json && !ask->quiet) {
        fprintf(stderr, "weir health: the monitor could not read its registry again: %s\n",
            view->registry_error);
    }
    if (ask->service != NULL && view->service_count == 0) {
        snprintf(problem, sizeof problem, "the monitor at %s knows no service \"%s\"%s%.*s",
            request->server.base, ask->service, ask->filter.machine.len > 0 ? " on " : "",
            SLICE_ARG(ask->filter.machine));
        return health_complain(ask, EXIT_UNKNOWN, problem);
    }
    return request->values[OPTION_WATCH] != NULL ? watch(request, &request->server, NULL)
                                                 : health_answer(ask, view);
}

// False when no monitor is to be had, and the checks are to be made here.
static bool ask_monitor(struct request *request, bool registry_found, int *ret_exit)
{
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    struct view view;
    char problem[PROBLEM_SIZE];
    enum health_fetched fetched =
        health_fetch(&request->server, &health_dashboard, &document, problem, sizeof problem);
    enum weir_result result =
        fetched == FETCHED ? view_of_dashboard(&view, buf_slice(&document), &request->ask.filter)
                           : WEIR_UNREACHABLE;
    bool answered = result == WEIR_OK && is_about(request, &view, registry_found);
    if (answered) {
        *ret_exit = answer_from(request, &view);
    } else if (request->server_named) {
        bool malformed = fetched == FETCHED;
        *ret_exit = health_complain(&request->ask,
            fetched == FETCH_REFUSED ? EXIT_REFUSED : EXIT_UNAVAILABLE,
            malformed ? "what answers there is no health monitor" : problem);
    }
    if (fetched == FETCHED) {
        view_fini(&view);
    }
    buf_reset(&document);
    return answered || request->server_named;
}

// ---- The command line

static int misunderstood(const char *word)
{
    fprintf(stderr, "weir health: \"%s\" is not understood here; see weir health --help\n", word);
    return EXIT_USAGE;
}

// Takes the sub-command's name, if there is one, and the service and machine behind it.
static int read_words(struct health_ask *ask, int count, char **words, bool names_only)
{
    static const struct {
        const char *name;
        enum form form;
        int service_count;
    } forms[] = {
        {"check", FORM_CHECK, 1},
        {"check-all", FORM_CHECK_ALL, 0},
        {"status", FORM_STATUS, 1},
        {"status", FORM_STATUS_ALL, 0},
        {"cluster-status", FORM_CLUSTER, 0},
        {"verify", FORM_VERIFY, 0},
        {"diagnose", FORM_DIAGNOSE, 1},
        {"diagnose", FORM_DIAGNOSE, 2},
    };
    bool known = false;
    for (size_t i = 0; count > 0 && !names_only && i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(words[0], forms[i].name) != 0) {
            continue;
        }
        known = true;
        if (count == 1 + forms[i].service_count) {
            ask->form = forms[i].form;
            ask->service = count > 1 ? words[1] : NULL;
            ask->filter.machine = count > 2 ? slice_str(words[2]) : ask->filter.machine;
            return EXIT_FINE;
        }
    }
    if (known || count > 2) {
        return misunderstood(words[count - 1]);
    }
    ask->service = count > 0 ? words[0] : NULL;
    ask->form = count > 0 ? FORM_SERVICE : FORM_TABLE;
    ask->filter.machine = count > 1 ? slice_str(words[1]) : ask->filter.machine;
    return EXIT_FINE;
}

static bool wants_color(const struct request *request)
{
    const char *no_color = getenv("NO_COLOR");
    return request->values[OPTION_NO_COLOR] == NULL && (no_color == NULL || no_color[0] == '\0') &&
           isatty(STDOUT_FILENO);
}

static int read_ask(struct request *request, int count, char **words, bool names_only)
{
    const char *const *values = request->values;
    struct health_ask *ask = &request->ask;
    *ask = (struct health_ask){
        .json = values[OPTION_JSON] != NULL,
        .quiet = values[OPTION_QUIET] != NULL,
        .verbose = values[OPTION_VERBOSE] != NULL,
        .exit_zero = values[OPTION_EXIT_ZERO] != NULL,
        .color = wants_color(request),
        .filter = {.machine = slice_str(values[OPTION_MACHINE])},
    };
    int exit_code = read_words(ask, count, words, names_only);
    if (exit_code != EXIT_FINE || !read_statuses(values[OPTION_STATUS], &ask->filter)) {
        return EXIT_USAGE;
    }
    ask->filter.service = slice_str(ask->service);
    ask->filter.by_status =
        ask->filter.by_status && ask->service == NULL; // one that is named is shown
    return EXIT_FINE;
}

static int answer(struct request *request, int count, char **words, bool names_only)
{
    char problem[PROBLEM_SIZE];
    int exit_code = read_ask(request, count, words, names_only);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    int found = health_setup_open(
        &request->setup, request->values[OPTION_REGISTRY], problem, sizeof problem);
    request->setup.options.implicit_checks = request->values[OPTION_IMPLICIT] != NULL;
    request->setup.options.legacy_compose_health = request->values[OPTION_COMPOSE] != NULL;
    request->setup.options.url_overrides = true;
    request->server_named = health_server_find(
        request->values[OPTION_SERVER], request->values[OPTION_TOKEN], &request->server);
    // The older forms say what a check finds now.
    bool may_ask = request->values[OPTION_ONCE] == NULL &&
                   (request->ask.form == FORM_TABLE || request->ask.form == FORM_SERVICE);
    bool answered = may_ask && ask_monitor(request, found == EXIT_FINE, &exit_code);
    if (may_ask && !answered && health_server_next(&request->server)) {
        answered = ask_monitor(request, found == EXIT_FINE, &exit_code);
    }
    if (!answered) {
        exit_code = found == EXIT_FINE ? check_directly(request)
                                       : health_complain(&request->ask, found, problem);
    }
    health_setup_close(&request->setup);
    bool unset = request->ask.form == FORM_VERIFY && exit_code == EXIT_NO_INPUT;
    return unset ? EXIT_VERIFY_SETUP : exit_code;
}

static int answer_registry(struct request *request, int count, char **words)
{
    char problem[PROBLEM_SIZE];
    if (count != 2 || (strcmp(words[1], "validate") != 0 && strcmp(words[1], "show") != 0 &&
                          strcmp(words[1], "path") != 0)) {
        fputs("weir health registry: allowed: validate, show, path\n", stderr);
        return EXIT_USAGE;
    }
    request->ask.json = request->values[OPTION_JSON] != NULL;
    int exit_code = health_setup_open(
        &request->setup, request->values[OPTION_REGISTRY], problem, sizeof problem);
    request->setup.options.implicit_checks = request->values[OPTION_IMPLICIT] != NULL;
    request->setup.options.legacy_compose_health = request->values[OPTION_COMPOSE] != NULL;
    exit_code = exit_code == EXIT_FINE
                    ? cmd_health_registry(words[1], &request->setup, request->ask.json)
                    : health_complain(&request->ask, exit_code, problem);
    health_setup_close(&request->setup);
    return exit_code;
}

static bool has_separator(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            return true;
        }
    }
    return false;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct request request;
    bool names_only = has_separator(argc, argv);
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    request.values = values;
    if (count > 0 && !names_only && strcmp(argv[0], "registry") == 0) {
        return answer_registry(&request, count, argv);
    }
    return answer(&request, count, argv, names_only);
}

static const struct command *const children[] = {
    &command_health_serve,
    &command_health_event,
    &command_health_deploy_log,
    &command_health_machines,
    &command_health_history,
    &command_health_events,
    &command_health_metrics,
    &command_health_uptime,
    &command_health_maintenance,
    NULL,
};

const struct command command_health = {
    .name = "health",
    .summary = "Check the services of a registry.yml",
    .usage =
        "[SERVICE [MACHINE]] | check SERVICE | check-all | status [SERVICE] | cluster-status |"
        " verify | diagnose SERVICE [MACHINE] | serve | event TYPE | registry validate|show|path",
    .options = options,
    .run = run,
    .children = children,
    .words = "check|check-all|status|cluster-status|verify|diagnose|registry(validate,show,path)",
};
