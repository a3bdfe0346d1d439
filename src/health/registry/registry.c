// SPDX-License-Identifier: Apache-2.0
// The registry as a whole: the file, its machines, its services, and the notes taken on the way.
// The other files of the reader: registry_value.c reads values, registry_check.c the check of a
// service, registry_side.c files beside the registry, registry_graph.c looks at all services
// together, registry_show.c writes the canonical form.
//
// 1. Everything of the model lives in one arena and goes with it.
// 2. The number of machines and services is known from the tree before the first is read, so their
//    arrays never move and pointers into them hold.
// 3. A mistake never ends the reading; it is noted, and belongs to the service it was found in.
#include "health/registry/registry.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/ip.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "base/utf8.h"
#include "health/registry/registry_internal.h"
#include "sys/file.h"
#include "sys/host.h"

struct named {
    struct map_node node;
    void *object;
};

// ---- Memory

void *reader_alloc(struct reader *reader, size_t size)
{
    void *object = arena_alloc(&reader->registry->arena, size);
    reader->out_of_memory |= object == NULL;
    return object;
}

char *reader_copy(struct reader *reader, struct slice text)
{
    char *copy = arena_copy(&reader->registry->arena, text);
    reader->out_of_memory |= copy == NULL;
    return copy;
}

static char *format_text(struct reader *reader, const char *format, va_list args) WEIR_PRINTF(2, 0);

static char *format_text(struct reader *reader, const char *format, va_list args)
{
    char text[2048];
    int len = vsnprintf(text, sizeof text, format, args);
    bool cut = len < 0 || (size_t)len >= sizeof text;
    return reader_copy(reader, slice_of(text, cut ? sizeof text - 1 : (size_t)len));
}

char *reader_format(struct reader *reader, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(reader, format, args);
    va_end(args);
    return text;
}

const char *reader_environment(struct reader *reader, const char *name)
{
    const struct conf_source *source = reader->options->environment;
    const char *value = source->get(source->arg, name);
    return value == NULL || value[0] == '\0' ? NULL : reader_copy(reader, slice_str(value));
}

// ---- Notes

static void add_note(struct reader *reader, const struct registry_note *note)
{
    struct registry *registry = reader->registry;
    if (reader->quiet) {
        return;
    }
    if (note->level == NOTE_ERROR && reader->service != NULL && reader->service->problem == NULL) {
        reader->service->problem = note->path[0] == '\0'
                                       ? note->message
                                       : reader_format(reader, "%s: %s", note->path, note->message);
    }
    registry->note_counts[note->level]++;
    struct registry_note *kept =
        registry->note_count < REGISTRY_NOTES_MAX ? reader_alloc(reader, sizeof *kept) : NULL;
    if (kept != NULL) {
        *kept = *note;
        registry->notes[registry->note_count++] = kept;
    }
}

void reader_note(struct reader *reader, enum note_level level, const struct yml_node *node,
    const char *format, ...)
{
    char path[YML_PATH_SIZE];
    va_list args;
    yml_path(node, path);
    va_start(args, format);
    char *message = format_text(reader, format, args);
    va_end(args);
    char *place = reader_copy(reader, slice_str(path));
    if (message != NULL && place != NULL) {
        utf8_make_plain(message);
        utf8_make_plain(place);
        add_note(reader, &(struct registry_note){
                             .file = reader->document->file == NULL
                                         ? reader->registry->path
                                         : reader_copy(reader, slice_str(reader->document->file)),
                             .path = place,
                             .message = message,
                             .line = node == NULL             ? 0
                                     : node->key_at.line != 0 ? node->key_at.line
                                                              : node->at.line,
                             .level = level,
                         });
    }
}

// "file:12:5: path: message" without its file; the path stays in front of the message.
static void take_line(
    struct reader *reader, enum note_level level, const char *file, struct slice line)
{
    uint64_t number = 0;
    struct slice part;
    struct slice rest = slice_skip(line, strlen(file));
    if (slice_starts_with(line, slice_str(file)) && rest.len > 0 && rest.at[0] == ':') {
        struct slice numbers = slice_skip(rest, 1);
        if (slice_split(&numbers, ':', &part) &&
            number_parse_u64(part, UINT32_MAX, &number) == WEIR_OK) {
            uint64_t column;
            struct slice behind = numbers;
            rest = numbers;
            if (slice_split(&behind, ':', &part) &&
                number_parse_u64(part, UINT32_MAX, &column) == WEIR_OK) {
                rest = behind;
            }
        } else {
            rest = slice_skip(rest, 1);
        }
        line = slice_trim(rest);
    }
    char *message = reader_copy(reader, line);
    if (message != NULL) {
        utf8_make_plain(message);
        add_note(reader, &(struct registry_note){.file = file,
                             .path = "",
                             .message = message,
                             .line = (unsigned)number,
                             .level = level});
    }
}

void reader_take_problems(
    struct reader *reader, enum note_level level, const char *file, struct buf *lines)
{
    struct slice rest = buf_slice(lines);
    struct slice line;
    while (file != NULL && slice_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            take_line(reader, level, file, line);
        }
    }
}

static int by_place(const void *left, const void *right)
{
    const struct registry_note *a = *(const struct registry_note *const *)left;
    const struct registry_note *b = *(const struct registry_note *const *)right;
    int order = strcmp(a->file, b->file);
    if (order != 0) {
        return order;
    }
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    order = strcmp(a->path, b->path);
    return order != 0 ? order : strcmp(a->message, b->message);
}

const char *note_level_name(enum note_level level)
{
    static const char *const names[NOTE_LEVEL_COUNT] = {"error", "warning", "info"};
    return names[level];
}

void registry_print_notes(const struct registry *registry, enum note_level level, struct buf *out)
{
    for (size_t i = 0; i < registry->note_count; i++) {
        const struct registry_note *note = registry->notes[i];
        if (note->level > level) {
            continue;
        }
        char line[16] = "";
        if (note->line > 0) {
            snprintf(line, sizeof line, "%u:", note->line);
        }
        buf_printf(out, "%s:%s %s%s%s%s\n", note->file, line,
            note->level == NOTE_ERROR     ? ""
            : note->level == NOTE_WARNING ? "warning: "
                                          : "notice: ",
            note->path, note->path[0] == '\0' ? "" : ": ", note->message);
    }
}

// ---- Names

static void add_name(struct reader *reader, struct map *map, const char *name, void *object)
{
    struct named *named = reader_alloc(reader, sizeof *named);
    if (named == NULL) {
        return;
    }
    named->object = object;
    if (map_insert(map, &named->node, slice_str(name)) != WEIR_OK) {
        reader->out_of_memory = true;
    }
}

static void *find_name(const struct map *map, struct slice name)
{
    struct map_node *node = map_find(map, name);
    return node == NULL ? NULL : container_of(node, struct named, node)->object;
}

struct machine *reader_machine(struct reader *reader, struct slice name)
{
    return find_name(&reader->machines, name);
}

struct service *reader_service(struct reader *reader, struct slice name)
{
    return find_name(&reader->services, name);
}

static const struct yml_node *first_of(
    const struct yml_node *node, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct yml_node *found = yml_get(node, slice_str(names[i]));
        if (!yml_is_null(found)) {
            return found;
        }
    }
    return NULL;
}
#define FIRST_OF(node, ...)                                                                        \
    first_of(node, (const char *const[]){__VA_ARGS__},                                             \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

// ---- Machines

// This machine by its own name, short or full.
static bool is_own_name(const char *name)
{
    char own[SYS_HOSTNAME_SIZE];
    sys_hostname(own);
    size_t short_len = strcspn(own, ".");
    return own[0] != '\0' &&
           (strcasecmp(own, name) == 0 || (strncasecmp(own, name, short_len) == 0 &&
                                              (name[short_len] == '\0' || own[short_len] == '\0') &&
                                              (name[short_len] == '\0' || name[short_len] == '.')));
}

static bool is_local(const char *name)
{
    struct ip ip;
    if (name == NULL) {
        return false;
    }
    if (ip_parse(slice_str(name), &ip) == WEIR_OK) {
        return ip_is_loopback(&ip) || sys_is_own_address(&ip);
    }
    return strcasecmp(name, "local") == 0 || strcasecmp(name, "localhost") == 0 ||
           is_own_name(name);
}

static struct machine *new_machine(struct reader *reader, const char *name, bool declared)
{
    struct registry *registry = reader->registry;
    struct machine *machine = &registry->machines[registry->machine_count++];
    *machine = (struct machine){
        .name = name,
        .status = "unknown",
        .ssh_port = 22,
        .declared = declared,
        .local = is_local(name),
    };
    registry->machines_declared += declared;
    add_name(reader, &reader->machines, name, machine);
    return machine;
}

// An IP address or a name; not what would mean something else inside a URL or to ssh.
static const char *read_address(struct reader *reader, const struct yml_node *node)
{
    const char *text = value_plain(reader, node);
    struct ip ip;
    if (text == NULL || ip_parse(slice_str(text), &ip) == WEIR_OK) {
        return text;
    }
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (text[len] != '\0' || text[0] == '-') {
        reader_error(reader, node, "\"%s\" is neither an IP address nor a name", text);
        return NULL;
    }
    return text;
}

static void read_ssh(struct reader *reader, const struct yml_node *node, struct machine *machine)
{
    const struct yml_node *port = FIRST_OF(node, "ssh_port", "port");
    const char *key = value_plain(reader, yml_get(node, SLICE("ssh_key")));
    machine->ssh_host = read_address(reader, yml_get(node, SLICE("ssh_hostname")));
    if (machine->ssh_host == NULL) {
        machine->ssh_host = machine->address;
    }
    machine->ssh_user = value_plain(reader, FIRST_OF(node, "ssh_user", "user"));
    if (machine->ssh_user == NULL) {
        machine->ssh_user = reader_environment(reader, "SSH_USER");
    }
    machine->ssh_key = key == NULL ? NULL : value_path(reader, key, reader->directory);
    if (port != NULL) {
        (void)value_port(reader, port, &machine->ssh_port);
    }
    // ssh would take such a word for an option.
    if (machine->ssh_user != NULL && machine->ssh_user[0] == '-') {
        reader_error(reader, node, "a user must not begin with '-'");
        machine->ssh_host = machine->ssh_user = NULL;
    }
}

static void read_machine(struct reader *reader, const struct yml_node *node)
{
    const char *name = reader_copy(reader, node->key);
    struct machine *machine = name == NULL ? NULL : new_machine(reader, name, true);
    if (machine == NULL) {
        return;
    }
    if (!yml_is(node, YML_MAPPING)) {
        reader_error(
            reader, node, "must be a map with ip or host, but there is %s", yml_kind_text(node));
        return;
    }
    const struct yml_node *address = FIRST_OF(node, "ip", "host");
    machine->address = address == NULL ? NULL : read_address(reader, address);
    if (address == NULL && !machine->local) {
        reader_error(reader, node, "needs ip or host");
    }
    machine->local = machine->local || is_local(machine->address);
    read_ssh(reader, node, machine);
    machine->base = value_plain(reader, yml_get(node, SLICE("path")));
    machine->roles = value_words(reader, FIRST_OF(node, "roles", "tags"), &machine->role_count);
    const char *status = value_plain(reader, yml_get(node, SLICE("status")));
    if (status != NULL) {
        machine->status = status;
        machine->maintenance = strcasecmp(status, "maintenance") == 0;
        machine->disabled = strcasecmp(status, "disabled") == 0;
    }
}

static void read_machines(struct reader *reader, const struct yml_node *root)
{
    const struct yml_node *hosts = yml_get(root, SLICE("hosts"));
    const struct yml_node *machines = yml_get(root, SLICE("machines"));
    for (int i = 0; i < 2; i++) {
        const struct yml_node *map = i == 0 ? hosts : machines;
        if (!yml_is_null(map) && !yml_is(map, YML_MAPPING)) {
            reader_error(reader, map, "must be a map of names to machines");
            reader->registry->broken = true;
        }
        yml_for_each (node, yml_is(map, YML_MAPPING) ? map : NULL) {
            if (reader_machine(reader, node->key) == NULL) {
                read_machine(reader, node);
            }
        }
    }
    if (!yml_is_null(hosts) && !yml_is_null(machines)) {
        reader_warning(reader, machines,
            "stands beside hosts; where both name a machine, hosts "
            "counts");
    }
}

// ---- Services

static void read_maintenance(
    struct reader *reader, const struct yml_node *node, struct maintenance *maintenance)
{
    if (yml_is_null(node)) {
        return;
    }
    if (!yml_is(node, YML_MAPPING)) {
        (void)value_bool(reader, node, &maintenance->on);
        return;
    }
    const struct yml_node *until = yml_get(node, SLICE("until"));
    struct slice text;
    maintenance->on = true;
    maintenance->reason = value_plain(reader, yml_get(node, SLICE("reason")));
    if (!yml_is_null(until) && (yml_text(until, &text) != WEIR_OK ||
                                   time_from_iso(text, &maintenance->until_wall_ms) != WEIR_OK)) {
        reader_error(reader, until, "must be a time such as 2026-01-31T22:00:00Z");
    }
}

static void read_place(struct reader *reader, const struct yml_node *node, struct service *service)
{
    const struct yml_node *host = FIRST_OF(node, "current_host", "machine", "host", "machine_name");
    const char *name = value_plain(reader, host);
    if (name == NULL) {
        reader_warning(reader, node, "names no machine (current_host)");
        name = REGISTRY_UNKNOWN_MACHINE;
    }
    service->machine = reader_machine(reader, slice_str(name));
    if (service->machine == NULL) {
        service->machine = new_machine(reader, name, false);
    }
    if (host != NULL && !service->machine->declared && !service->machine->local) {
        reader_warning(reader, host, "names machine %s, which does not stand under hosts", name);
    }
}

static void read_properties(
    struct reader *reader, const struct yml_node *node, struct service *service)
{
    const char *type = value_plain(reader, FIRST_OF(node, "deployment_type", "type"));
    const char *hostname = value_plain(reader, yml_get(node, SLICE("hostname")));
    const char *protocol = value_plain(reader, yml_get(node, SLICE("protocol")));
    const struct yml_node *tls = yml_find(node, SLICE("tls.enabled"));
    bool enabled = true;
    service->deployment_type = type == NULL ? "docker" : type;
    service->hostname =
        hostname != NULL ? hostname
                         : reader_format(reader, "%s.%s", service->name, reader->registry->domain);
    service->description = value_plain(reader, yml_get(node, SLICE("description")));
    service->docker_compose = value_plain(reader, FIRST_OF(node, "docker_compose", "compose_file"));
    service->service_file = value_plain(reader, yml_get(node, SLICE("service_file")));
    service->service_name = value_plain(reader, yml_get(node, SLICE("service_name")));
    service->dependencies = value_words(
        reader, FIRST_OF(node, "dependencies", "depends_on"), &service->dependency_count);
    service->tls = !yml_is_null(yml_get(node, SLICE("tls_cert"))) ||
                   (protocol != NULL && strcasecmp(protocol, "https") == 0);
    if (!service->tls && tls != NULL) {
        (void)value_bool(reader, tls, &service->tls);
    }
    const struct yml_node *enabled_node = yml_get(node, SLICE("enabled"));
    if (enabled_node != NULL) {
        (void)value_bool(reader, enabled_node, &enabled);
    }
    service->disabled = !enabled || service->machine->disabled;
    read_maintenance(reader, yml_get(node, SLICE("maintenance")), &service->maintenance);
}

static void read_port(struct reader *reader, const struct yml_node *node, struct service *service)
{
    const struct yml_node *port = yml_get(node, SLICE("port"));
    const struct yml_node *ports = yml_get(node, SLICE("ports"));
    if (!yml_is_null(port)) {
        (void)value_port(reader, port, &service->port);
    } else if (!yml_is_null(ports)) {
        (void)value_ports(reader, ports, &service->port);
    } else {
        service->port = reader_side_port(reader, service);
    }
}

static uint64_t identity_of(struct reader *reader, const struct service *service)
{
    static const struct siphash_key key = {0}; // nobody chooses what collides but the owner
    struct buf text = BUF_INIT(1024 * 1024);
    registry_identity(service, &text);
    reader->out_of_memory |= text.failed;
    uint64_t identity = siphash(&key, buf_slice(&text).at, buf_slice(&text).len);
    buf_reset(&text);
    return identity;
}

static void read_service(struct reader *reader, const struct yml_node *node)
{
    struct registry *registry = reader->registry;
    if (slice_find(node->key, '\0') >= 0) {
        reader_error(reader, node, "is no name, and nothing can be shown under it");
        return; // what it would be called is the name of another
    }
    struct service *service = &registry->services[registry->service_count++];
    service->name = reader_copy(reader, node->key);
    service->line = node->key_at.line;
    service->machine = &registry->machines[0];
    if (service->name == NULL) {
        return;
    }
    reader->service = service;
    add_name(reader, &reader->services, service->name, service);
    if (node->key.len == 0) {
        reader_error(reader, node, "is no name");
    }
    read_place(reader, node, service);
    if (yml_is(node, YML_MAPPING)) {
        read_properties(reader, node, service);
        read_port(reader, node, service);
        reader_check(reader, service, node);
    } else {
        service->deployment_type = "docker";
        service->hostname = service->name;
        reader_error(reader, node, "must be a map, but there is %s", yml_kind_text(node));
    }
    service->identity = identity_of(reader, service);
    reader->service = NULL;
}

static void read_services(struct reader *reader, const struct yml_node *root)
{
    const struct yml_node *services = yml_get(root, SLICE("services"));
    if (yml_is_null(services)) {
        return;
    }
    if (!yml_is(services, YML_MAPPING)) {
        reader_error(reader, services, "must be a map of names to services");
        reader->registry->broken = true;
        return;
    }
    yml_for_each (node, services) {
        read_service(reader, node);
    }
    reader_check_graph(reader, services);
}

// ---- The file

static size_t count_of(const struct yml_node *root, struct slice key)
{
    const struct yml_node *node = yml_get(root, key);
    return yml_is(node, YML_MAPPING) ? node->count : 0;
}

static bool make_room(struct reader *reader, const struct yml_node *root)
{
    struct registry *registry = reader->registry;
    size_t services = count_of(root, SLICE("services"));
    size_t machines = count_of(root, SLICE("hosts")) + count_of(root, SLICE("machines"));
    registry->services = reader_alloc(reader, (services + 1) * sizeof *registry->services);
    registry->machines =
        reader_alloc(reader, (machines + services + 1) * sizeof *registry->machines);
    return registry->services != NULL && registry->machines != NULL;
}

static void read_notice(struct reader *reader, const struct yml_node *node)
{
    const char *notice = value_plain(reader, node);
    if (notice != NULL && strlen(notice) > REGISTRY_NOTICE_MAX) {
        reader_warning(reader, node, "is not shown: it has more than %d bytes", REGISTRY_NOTICE_MAX);
        notice = NULL;
    }
    reader->registry->notice = notice;
}

static void read_root(struct reader *reader, const struct yml_node *root)
{
    struct registry *registry = reader->registry;
    const char *domain = value_plain(reader, yml_get(root, SLICE("domain")));
    registry->domain = domain == NULL ? "internal" : domain;
    read_notice(reader, yml_get(root, SLICE("notice")));
    if (!yml_is(root, YML_MAPPING) || FIRST_OF(root, "services", "hosts", "machines") == NULL) {
        reader_error(reader, root, "must be a map with services and hosts (or machines)");
        registry->broken = true;
        return;
    }
    reader->defaults = FIRST_OF(root, "defaults", "health_check_defaults");
    if (reader->defaults != NULL && !yml_is(reader->defaults, YML_MAPPING)) {
        reader_error(reader, reader->defaults, "must be a map of keys of a health_check");
        reader->defaults = NULL;
    }
    reader_check_defaults(reader);
    if (make_room(reader, root)) {
        read_machines(reader, root);
        read_services(reader, root);
    }
}

// What the YAML reader itself refused inside a service is that service's problem.
static void blame_services(struct registry *registry)
{
    for (size_t i = 0; i < registry->note_count; i++) {
        const struct registry_note *note = registry->notes[i];
        struct slice message = slice_str(note->message);
        if (note->level != NOTE_ERROR || !slice_starts_with(message, SLICE("services."))) {
            continue;
        }
        struct slice rest = slice_skip(message, strlen("services."));
        for (size_t s = 0; s < registry->service_count; s++) {
            struct service *service = &registry->services[s];
            struct slice name = slice_str(service->name);
            if (service->problem == NULL && rest.len > name.len && slice_starts_with(rest, name) &&
                strchr(".:[", rest.at[name.len]) != NULL) {
                service->problem = note->message;
            }
        }
    }
}

static void set_directory(struct reader *reader, const char *path)
{
    const char *slash = strrchr(path, '/');
    reader->registry->path = reader_copy(reader, slice_str(path));
    reader->directory = slash == NULL ? "."
                        : slash == path
                            ? "/"
                            : reader_copy(reader, slice_of(path, (size_t)(slash - path)));
}

static void read_text(struct reader *reader, struct slice text)
{
    struct registry *registry = reader->registry;
    struct yml_document document = {0};
    struct conf_problems problems;
    conf_problems_init(&problems);
    enum weir_result result =
        yml_parse(text, registry->path, &yml_limits_default, &document, &problems);
    reader->document = &document;
    reader->out_of_memory |= result == WEIR_MEMORY;
    reader_take_problems(reader, NOTE_ERROR, registry->path, &problems.errors);
    reader_take_problems(reader, NOTE_WARNING, registry->path, &problems.warnings);
    if (document.root == NULL && result != WEIR_OK) {
        registry->broken = true;
    } else {
        read_root(reader, document.root);
    }
    conf_problems_fini(&problems);
    yml_close(&document);
}

enum weir_result registry_parse(struct slice text, const char *path,
    const struct registry_options *options, struct registry **ret_registry)
{
    static const struct siphash_key seed = {0};
    struct registry *registry = mem_zalloc(sizeof *registry);
    *ret_registry = registry;
    if (registry == NULL) {
        return WEIR_MEMORY;
    }
    registry->refs = 1;
    arena_init(&registry->arena, REGISTRY_BYTES_MAX);
    struct reader reader = {.registry = registry, .options = options};
    map_init(&reader.machines, &seed);
    map_init(&reader.services, &seed);
    registry->notes = reader_alloc(&reader, REGISTRY_NOTES_MAX * sizeof *registry->notes);
    set_directory(&reader, path);
    if (!reader.out_of_memory) {
        read_text(&reader, text);
        blame_services(registry);
        qsort(registry->notes, registry->note_count, sizeof *registry->notes, by_place);
    }
    map_fini(&reader.machines);
    map_fini(&reader.services);
    return reader.out_of_memory ? WEIR_MEMORY : WEIR_OK;
}

static enum weir_result unreadable(const char *path, enum weir_result why,
    const struct registry_options *options, struct registry **ret_registry)
{
    enum weir_result result = registry_parse(SLICE("services: {}\n"), path, options, ret_registry);
    if (result != WEIR_OK) {
        return result;
    }
    struct registry *registry = *ret_registry;
    struct reader reader = {.registry = registry, .options = options};
    const char *message = reader_format(&reader, "cannot be read: %s", weir_result_text(why));
    if (message == NULL) {
        return WEIR_MEMORY;
    }
    add_note(
        &reader, &(struct registry_note){
                     .file = registry->path, .path = "", .message = message, .level = NOTE_ERROR});
    registry->broken = true;
    return reader.out_of_memory ? WEIR_MEMORY : WEIR_OK;
}

enum weir_result registry_load(
    const char *path, const struct registry_options *options, struct registry **ret_registry)
{
    struct buf text = BUF_INIT(yml_limits_default.bytes_max + 1);
    *ret_registry = NULL;
    enum weir_result result = sys_file_read_shared(path, yml_limits_default.bytes_max, &text);
    if (result == WEIR_OK) {
        result = registry_parse(buf_slice(&text), path, options, ret_registry);
    } else if (result != WEIR_MEMORY && result != WEIR_AGAIN) {
        result = unreadable(path, result, options, ret_registry);
    }
    buf_reset(&text);
    return result;
}

void registry_ref(struct registry *registry)
{
    registry->refs++;
}

void registry_unref(struct registry *registry)
{
    if (registry != NULL && --registry->refs == 0) {
        arena_reset(&registry->arena);
        mem_free(registry);
    }
}
