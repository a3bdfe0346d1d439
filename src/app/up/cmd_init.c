// SPDX-License-Identifier: Apache-2.0
// weir init: a weir.yml that works, what goes with it, and what to do next. Nothing that is there
// is written over, and what does not work does not stay.
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/quote.h"
#include "app/up/init_plan.h"
#include "base/mem.h"
#include "cli/faults.h"
#include "sys/file.h"
#include "sys/host.h"

#define SHELL_SIZE QUOTE_SHELL_SIZE(INIT_PATH_SIZE)

enum {
    OPTION_DIR,
    OPTION_PARTS,
    OPTION_HOST,
    OPTION_SELF_SIGNED,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_REGISTRY,
    OPTION_RELAY_LISTEN,
    OPTION_ENGINE_LISTEN,
    OPTION_HEALTH_LISTEN,
    OPTION_USER,
    OPTION_NO_CHECKS,
    OPTION_COUNT
};

static const struct option_row options[] = {
    [OPTION_DIR] = {"--dir", "DIR", "where the files go; here", .flags = OPTION_PATH},
    [OPTION_PARTS] = {"--parts", "PART,…", "relay, engine, health; all of them"},
    [OPTION_HOST] = {"--host", "NAME", "by which others reach this machine"},
    [OPTION_SELF_SIGNED] = {"--self-signed", NULL, "make a certificate for it"},
    [OPTION_CERT] = {"--cert", "FILE", "or have one: the chain, PEM", .flags = OPTION_PATH},
    [OPTION_KEY] = {"--key", "FILE", "and its key, PEM", .flags = OPTION_PATH},
    [OPTION_REGISTRY] = {"--registry", "PATH", "services to check; registry.yml, which is made",
        .flags = OPTION_PATH},
    [OPTION_RELAY_LISTEN] = {"--relay-listen", "ADDR:PORT",
        "[::]:7781; port 7781 of all addresses"},
    [OPTION_ENGINE_LISTEN] = {"--engine-listen", "ADDR:PORT", "[::]:443"},
    [OPTION_HEALTH_LISTEN] = {"--health-listen", "ADDR:PORT", "127.0.0.1:8988"},
    [OPTION_USER] = {"--user", "NAME", "who runs it; who calls, or the user weir instead of root"},
    [OPTION_NO_CHECKS] = {"--no-checks", NULL, "do not look at names and ports"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct init {
    const char *const *values;
    struct init_plan plan;
};

// ---- Options

// A relay takes no address but loopback for a name that is local.
static bool is_local_name(const char *host)
{
    size_t len = strlen(host);
    return strcmp(host, "localhost") == 0 || (len >= 5 && strcmp(host + len - 5, ".test") == 0);
}

static bool read_listens(struct init *init)
{
    struct init_plan *plan = &init->plan;
    bool local = is_local_name(plan->answers.host);
    const struct {
        int option;
        const char *fallback;
        struct conf_listen *listen;
    } rows[] = {
        {OPTION_RELAY_LISTEN, local ? "127.0.0.1:7781" : "[::]:7781", &plan->relay},
        {OPTION_ENGINE_LISTEN, local ? "127.0.0.1:443" : "[::]:443", &plan->engine},
        {OPTION_HEALTH_LISTEN, "127.0.0.1:8988", &plan->health},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *given = init->values[rows[i].option];
        given = given == NULL ? rows[i].fallback : given;
        if (conf_listen_parse(slice_str(given), 1, rows[i].listen) != WEIR_OK) {
            fprintf(stderr, "weir init: %s \"%s\" is not usable; allowed: ADDR:PORT, [ADDR]:PORT\n",
                options[rows[i].option].name, given);
            return false;
        }
    }
    return true;
}

static bool share_a_port(const struct conf_listen *one, const struct conf_listen *other)
{
    return one->port == other->port &&
           (init_listens_everywhere(one) || init_listens_everywhere(other) ||
               strcmp(one->host, other->host) == 0);
}

// One port, one part; the engine's metrics have one as well.
static bool ports_are_apart(const struct init_plan *plan)
{
    static const struct conf_listen metrics = {.host = "127.0.0.1", .port = INIT_METRICS_PORT};
    const struct {
        const char *name;
        const struct conf_listen *listen;
        bool wanted;
    } rows[] = {
        {"--relay-listen", &plan->relay, plan->answers.relay},
        {"--engine-listen", &plan->engine, plan->answers.engine},
        {"--health-listen", &plan->health, plan->answers.health},
        {"the engine's metrics", &metrics, plan->answers.engine},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t j = 0; j < i; j++) {
            if (rows[i].wanted && rows[j].wanted && share_a_port(rows[i].listen, rows[j].listen)) {
                fprintf(stderr, "weir init: %s and %s cannot both have port %u\n", rows[j].name,
                    rows[i].name, (unsigned)rows[i].listen->port);
                return false;
            }
        }
    }
    return true;
}

// Who runs it: root only where there is nobody else.
static bool find_user(struct init *init)
{
    struct init_plan *plan = &init->plan;
    const char *given = init->values[OPTION_USER];
    char own[INIT_USER_SIZE];
    enum weir_result result = sys_user_own_name(own, sizeof own);
    if (given == NULL && sys_user_is_root() && sys_user_learn(INIT_USER) == WEIR_OK) {
        given = INIT_USER;
    } else if (given == NULL && result != WEIR_OK) {
        fputs("weir init: the user that runs this has no name; name one by --user\n", stderr);
        return false;
    }
    given = given == NULL ? own : given;
    plan->gives = sys_user_is_root() && strcmp(given, "root") != 0;
    if (!slice_to_text(slice_str(given), plan->user, sizeof plan->user) ||
        sys_user_learn(given) != WEIR_OK || !sys_user_recall(given, &plan->identity)) {
        fprintf(stderr, "weir init: there is no user \"%s\"; make it: useradd --system %s\n", given,
            given);
        return false;
    }
    if (!plan->gives && result == WEIR_OK && strcmp(given, own) != 0) {
        fprintf(stderr, "weir init: only root can make files for --user %s\n", given);
        return false;
    }
    return true;
}

static bool is_printable(const char *text)
{
    while (*text != '\0' && (unsigned char)*text >= ' ' && *text != 0x7F) {
        text++;
    }
    return *text == '\0';
}

// Before anything is asked, as far as it can be known by then.
static bool find_directory(struct init *init)
{
    struct init_plan *plan = &init->plan;
    const char *given = init->values[OPTION_DIR] == NULL ? "." : init->values[OPTION_DIR];
    enum weir_result result = is_printable(given)
                                  ? sys_absolute_path(given, plan->dir, sizeof plan->dir)
                                  : WEIR_MALFORMED;
    if (result != WEIR_OK) {
        fprintf(stderr, "weir init: the directory cannot be used: %s\n", weir_result_text(result));
        return false;
    }
    size_t len = strlen(plan->dir);
    while (len > 1 && (plan->dir[len - 1] == '/' ||
                          (plan->dir[len - 1] == '.' && plan->dir[len - 2] == '/'))) {
        plan->dir[--len] = '\0';
    }
    snprintf(plan->file, sizeof plan->file, "%s/weir.yml", plan->dir);
    snprintf(plan->state, sizeof plan->state, "%s/state", plan->dir);
    if (sys_file_exists(plan->file)) {
        fprintf(stderr, "weir init: %s is there already; move it away, or name another --dir\n",
            plan->file);
        return false;
    }
    return true;
}

// ---- What to do next

static void print_page(const struct init_plan *plan)
{
    char name[SYS_HOSTNAME_SIZE];
    bool everywhere = init_listens_everywhere(&plan->health);
    bool v6 = strchr(plan->health.host, ':') != NULL && !everywhere;
    sys_hostname(name);
    const char *host = !everywhere                     ? plan->health.host
                       : plan->answers.host[0] != '\0' ? plan->answers.host
                                                       : name;
    printf("\nThe page that shows it all: http://%s%s%s:%u/health\n", v6 ? "[" : "", host, v6 ? "]" : "",
        (unsigned)plan->health.port);
    if (init_wants_tokens(plan)) {
        printf("It asks for a token: the first word in %s/" INIT_TOKENS
               ". It speaks plain HTTP; let a proxy end TLS before the internet sees it.\n",
            plan->dir);
    }
}

static void print_next(const struct init_plan *plan)
{
    const struct init_answers *answers = &plan->answers;
    char word[SHELL_SIZE];
    char path[INIT_PATH_SIZE];
    printf("\nStart it%s%s:\n\n    weir up -c %s\n", plan->gives ? " as the user " : "",
        plan->gives ? plan->user : "", quote_shell(plan->file, word, sizeof word));
    snprintf(path, sizeof path, "%s/weir.service", plan->dir);
    printf("\nor for good, as root:\n\n    install -m 644 %s /etc/systemd/system/\n"
           "    systemctl enable --now weir.service\n",
        quote_shell(path, word, sizeof word));
    if (strcmp(plan->user, "root") == 0) {
        puts("\nIt runs as root, as there is no user " INIT_USER
             ". Better: useradd --system " INIT_USER ", and weir init once more.");
    }
    if (answers->relay) {
        printf("\nA token for a daemon of the relay, once it runs:\n\n"
               "    weir token relay --state-dir %s --role workspace-daemon --workspace demo "
               "--target laptop\n",
            quote_shell(plan->state, word, sizeof word));
    }
    if (answers->engine) {
        printf("\nPublish port 8080 of another machine, to which agent-token%s went:\n\n"
               "    weir context create home --engine %s:%u --token-file agent-token%s\n"
               "    weir forward 8080 --host demo\n",
            answers->self_signed ? " and weir.crt" : "", answers->host, (unsigned)plan->engine.port,
            answers->self_signed ? " --engine-tls-ca-file weir.crt" : "");
    }
    if (answers->health) {
        print_page(plan);
    }
}

// ---- The command

static int run_init(struct init *init)
{
    const char *const *values = init->values;
    struct init_plan *plan = &init->plan;
    const struct init_options given = {
        .parts = values[OPTION_PARTS],
        .host = values[OPTION_HOST],
        .cert_file = values[OPTION_CERT],
        .key_file = values[OPTION_KEY],
        .self_signed = values[OPTION_SELF_SIGNED],
        .registry = values[OPTION_REGISTRY],
        .relay_listen = values[OPTION_RELAY_LISTEN],
        .engine_listen = values[OPTION_ENGINE_LISTEN],
        .health_listen = values[OPTION_HEALTH_LISTEN],
    };
    if (!find_directory(init)) {
        return EXIT_FAILED;
    }
    int exit_code = init_answers_read(&given, &plan->answers);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    if (!read_listens(init) || !ports_are_apart(plan) || !find_user(init)) {
        return EXIT_USAGE;
    }
    if (!init_files_write(plan)) {
        return EXIT_FAILED;
    }
    exit_code = up_command_check(plan->file);
    if (exit_code != EXIT_FINE) {
        init_files_undo(plan);
        fputs("weir init: what it made would not start, and is deleted again\n", stderr);
        return exit_code;
    }
    if (values[OPTION_NO_CHECKS] == NULL) {
        init_look_around(plan);
    }
    print_next(plan);
    return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    static struct init init; // paths are long
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        command_complain(command, "\"%s\" is not understood; see weir init --help", argv[0]);
        return EXIT_USAGE;
    }
    init.values = values;
    faults_arm();
    exit_code = run_init(&init);
    faults_report();
    mem_free(init.plan.relay.host);
    mem_free(init.plan.engine.host);
    mem_free(init.plan.health.host);
    return exit_code;
}

static const struct command_example examples[] = {
    {"init --dir weir --parts health", "a monitor, with a registry to begin with"},
    {"init --dir weir --host edge.example.com --self-signed --no-checks",
        "everything, without a question"},
    {NULL},
};

const struct command command_init = {
    .name = "init",
    .summary =
        "Write a weir.yml that works, certificate, tokens and a systemd unit, and say what to "
        "do next",
    .usage = "",
    .options = options,
    .run = run,
    .examples = examples,
};
