// SPDX-License-Identifier: Apache-2.0
// weir health: what is asked, of whom, and how it is shown (spec section 6.2).
#include "app/cmd_health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/health_direct.h"
#include "app/health_setup.h"
#include "base/number.h"
#include "base/time.h"
#include "proto/json_write.h"

#define OUTPUT_BYTES_MAX (256 * 1024 * 1024)
#define PROBLEM_SIZE (REGISTRY_PATH_SIZE + 256)
#define TIMEOUT_S_MAX 86400

enum {
    OPTION_REGISTRY,
    OPTION_MACHINE,
    OPTION_STATUS,
    OPTION_ALL,
    OPTION_ONCE,
    OPTION_TIMEOUT,
    OPTION_JSON_OUTPUT,
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
    [OPTION_ONCE] = {"--once", NULL, "check now, whether a monitor runs or not"},
    [OPTION_TIMEOUT] = {"--timeout", "SECONDS", "the longest that a check may take"},
    [OPTION_JSON_OUTPUT] = {"--json-output", NULL, "one JSON document"},
    [OPTION_JSON] = {"--json", NULL, "the same"},
    [OPTION_NO_COLOR] = {"--no-color", NULL, "no colours, also on a terminal (NO_COLOR)"},
    [OPTION_EXIT_ZERO] = {"--exit-zero", NULL, "exit 0 whatever the health is"},
    [OPTION_QUIET] = {"-q", NULL, "no output, only the exit code"},
    [OPTION_VERBOSE] = {"-v", NULL, "grouped by machine; warnings of the registry"},
    [OPTION_IMPLICIT] = {"--implicit-checks", NULL,
        "a service with a port but without a check gets a tcp check"},
    [OPTION_COMPOSE] = {"--legacy-compose-health", NULL, "run health checks of compose files here"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

// The ways one result is shown.
enum form { FORM_TABLE, FORM_SERVICE, FORM_CHECK, FORM_CHECK_ALL, FORM_STATUS };

struct ask {
    const char *const *values;
    struct health_setup setup;
    enum form form;
    struct view_filter filter;
    const char *service; // NULL: all
    bool json;
    int exit_code;
};

// ---- Showing

static int complain(const struct ask *ask, int exit_code, const char *problem)
{
    if (ask->json) {
        struct buf out = BUF_INIT(16 * 1024);
        struct json_writer writer;
        json_writer_init(&writer, &out);
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "error", problem);
        jsonw_object_end(&writer);
        const char *text = buf_text(&out);
        puts(text == NULL ? "{\"error\":\"out of memory\"}" : text);
        buf_reset(&out);
    } else {
        fprintf(stderr, "weir health: %s\n", problem);
    }
    return exit_code;
}

static bool wants_color(const struct ask *ask)
{
    const char *no_color = getenv("NO_COLOR");
    return ask->values[OPTION_NO_COLOR] == NULL && (no_color == NULL || no_color[0] == '\0') &&
           isatty(STDOUT_FILENO);
}

static void write_verdict(const struct view_service *row, struct buf *out)
{
    if (row->status == HEALTH_HEALTHY) {
        buf_printf(out, "✓ Service '%s' is healthy\n", row->service);
    } else if (row->status == HEALTH_DEGRADED) {
        buf_printf(out, "⚠ Service '%s' is healthy but degraded: %s\n", row->service,
            row->issue_count > 0 ? row->issues[0].message : row->reason);
    } else {
        buf_printf(out, "✗ Service '%s' is unhealthy or unreachable\n", row->service);
    }
}

static bool is_up(const struct view_service *row)
{
    return row->status == HEALTH_HEALTHY || row->status == HEALTH_DEGRADED;
}

static void write_check_all(const struct view *view, struct buf *out)
{
    bool all = true;
    buf_append_str(out, "Checking health of all services...\n");
    for (size_t i = 0; i < view->service_count; i++) {
        const struct view_service *row = &view->services[i];
        bool up = is_up(row);
        all = all && (up || row->disabled);
        buf_printf(out, "%-30s ... ", row->service);
        write_verdict(row, out);
        buf_append_str(out, up ? "✓ HEALTHY\n" : "✗ UNHEALTHY\n");
    }
    buf_append_str(out, all ? "✓ All services are healthy\n" : "✗ Some services are unhealthy\n");
}

static void write_status(const struct view_service *row, struct buf *out)
{
    const struct service *service = row->target->service;
    const char *status = is_up(row)                        ? "running"
                         : row->status == HEALTH_UNHEALTHY ? "stopped"
                                                           : "unknown";
    buf_printf(out, "Service: %s\n  Type: %s\n  Host: %s\n", service->name,
        service->deployment_type, service->machine->name);
    if (service->port != 0) {
        buf_printf(out, "  Port: %u\n", (unsigned)service->port);
    }
    buf_printf(out, "  Hostname: %s\n  Status: %s\n", service->hostname, status);
    if (is_up(row)) {
        buf_printf(
            out, "  Health: %s\n", row->status == HEALTH_HEALTHY ? "✓ Healthy" : "✗ Unhealthy");
    }
}

static void write_text(const struct ask *ask, const struct view *view, struct buf *out)
{
    struct view_style style = {
        .color = wants_color(ask), .by_machine = ask->values[OPTION_VERBOSE] != NULL};
    const struct view_service *first = view->service_count == 0 ? NULL : &view->services[0];
    switch (ask->form) {
    case FORM_TABLE:
        view_write_table(view, &style, out);
        break;
    case FORM_SERVICE:
        view_write_service(first, &style, out);
        break;
    case FORM_CHECK:
        write_verdict(first, out);
        break;
    case FORM_CHECK_ALL:
        write_check_all(view, out);
        break;
    case FORM_STATUS:
        write_status(first, out);
        break;
    }
}

static int exit_code_of(const struct ask *ask, const struct view *view)
{
    if (ask->values[OPTION_EXIT_ZERO] != NULL || ask->form == FORM_STATUS) {
        return EXIT_FINE;
    }
    if (ask->form != FORM_CHECK && ask->form != FORM_CHECK_ALL) {
        return view_exit_code(view);
    }
    for (size_t i = 0; i < view->service_count; i++) {
        if (!is_up(&view->services[i]) &&
            (ask->form == FORM_CHECK || !view->services[i].disabled)) {
            return EXIT_FAILED;
        }
    }
    return EXIT_FINE;
}

static bool print_view(const struct ask *ask, const struct view *view)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    if (ask->json && ask->service != NULL) {
        view_write_service_json(&view->services[0], &out);
        buf_append_byte(&out, '\n');
    } else if (ask->json) {
        view_write_json(view, &out);
        buf_append_byte(&out, '\n');
    } else {
        write_text(ask, view, &out);
    }
    const char *text = buf_text(&out);
    bool ok = text != NULL && !out.failed && fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    buf_reset(&out);
    return ok;
}

static void show(void *arg, struct monitor *monitor)
{
    struct ask *ask = arg;
    struct view view;
    ask->exit_code = EXIT_FAILED;
    if (view_of_monitor(&view, monitor, &ask->filter) == WEIR_OK) {
        ask->exit_code = exit_code_of(ask, &view);
        if (ask->values[OPTION_QUIET] == NULL && !print_view(ask, &view)) {
            ask->exit_code = EXIT_FAILED;
        }
    }
    view_fini(&view);
}

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

static bool cap_timeouts(const char *text, struct registry *registry)
{
    uint64_t seconds;
    if (text == NULL) {
        return true;
    }
    if (number_parse_u64(slice_str(text), TIMEOUT_S_MAX, &seconds) != WEIR_OK || seconds == 0) {
        fprintf(stderr, "weir health: --timeout \"%s\" is not usable; allowed: 1-%d\n", text,
            TIMEOUT_S_MAX);
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
static bool find_service(struct ask *ask, const struct registry *registry, char *problem)
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

static void print_notes(const struct ask *ask, const struct registry *registry)
{
    struct buf lines = BUF_INIT(CONF_PROBLEMS_BYTES_MAX);
    bool verbose = ask->values[OPTION_VERBOSE] != NULL;
    if (verbose || registry->broken) {
        registry_print_notes(registry, verbose ? NOTE_INFO : NOTE_ERROR, &lines);
        const char *text = buf_text(&lines);
        fputs(text == NULL ? "" : text, stderr);
    } else if (registry->note_counts[NOTE_ERROR] > 0 && !ask->json &&
               ask->values[OPTION_QUIET] == NULL) {
        fprintf(stderr, "weir health: %zu mistakes in %s; see weir health registry validate\n",
            registry->note_counts[NOTE_ERROR], registry->path);
    }
    buf_reset(&lines);
}

static int check_directly(struct ask *ask)
{
    char problem[PROBLEM_SIZE];
    struct registry *registry = health_setup_read(&ask->setup);
    if (registry == NULL) {
        return complain(ask, EXIT_FAILED, "the registry is locked, or memory ran out");
    }
    print_notes(ask, registry);
    int exit_code = EXIT_FINE;
    if (registry->broken) {
        exit_code = complain(ask, EXIT_NO_INPUT, registry->notes[0]->message);
    } else if (!cap_timeouts(ask->values[OPTION_TIMEOUT], registry)) {
        exit_code = EXIT_USAGE;
    } else if (!find_service(ask, registry, problem)) {
        exit_code = complain(ask, 3, problem); // unknown
    }
    if (exit_code != EXIT_FINE) {
        registry_unref(registry);
        return exit_code;
    }
    // Which statuses to show is known after the checks only.
    struct view_filter selected = ask->filter;
    selected.by_status = false;
    exit_code = health_direct(registry, health_setup_ssh_dir(&ask->setup), &selected, show, ask);
    return exit_code == EXIT_FINE ? ask->exit_code : exit_code;
}

// ---- The command line

static int misunderstood(const char *word)
{
    fprintf(stderr, "weir health: \"%s\" is not understood here; see weir health --help\n", word);
    return EXIT_USAGE;
}

// Takes the sub-command's name, if there is one, and the service and machine behind it.
static int read_words(struct ask *ask, int count, char **words, bool names_only)
{
    static const struct {
        const char *name;
        enum form form;
        int service_count;
    } forms[] = {
        {"check", FORM_CHECK, 1},
        {"check-all", FORM_CHECK_ALL, 0},
        {"status", FORM_STATUS, 1},
    };
    for (size_t i = 0; count > 0 && !names_only && i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(words[0], forms[i].name) != 0) {
            continue;
        }
        ask->form = forms[i].form;
        if (count != 1 + forms[i].service_count) {
            return misunderstood(words[count - 1]);
        }
        ask->service = count == 2 ? words[1] : NULL;
        return EXIT_FINE;
    }
    if (count > 2) {
        return misunderstood(words[2]);
    }
    ask->service = count > 0 ? words[0] : NULL;
    ask->form = count > 0 ? FORM_SERVICE : FORM_TABLE;
    ask->filter.machine = count > 1 ? slice_str(words[1]) : ask->filter.machine;
    return EXIT_FINE;
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

static int answer(struct ask *ask, int count, char **words, bool names_only)
{
    char problem[PROBLEM_SIZE];
    bool registry = count > 0 && !names_only && strcmp(words[0], "registry") == 0;
    if (registry &&
        (count != 2 || (strcmp(words[1], "validate") != 0 && strcmp(words[1], "show") != 0 &&
                           strcmp(words[1], "path") != 0))) {
        fputs("weir health registry: allowed: validate, show, path\n", stderr);
        return EXIT_USAGE;
    }
    ask->filter.machine = slice_str(ask->values[OPTION_MACHINE]);
    int exit_code = registry ? EXIT_FINE : read_words(ask, count, words, names_only);
    if (exit_code != EXIT_FINE || !read_statuses(ask->values[OPTION_STATUS], &ask->filter)) {
        return EXIT_USAGE;
    }
    ask->filter.service = slice_str(ask->service);
    ask->filter.by_status =
        ask->filter.by_status && ask->service == NULL; // one that is named is shown
    exit_code =
        health_setup_open(&ask->setup, ask->values[OPTION_REGISTRY], problem, sizeof problem);
    ask->setup.options.implicit_checks = ask->values[OPTION_IMPLICIT] != NULL;
    ask->setup.options.legacy_compose_health = ask->values[OPTION_COMPOSE] != NULL;
    ask->setup.options.url_overrides = !registry;
    if (exit_code != EXIT_FINE) {
        exit_code = complain(ask, exit_code, problem);
    } else if (registry) {
        exit_code = cmd_health_registry(words[1], &ask->setup, ask->json);
    } else {
        exit_code = check_directly(ask);
    }
    health_setup_close(&ask->setup);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct ask ask;
    if (argc > 0 && strcmp(argv[0], "serve") == 0) {
        return command_health_serve.run(&command_health_serve, argc - 1, argv + 1);
    }
    bool names_only = has_separator(argc, argv);
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    ask.values = values;
    ask.json = values[OPTION_JSON_OUTPUT] != NULL || values[OPTION_JSON] != NULL;
    return answer(&ask, count, argv, names_only);
}

const struct command command_health = {
    .name = "health",
    .summary = "Check the services of a registry.yml",
    .usage = "[SERVICE [MACHINE]] | check SERVICE | check-all | status SERVICE | serve | registry "
             "validate|show|path",
    .options = options,
    .run = run,
};
