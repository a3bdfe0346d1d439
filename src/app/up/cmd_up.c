// SPDX-License-Identifier: Apache-2.0
// Everything on loopback with nothing to set up: a relay over TLS on an embedded platform, which
// the relay asks over HTTP as it would ask a hosted one. Keys, tokens and certificate are made on
// the first start and kept in the state directory. The environment of `weir relay` still counts;
// only what is not set there gets these defaults.
//
// With -c FILE, the parts that a weir.yml names (up_file.h), in one process. With --demo, the
// weir.yml that demo_files.h makes, and beside its parts the one that moves them (demo_part.h).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/demo/demo_part.h"
#include "app/engine_command.h"
#include "app/parts/engine_part.h"
#include "app/parts/health_part.h"
#include "app/parts/platform_server.h"
#include "app/parts/relay_part.h"
#include "app/sandbox.h"
#include "app/up/up_file.h"
#include "app/up/up_print.h"
#include "base/number.h"
#include "platform/certificate.h"

#define URL_SIZE 96
#define VALIDATE_PATH "/api/runtime/internal/relay/validate"
#define LOG_LINES_KEPT 1000

enum {
    OPTION_FILE,
    OPTION_DEMO,
    OPTION_STATE_DIR,
    OPTION_LISTEN,
    OPTION_ENGINE_LISTEN,
    OPTION_HEALTH_LISTEN,
    OPTION_PERIOD,
    OPTION_WORKERS,
    OPTION_USER,
    OPTION_NO_SANDBOX,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_FILE] = {"--config", "FILE",
        "the parts that this weir.yml names: weir config reference up",
        .alias = "-c", .flags = OPTION_PATH},
    [OPTION_DEMO] = {"--demo", NULL, "all parts on loopback, and something that moves in each"},
    [OPTION_STATE_DIR] = {"--state-dir", "DIR", "keys, tokens, certificate (WEIR_STATE_DIR)"},
    [OPTION_LISTEN] = {"--listen", "ADDR:PORT", "where the relay listens; 127.0.0.1:7781"},
    [OPTION_ENGINE_LISTEN] = {"--engine-listen", "ADDR:PORT",
        "where the engine listens; of the demo 127.0.0.1:8443"},
    [OPTION_HEALTH_LISTEN] = {"--health-listen", "ADDR:PORT",
        "where the health monitor and its page are; 127.0.0.1:8988"},
    [OPTION_PERIOD] = {"--demo-period", "SECONDS",
        "the demo's check that fails on purpose does so for a sixth of it; 120"},
    [OPTION_WORKERS] = {"--workers", "N", "threads that carry connections (WEIR_WORKERS)"},
    [OPTION_USER] = SANDBOX_ROW_USER,
    [OPTION_NO_SANDBOX] = SANDBOX_ROW_OFF,
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

// The sections of a file, and what only an option brings.
enum { UP_DEMO = UP_SECTION_COUNT, UP_PART_COUNT };

struct up {
    const char *const *values; // of the options
    bool has[UP_PART_COUNT];
    struct up_file file; // without -c zeroed
    struct platform_setup setup; // its platform is NULL when none runs here
    char validate_url[URL_SIZE];
    char jwks_url[URL_SIZE];
    struct certificate_paths certificate;
    struct platform_server platform_server;
    struct relay_part relay;
    struct engine_part engine;
    struct health_part health;
    struct demo_files demo_files;
    struct demo_part demo;
};

// ---- Defaults under the environment

struct preset {
    const char *name;
    const char *value;
};

// The environment, with the file below it.
static const struct conf_source *settings(const struct up *up)
{
    return up->file.relay.above == NULL ? &conf_environment : &up->file.relay.source;
}

static const char *get_setting(const struct up *up, const char *name)
{
    const struct conf_source *source = settings(up);
    return source->get(source->arg, name);
}

// Whoever brings a certificate gets none of ours.
static bool brings_certificate(const struct up *up)
{
    static const char *const names[] = {"RELAY_TLS_CERT_DIR", "RELAY_TLS_HOST",
        "RELAY_TLS_CERT_PATH", "RELAY_TLS_KEY_PATH"};
    bool brings = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        brings = brings || conf_section_holds(&up->file.relay, names[i]);
    }
    return brings;
}

static const char *get(void *arg, const char *name)
{
    const struct up *up = arg;
    const struct platform *platform = up->setup.platform; // NULL while the file is only looked at
    const char *set = get_setting(up, name);
    const struct preset presets[] = {
        {"RELAY_VALIDATE_URL", up->validate_url},
        {"RELAY_JWKS_URL", up->jwks_url},
        {"RELAY_INTERNAL_KEY", platform == NULL ? NULL : platform_internal_key(platform)},
        {"RELAY_ADMIN_TOKEN", platform == NULL ? NULL : platform_admin_token(platform)},
        {"RELAY_ENABLE_ADMIN_HTTP", "1"},
        {"RELAY_BACKPLANE_MODE", "single"},
        {"RELAY_TLS_HOST", "localhost"},
        {"RELAY_TLS_CERT_PATH", up->certificate.certificate},
        {"RELAY_TLS_KEY_PATH", up->certificate.key},
    };
    for (size_t i = 0; (set == NULL || set[0] == '\0') && i < sizeof presets / sizeof presets[0];
         i++) {
        bool tls = strncmp(presets[i].name, "RELAY_TLS_", 10) == 0;
        if (strcmp(presets[i].name, name) == 0 && !(tls && brings_certificate(up))) {
            return presets[i].value;
        }
    }
    return set;
}

static bool file_exists(void *arg, const char *path)
{
    (void)arg;
    return conf_environment.file_exists(NULL, path);
}

static void label(void *arg, const char *name, char text[CONF_LABEL_SIZE])
{
    conf_source_label(settings(arg), name, text);
}

// ---- Ready

// The page of the monitor shows the parts beside it.
static void introduce(struct up *up)
{
    struct neighbour_place *places = up->health.neighbours;
    if (!up->has[UP_HEALTH]) {
        return;
    }
    if (up->has[UP_RELAY]) {
        health_neighbours_relay(
            &places[NEIGHBOUR_RELAY], &up->relay.relay, get(up, "RELAY_ADMIN_TOKEN"));
    }
    if (up->has[UP_ENGINE]) {
        health_neighbours_engine(
            &places[NEIGHBOUR_ENGINE], &up->engine.engine, engine_part_config(&up->engine));
    }
}

static void print_ready(void *arg)
{
    struct up *up = arg;
    introduce(up);
    const struct up_parts running = {
        .setup = up->setup.platform != NULL ? &up->setup : NULL,
        .platform = &up->platform_server,
        .relay = up->has[UP_RELAY] ? &up->relay : NULL,
        .engine = up->has[UP_ENGINE] ? &up->engine : NULL,
        .health = up->has[UP_HEALTH] ? &up->health : NULL,
        .demo = up->has[UP_DEMO] ? &up->demo : NULL,
    };
    if (up->has[UP_DEMO]) {
        up_print_demo(&running);
    } else if (up->values[OPTION_FILE] == NULL) {
        up_print_relay(&running);
    } else {
        up_print_parts(&running);
    }
}

// ---- The platform

static int prepare_platform(struct up *up, struct conf_problems *problems)
{
    const char *option = up->values[OPTION_STATE_DIR];
    bool embedded = !up->file.platform_has_keys;
    (void)problems;
    int exit_code = platform_setup_open(&up->setup,
        &(struct platform_setup_options){
            .who = "weir up",
            .file = up->values[OPTION_FILE],
            .state_dir = option != NULL ? option : up->file.globals.state_dir,
            .listen = embedded ? "127.0.0.1:0" : NULL,
            .embedded = embedded,
        });
    if (exit_code == EXIT_FINE) {
        exit_code = platform_setup_sync(&up->setup, NULL);
    }
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    enum weir_result result = certificate_ensure_localhost(up->setup.state_dir, &up->certificate);
    if (result != WEIR_OK) {
        fprintf(stderr, "weir up: cannot use the state directory %s: %s\n", up->setup.state_dir,
            weir_result_text(result));
        return EXIT_FAILED;
    }
    if (!platform_server_init(&up->platform_server, &up->setup, false)) {
        return EXIT_FAILED;
    }
    // Whatever its certificate is for, the relay asks it on this machine.
    const char *origin = up->setup.config.cert_file == NULL ? "http://127.0.0.1" : "https://localhost";
    unsigned port = up->platform_server.address.port;
    snprintf(up->validate_url, sizeof up->validate_url,
        "%s:%u" VALIDATE_PATH, origin, port);
    snprintf(up->jwks_url, sizeof up->jwks_url, "%s:%u/jwks.json", origin, port);
    return EXIT_FINE;
}

// ---- The other parts

static int prepare_relay(struct up *up, struct conf_problems *problems)
{
    const struct conf_source presets = {get, file_exists, up, label};
    return relay_part_init(&up->relay,
        &(struct relay_part_options){
            .source = up->setup.platform != NULL ? &presets : settings(up),
            .own_platform = up->setup.platform != NULL,
            .listen = up->values[OPTION_LISTEN],
            .workers = up->values[OPTION_WORKERS],
        },
        problems);
}

static struct engine_config_source engine_source(const struct up *up)
{
    struct engine_config_source source = engine_command_source(up->values[OPTION_FILE]);
    source.section = "engine";
    return source;
}

static int prepare_engine(struct up *up, struct conf_problems *problems)
{
    return engine_part_init(&up->engine,
        &(struct engine_part_options){
            .source = engine_source(up),
            .listen = up->values[OPTION_ENGINE_LISTEN],
            .listen_option = options[OPTION_ENGINE_LISTEN].name,
            .metrics_listen = up->has[UP_DEMO] ? DEMO_METRICS_LISTEN : NULL,
            .workers = up->values[OPTION_WORKERS],
        },
        problems);
}

static int prepare_health(struct up *up, struct conf_problems *problems)
{
    struct health_part_options health = up->file.health_options;
    (void)problems;
    if (up->values[OPTION_STATE_DIR] != NULL && up->file.health.state_dir == NULL) {
        health.state_dir = up->values[OPTION_STATE_DIR];
    }
    if (up->values[OPTION_HEALTH_LISTEN] != NULL) {
        health.listen = up->values[OPTION_HEALTH_LISTEN];
    }
    return health_part_init(&up->health, &health);
}

static int prepare_demo(struct up *up, struct conf_problems *problems)
{
    uint64_t period_s = DEMO_PERIOD_S;
    const char *period = up->values[OPTION_PERIOD];
    (void)problems;
    if (period != NULL &&
        (number_parse_u64(slice_str(period), DEMO_PERIOD_MAX_S, &period_s) != WEIR_OK ||
            period_s < DEMO_PERIOD_MIN_S)) {
        fprintf(stderr, "weir up: --demo-period \"%s\" is not usable; allowed: %d-%d\n", period,
            DEMO_PERIOD_MIN_S, DEMO_PERIOD_MAX_S);
        return EXIT_USAGE;
    }
    demo_part_init(&up->demo, &(struct demo_part_options){
                                  .files = &up->demo_files,
                                  .platform = &up->platform_server,
                                  .relay = &up->relay,
                                  .engine = &up->engine,
                                  .period_s = period_s,
                              });
    return EXIT_FINE;
}

// In the order of their start: the relay asks the platform, the demo tells health where all are.
static const struct {
    unsigned which;
    int (*prepare)(struct up *up, struct conf_problems *problems);
    size_t part; // offset
} parts[UP_PART_COUNT] = {
    {UP_PLATFORM, prepare_platform, offsetof(struct up, platform_server.part)},
    {UP_RELAY, prepare_relay, offsetof(struct up, relay.part)},
    {UP_ENGINE, prepare_engine, offsetof(struct up, engine.part)},
    {UP_DEMO, prepare_demo, offsetof(struct up, demo.part)},
    {UP_HEALTH, prepare_health, offsetof(struct up, health.part)},
};

static void keep_warnings(struct conf_problems *all, const struct conf_problems *more)
{
    buf_append_slice(&all->warnings, buf_slice(&more->warnings));
}

// Every part says what is wrong with its section; the first exit code counts.
static int prepare(struct up *up, struct conf_problems *problems, struct part **ret_parts)
{
    int exit_code = EXIT_FINE;
    size_t count = 0;
    for (unsigned i = 0; i < UP_PART_COUNT; i++) {
        struct conf_problems own;
        if (!up->has[parts[i].which]) {
            continue;
        }
        conf_problems_init(&own);
        int part_code = parts[i].prepare(up, &own);
        keep_warnings(problems, &own);
        conf_problems_fini(&own);
        exit_code = exit_code == EXIT_FINE ? part_code : exit_code;
        ret_parts[count++] = (struct part *)((char *)up + parts[i].part);
    }
    return exit_code;
}

// ---- Start

static uint64_t workers_of(const struct up *up)
{
    bool by_option = up->values[OPTION_WORKERS] != NULL;
    if (!by_option && up->file.globals.workers > 0) {
        return up->file.globals.workers;
    }
    if (up->has[UP_RELAY]) {
        return up->relay.config.workers;
    }
    return up->has[UP_ENGINE] ? engine_part_config(&up->engine)->workers : 1; // health has one
}

// Two processes of one user may share a port, so that one can follow the other (sys_listen). A demo
// that shared those of another would send its visitors there.
static bool is_free(const char *host, uint64_t port, unsigned option)
{
    struct sys_address address;
    int fd;
    if (port == 0 || sys_address_parse(host, (uint16_t)port, &address) != WEIR_OK) {
        return true; // for whoever listens, to find out
    }
    enum weir_result result = sys_listen_alone(&address, &fd);
    if (result == WEIR_OK) {
        sys_close(fd);
    } else if (result == WEIR_IN_USE) {
        fprintf(stderr,
            "weir up: port %u of %s is taken, perhaps by another weir; %s 127.0.0.1:0 takes one that "
            "is free\n",
            (unsigned)port, host, options[option].name);
    }
    return result != WEIR_IN_USE;
}

// All that are not are told of.
static bool ports_are_free(const struct up *up)
{
    const struct relay_config *relay = &up->relay.config;
    const struct conf_listen *engine = &engine_part_config(&up->engine)->tls_listen;
    const struct sys_address *health = &up->health.options.listen;
    char host[IP_TEXT_SIZE];
    ip_to_text(&health->ip, host);
    bool relay_is = is_free(relay->listen_host, relay->listen_port, OPTION_LISTEN);
    bool engine_is = is_free(engine->host, engine->port, OPTION_ENGINE_LISTEN);
    return is_free(host, health->port, OPTION_HEALTH_LISTEN) && relay_is && engine_is;
}

static int run_parts(struct up *up, struct conf_problems *problems)
{
    struct part *running[UP_PART_COUNT];
    size_t count = 0;
    int exit_code = prepare(up, problems, running);
    for (unsigned i = 0; i < UP_PART_COUNT; i++) {
        count += up->has[i];
    }
    if (exit_code == EXIT_FINE && up->has[UP_DEMO] && !ports_are_free(up)) {
        exit_code = EXIT_FAILED;
    }
    if (exit_code == EXIT_FINE) {
        exit_code = process_run(&(struct process_options){
            .parts = running,
            .part_count = count,
            .workers = workers_of(up),
            .max_logs = up->has[UP_RELAY] ? up->relay.config.max_logs : LOG_LINES_KEPT,
            .problems = problems,
            .ready = print_ready,
            .arg = up,
        });
    }
    relay_part_fini(&up->relay);
    engine_part_fini(&up->engine);
    health_part_fini(&up->health);
    platform_setup_close(&up->setup);
    return exit_code;
}

// ---- A file

// Prints what is wrong, if anything is; false then.
static bool judge(struct conf_problems *problems, bool fine)
{
    bool good = fine && (problems->errors.len == 0 || command_print_problems(problems));
    conf_problems_fini(problems);
    return good;
}

static bool check_relay(const struct up *up)
{
    const uint8_t random[6] = {0};
    const struct conf_source presets = {get, file_exists, (void *)(uintptr_t)up, label};
    struct conf_problems problems;
    struct relay_config config;
    conf_problems_init(&problems);
    bool fine = relay_config_load(up->has[UP_PLATFORM] ? &presets : settings(up), random,
                    up->has[UP_PLATFORM], &config,
                    &problems) == WEIR_OK;
    relay_config_free(&config);
    return judge(&problems, fine);
}

static bool check_engine(const struct up *up)
{
    const struct engine_config_source source = engine_source(up);
    struct conf_problems problems;
    struct engine_config config;
    conf_problems_init(&problems);
    bool fine = engine_config_load(&source, &config, NULL, &problems) == WEIR_OK;
    engine_config_free(&config);
    return judge(&problems, fine);
}

static bool check_platform(const struct up *up)
{
    const struct platform_config_source source = {
        .path = up->values[OPTION_FILE], .variables = &conf_environment, .environment = environ};
    struct conf_problems problems;
    struct platform_config config;
    conf_problems_init(&problems);
    bool fine = platform_config_load(&source, &config, NULL, &problems) == WEIR_OK;
    platform_config_free(&config);
    return judge(&problems, fine);
}

// Nothing is opened or made before the whole file is fine.
static bool read_file(struct up *up, struct conf_problems *problems)
{
    if (up_file_open(&up->file, up->values[OPTION_FILE], problems) != WEIR_OK) {
        fputs("weir up: out of memory\n", stderr);
        return false;
    }
    memcpy(up->has, up->file.has, sizeof up->file.has);
    // Stands for the platform's own address, which has no port yet.
    snprintf(up->validate_url, sizeof up->validate_url, "%s",
        up->has[UP_PLATFORM] ? "http://127.0.0.1:1" VALIDATE_PATH : "");
    bool good = problems->errors.len == 0 || command_print_problems(problems);
    if (up->file.document.root == NULL) {
        return false;
    }
    good = (!up->file.platform_has_keys || check_platform(up)) && good;
    good = (!up->has[UP_RELAY] || check_relay(up)) && good;
    return (!up->has[UP_ENGINE] || check_engine(up)) && good;
}

static int run_file(struct up *up)
{
    struct conf_problems problems;
    conf_problems_init(&problems);
    int exit_code = read_file(up, &problems) ? run_parts(up, &problems) : EXIT_CONFIG;
    conf_problems_fini(&problems);
    up_file_close(&up->file);
    return exit_code;
}

int up_command_check(const char *path)
{
    const char *const values[OPTION_COUNT] = {[OPTION_FILE] = path == NULL ? "weir.yml" : path};
    static struct up up;
    struct conf_problems problems;
    conf_problems_init(&problems);
    up.values = values;
    bool good = read_file(&up, &problems) && command_print_problems(&problems);
    if (good) {
        puts("up: fine");
    }
    conf_problems_fini(&problems);
    up_file_close(&up.file);
    return good ? EXIT_FINE : EXIT_CONFIG;
}

static int run_relay(struct up *up)
{
    struct conf_problems problems;
    conf_problems_init(&problems);
    up->has[UP_PLATFORM] = up->has[UP_RELAY] = true;
    int exit_code = run_parts(up, &problems);
    conf_problems_fini(&problems);
    return exit_code;
}

static int run_demo(struct up *up, const char **values)
{
    int exit_code = demo_files_make(&up->demo_files, values[OPTION_STATE_DIR]);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    values[OPTION_FILE] = up->demo_files.weir_yml;
    values[OPTION_STATE_DIR] = up->demo_files.state_dir; // as seen from the root
    up->has[UP_DEMO] = true;
    if (isatty(STDOUT_FILENO)) {
        log_write_from(LOG_WARN); // what is printed should stay in sight
    }
    return run_file(up);
}

// Options that would do nothing.
static bool is_sensible(const char *const *values)
{
    bool demo = values[OPTION_DEMO] != NULL;
    if (demo && values[OPTION_FILE] != NULL) {
        fputs("weir up: --demo makes a weir.yml of its own; leave out -c, or --demo\n", stderr);
        return false;
    }
    if (!demo && values[OPTION_PERIOD] != NULL) {
        fputs("weir up: --demo-period is for --demo\n", stderr);
        return false;
    }
    if (!demo && values[OPTION_FILE] == NULL &&
        (values[OPTION_ENGINE_LISTEN] != NULL || values[OPTION_HEALTH_LISTEN] != NULL)) {
        fputs("weir up: engine and health run with --demo, or -c FILE\n", stderr);
        return false;
    }
    return true;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct up up;
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        fprintf(stderr, "weir up: \"%s\" is not understood; see weir up --help\n", argv[0]);
        return EXIT_USAGE;
    }
    if (!is_sensible(values)) {
        return EXIT_USAGE;
    }
    exit_code = sandbox_begin(values[OPTION_USER], values[OPTION_NO_SANDBOX]);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    up.values = values;
    if (values[OPTION_DEMO] != NULL) {
        return run_demo(&up, values);
    }
    return values[OPTION_FILE] != NULL ? run_file(&up) : run_relay(&up);
}

const struct command command_up = {
    .name = "up",
    .summary = "Run a relay on loopback with an embedded platform: nothing to set up; with --demo "
               "all parts and something that moves; or with -c the parts that a weir.yml names",
    .usage = "",
    .options = options,
    .run = run,
};
