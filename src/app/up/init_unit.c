// SPDX-License-Identifier: Apache-2.0
// The unit of weir init: packaging/systemd/weir.service for files that lie anywhere, a user of any
// name, and ports below 1024.
#include <stdio.h>
#include <string.h>

#include "app/up/init_plan.h"
#include "sys/process.h"

#define PRIVILEGED_PORTS 1024

// In quotes, as systemd.syntax(7) has them; $ means something on command lines alone.
static void put_quoted(struct buf *out, const char *path, bool command)
{
    buf_append_str(out, "\"");
    for (; *path != '\0'; path++) {
        if (*path == '"' || *path == '\\') {
            buf_append_str(out, "\\");
        } else if (*path == '%' || (*path == '$' && command)) {
            buf_append(out, path, 1);
        }
        buf_append(out, path, 1);
    }
    buf_append_str(out, "\"");
}

static bool is_below(const char *path, const char *directory)
{
    return strncmp(path, directory, strlen(directory)) == 0;
}

static bool is_in_a_home(const char *path)
{
    return is_below(path, "/home/") || is_below(path, "/root/") || is_below(path, "/run/user/");
}

static bool is_temporary(const char *path)
{
    return is_below(path, "/tmp/") || is_below(path, "/var/tmp/");
}

static bool wants_privileged_port(const struct init_plan *plan)
{
    return (plan->answers.relay && plan->relay.port < PRIVILEGED_PORTS) ||
           (plan->answers.engine && plan->engine.port < PRIVILEGED_PORTS) ||
           (plan->answers.health && plan->health.port < PRIVILEGED_PORTS);
}

static void put_service(const struct init_plan *plan, const char *program, struct buf *out)
{
    buf_printf(out, "[Service]\nType=notify\nUser=%s\nExecStart=", plan->user);
    put_quoted(out, program, true);
    buf_append_str(out, " up -c ");
    put_quoted(out, plan->file, true);
    buf_append_str(out, "\nExecReload=/bin/kill -HUP $MAINPID\nTimeoutStopSec=30\n"
                        "Restart=on-failure\nRestartSec=1\nLimitNOFILE=65536\n\n");
}

static void put_limits(const struct init_plan *plan, const char *program, struct buf *out)
{
    const char *ports = wants_privileged_port(plan) ? "CAP_NET_BIND_SERVICE" : "";
    bool home = is_in_a_home(plan->dir) || is_in_a_home(program);
    bool temporary = is_temporary(plan->dir) || is_temporary(program);
    buf_printf(out,
        "# What it may not do (systemd-analyze security).\n"
        "NoNewPrivileges=yes\nCapabilityBoundingSet=%s\nAmbientCapabilities=%s\n"
        "ProtectSystem=strict\nProtectHome=%s\nPrivateTmp=%s\nReadWritePaths=",
        ports, ports, home ? "read-only" : "yes", temporary ? "no" : "yes");
    put_quoted(out, plan->state, false);
    buf_append_str(out,
        "\nPrivateDevices=yes\nDevicePolicy=closed\nProtectClock=yes\nProtectControlGroups=yes\n"
        "ProtectHostname=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\n"
        "ProtectKernelTunables=yes\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n"
        "RestrictNamespaces=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\n"
        "RemoveIPC=yes\nKeyringMode=private\nUMask=0077\nSystemCallArchitectures=native\n"
        "SystemCallErrorNumber=EPERM\nSystemCallFilter=@system-service\n"
        "SystemCallFilter=~@privileged @resources\n"
        "# What reads limits also sets them; the others are what weir confines itself with.\n"
        "SystemCallFilter=prlimit64 seccomp landlock_create_ruleset landlock_add_rule "
        "landlock_restrict_self");
    buf_append_str(out, ports[0] == '\0' ? "\n" : " capset\n"); // to give them up again
    buf_append_str(
        out, plan->answers.health
                 ? "# Checks look at other processes, and run what the registry says.\n"
                   "ProtectProc=default\nMemoryDenyWriteExecute=no\n\n"
                 : "ProtectProc=invisible\nProcSubset=pid\nMemoryDenyWriteExecute=yes\n\n");
}

void init_unit_append(const struct init_plan *plan, struct buf *out)
{
    char program[INIT_TEXT_SIZE];
    if (sys_own_path(program, sizeof program) != WEIR_OK) {
        snprintf(program, sizeof program, "/usr/bin/weir");
    }
    buf_append_str(out, "# Made by weir init, which has said how to start it.\n"
                        "[Unit]\nDescription=weir: the parts that weir.yml names\n"
                        "After=network-online.target\nWants=network-online.target\n\n");
    put_service(plan, program, out);
    put_limits(plan, program, out);
    buf_append_str(out, "[Install]\nWantedBy=multi-user.target\n");
}
