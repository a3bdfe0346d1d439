// SPDX-License-Identifier: Apache-2.0
// Form E: a health check in a file beside the registry. A native or local service names its
// service.yml (`service_file`, with `healthcheck: COMMAND`), a docker service its compose file
// (`docker_compose`, with `services.NAME.healthcheck`). Both are read only when they can be read
// from here; a file that is not there is no mistake: it may be on the service's machine.
//
// A compose test usually works inside its container only, so it is taken only when asked for.
#include <stdio.h>

#include "health/registry/registry_internal.h"
#include "sys/file.h"

#define PATH_SIZE 4096

// The reference puts the machine's base directory in front, whatever the value starts with.
static bool find_file(const struct reader *reader, const struct service *service, const char *value,
    char path[PATH_SIZE])
{
    const char *base = service->machine->base;
    const char *between = value[0] == '/' ? "" : "/";
    if (base != NULL && snprintf(path, PATH_SIZE, "%s%s%s", base, between, value) < PATH_SIZE &&
        sys_file_exists(path)) {
        return true;
    }
    bool relative = value[0] != '/';
    return snprintf(path, PATH_SIZE, "%s%s%s", relative ? reader->directory : "",
               relative ? "/" : "", value) < PATH_SIZE &&
           sys_file_exists(path);
}

// Opens the file as the reader's document. False: it is not there, or no YAML (noted).
static bool open_side(struct reader *reader, const struct service *service, const char *value,
    struct yml_document *ret_document)
{
    char path[PATH_SIZE];
    struct conf_problems problems;
    struct buf text = BUF_INIT(yml_limits_default.bytes_max);
    if (value == NULL || !find_file(reader, service, value, path)) {
        return false;
    }
    const char *name = reader_copy(reader, slice_str(path));
    conf_problems_init(&problems);
    *ret_document = (struct yml_document){0};
    enum weir_result result = sys_file_read_plain(path, yml_limits_default.bytes_max, &text);
    if (result == WEIR_OK) {
        result = yml_parse(buf_slice(&text), name == NULL ? path : name, &yml_limits_default,
            ret_document, &problems);
    } else {
        conf_error(&problems, "%s: cannot be read: %s", path, weir_result_text(result));
    }
    buf_reset(&text);
    reader_take_problems(reader, NOTE_WARNING, name, &problems.errors);
    conf_problems_fini(&problems);
    reader->out_of_memory |= result == WEIR_MEMORY;
    if (result != WEIR_OK) {
        yml_close(ret_document);
    }
    return result == WEIR_OK;
}

static bool read_command(
    struct reader *reader, const char *name, const struct yml_node *node, struct check_spec *spec)
{
    for (size_t i = 0; i < check_key_count; i++) {
        if (strcmp(check_keys[i].name, name) == 0) {
            return value_read(reader, &check_keys[i], node, spec);
        }
    }
    return false;
}

static bool read_service_file(struct reader *reader, struct service *service,
    const struct yml_node *root, struct check_spec *spec)
{
    const struct yml_node *node = yml_get(root, SLICE("healthcheck"));
    if (!yml_is(node, YML_SCALAR) || yml_is_null(node)) {
        return false;
    }
    spec->type = CHECK_EXEC;
    service->form = "service_file";
    (void)read_command(reader, "command", node, spec); // noted
    return true;
}

// test: "command", ["CMD", …], ["CMD-SHELL", "command"] or ["NONE"].
static bool read_test(struct reader *reader, const struct yml_node *test, struct check_spec *spec)
{
    if (yml_is(test, YML_SCALAR)) {
        return read_command(reader, "command", test, spec);
    }
    struct slice kind;
    if (yml_text(yml_first(test), &kind) != WEIR_OK || slice_eq(kind, SLICE("NONE"))) {
        return false;
    }
    if (slice_eq(kind, SLICE("CMD-SHELL"))) {
        return read_command(reader, "command", test->first->next, spec);
    }
    if (!read_command(reader, "command", test, spec)) {
        return false;
    }
    spec->command += slice_eq(kind, SLICE("CMD"));
    return spec->command[0] != NULL;
}

static bool read_compose(struct reader *reader, struct service *service,
    const struct yml_node *root, struct check_spec *spec)
{
    static const char *const keys[][2] = {
        {"interval", "interval"},
        {"timeout", "timeout"},
        {"start_period", "start_period"},
        {"retries", "failure_threshold"},
    };
    const char *name = service->service_name == NULL ? service->name : service->service_name;
    const struct yml_node *entry = yml_get(yml_get(root, SLICE("services")), slice_str(name));
    const struct yml_node *check = yml_get(entry, SLICE("healthcheck"));
    const struct yml_node *test = yml_get(check, SLICE("test"));
    if (yml_is_null(test)) {
        return false;
    }
    spec->type = CHECK_EXEC;
    service->form = "docker_compose";
    if (!read_test(reader, test, spec)) {
        spec->type = CHECK_NONE;
        return true;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct yml_node *node = yml_get(check, slice_str(keys[i][0]));
        if (node != NULL) {
            (void)read_command(reader, keys[i][1], node, spec);
        }
    }
    return true;
}

bool reader_side_check(struct reader *reader, struct service *service, struct check_spec *spec)
{
    const struct yml_document *registry = reader->document;
    struct yml_document side = {0};
    bool found = false;
    if (open_side(reader, service, service->service_file, &side)) {
        reader->document = &side;
        found = read_service_file(reader, service, side.root, spec);
        yml_close(&side);
    }
    if (!found && reader->options->legacy_compose_health &&
        open_side(reader, service, service->docker_compose, &side)) {
        reader->document = &side;
        found = read_compose(reader, service, side.root, spec);
        yml_close(&side);
    }
    reader->document = registry;
    return found;
}

static uint16_t port_of(
    struct reader *reader, const struct yml_node *root, const char *const *keys, size_t count)
{
    uint16_t port = 0;
    for (size_t i = 0; i < count && port == 0; i++) {
        const struct yml_node *node = yml_get(root, slice_str(keys[i]));
        if (!yml_is_null(node)) {
            (void)value_ports(reader, node, &port); // stays 0: the next one may be better
        }
    }
    return port;
}

uint16_t reader_side_port(struct reader *reader, const struct service *service)
{
    static const char *const keys[] = {"port", "ports", "http_port", "bolt_port"};
    struct yml_document side = {0};
    uint16_t port = 0;
    reader->quiet = true; // a guess, not what the registry says
    if (open_side(reader, service, service->service_file, &side)) {
        port = port_of(reader, side.root, keys, sizeof keys / sizeof keys[0]);
        yml_close(&side);
    }
    if (port == 0 && open_side(reader, service, service->docker_compose, &side)) {
        const char *name = service->service_name == NULL ? service->name : service->service_name;
        port = port_of(
            reader, yml_get(yml_get(side.root, SLICE("services")), slice_str(name)), &keys[1], 1);
        yml_close(&side);
    }
    reader->quiet = false;
    return port;
}
