// SPDX-License-Identifier: Apache-2.0
// The canonical form of a registry. Text stands in double quotes, escaped as YAML wants it; dollar
// signs of a check are doubled, so that nothing is expanded when it is read again. One function
// writes a check for people and for comparison: what identifies a check is everything but times and
// thresholds.
#include <stdio.h>

#include "base/time.h"
#include "base/utf8.h"
#include "health/registry/registry_internal.h"

// What YAML takes for a line break or refuses is written as an escape.
static bool wants_escape(unsigned code_point)
{
    return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0) || code_point == 0x2028 ||
           code_point == 0x2029 || code_point == 0xfeff;
}

static unsigned code_point_of(const char *at, size_t len)
{
    unsigned value = (unsigned char)at[0];
    if (len > 1) {
        value &= 0x7fu >> len;
    }
    for (size_t i = 1; i < len; i++) {
        value = value << 6 | ((unsigned char)at[i] & 0x3fu);
    }
    return value;
}

static void put_quoted(struct buf *out, struct slice text)
{
    (void)buf_append_byte(out, '"'); // out->failed is looked at in the end
    while (text.len > 0) {
        size_t len = utf8_sequence_len(text);
        unsigned code_point = len == 0 ? 0xfffd : code_point_of(text.at, len);
        if (len == 0) {
            len = utf8_broken_len(text);
            (void)buf_append_str(out, "\xef\xbf\xbd");
        } else if (wants_escape(code_point)) {
            buf_printf(out, "\\u%04x", code_point);
        } else {
            (void)buf_append(out, "\\", text.at[0] == '"' || text.at[0] == '\\' ? 1 : 0);
            (void)buf_append(out, text.at, len);
        }
        text = slice_skip(text, len);
    }
    (void)buf_append_byte(out, '"');
}

static void put_text(struct buf *out, const char *text)
{
    put_quoted(out, slice_str(text));
}

// Text that is expanded when it is read.
static void put_expanded(struct buf *out, const char *text)
{
    struct buf doubled = BUF_INIT(256 * 1024);
    for (const char *at = text; *at != '\0'; at++) {
        (void)buf_append(&doubled, *at == '$' ? "$$" : at, *at == '$' ? 2 : 1);
    }
    out->failed |= doubled.failed;
    put_quoted(out, buf_slice(&doubled));
    buf_reset(&doubled);
}

static void put_key(struct buf *out, const char *indent, const char *key)
{
    buf_printf(out, "%s%s: ", indent, key);
}

static void put_member(struct buf *out, const char *indent, const char *key, const char *value)
{
    if (value != NULL) {
        put_key(out, indent, key);
        put_text(out, value);
        (void)buf_append_byte(out, '\n');
    }
}

static void put_list(struct buf *out, const char *const *items, size_t count)
{
    (void)buf_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_str(out, i > 0 ? ", " : "");
        put_text(out, items[i]);
    }
    (void)buf_append_byte(out, ']');
}

// ---- Values of a check

static void put_words(struct buf *out, const char *const *words)
{
    (void)buf_append_byte(out, '[');
    for (size_t i = 0; words[i] != NULL; i++) {
        (void)buf_append_str(out, i > 0 ? ", " : "");
        put_expanded(out, words[i]);
    }
    (void)buf_append_byte(out, ']');
}

static void put_pairs(struct buf *out, const char *const *pairs, bool header)
{
    (void)buf_append_byte(out, '{');
    for (size_t i = 0; pairs[i] != NULL; i++) {
        struct slice pair = slice_str(pairs[i]);
        size_t len = strcspn(pairs[i], header ? ":;" : "=");
        (void)buf_append_str(out, i > 0 ? ", " : "");
        put_quoted(out, slice_of(pair.at, len));
        (void)buf_append_str(out, ": ");
        put_expanded(out, pair.at[len] == ';' ? "" : pair.at + len + (header ? 2 : 1));
    }
    (void)buf_append_byte(out, '}');
}

static void put_status(struct buf *out, const struct status_set *set)
{
    (void)buf_append_byte(out, '[');
    for (size_t i = 0; i < set->count; i++) {
        (void)buf_append_str(out, i > 0 ? ", " : "");
        if (set->ranges[i].from == set->ranges[i].to) {
            buf_printf(out, "%u", set->ranges[i].from);
        } else {
            buf_printf(out, "\"%u-%u\"", set->ranges[i].from, set->ranges[i].to);
        }
    }
    (void)buf_append_byte(out, ']');
}

static void put_number(struct buf *out, uint64_t number)
{
    buf_printf(out, "%llu", (unsigned long long)number);
}

// A field that was not given and has no default is left out.
static bool is_set(const struct check_key *key, const void *field)
{
    switch (key->kind) {
    case VALUE_URL:
    case VALUE_METHOD:
    case VALUE_TEXT:
    case VALUE_PATH:
    case VALUE_REGEX:
    case VALUE_COMMAND:
    case VALUE_PAIRS_HEADER:
    case VALUE_PAIRS_ENV:
        return *(void *const *)field != NULL;
    case VALUE_MILLISECONDS:
        return *(const uint64_t *)field != 0;
    case VALUE_DURATION:
        return *(const uint64_t *)field != 0; // retry_interval
    case VALUE_TYPE:
    case VALUE_BOOL:
    case VALUE_TIMEOUT:
    case VALUE_SPAN:
    case VALUE_COUNT:
    case VALUE_PLACE:
    case VALUE_STATUS:
    case VALUE_PORT:
    case VALUE_EXIT:
        break;
    }
    return true;
}

static void put_value(struct buf *out, const struct check_key *key, const void *field)
{
    switch (key->kind) {
    case VALUE_TYPE:
        (void)buf_append_str(out, check_type_name(*(const enum check_type *)field));
        break;
    case VALUE_BOOL:
        (void)buf_append_str(out, *(const bool *)field ? "true" : "false");
        break;
    case VALUE_DURATION:
    case VALUE_TIMEOUT:
    case VALUE_SPAN:
        buf_printf(out, "%.15g", (double)*(const uint64_t *)field / (double)NS_PER_S);
        break;
    case VALUE_MILLISECONDS:
        put_number(out, *(const uint64_t *)field / NS_PER_MS);
        break;
    case VALUE_COUNT:
    case VALUE_EXIT:
        put_number(out, *(const uint32_t *)field);
        break;
    case VALUE_PORT:
        put_number(out, *(const uint16_t *)field);
        break;
    case VALUE_PLACE:
        (void)buf_append_str(
            out, *(const enum check_place *)field == RUN_ON_MONITOR ? "monitor" : "machine");
        break;
    case VALUE_STATUS:
        put_status(out, field);
        break;
    case VALUE_PAIRS_HEADER:
        put_pairs(out, *(const char *const *const *)field, true);
        break;
    case VALUE_PAIRS_ENV:
        put_pairs(out, *(const char *const *const *)field, false);
        break;
    case VALUE_COMMAND:
        put_words(out, *(const char *const *const *)field);
        break;
    case VALUE_URL:
    case VALUE_METHOD:
    case VALUE_TEXT:
    case VALUE_PATH:
    case VALUE_REGEX:
        put_expanded(out, *(const char *const *)field);
        break;
    }
}

// Times and thresholds change how results are judged, not what is checked.
static bool is_rule(const struct check_key *key)
{
    return key->kind == VALUE_DURATION || key->kind == VALUE_TIMEOUT || key->kind == VALUE_SPAN ||
           key->kind == VALUE_COUNT || key->kind == VALUE_MILLISECONDS;
}

static void put_check(
    struct buf *out, const char *indent, const struct check_spec *spec, bool identity)
{
    for (size_t i = 0; i < check_key_count; i++) {
        const struct check_key *key = &check_keys[i];
        const void *field = (const char *)spec + key->offset;
        if ((key->applies & 1u << spec->type) != 0 && is_set(key, field) &&
            !(identity && is_rule(key))) {
            put_key(out, indent, key->name);
            put_value(out, key, field);
            (void)buf_append_byte(out, '\n');
        }
    }
}

void registry_identity(const struct service *service, struct buf *out)
{
    const struct machine *machine = service->machine;
    const struct check_spec *spec = &service->check;
    bool remote = !machine->local && spec->run_on == RUN_ON_MACHINE &&
                  (spec->type == CHECK_PROCESS || spec->type == CHECK_EXEC);
    buf_printf(out, "%d %s\n", service->disabled, service->problem == NULL ? "" : service->problem);
    put_check(out, "", spec, true);
    if (remote) {
        put_member(out, "", "ssh_host", machine->ssh_host);
        put_member(out, "", "ssh_user", machine->ssh_user);
        put_member(out, "", "ssh_key", machine->ssh_key);
        put_number(out, machine->ssh_port);
    }
}

// ---- Machines and services

static void put_machine(struct buf *out, const struct machine *machine)
{
    (void)buf_append_str(out, "  ");
    put_text(out, machine->name);
    (void)buf_append_str(out, ":\n");
    put_member(out, "    ", "ip", machine->address);
    put_member(out, "    ", "ssh_hostname", machine->ssh_host);
    put_member(out, "    ", "ssh_user", machine->ssh_user);
    put_key(out, "    ", "ssh_port");
    put_number(out, machine->ssh_port);
    (void)buf_append_byte(out, '\n');
    put_member(out, "    ", "ssh_key", machine->ssh_key);
    put_member(out, "    ", "path", machine->base);
    put_member(out, "    ", "status", machine->status);
    put_key(out, "    ", "roles");
    put_list(out, machine->roles, machine->role_count);
    buf_printf(out, "\n    # %s\n", machine->local ? "this machine" : "another machine");
}

static void put_maintenance(struct buf *out, const struct maintenance *maintenance)
{
    char until[TIME_ISO_SIZE];
    put_key(out, "    ", "maintenance");
    if (!maintenance->on || (maintenance->until_wall_ms == 0 && maintenance->reason == NULL)) {
        buf_printf(out, "%s\n", maintenance->on ? "true" : "false");
        return;
    }
    (void)buf_append_byte(out, '\n');
    if (maintenance->until_wall_ms != 0) {
        time_to_iso(maintenance->until_wall_ms, until);
        put_member(out, "      ", "until", until);
    }
    put_member(out, "      ", "reason", maintenance->reason);
}

static void put_service_check(struct buf *out, const struct service *service)
{
    if (service->problem != NULL) {
        (void)buf_append_str(out, "    # not checked: ");
        put_text(out, service->problem);
        (void)buf_append_str(out, "\n    health_check: false\n");
    } else if (service->check.type != CHECK_NONE) {
        buf_printf(out, "    # declared by %s\n    health_check:\n", service->form);
        put_check(out, "      ", &service->check, false);
    } else if (service->declared) {
        (void)buf_append_str(out, "    health_check: false\n");
    } else {
        (void)buf_append_str(out, "    # no health check declared\n");
    }
}

static void put_service(struct buf *out, const struct service *service)
{
    (void)buf_append_str(out, "  ");
    put_text(out, service->name);
    (void)buf_append_str(out, ":\n");
    if (service->machine->declared ||
        strcmp(service->machine->name, REGISTRY_UNKNOWN_MACHINE) != 0) {
        put_member(out, "    ", "current_host", service->machine->name);
    }
    put_member(out, "    ", "deployment_type", service->deployment_type);
    put_member(out, "    ", "hostname", service->hostname);
    put_member(out, "    ", "description", service->description);
    if (service->port != 0) {
        put_key(out, "    ", "port");
        put_number(out, service->port);
        (void)buf_append_byte(out, '\n');
    }
    if (service->tls) {
        (void)buf_append_str(out, "    tls:\n      enabled: true\n");
    }
    put_key(out, "    ", "dependencies");
    put_list(out, service->dependencies, service->dependency_count);
    buf_printf(out, "\n    enabled: %s\n", service->disabled ? "false" : "true");
    put_maintenance(out, &service->maintenance);
    put_service_check(out, service);
}

void registry_show(const struct registry *registry, struct buf *out)
{
    put_member(out, "", "domain", registry->domain);
    put_member(out, "", "notice", registry->notice);
    (void)buf_append_str(out, registry->machines_declared == 0 ? "hosts: {}\n" : "hosts:\n");
    for (size_t i = 0; i < registry->machine_count; i++) {
        if (registry->machines[i].declared) {
            put_machine(out, &registry->machines[i]);
        }
    }
    (void)buf_append_str(out, registry->service_count == 0 ? "services: {}\n" : "services:\n");
    for (size_t i = 0; i < registry->service_count; i++) {
        put_service(out, &registry->services[i]);
    }
}

// ---- Manual

void registry_manual(struct buf *out)
{
    buf_append_str(out,
        "# Keys of a health check\n\nThey stand under `services.NAME.health_check` of a registry.yml. "
        "Any of them but `type` may also stand in `defaults` at the top of the file: there it counts "
        "for all checks it applies to that do not say otherwise.\n"
        "Times are seconds or durations such as `500ms`, `5s` and `1m`. In text, `${NAME}` and "
        "`${NAME:-default}` are replaced by variables of the monitor's environment, and `$$` is a "
        "dollar sign.\n"
        "This page is the output of `weir config reference health`.\n\n"
        "| key | checks | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < check_key_count; i++) {
        const struct check_key *key = &check_keys[i];
        char types[64] = "";
        size_t len = 0;
        for (unsigned type = CHECK_HTTP; type < CHECK_TYPE_COUNT; type++) {
            if ((key->applies & 1u << type) != 0) {
                len += (size_t)snprintf(types + len, sizeof types - len, "%s%s", len > 0 ? " " : "",
                    check_type_name(type));
            }
        }
        buf_printf(out, "| `%s` | %s | %s | %s |\n", key->name, types, key->fallback, key->meaning);
    }
}
