// SPDX-License-Identifier: Apache-2.0
#include "app/up/up_file.h"

#include <stdio.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "relay/config.h"

#define WORKERS_MAX 256
#define DAY_S 86400
#define PREFIX "WEIR_"
#define HOSTS_BYTES_MAX 65536

static const char *const section_names[UP_SECTION_COUNT + 1] = {
    [UP_PLATFORM] = "platform",
    [UP_RELAY] = "relay",
    [UP_ENGINE] = "engine",
    [UP_HEALTH] = "health",
};

#define PROCESS "The process"
static const struct conf_row global_rows[] = {
    {"state_dir", NULL, NULL, NULL, PROCESS,
        "Keys, tokens and history are kept here, unless a section says otherwise.",
        offsetof(struct up_globals, state_dir), 0, 0, CONF_PATH, 0},
    {"workers", NULL, "0", NULL, PROCESS,
        "Threads that carry the connections of all parts; 0: one for each processor.",
        offsetof(struct up_globals, workers), 0, WORKERS_MAX, CONF_INT, 0},
};
#define GLOBAL_COUNT (sizeof global_rows / sizeof global_rows[0])

// The words are those of `weir health serve`.
#define HEALTH "Section health"
#define HEALTH_ROW(key, type_, fallback_, choices_, min_, max_, field, meaning_)                   \
    {key, NULL, fallback_, choices_, HEALTH, meaning_, offsetof(struct up_health, field), min_,    \
        max_, type_, 0}
#define HEALTH_LISTEN 1 // its row
static const struct conf_row health_rows[] = {
    HEALTH_ROW("registry", CONF_PATH, NULL, NULL, 0, 0, registry,
        "The registry.yml to read; where it is looked for otherwise: CADDY_REGISTRY_PATH, here, "
        "~/.portoser, /etc/portoser."),
    HEALTH_ROW("listen", CONF_LISTEN, "127.0.0.1:8988", NULL, 0, 65535, listen,
        "Where the API is. BIND_HOST and BACKEND_PORT do not count when it is set."),
    HEALTH_ROW("socket", CONF_TEXT, NULL, NULL, 0, 0, socket,
        "A Unix socket for commands of this user, or none; $XDG_RUNTIME_DIR/portoser.sock."),
    HEALTH_ROW("tokens", CONF_PATH, NULL, NULL, 0, 0, tokens,
        "Who may use the API: a file of lines of TOKEN ROLE. Required beyond loopback."),
    HEALTH_ROW("public_read", CONF_CHOICE, NULL, "true|false", 0, 0, public_read,
        "Health, metrics and badges take no token. Default: true on loopback, else false."),
    HEALTH_ROW("allow_host", CONF_WORDS, NULL, NULL, 0, 0, allow_hosts,
        "Names that clients on loopback may know the monitor by."),
    HEALTH_ROW("state_dir", CONF_PATH, NULL, NULL, 0, 0, state_dir,
        "Where events and states outlive the process. Default: that of the process, if it is set."),
    HEALTH_ROW("import", CONF_PATH, NULL, NULL, 0, 0, import_dir,
        "Take up the uptime events and problems that portoser kept here."),
    HEALTH_ROW("ui_dir", CONF_PATH, NULL, NULL, 0, 0, ui_dir,
        "Serve the files of another dashboard at / as well."),
    HEALTH_ROW("heartbeat_url", CONF_SECRET_URL, NULL, "http|https", 0, 0, heartbeat_url,
        "Ask for this every minute, so that somebody notices when the monitor is gone."),
    HEALTH_ROW("on_change", CONF_TEXT, NULL, NULL, 0, 0, on_change,
        "Tell this command or URL when the state of a service is another."),
    HEALTH_ROW("on_change_quiet", CONF_INT, "60", NULL, 1, DAY_S, on_change_quiet,
        "Seconds without another call because of the same service."),
    HEALTH_ROW("deploy_command", CONF_TEXT, NULL, NULL, 0, 0, deploy_command,
        "Moves a service: run by sh with MACHINE SERVICE behind it, when an operator asks the API."),
    HEALTH_ROW("deploy_timeout", CONF_INT, "120", NULL, 1, DAY_S, deploy_timeout,
        "Seconds that one move may take."),
    HEALTH_ROW("implicit_checks", CONF_BOOL, "false", NULL, 0, 0, implicit_checks,
        "A service with a port but without a check gets a tcp check."),
    HEALTH_ROW("legacy_compose_health", CONF_BOOL, "false", NULL, 0, 0, legacy_compose_health,
        "Run health checks of compose files here."),
    HEALTH_ROW("compat_rollup", CONF_BOOL, "false", NULL, 0, 0, compat_rollup,
        "An unknown service makes its machine unhealthy."),
    HEALTH_ROW("jitter", CONF_INT, "0", NULL, 0, 50, jitter,
        "Percent of its interval that a check may be later."),
    HEALTH_ROW("metrics_interval", CONF_INT, "10", NULL, 1, DEVICES_INTERVAL_MAX_S,
        metrics_interval, "Seconds between two looks at this machine's resources."),
    HEALTH_ROW("ssh_metrics", CONF_BOOL, "false", NULL, 0, 0, ssh_metrics,
        "Ask other machines for theirs, over ssh."),
    HEALTH_ROW("ssh_metrics_interval", CONF_INT, "60", NULL, 1, DAY_S, ssh_metrics_interval,
        "Seconds between two of these."),
};
#define HEALTH_COUNT (sizeof health_rows / sizeof health_rows[0])

// ---- Sections

static const struct yml_node *section_of(const struct up_file *file, enum up_section section)
{
    return yml_get(file->document.root, slice_str(section_names[section]));
}

// "relay:" alone is a section, too.
static bool find_sections(struct up_file *file, struct conf_problems *problems)
{
    bool any = false;
    for (unsigned i = 0; i < UP_SECTION_COUNT; i++) {
        file->has[i] = section_of(file, i) != NULL;
        any = any || file->has[i];
    }
    if (!any) {
        conf_error(problems,
            "%s: there is nothing to run; allowed: the sections relay, engine, health, platform",
            file->path);
    }
    return any;
}

static enum weir_result read_globals(struct up_file *file, struct conf_problems *problems)
{
    bool set[GLOBAL_COUNT];
    const struct conf_file rows = {.document = &file->document,
        .root = file->document.root,
        .prefix = PREFIX,
        .variables = &conf_environment};
    enum weir_result result =
        conf_read_file(global_rows, GLOBAL_COUNT, &rows, &file->globals, set, problems);
    conf_refuse_unknown(global_rows, GLOBAL_COUNT, section_names, &rows, problems);
    return result;
}

static enum weir_result read_relay(struct up_file *file, struct conf_problems *problems)
{
    size_t count;
    const struct conf_row *rows = relay_config_rows(&count);
    return conf_section_open(&file->relay, &file->document, section_of(file, UP_RELAY), "RELAY_",
        rows, count, &conf_environment, problems);
}

// ---- Health

// The text of a value that is set; NULL when it is not.
static const char *text_of(const struct yml_node *section, const char *key)
{
    const struct yml_node *node = yml_get(section, slice_str(key));
    return yml_is_null(node) || node->kind != YML_SCALAR ? NULL : node->text.at;
}

static enum weir_result join_hosts(struct up_file *file)
{
    struct buf hosts = BUF_INIT(HOSTS_BYTES_MAX);
    for (size_t i = 0; i < file->health.allow_hosts.count; i++) {
        buf_printf(&hosts, "%s%s", i == 0 ? "" : ",", file->health.allow_hosts.items[i]);
    }
    if (hosts.len > 0 && !hosts.failed) {
        file->health_hosts = mem_copy(hosts.at, hosts.len);
    }
    bool missing = hosts.failed || (hosts.len > 0 && file->health_hosts == NULL);
    buf_reset(&hosts);
    return missing ? WEIR_MEMORY : WEIR_OK;
}

// The monitor itself refuses to start then; who only looks for mistakes is told as well.
static void require_tokens(
    const struct up_health *health, const struct conf_file *rows, struct conf_problems *problems)
{
    const char *host = health->listen.host;
    char label[CONF_LABEL_SIZE];
    struct ip ip;
    if (host == NULL || health->tokens != NULL || strcmp(host, "localhost") == 0 ||
        (ip_parse(slice_str(host), &ip) == WEIR_OK && ip_is_loopback(&ip))) {
        return;
    }
    conf_label(rows, &health_rows[HEALTH_LISTEN], label);
    conf_error(problems,
        "%s: listening beyond this machine wants tokens, so that not everybody may start checks and "
        "maintenance; allowed: health.tokens, a file of lines of TOKEN ROLE, or an address of "
        "loopback",
        label);
}

static enum weir_result read_health(struct up_file *file, struct conf_problems *problems)
{
    const struct yml_node *section = section_of(file, UP_HEALTH);
    struct up_health *health = &file->health;
    bool set[HEALTH_COUNT];
    const struct conf_file rows = {
        .document = &file->document, .root = section, .variables = &conf_environment};
    enum weir_result result =
        conf_read_file(health_rows, HEALTH_COUNT, &rows, health, set, problems);
    conf_refuse_unknown(health_rows, HEALTH_COUNT, NULL, &rows, problems);
    if (result == WEIR_OK) {
        require_tokens(health, &rows, problems);
        result = join_hosts(file);
    }
    const struct conf_listen *listen = &health->listen;
    snprintf(file->health_listen, sizeof file->health_listen, "%s:%u",
        listen->host == NULL ? "" : listen->host,
        (unsigned)listen->port);
    // These are checked now, and read again as words of a command line.
    file->health_options = (struct health_part_options){
        .registry = health->registry,
        .listen = text_of(section, "listen") == NULL ? NULL : file->health_listen,
        .socket = health->socket,
        .tokens = health->tokens,
        .state_dir = health->state_dir != NULL ? health->state_dir : file->globals.state_dir,
        .public_read = text_of(section, "public_read"),
        .allowed_hosts = file->health_hosts,
        .heartbeat_url = health->heartbeat_url,
        .on_change = health->on_change,
        .on_change_quiet = text_of(section, "on_change_quiet"),
        .deploy_command = health->deploy_command,
        .deploy_timeout = text_of(section, "deploy_timeout"),
        .import_dir = health->import_dir,
        .ui_dir = health->ui_dir,
        .jitter = text_of(section, "jitter"),
        .metrics_interval = text_of(section, "metrics_interval"),
        .ssh_metrics_interval = text_of(section, "ssh_metrics_interval"),
        .ssh_metrics = health->ssh_metrics,
        .implicit_checks = health->implicit_checks,
        .legacy_compose_health = health->legacy_compose_health,
        .compat_rollup = health->compat_rollup,
    };
    return result;
}

// ---- Life

static enum weir_result read_sections(struct up_file *file, struct conf_problems *problems)
{
    enum weir_result result = read_globals(file, problems);
    if (result == WEIR_OK && file->has[UP_RELAY]) {
        result = read_relay(file, problems);
    }
    if (result == WEIR_OK && file->has[UP_HEALTH]) {
        result = read_health(file, problems);
    }
    const struct yml_node *platform = section_of(file, UP_PLATFORM);
    file->platform_has_keys = platform != NULL && platform->count > 0;
    return result;
}

enum weir_result up_file_open(
    struct up_file *file, const char *path, struct conf_problems *problems)
{
    *file = (struct up_file){.path = path};
    enum weir_result result = yml_load(path, &yml_limits_default, &file->document, problems);
    if (file->document.root == NULL) {
        if (result == WEIR_OK) {
            find_sections(file, problems);
        }
        return result == WEIR_MEMORY ? result : WEIR_OK;
    }
    bool any = find_sections(file, problems);
    enum weir_result read = any || file->document.root->count > 0
                                ? read_sections(file, problems)
                                : WEIR_OK;
    return result == WEIR_MEMORY || problems->errors.failed ? WEIR_MEMORY : read;
}

void up_file_close(struct up_file *file)
{
    conf_section_close(&file->relay);
    conf_release(global_rows, GLOBAL_COUNT, &file->globals);
    conf_release(health_rows, HEALTH_COUNT, &file->health);
    mem_free(file->health_hosts);
    file->health_hosts = NULL;
    yml_close(&file->document);
}

void up_file_manual(struct buf *out)
{
    buf_append_str(out,
        "# weir.yml\n"
        "\n"
        "One file for `weir up -c weir.yml`. A section that is there is a part that runs, all of\n"
        "them in one process:\n"
        "\n"
        "- `platform:` a platform that the relay asks, and from which it gets a key, an admin token\n"
        "  and a certificate unless its own section says otherwise. Without keys it is for this\n"
        "  relay alone, on a port of its own; with [keys](platform-configuration.md) it listens for\n"
        "  other relays as well.\n"
        "- `relay:` the variables of [the relay](relay-configuration.md) without `RELAY_`, in\n"
        "  small letters: `listen_port: 7781` is `RELAY_LISTEN_PORT=7781`, `server_url: …` is\n"
        "  `SERVER_URL=…`. Lists may be YAML lists.\n"
        "- `engine:` everything of [the engine's file](engine-configuration.md).\n"
        "- `health:` below.\n"
        "\n"
        "Variables of the environment stand above the file. All mistakes are reported at once,\n"
        "each with line and column. SIGHUP reads the engine's section, certificates, tokens and\n"
        "the registry again; the rest wants a restart.\n"
        "This page is the output of `weir config reference up`.\n");
    conf_manual_file(global_rows, GLOBAL_COUNT, PREFIX, out);
    conf_manual_file(health_rows, HEALTH_COUNT, NULL, out);
}
