// SPDX-License-Identifier: Apache-2.0
// weir init: a weir.yml that works, what goes with it, and what to do next. Nothing that is there is
// written over.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/init_answers.h"
#include "base/base64.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "engine/token.h"
#include "platform/certificate.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/resolve.h"
#include "sys/socket.h"

#define FILE_BYTES_MAX 65536
#define SECRET_BYTES 32
#define SECRET_SIZE 64
#define TOKEN_DAYS 365

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
    [OPTION_RELAY_LISTEN] = {"--relay-listen", "ADDR:PORT", "0.0.0.0:7781"},
    [OPTION_ENGINE_LISTEN] = {"--engine-listen", "ADDR:PORT", "0.0.0.0:443"},
    [OPTION_HEALTH_LISTEN] = {"--health-listen", "ADDR:PORT", "127.0.0.1:8988"},
    [OPTION_NO_CHECKS] = {"--no-checks", NULL, "do not look at names and ports"},
    [OPTION_COUNT] = {NULL, NULL, NULL},
};

struct init {
    const char *const *values;
    struct init_answers answers;
    char dir[INIT_TEXT_SIZE]; // absolute
    char file[INIT_TEXT_SIZE + 16];
    struct conf_listen relay;
    struct conf_listen engine;
    struct conf_listen health;
    char jwt_secret[SECRET_SIZE];
};

// ---- Options

static bool read_listen(const char *name, const char *text, struct conf_listen *ret_listen)
{
    if (conf_listen_parse(slice_str(text), 1, ret_listen) == WEIR_OK) {
        return true;
    }
    fprintf(stderr, "weir init: %s \"%s\" is not usable; allowed: ADDR:PORT\n", name, text);
    return false;
}

static bool read_listens(struct init *init)
{
    const struct {
        int option;
        const char *fallback;
        struct conf_listen *listen;
    } rows[] = {
        {OPTION_RELAY_LISTEN, "0.0.0.0:7781", &init->relay},
        {OPTION_ENGINE_LISTEN, "0.0.0.0:443", &init->engine},
        {OPTION_HEALTH_LISTEN, "127.0.0.1:8988", &init->health},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *given = init->values[rows[i].option];
        if (!read_listen(options[rows[i].option].name, given == NULL ? rows[i].fallback : given,
                rows[i].listen)) {
            return false;
        }
    }
    return true;
}

static bool find_directory(struct init *init)
{
    const char *given = init->values[OPTION_DIR] == NULL ? "." : init->values[OPTION_DIR];
    enum weir_result result = sys_dir_make(given);
    if (result == WEIR_OK) {
        result = sys_absolute_path(given, init->dir, sizeof init->dir);
    }
    size_t len = strlen(init->dir);
    if (len > 2 && strcmp(init->dir + len - 2, "/.") == 0) {
        init->dir[len - 2] = '\0';
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir init: the directory %s cannot be used: %s\n", given,
            weir_result_text(result));
        return false;
    }
    snprintf(init->file, sizeof init->file, "%s/weir.yml", init->dir);
    if (sys_file_exists(init->file)) {
        fprintf(stderr, "weir init: %s is there already; move it away, or name another --dir\n",
            init->file);
        return false;
    }
    return true;
}

// ---- Files

static bool make_secret(char secret[SECRET_SIZE])
{
    unsigned char bytes[SECRET_BYTES];
    if (sys_entropy(bytes, sizeof bytes) != WEIR_OK) {
        fputs("weir init: the system gives no random bytes\n", stderr);
        return false;
    }
    secret[base64url_encode(bytes, sizeof bytes, secret)] = '\0';
    return true;
}

// Makes DIR/name; false after saying why it cannot.
static bool write_file(const struct init *init, const char *name, struct buf *content)
{
    char path[INIT_TEXT_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", init->dir, name);
    enum weir_result result = content->failed ? WEIR_MEMORY
                                              : sys_file_create_private(path, buf_slice(content));
    if (result != WEIR_OK) {
        fprintf(stderr, "weir init: %s cannot be made: %s\n", path, weir_result_text(result));
    } else {
        printf("made %s\n", path);
    }
    buf_reset(content);
    return result == WEIR_OK;
}

static bool make_certificate(struct init *init)
{
    struct init_answers *answers = &init->answers;
    struct certificate_paths paths;
    char alt_names[2 * INIT_TEXT_SIZE + 32];
    if (answers->host[0] == '\0' || !answers->self_signed) {
        return true;
    }
    snprintf(alt_names, sizeof alt_names, "DNS:%s,DNS:*.t.%s", answers->host, answers->host);
    enum weir_result result = certificate_ensure(
        &(struct certificate_wish){
            .dir = init->dir, .stem = "weir", .common_name = "weir", .alt_names = alt_names},
        &paths);
    if (result != WEIR_OK ||
        !slice_to_text(slice_str(paths.certificate), answers->cert_file, INIT_TEXT_SIZE) ||
        !slice_to_text(slice_str(paths.key), answers->key_file, INIT_TEXT_SIZE)) {
        fprintf(stderr, "weir init: no certificate can be made in %s: %s\n", init->dir,
            weir_result_text(result));
        return false;
    }
    printf("made %s\nmade %s\n", answers->cert_file, answers->key_file);
    return true;
}

// In single quotes, as YAML has them.
static void put_text(struct buf *out, const char *text)
{
    buf_append_str(out, "'");
    for (; *text != '\0'; text++) {
        buf_append(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    }
    buf_append_str(out, "'");
}

static void put_row(struct buf *out, const char *key, const char *text)
{
    buf_append_str(out, key);
    put_text(out, text);
    buf_append_str(out, "\n");
}

static void put_address(struct buf *out, const char *key, const struct conf_listen *listen)
{
    bool v6 = strchr(listen->host, ':') != NULL;
    buf_printf(out, "%s'%s%s%s:%u'\n", key, v6 ? "[" : "", listen->host, v6 ? "]" : "",
        (unsigned)listen->port);
}

static void write_relay(const struct init *init, struct buf *out)
{
    const struct init_answers *answers = &init->answers;
    buf_append_str(out, "\n# Who is admitted says the platform, which runs here as well.\n"
                        "platform:\n\nrelay:\n");
    put_row(out, "  listen_host: ", init->relay.host[0] == '\0' ? "0.0.0.0" : init->relay.host);
    buf_printf(out, "  listen_port: %u\n", (unsigned)init->relay.port);
    put_row(out, "  tls_host: ", answers->host);
    put_row(out, "  tls_cert_path: ", answers->cert_file);
    put_row(out, "  tls_key_path: ", answers->key_file);
    buf_printf(out, "  public_ws_base_url: 'wss://%s:%u/ws'\n", answers->host,
        (unsigned)init->relay.port);
}

static void write_engine(const struct init *init, struct buf *out)
{
    const struct init_answers *answers = &init->answers;
    buf_append_str(out, "\nengine:\n  engine:\n");
    put_row(out, "    host: ", answers->host);
    buf_append_str(out, "  tls:\n    enabled: true\n");
    put_address(out, "    listen_addr: ", &init->engine);
    buf_append_str(out, "  certs:\n    static:\n      enabled: true\n");
    put_row(out, "      cert_file: ", answers->cert_file);
    put_row(out, "      key_file: ", answers->key_file);
    buf_append_str(out, "  auth:\n    jwt:\n      enabled: true\n");
    put_row(out, "      token_jwt_secret: ", init->jwt_secret);
    buf_append_str(out, "  metrics:\n    prometheus:\n      enabled: true\n"
                        "      listen_addr: '127.0.0.1:9464'\n");
}

static void write_health(const struct init *init, struct buf *out)
{
    char made[INIT_TEXT_SIZE + 32];
    snprintf(made, sizeof made, "%s/" INIT_REGISTRY, init->dir);
    buf_append_str(out, "\nhealth:\n");
    put_row(out, "  registry: ", init->answers.registry[0] == '\0' ? made : init->answers.registry);
    put_address(out, "  listen: ", &init->health);
}

static bool write_weir_yml(const struct init *init)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    buf_append_str(&out, "# Made by weir init. All keys: weir config reference up, relay, engine.\n"
                         "# What is wrong with it: weir config check up -c weir.yml\n");
    char state[INIT_TEXT_SIZE + 16];
    snprintf(state, sizeof state, "%s/state", init->dir);
    put_row(&out, "state_dir: ", state);
    if (init->answers.relay) {
        write_relay(init, &out);
    }
    if (init->answers.engine) {
        write_engine(init, &out);
    }
    if (init->answers.health) {
        write_health(init, &out);
    }
    return write_file(init, "weir.yml", &out);
}

static void put_check(
    struct buf *out, const char *name, const struct conf_listen *listen, const char *host)
{
    bool any = host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    buf_printf(out, "  %s:\n    current_host: here\n    health_check:\n      type: tcp\n", name);
    put_row(out, "      host: ", any ? "127.0.0.1" : host);
    buf_printf(out, "      port: %u\n", (unsigned)listen->port);
}

static bool write_registry(const struct init *init)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    if (!init->answers.health || init->answers.registry[0] != '\0') {
        return true;
    }
    buf_append_str(&out, "# Services to check; how: weir config reference health.\n"
                         "hosts:\n  here:\n    ip: 127.0.0.1\n\nservices:\n"
                         "  this-machine:\n    current_host: here\n    health_check:\n"
                         "      type: exec\n      command: 'test -r /proc/uptime'\n");
    if (init->answers.relay) {
        put_check(&out, "relay", &init->relay, init->relay.host);
    }
    if (init->answers.engine) {
        put_check(&out, "engine", &init->engine, init->engine.host);
    }
    return write_file(init, INIT_REGISTRY, &out);
}

static bool write_token(const struct init *init)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    const struct token_request request = {
        .subject = SLICE("agent"), .ttl_s = UINT64_C(86400) * TOKEN_DAYS};
    if (!init->answers.engine) {
        return true;
    }
    if (token_mint(&request, slice_str(init->jwt_secret), sys_wall_ms(), &out) != WEIR_OK) {
        buf_reset(&out);
        fputs("weir init: no token can be made\n", stderr);
        return false;
    }
    buf_append_str(&out, "\n");
    return write_file(init, "agent-token", &out);
}

static bool write_unit(const struct init *init)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    char program[INIT_TEXT_SIZE];
    if (sys_own_path(program, sizeof program) != WEIR_OK) {
        snprintf(program, sizeof program, "/usr/bin/weir");
    }
    buf_printf(&out,
        "# Made by weir init: systemctl enable --now %s/weir.service\n"
        "[Unit]\nDescription=weir: the parts that weir.yml names\n"
        "After=network-online.target\nWants=network-online.target\n\n"
        "[Service]\nType=notify\nExecStart=\"%s\" up -c \"%s\"\n"
        "ExecReload=/bin/kill -HUP $MAINPID\nTimeoutStopSec=30\nRestart=on-failure\n"
        "RestartSec=1\nLimitNOFILE=65536\nNoNewPrivileges=yes\nProtectSystem=full\n"
        "PrivateTmp=yes\nProtectKernelTunables=yes\nProtectKernelModules=yes\n"
        "ProtectControlGroups=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\nUMask=0077\n\n"
        "[Install]\nWantedBy=multi-user.target\n",
        init->dir, program, init->file);
    return write_file(init, "weir.service", &out);
}

// ---- Looking around. What is found is said, and ends nothing.

static void check_name(const char *name)
{
    struct ip ips[SYS_RESOLVE_MAX];
    size_t count;
    enum weir_result result = sys_resolve(name, ips, &count);
    if (result == WEIR_OK && count > 0) {
        char text[IP_TEXT_SIZE];
        ip_to_text(&ips[0], text);
        printf("name %s leads to %s\n", name, text);
    } else {
        printf("name %s: %s; add it to the DNS, as an address of this machine\n", name,
            weir_result_text(result));
    }
}

static void check_port(const char *part, const struct conf_listen *listen)
{
    struct sys_address address;
    int fd;
    enum weir_result result =
        sys_address_parse(listen->host, (uint16_t)listen->port, &address);
    if (result == WEIR_OK) {
        result = sys_listen_alone(&address, &fd);
    }
    if (result == WEIR_OK) {
        sys_close(fd);
        printf("port %u is free for the %s\n", (unsigned)listen->port, part);
        return;
    }
    printf("port %u cannot be used for the %s now: %s%s\n", (unsigned)listen->port, part,
        weir_result_text(result),
        result == WEIR_PERMISSION ? "; root may, and a service with CAP_NET_BIND_SERVICE" : "");
}

static void look_around(const struct init *init)
{
    const struct init_answers *answers = &init->answers;
    char tunnel[INIT_TEXT_SIZE + 16];
    puts("");
    if (answers->host[0] != '\0') {
        check_name(answers->host);
    }
    if (answers->relay) {
        check_port("relay", &init->relay);
    }
    if (answers->engine) {
        snprintf(tunnel, sizeof tunnel, "demo.t.%s", answers->host);
        check_name(tunnel);
        check_port("engine", &init->engine);
    }
    if (answers->health) {
        check_port("health monitor", &init->health);
    }
}

static void print_next(const struct init *init)
{
    const struct init_answers *answers = &init->answers;
    printf("\nStart it:\n\n    weir up -c %s\n\nor for good, as root:\n\n"
           "    systemctl enable --now %s/weir.service\n",
        init->file, init->dir);
    if (answers->relay) {
        printf("\nA token for a daemon of the relay, once it runs:\n\n"
               "    weir token relay --state-dir %s/state --role workspace-daemon --workspace demo "
               "--target laptop\n",
            init->dir);
    }
    if (answers->engine) {
        printf("\nPublish port 8080 of another machine, to which agent-token%s went:\n\n"
               "    weir context create home --engine %s:%u --token-file agent-token%s\n"
               "    weir forward 8080 --host demo\n",
            answers->self_signed ? " and weir.crt" : "", answers->host,
            (unsigned)init->engine.port, answers->self_signed ? " --engine-tls-ca-file weir.crt" : "");
    }
    if (answers->health) {
        printf("\nThe page that shows it all: http://%s:%u/\n",
            init->health.host[0] == '\0' ? "127.0.0.1" : init->health.host,
            (unsigned)init->health.port);
    }
}

// ---- The command

static bool write_all(struct init *init)
{
    return make_secret(init->jwt_secret) && make_certificate(init) && write_weir_yml(init) &&
           write_registry(init) && write_token(init) && write_unit(init);
}

static int run_init(struct init *init)
{
    const char *const *values = init->values;
    const struct init_options given = {
        .parts = values[OPTION_PARTS],
        .host = values[OPTION_HOST],
        .cert_file = values[OPTION_CERT],
        .key_file = values[OPTION_KEY],
        .self_signed = values[OPTION_SELF_SIGNED],
        .registry = values[OPTION_REGISTRY],
    };
    if (!read_listens(init)) {
        return EXIT_USAGE;
    }
    int exit_code = init_answers_read(&given, &init->answers);
    if (exit_code != EXIT_FINE) {
        return exit_code;
    }
    if (!find_directory(init) || !write_all(init)) {
        return EXIT_FAILED;
    }
    exit_code = up_command_check(init->file);
    if (exit_code == EXIT_FINE && values[OPTION_NO_CHECKS] == NULL) {
        look_around(init);
    }
    if (exit_code == EXIT_FINE) {
        print_next(init);
    }
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    struct init init = {.values = values};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count > 0) {
        command_complain(command, "\"%s\" is not understood; see weir init --help", argv[0]);
        return EXIT_USAGE;
    }
    exit_code = run_init(&init);
    mem_free(init.relay.host);
    mem_free(init.engine.host);
    mem_free(init.health.host);
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
    .summary = "Write a weir.yml that works, certificate, tokens and a systemd unit, and say what to "
               "do next",
    .usage = "",
    .options = options,
    .run = run,
    .examples = examples,
};
