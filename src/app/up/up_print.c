// SPDX-License-Identifier: Apache-2.0
// Commands are printed so that they work when they are pasted into another terminal, whose PATH may
// not have this program: then they name it by its path.
#include "app/up/up_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/quote.h"
#include "sys/file.h"
#include "sys/process.h"

#define WORKSPACE "demo"
#define TARGET "laptop"
#define URL_SIZE 96
#define PATH_SIZE 4096
#define WORD_SIZE QUOTE_SHELL_SIZE(PATH_SIZE)
#define HOST_SIZE 300
#define UP "\nweir is up. Ctrl-C drains and ends.\n\n"

// ---- Pieces

static void print_address(const char *what, const char *scheme, const struct sys_address *address)
{
    char host[IP_TEXT_SIZE];
    ip_to_text(&address->ip, host);
    bool v6 = strchr(host, ':') != NULL;
    fprintf(stderr, "  %-10s %s://%s%s%s:%u\n", what, scheme, v6 ? "[" : "", host, v6 ? "]" : "",
        address->port);
}

static const char *relay_scheme(const struct up_parts *parts)
{
    return parts->relay->config.tls_enabled ? "wss" : "ws";
}

static unsigned relay_port(const struct up_parts *parts)
{
    return parts->relay->relay.address.port;
}

static void print_relay_commands(const struct up_parts *parts, const char *program)
{
    char word[WORD_SIZE];
    const char *dir = quote_shell(parts->setup->state_dir, word, sizeof word);
    const char *plain = parts->relay->config.tls_enabled ? "" : " --plain";
    unsigned port = relay_port(parts);
    char base[URL_SIZE];
    snprintf(base, sizeof base, "%s://localhost:%u", relay_scheme(parts), port);
    fprintf(stderr,
        "  a daemon and a client in one:\n"
        "    %s relay demo --state-dir %s --port %u%s\n"
        "  or apart:\n"
        "    %s relay demo --as daemon --state-dir %s --port %u%s\n"
        "    %s relay demo --as client --state-dir %s --port %u%s\n"
        "  a daemon or client of your own connects to\n"
        "    %s/ws?role=workspace-daemon&workspaceId=" WORKSPACE "&runtimeTargetId=" TARGET "\n"
        "    %s/ws?role=client&workspaceId=" WORKSPACE "&runtimeTargetId=" TARGET "\n"
        "  with Authorization: Bearer and a token of\n"
        "    %s token relay --state-dir %s --role client --workspace " WORKSPACE " --target " TARGET
        "\n\n",
        program, dir, port, plain, program, dir, port, plain, program, dir, port, plain, base, base,
        program, dir);
}

// ---- Without a file

void up_print_relay(const struct up_parts *parts)
{
    const char *secure = parts->relay->config.tls_enabled ? "s" : "";
    fprintf(stderr,
        UP "  relay      %s://localhost:%u/ws\n"
           "  health     http%s://localhost:%u/health\n"
           "  platform   http://127.0.0.1:%u (admission, /jwks.json, tokens)\n"
           "  state      %s (admin token in admin-token)\n\n"
           "Try it in other terminals:\n\n",
        relay_scheme(parts), relay_port(parts), secure, relay_port(parts),
        parts->platform->address.port, parts->setup->state_dir);
    print_relay_commands(parts, "weir");
}

// ---- Of a file

void up_print_parts(const struct up_parts *parts)
{
    fputs(UP, stderr);
    if (parts->setup != NULL) {
        bool tls = parts->setup->config.cert_file != NULL;
        print_address("platform", tls ? "https" : "http", &parts->platform->address);
    }
    if (parts->relay != NULL) {
        print_address("relay", relay_scheme(parts), &parts->relay->relay.address);
    }
    if (parts->engine != NULL) {
        print_address("engine", "https", &parts->engine->engine.address);
    }
    if (parts->health != NULL) {
        print_address("health", "http", &parts->health->health.address);
    }
    fputs("\n", stderr);
}

// ---- The demo

// "weir" when that is what a shell finds, else the path of this program.
static void find_program(char *text, size_t size)
{
    char own[PATH_SIZE];
    char there[PATH_SIZE + 8];
    struct slice rest = slice_str(getenv("PATH"));
    struct slice directory;
    snprintf(text, size, "weir");
    if (sys_own_path(own, sizeof own) != WEIR_OK) {
        return;
    }
    while (slice_split(&rest, ':', &directory)) {
        snprintf(there, sizeof there, "%.*s/weir", SLICE_ARG(directory));
        if (sys_file_exists(there)) {
            if (!sys_same_file(there, own)) {
                break;
            }
            return;
        }
    }
    snprintf(text, size, "%s", own);
}

static void print_places(const struct up_parts *parts, const char *host)
{
    fprintf(stderr,
        "  published  https://%s:%u/\n"
        "  relay      %s://localhost:%u/ws\n"
        "  engine     https://%s:%u (metrics at http://127.0.0.1:%u/metrics)\n"
        "  platform   http://127.0.0.1:%u (admission, /jwks.json, tokens)\n"
        "  state      %s (admin token in admin-token; the demo's files in demo)\n\n",
        host, parts->engine->engine.address.port, relay_scheme(parts), relay_port(parts),
        engine_part_config(parts->engine)->host, parts->engine->engine.address.port,
        parts->engine->engine.metrics_listen.address.port, parts->platform->address.port,
        parts->setup->state_dir);
}

static void print_demo_commands(
    const struct up_parts *parts, const char *program, const char *host, const char *page)
{
    char words[2][WORD_SIZE];
    const struct demo_files *files = parts->demo->options.files;
    const char *config = quote_shell(files->agent_yml, words[0], sizeof words[0]);
    const char *ca = quote_shell(files->certificate.certificate, words[1], sizeof words[1]);
    fprintf(stderr,
        "  the published service, as any visitor:\n"
        "    curl --cacert %s https://%s:%u/\n"
        "  what the monitor knows:\n"
        "    %s health --server %s\n"
        "  what the engine has, and what happens there:\n"
        "    %s tunnels --config %s\n"
        "    %s events --config %s\n"
        "  another port of this machine, published as well:\n"
        "    %s forward %u --host again --config %s\n",
        ca, host, parts->engine->engine.address.port, program, page, program, config, program,
        config, program, parts->demo->service_address.port, config);
}

void up_print_demo(const struct up_parts *parts)
{
    char path[PATH_SIZE];
    char word[WORD_SIZE];
    char host[HOST_SIZE];
    char page[URL_SIZE];
    char ip[IP_TEXT_SIZE];
    const struct sys_address *health = &parts->health->health.address;
    uint64_t period_s = parts->demo->options.period_s;
    find_program(path, sizeof path);
    const char *program = quote_shell(path, word, sizeof word);
    demo_part_host(parts->demo, host, sizeof host);
    ip_to_text(&health->ip, ip);
    bool v6 = strchr(ip, ':') != NULL;
    snprintf(page, sizeof page, "http://%s%s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "", health->port);
    fprintf(stderr, UP "  Open %s/health\n\n", page);
    print_places(parts, host);
    fprintf(stderr,
        "This is a demo: an agent publishes a small service and visitors ask for it, a daemon and "
        "a\n"
        "client talk through the relay, and the monitor checks it all. The check \"moody\" fails "
        "on\n"
        "purpose, for %llu s of every %llu s. %sTry it in other terminals:\n\n",
        (unsigned long long)demo_files_fail_s(period_s), (unsigned long long)period_s,
        isatty(STDOUT_FILENO) ? "Warnings of the log appear here, the page\nhas all of it. " : "");
    print_demo_commands(parts, program, host, page);
    print_relay_commands(parts, program);
}
