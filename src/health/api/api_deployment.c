// SPDX-License-Identifier: Apache-2.0
// The routes by which dashboards move services (spec section 5.2). weir itself moves nothing: a
// plan is answered, and so is a dry run; anything else runs the operator's deploy command, and is
// refused with 501 when there is none.
#include <jansson.h>
#include <stdio.h>

#include "base/time.h"
#include "health/actions/deployment.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define MOVES_MAX 1000
#define NOT_HERE                                                                                   \
    "weir does not deploy by itself. Name your script with weir health serve --deploy-command, "   \
    "or "                                                                                          \
    "run it yourself and tell it with POST /api/events or weir health event"

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

static void write_dry_run(struct api_request *request, const json_t *moves)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", true);
    jsonw_bool(&writer, "dry_run", true);
    jsonw_array_begin(&writer, "results");
    jsonw_array_end(&writer);
    write_plan(&writer, moves);
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

static void execute(struct api_request *request, const json_t *moves)
{
    struct deployment_move list[DEPLOYMENT_MOVES_MAX];
    size_t count = json_array_size(moves);
    if (request->health->options.deploy_command == NULL) {
        api_answer_error(request, 501, NOT_HERE);
        return;
    }
    if (count == 0 || count > DEPLOYMENT_MOVES_MAX) {
        api_answer_error(request, 422, "One to a hundred moves are executed at once");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *move = json_array_get(moves, i);
        list[i].service = json_string_value(json_object_get(move, "service_name"));
        list[i].machine = json_string_value(json_object_get(move, "to_machine"));
    }
    deployment_begin(request, list, count, false);
}

void api_deployment_execute(struct api_request *request)
{
    json_t *root = read_moves(request);
    if (root == NULL) {
        return;
    }
    if (json_is_false(json_object_get(root, "dry_run"))) {
        execute(request, json_object_get(root, "moves"));
    } else { // the reference's default
        write_dry_run(request, json_object_get(root, "moves"));
    }
    json_decref(root);
}

// A dry run of one move in the shape of a DeploymentResult.
static void answer_rehearsal(struct api_request *request, const struct deployment_move *move)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    char time[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), time);
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_null(&writer, "deployment_id");
    jsonw_text(&writer, "service", move->service);
    jsonw_text(&writer, "machine", move->machine);
    jsonw_text(&writer, "status", "completed");
    jsonw_text(&writer, "started_at", time);
    jsonw_text(&writer, "completed_at", time);
    jsonw_u64(&writer, "duration_seconds", 0);
    jsonw_raw(&writer, "phases", SLICE("[]"));
    jsonw_bool(&writer, "auto_heal_applied", false);
    jsonw_raw(&writer, "problems_detected", SLICE("[]"));
    jsonw_raw(&writer, "solutions_applied", SLICE("[]"));
    jsonw_bool(&writer, "dry_run", true);
    jsonw_bool(&writer, "success", true);
    jsonw_null(&writer, "error");
    jsonw_object_end(&writer);
    api_answer_json(request, 200, &document);
}

static void execute_one(
    struct api_request *request, const struct deployment_move *move, const json_t *dry_run)
{
    if (!json_is_false(dry_run)) {
        answer_rehearsal(request, move);
    } else if (request->health->options.deploy_command == NULL) {
        api_answer_error(request, 501, NOT_HERE);
    } else {
        deployment_begin(request, move, 1, true);
    }
}

void api_deployment_intelligent(struct api_request *request)
{
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const json_t *dry_run = json_object_get(root, "dry_run");
    struct deployment_move move = {
        .service = json_string_value(json_object_get(root, "service")),
        .machine = json_string_value(json_object_get(root, "machine")),
    };
    if (!json_is_object(root) || (dry_run != NULL && !json_is_boolean(dry_run))) {
        api_answer_error(
            request, 422, "The body must be a JSON object with service, machine and dry_run");
    } else if (check_move(request, move.service, move.machine)) {
        execute_one(request, &move, dry_run);
    }
    json_decref(root);
}
