// SPDX-License-Identifier: Apache-2.0
// The routes by which dashboards move services (spec section 5.2). weir moves nothing: a plan is
// answered, and so is a dry run; what would change something is refused with 501, and says how a
// deploy script tells what it does.
#include <jansson.h>
#include <stdio.h>

#include "health/api_internal.h"

#define MOVES_MAX 1000
#define NOT_HERE                                                                                   \
    "weir does not deploy. Deploy by your own script, and tell it with POST /api/events or weir "  \
    "health event; a dry run (dry_run: true) is answered"

static const struct machine *find_machine(const struct registry *registry, const char *name)
{
    for (size_t i = 0; name != NULL && i < registry->machine_count; i++) {
        if (registry->machines[i].declared && strcmp(registry->machines[i].name, name) == 0) {
            return &registry->machines[i];
        }
    }
    return NULL;
}

// False after a refusal: a move of a service or to a machine that is not there.
static bool check_move(struct api_request *request, const char *service, const char *machine)
{
    struct monitor *monitor = &request->health->monitor;
    char text[API_PART_SIZE];
    if (service == NULL || machine == NULL) {
        api_answer_error(request, 422, "A move has service_name, from_machine and to_machine");
        return false;
    }
    bool known = monitor_find(monitor, slice_str(service), SLICE_EMPTY) != NULL;
    if (known && find_machine(monitor->registry, machine) != NULL) {
        return true;
    }
    snprintf(text, sizeof text, "Unknown %s: %.200s", known ? "machine" : "service",
        known ? machine : service);
    api_answer_error(request, 400, text);
    return false;
}

// {"moves":[…], "dry_run": …}. NULL after a refusal; the caller's otherwise.
static json_t *read_moves(struct api_request *request)
{
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const json_t *moves = json_object_get(root, "moves");
    const json_t *dry_run = json_object_get(root, "dry_run");
    bool ok = json_is_array(moves) && json_array_size(moves) <= MOVES_MAX &&
              (dry_run == NULL || json_is_boolean(dry_run));
    if (!ok) {
        api_answer_error(
            request, 422, "The body must be a JSON object with moves (a list) and dry_run");
    }
    for (size_t i = 0; ok && i < json_array_size(moves); i++) {
        const json_t *move = json_array_get(moves, i);
        ok = check_move(request, json_string_value(json_object_get(move, "service_name")),
            json_string_value(json_object_get(move, "to_machine")));
    }
    if (ok) {
        return root;
    }
    json_decref(root);
    return NULL;
}

static void write_move(struct json_writer *writer, const json_t *move)
{
    char command[2 * API_PART_SIZE];
    const char *service = json_string_value(json_object_get(move, "service_name"));
    const char *machine = json_string_value(json_object_get(move, "to_machine"));
    snprintf(command, sizeof command, "portoser deploy %s %s", machine, service);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "service", service);
    jsonw_text(writer, "target_machine", machine);
    jsonw_text(writer, "action", "deploy");
    jsonw_text(writer, "command", command);
    jsonw_object_end(writer);
}

static void write_plan(struct json_writer *writer, const json_t *moves)
{
    jsonw_array_begin(writer, "plan");
    for (size_t i = 0; i < json_array_size(moves); i++) {
        write_move(writer, json_array_get(moves, i));
    }
    jsonw_array_end(writer);
    jsonw_u64(writer, "total_operations", json_array_size(moves));
}

void api_deployment_plan(struct api_request *request)
{
    json_t *root = read_moves(request);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    if (root == NULL) {
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    write_plan(&writer, json_object_get(root, "moves"));
    jsonw_object_end(&writer);
    json_decref(root);
    api_answer_json(request, 200, &document);
}

void api_deployment_execute(struct api_request *request)
{
    json_t *root = read_moves(request);
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    if (root == NULL) {
        return;
    }
    if (json_is_false(json_object_get(root, "dry_run"))) {
        api_answer_error(request, 501, NOT_HERE);
    } else { // the reference's default
        json_writer_init(&writer, &document);
        jsonw_object_begin(&writer, NULL);
        jsonw_bool(&writer, "success", true);
        jsonw_bool(&writer, "dry_run", true);
        jsonw_array_begin(&writer, "results");
        jsonw_array_end(&writer);
        write_plan(&writer, json_object_get(root, "moves"));
        jsonw_object_end(&writer);
        api_answer_json(request, 200, &document);
    }
    json_decref(root);
}

void api_deployment_intelligent(struct api_request *request)
{
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    if (!json_is_object(root)) {
        api_answer_error(
            request, 422, "The body must be a JSON object with service, machine and dry_run");
    } else if (check_move(request, json_string_value(json_object_get(root, "service")),
                   json_string_value(json_object_get(root, "machine")))) {
        api_answer_error(request, 501,
            "weir neither deploys nor heals. Deploy by your own script, and tell it with POST "
            "/api/events or weir health event");
    }
    json_decref(root);
}
