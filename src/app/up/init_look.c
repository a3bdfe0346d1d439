// SPDX-License-Identifier: Apache-2.0
// weir init looks around. What is found is said, and ends nothing: the DNS may follow, a proxy may
// hand its ports on, and what listens there now may be what weir is to replace.
#include <stdio.h>
#include <string.h>

#include "app/up/init_plan.h"
#include "platform/certificate.h"
#include "sys/host.h"
#include "sys/resolve.h"
#include "sys/socket.h"

static const char *who_has(const struct ip *ip)
{
    if (ip_is_loopback(ip)) {
        return "this machine alone: others are led elsewhere, or nowhere";
    }
    return sys_is_own_address(ip)
               ? "this machine"
               : "not this machine: right for a router or a proxy that hands its "
                 "ports on to it, else change the DNS";
}

// asked: a name that name stands for.
static void check_name(const char *name, const char *asked)
{
    struct ip ips[SYS_RESOLVE_MAX];
    size_t count = 0;
    enum weir_result result = sys_resolve(asked, ips, &count);
    if (result != WEIR_OK || count == 0) {
        printf("name %s: %s; add it to the DNS, as an address of this machine\n", name,
            weir_result_text(result == WEIR_OK ? WEIR_NOT_FOUND : result));
    }
    for (size_t i = 0; i < count; i++) {
        char text[IP_TEXT_SIZE];
        ip_to_text(&ips[i], text);
        printf("name %s leads to %s, %s\n", name, text, who_has(&ips[i]));
    }
}

static void check_certificate(const struct init_plan *plan, const char *tunnel)
{
    const struct init_answers *answers = &plan->answers;
    const char *const names[] = {answers->host, answers->engine ? tunnel : NULL, NULL};
    struct certificate_paths paths;
    struct certificate_look look;
    snprintf(paths.certificate, sizeof paths.certificate, "%s", answers->cert_file);
    snprintf(paths.key, sizeof paths.key, "%s", answers->key_file);
    certificate_look_at(&paths, names, &look);
    const char *wild = answers->engine ? " and *.t." : "";
    const char *host = answers->engine ? answers->host : "";
    if (!look.names) {
        printf("certificate %s is not for %s%s%s: whoever checks it will go away\n",
            answers->cert_file, answers->host, wild, host);
    } else if (look.days_left < 0) {
        printf("certificate %s is no longer valid: whoever checks it will go away\n",
            answers->cert_file);
    } else {
        printf(
            "certificate is for %s%s%s, for %ld days\n", answers->host, wild, host, look.days_left);
    }
}

static void check_port(const char *what, const char *host, unsigned port)
{
    struct sys_address address;
    int fd;
    enum weir_result result = sys_address_parse(host, (uint16_t)port, &address);
    if (result == WEIR_OK) {
        result = sys_listen_alone(&address, &fd);
    }
    if (result == WEIR_OK) {
        sys_close(fd);
        printf("port %u is free for the %s\n", port, what);
        return;
    }
    printf("port %u cannot be used for the %s now: %s%s\n", port, what, weir_result_text(result),
        result == WEIR_PERMISSION ? "; root may, and the unit"
        : result == WEIR_IN_USE   ? "; who has it: ss -ltnp"
                                  : "");
}

// What the user of the unit has to read, and root has not made for it.
static void check_rights(const struct init_plan *plan)
{
    const struct init_answers *answers = &plan->answers;
    const char *const paths[] = {answers->cert_file, answers->key_file, answers->registry};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (paths[i][0] != '\0' && !sys_user_reads(&plan->identity, paths[i])) {
            printf(
                "user %s may not read %s: let it, or name another --user\n", plan->user, paths[i]);
        }
    }
}

void init_look_around(const struct init_plan *plan)
{
    const struct init_answers *answers = &plan->answers;
    char tunnel[INIT_TEXT_SIZE + 16];
    char tunnels[INIT_TEXT_SIZE + 16];
    snprintf(tunnel, sizeof tunnel, "demo.t.%s", answers->host);
    snprintf(tunnels, sizeof tunnels, "*.t.%s", answers->host);
    puts("");
    if (answers->host[0] != '\0') {
        check_name(answers->host, answers->host);
    }
    if (answers->engine) {
        check_name(tunnels, tunnel);
    }
    if (answers->host[0] != '\0') {
        check_certificate(plan, tunnel);
    }
    check_rights(plan);
    if (answers->relay) {
        check_port("relay", plan->relay.host, (unsigned)plan->relay.port);
    }
    if (answers->engine) {
        check_port("engine", plan->engine.host, (unsigned)plan->engine.port);
        check_port("engine's metrics", "127.0.0.1", INIT_METRICS_PORT);
    }
    if (answers->health) {
        check_port("health monitor", plan->health.host, (unsigned)plan->health.port);
    }
}
