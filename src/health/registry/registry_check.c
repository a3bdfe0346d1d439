// SPDX-License-Identifier: Apache-2.0
// The six forms of a health check (spec section 1.4), brought into one. The first that is there
// counts, the others are ignored with a notice:
//
//   A health_check:      the canonical map; also `healthcheck:` when it is a map
//   B health:            with `endpoint`, `port`, `retries`
//   C health:            with `url`, `interval_seconds`, `timeout_seconds`
//   D healthcheck_url:
//   E the service's own file: registry_side.c
//   F nothing: no check, or a tcp check when implicit checks are wanted
//
// Values come from four layers, each over the one before: built-in defaults, what the form implies,
// the registry's `defaults`, what the service says.
#include <stdio.h>

#include "base/ip.h"
#include "base/time.h"
#include "conf/nearest.h"
#include "conf/url.h"
#include "health/registry/registry_internal.h"

#define NAMES_MAX 64

static const struct status_range status_200[] = {{200, 200}};
static const struct status_range status_below_400[] = {{200, 399}};
static const struct status_range status_below_500[] = {{100, 499}};

static const struct check_spec builtin = {
    .enabled = true,
    .interval_ns = 10 * NS_PER_S,
    .timeout_ns = 5 * NS_PER_S,
    .failure_threshold = 3,
    .success_threshold = 1,
    .method = "GET",
    .expected_status = {status_200, 1},
    .verify_tls = true,
};

// Another name of a canonical key in a legacy form.
struct legacy_key {
    const char *name;
    const char *key;
};

static const struct check_key *find_key(struct slice name)
{
    for (size_t i = 0; i < check_key_count; i++) {
        if (slice_eq(name, slice_str(check_keys[i].name))) {
            return &check_keys[i];
        }
    }
    return NULL;
}

static bool applies(const struct check_key *key, enum check_type type)
{
    return (key->applies & 1u << type) != 0;
}

// ---- Maps of keys

static void warn_unknown(struct reader *reader, const struct yml_node *node)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < check_key_count && count < NAMES_MAX; i++) {
        names[count++] = check_keys[i].name;
    }
    const char *near = conf_nearest(node->key, names, count);
    if (near != NULL) {
        reader_warning(reader, node, "is not a known key; did you mean \"%s\"?", near);
    } else {
        reader_warning(reader, node, "is not a known key");
    }
}

// The type comes first: it decides which other keys apply.
static void read_type(struct reader *reader, const struct yml_node *map, struct check_spec *spec)
{
    const struct yml_node *node = yml_get(map, SLICE("type"));
    if (node != NULL) {
        (void)value_read(reader, find_key(SLICE("type")), node, spec); // noted
        return;
    }
    static const struct {
        struct slice key;
        enum check_type type;
    } tells[] = {
        {{"url", 3}, CHECK_HTTP},
        {{"pid_file", 8}, CHECK_PROCESS},
        {{"command", 7}, CHECK_EXEC},
        {{"port", 4}, CHECK_TCP},
        {{"host", 4}, CHECK_TCP},
    };
    for (size_t i = 0; i < sizeof tells / sizeof tells[0]; i++) {
        if (yml_get(map, tells[i].key) != NULL) {
            spec->type = tells[i].type;
            reader_warning(reader, map, "has no type; taken for %s because of \"%s\"",
                check_type_name(spec->type), tells[i].key.at);
            return;
        }
    }
    reader_error(reader, map, "has no type; allowed: http, tcp, process, exec");
}

static void read_defaults(struct reader *reader, struct check_spec *spec)
{
    reader->quiet = true; // mistakes here were noted at the start
    yml_for_each (node, reader->defaults) {
        const struct check_key *key = find_key(node->key);
        if (key != NULL && key->kind != VALUE_TYPE && applies(key, spec->type)) {
            (void)value_read(reader, key, node, spec);
        }
    }
    reader->quiet = false;
}

void reader_check_defaults(struct reader *reader)
{
    struct check_spec scratch = builtin;
    yml_for_each (node, reader->defaults) {
        const struct check_key *key = find_key(node->key);
        if (key == NULL || key->kind == VALUE_TYPE) {
            warn_unknown(reader, node);
        } else {
            (void)value_read(reader, key, node, &scratch);
        }
    }
}

static void read_map(struct reader *reader, const struct yml_node *map, struct check_spec *spec)
{
    yml_for_each (node, map) {
        const struct check_key *key = find_key(node->key);
        if (key == NULL) {
            warn_unknown(reader, node);
        } else if (key->kind == VALUE_TYPE) {
            continue; // read_type did
        } else if (!applies(key, spec->type)) {
            reader_warning(
                reader, node, "does not apply to a check of type %s", check_type_name(spec->type));
        } else {
            (void)value_read(reader, key, node, spec);
        }
    }
}

static void read_legacy(struct reader *reader, const struct yml_node *map,
    const struct legacy_key *keys, size_t count, struct check_spec *spec)
{
    for (size_t i = 0; i < count; i++) {
        const struct yml_node *node = yml_get(map, slice_str(keys[i].name));
        if (node != NULL) {
            (void)value_read(reader, find_key(slice_str(keys[i].key)), node, spec);
        }
    }
}

// Where its services are reached from the monitor; NULL: nobody says.
static const char *machine_address(const struct machine *machine)
{
    return machine->address == NULL && machine->local ? "127.0.0.1" : machine->address;
}

// ---- The forms

static void read_canonical(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    struct check_spec *spec = &service->check;
    bool wanted;
    if (yml_bool(node, &wanted) == WEIR_OK && !wanted) {
        return; // stays CHECK_NONE
    }
    if (yml_is(node, YML_SEQUENCE)) {
        reader_error(reader, node, "is a list; a service has exactly one check, a map");
        return;
    }
    if (!yml_is(node, YML_MAPPING)) {
        reader_error(reader, node, "must be a map, or false, but there is %s", yml_kind_text(node));
        return;
    }
    read_type(reader, node, spec);
    if (spec->type != CHECK_NONE) {
        read_defaults(reader, spec);
        read_map(reader, node, spec);
    }
}

// "http://10.0.0.1:8080": where the service is reached, from the monitor.
static const char *service_url(struct reader *reader, const struct yml_node *node,
    const struct service *service, uint16_t port, const char *path)
{
    const char *address = machine_address(service->machine);
    if (address == NULL || port == 0) {
        reader_error(reader, node, "needs %s to build a URL",
            address == NULL ? "an address of the machine" : "a port of the service");
        return NULL;
    }
    bool v6 = strchr(address, ':') != NULL;
    return reader_format(reader, "%s://%s%s%s:%u%s%s", service->tls ? "https" : "http",
        v6 ? "[" : "", address, v6 ? "]" : "", (unsigned)port, path[0] == '/' ? "" : "/", path);
}

static void read_endpoint_form(
    struct reader *reader, const struct yml_node *map, struct service *service)
{
    static const struct legacy_key keys[] = {
        {"interval", "interval"},
        {"timeout", "timeout"},
        {"retries", "failure_threshold"},
        {"expected_status", "expected_status"},
    };
    struct check_spec *spec = &service->check;
    const struct yml_node *type = yml_get(map, SLICE("type"));
    const struct yml_node *port = yml_get(map, SLICE("port"));
    const char *endpoint = "/health";
    spec->type = CHECK_HTTP;
    spec->interval_ns = 30 * NS_PER_S;
    spec->port = service->port;
    if (type != NULL && (!value_read(reader, find_key(SLICE("type")), type, spec) ||
                            (spec->type != CHECK_HTTP && spec->type != CHECK_TCP))) {
        if (service->problem == NULL) {
            reader_error(reader, type, "must be http or tcp in this form");
        }
        return;
    }
    read_defaults(reader, spec);
    read_legacy(reader, map, keys, sizeof keys / sizeof keys[0], spec);
    const struct yml_node *path = yml_get(map, SLICE("endpoint"));
    if ((port != NULL && !value_port(reader, port, &spec->port)) ||
        (path != NULL && !value_text(reader, path, &endpoint))) {
        return;
    }
    if (spec->type == CHECK_HTTP) {
        struct conf_url parts;
        spec->url = service_url(reader, map, service, spec->port, endpoint);
        spec->port = 0;
        if (spec->url != NULL && conf_url_parse(slice_str(spec->url), &parts) != WEIR_OK) {
            reader_error(reader, map, "makes \"%s\", which is no URL", spec->url);
        }
    }
}

static void read_url_form(
    struct reader *reader, const struct yml_node *map, struct service *service)
{
    static const struct legacy_key keys[] = {
        {"url", "url"},
        {"interval_seconds", "interval"},
        {"timeout_seconds", "timeout"},
    };
    struct check_spec *spec = &service->check;
    spec->type = CHECK_HTTP;
    spec->timeout_ns = 3 * NS_PER_S;
    spec->expected_status = (struct status_set){status_below_500, 1};
    read_defaults(reader, spec);
    read_legacy(reader, map, keys, sizeof keys / sizeof keys[0], spec);
}

static void read_health_form(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    if (!yml_is(node, YML_MAPPING)) {
        reader_error(reader, node, "must be a map, but there is %s", yml_kind_text(node));
    } else if (yml_get(node, SLICE("url")) != NULL) {
        read_url_form(reader, node, service);
    } else {
        read_endpoint_form(reader, node, service);
    }
}

static void read_plain_url_form(
    struct reader *reader, const struct yml_node *service_node, struct service *service)
{
    static const struct legacy_key keys[] = {
        {"healthcheck_url", "url"},
        {"healthcheck_interval", "interval"},
        {"healthcheck_retries", "failure_threshold"},
    };
    struct check_spec *spec = &service->check;
    spec->type = CHECK_HTTP;
    spec->verify_tls = false;
    spec->expected_status = (struct status_set){status_below_400, 1};
    read_defaults(reader, spec);
    read_legacy(reader, service_node, keys, sizeof keys / sizeof keys[0], spec);
}

static void read_implicit(struct reader *reader, struct service *service)
{
    if (reader->options->implicit_checks && service->port != 0) {
        service->check.type = CHECK_TCP;
        service->form = "port";
        service->declared = true;
        read_defaults(reader, &service->check);
    }
}

// ---- What holds for every form

static bool is_localhost(struct slice host)
{
    struct ip ip;
    if (host.len > 2 && host.at[0] == '[') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    return slice_eq_nocase(host, SLICE("localhost")) ||
           (ip_parse(host, &ip) == WEIR_OK && ip_is_loopback(&ip));
}

// A remote service's "localhost" is its machine (spec section 1.6).
static void move_localhost(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    struct check_spec *spec = &service->check;
    const struct machine *machine = service->machine;
    struct conf_url url = {0};
    bool http = spec->type == CHECK_HTTP;
    const char *was = http ? spec->url : spec->host;
    if (machine->local || spec->localhost_means == RUN_ON_MONITOR || machine->address == NULL ||
        was == NULL || (http && conf_url_parse(slice_str(was), &url) != WEIR_OK) ||
        !is_localhost(http ? url.host : slice_str(was))) {
        return;
    }
    bool v6 = strchr(machine->address, ':') != NULL;
    if (http) {
        spec->url = reader_format(reader, "%.*s://%.*s%s%s%s%s%s%.*s%.*s", SLICE_ARG(url.scheme),
            SLICE_ARG(url.userinfo), url.has_userinfo ? "@" : "", v6 ? "[" : "", machine->address,
            v6 ? "]" : "", url.port.len > 0 ? ":" : "", SLICE_ARG(url.port), SLICE_ARG(url.rest));
    } else {
        spec->host = machine->address;
    }
    reader_info(reader, node, "\"%s\" is taken for machine %s: %s", was, machine->name,
        http ? spec->url : spec->host);
}

static void require(
    struct reader *reader, const struct yml_node *node, bool there, const char *what)
{
    if (!there) {
        reader_error(reader, node, "needs %s", what);
    }
}

static const char *here(struct reader *reader, const char *path)
{
    return path == NULL || path[0] != '~' ? path : value_path(reader, path, reader->directory);
}

static void finish_place(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    struct check_spec *spec = &service->check;
    if (service->machine->local || spec->run_on == RUN_ON_MONITOR) {
        spec->pid_file = here(reader, spec->pid_file);
        spec->cwd = here(reader, spec->cwd);
        return;
    }
    if (service->machine->ssh_host == NULL) {
        reader_error(reader, node,
            "runs on machine %s, which has no address to reach by ssh; run_on: monitor runs it "
            "here",
            service->machine->name);
    }
    if (spec->user != NULL) {
        reader_warning(reader, yml_get(node, SLICE("user")),
            "counts only where the check runs on this machine; ssh_user names the remote one");
    }
}

static void finish_by_type(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    struct check_spec *spec = &service->check;
    switch (spec->type) {
    case CHECK_HTTP:
        require(reader, node, spec->url != NULL, "a url");
        break;
    case CHECK_TCP:
        if (spec->host == NULL) {
            spec->host = machine_address(service->machine);
        }
        if (spec->port == 0) {
            spec->port = service->port;
        }
        require(reader, node, spec->host != NULL, "a host: its machine has no address");
        require(reader, node, spec->port != 0, "a port: the service has none");
        break;
    case CHECK_PROCESS:
        require(reader, node, spec->pid_file != NULL, "a pid_file");
        finish_place(reader, node, service);
        break;
    case CHECK_EXEC:
        require(reader, node, spec->command != NULL, "a command");
        finish_place(reader, node, service);
        break;
    case CHECK_NONE:
        break;
    }
}

static const char *override_url(struct reader *reader, const struct service *service)
{
    char *name = reader_format(reader, "%s_URL", service->name);
    for (char *at = name; at != NULL && *at != '\0'; at++) {
        *at = (char)(*at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? *at - 32 : *at);
    }
    return name == NULL ? NULL : reader_environment(reader, name);
}

static void finish(struct reader *reader, const struct yml_node *node, struct service *service)
{
    struct check_spec *spec = &service->check;
    if (spec->timeout_ns > spec->interval_ns) {
        if (spec->type != CHECK_PROCESS) {
            reader_warning(reader, node, "timeout is longer than the interval: shortened to it");
        }
        spec->timeout_ns = spec->interval_ns;
    }
    if (spec->interval_ns < NS_PER_S) {
        reader_warning(reader, node, "an interval below 1 s is a burden for the service");
    }
    if (service->problem == NULL) {
        finish_by_type(reader, node, service);
    }
    const char *url = reader->options->url_overrides && spec->type == CHECK_HTTP
                          ? override_url(reader, service)
                          : NULL;
    struct conf_url parts;
    if (url != NULL && conf_url_parse(slice_str(url), &parts) != WEIR_OK) {
        reader_error(reader, node, "the variable that replaces the url holds \"%s\", no URL", url);
    } else if (url != NULL) {
        spec->url = url;
    } else if (service->problem == NULL) {
        move_localhost(reader, node, service);
    }
}

struct form {
    const char *key;
    void (*read)(struct reader *reader, const struct yml_node *node, struct service *service);
    bool of_service; // reads the service's map, not the key's value
};

void reader_check(struct reader *reader, struct service *service, const struct yml_node *node)
{
    static const struct form forms[] = {
        {"health_check", read_canonical, false},
        {"healthcheck", read_canonical, false},
        {"health", read_health_form, false},
        {"healthcheck_url", read_plain_url_form, true},
    };
    const struct yml_node *declared = NULL;
    service->check = builtin;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const struct yml_node *found = yml_get(node, slice_str(forms[i].key));
        if (yml_is_null(found)) {
            continue;
        }
        if (declared != NULL) {
            reader_info(reader, found, "is ignored: %s stands above it", service->form);
            continue;
        }
        if (strcmp(forms[i].key, "healthcheck") == 0 && !yml_is(found, YML_MAPPING)) {
            reader_warning(reader, found, "is ignored: here it must be a map");
            continue;
        }
        declared = found;
        service->form = forms[i].key;
        service->declared = true;
        forms[i].read(reader, forms[i].of_service ? node : found, service);
    }
    if (declared == NULL && reader_side_check(reader, service, &service->check)) {
        service->declared = true;
    } else if (declared == NULL) {
        read_implicit(reader, service);
    }
    if (service->check.type != CHECK_NONE) {
        finish(reader, declared == NULL ? node : declared, service);
    }
}
