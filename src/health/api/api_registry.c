// SPDX-License-Identifier: Apache-2.0
// What stands in the registry, in the shapes that dashboards read (spec section 4.3), and how this
// monitor is set up.
#include <stdio.h>

#include "health/api/api_internal.h"

#define MESSAGE_SIZE (API_PART_SIZE + 32)

static void put_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text == NULL) {
        jsonw_null(writer, key);
    } else {
        jsonw_text(writer, key, text);
    }
}

static void put_words(
    struct json_writer *writer, const char *key, const char *const *words, size_t count)
{
    jsonw_array_begin(writer, key);
    for (size_t i = 0; i < count; i++) {
        jsonw_text(writer, NULL, words[i]);
    }
    jsonw_array_end(writer);
}

// ---- Services

static void write_service_members(struct json_writer *writer, const struct service *service)
{
    jsonw_text(writer, "name", service->name);
    put_text(writer, "hostname", service->hostname);
    jsonw_text(writer, "current_host", service->machine->name);
    jsonw_text(writer, "machine_name", service->machine->name);
    put_text(writer, "deployment_type", service->deployment_type);
    put_text(writer, "docker_compose", service->docker_compose);
    put_text(writer, "service_file", service->service_file);
    put_text(writer, "service_name", service->service_name);
    if (service->port == 0) {
        jsonw_null(writer, "port");
    } else {
        jsonw_u64(writer, "port", service->port);
    }
    put_text(writer, "description", service->description);
    put_words(writer, "dependencies", service->dependencies, service->dependency_count);
    jsonw_bool(writer, "tls_enabled", service->tls);
    jsonw_bool(writer, "requires_auth", false);
}

void api_services(struct api_request *request)
{
    const struct registry *registry = request->health->monitor.registry;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "services");
    for (size_t i = 0; i < registry->service_count; i++) {
        jsonw_object_begin(&writer, NULL);
        write_service_members(&writer, &registry->services[i]);
        jsonw_object_end(&writer);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

void api_service_entry(struct api_request *request)
{
    static const char *const words[HEALTH_STATUS_COUNT] = {
        [HEALTH_UNKNOWN] = "unknown",
        [HEALTH_UNHEALTHY] = "unhealthy",
        [HEALTH_DEGRADED] = "healthy", // clients know no fourth word
        [HEALTH_HEALTHY] = "healthy",
    };
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    char message[MESSAGE_SIZE];
    const struct target *target =
        monitor_find(&request->health->monitor, slice_str(request->path.text[0]), SLICE_EMPTY);
    if (target == NULL) {
        snprintf(message, sizeof message, "Service '%s' not found", request->path.text[0]);
        api_answer_error(request, 404, message);
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    write_service_members(&writer, target->service);
    jsonw_text(&writer, "health", words[state_status(&target->state)]);
    put_text(&writer, "check_form", target->service->form);
    jsonw_text(&writer, "check_type", check_type_name(target->service->check.type));
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- Machines

static size_t count_services(const struct registry *registry, const struct machine *machine)
{
    size_t count = 0;
    for (size_t i = 0; i < registry->service_count; i++) {
        count += registry->services[i].machine == machine;
    }
    return count;
}

static void write_machine_members(
    struct json_writer *writer, const struct health *health, const struct machine *machine)
{
    const struct device *device = devices_find(&health->devices, slice_str(machine->name));
    jsonw_text(writer, "name", machine->name);
    put_text(writer, "ip", machine->address);
    put_text(writer, "ssh_user", machine->ssh_user);
    put_words(writer, "roles", machine->roles, machine->role_count);
    put_text(writer, "role", machine->role_count == 0 ? NULL : machine->roles[0]);
    jsonw_u64(writer, "services_count", count_services(health->monitor.registry, machine));
    jsonw_text(writer, "status",
        machine->maintenance || machine->disabled || device == NULL
            ? machine->status
            : device_presence_name(device->status));
}

void api_machines(struct api_request *request)
{
    const struct health *health = request->health;
    const struct registry *registry = health->monitor.registry;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "machines");
    for (size_t i = 0; i < registry->machine_count; i++) {
        if (registry->machines[i].declared) {
            jsonw_object_begin(&writer, NULL);
            write_machine_members(&writer, health, &registry->machines[i]);
            jsonw_object_end(&writer);
        }
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

static const struct machine *find_machine(const struct registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->machine_count; i++) {
        if (strcmp(registry->machines[i].name, name) == 0) {
            return &registry->machines[i];
        }
    }
    return NULL;
}

void api_machine_entry(struct api_request *request)
{
    const struct health *health = request->health;
    const struct registry *registry = health->monitor.registry;
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    const struct machine *machine = find_machine(registry, request->path.text[0]);
    if (machine == NULL) {
        api_answer_error(request, 404, "Machine not found");
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    write_machine_members(&writer, health, machine);
    jsonw_array_begin(&writer, "services");
    for (size_t i = 0; i < registry->service_count; i++) {
        if (registry->services[i].machine == machine) {
            jsonw_object_begin(&writer, NULL);
            write_service_members(&writer, &registry->services[i]);
            jsonw_object_end(&writer);
        }
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

// ---- The table of `portoser status`, and the setup

void api_status(struct api_request *request)
{
    static const struct view_filter all = {0};
    struct buf table = BUF_INIT(API_DOCUMENT_MAX / 2);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    struct view view;
    if (!api_open_view(request, &all, &view)) {
        return;
    }
    view_write_status_table(&view, &table);
    view_fini(&view);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", !table.failed);
    jsonw_string(&writer, "output", buf_slice(&table));
    jsonw_object_end(&writer);
    buf_reset(&table);
    api_answer_json(request, 200, &document);
}

void api_config(struct api_request *request)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "auth_enabled", request->health->options.tokens_path != NULL);
    jsonw_bool(&writer, "vault_enabled", false);
    jsonw_null(&writer, "keycloak_url");
    jsonw_null(&writer, "keycloak_realm");
    jsonw_null(&writer, "keycloak_client_id");
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}
