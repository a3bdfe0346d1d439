// SPDX-License-Identifier: Apache-2.0
//   POST ──► deployment_started ──► move: deployment_progress, program, its lines ──┐
//                                    ▲                                              │ exit 0
//                                    └──────────────────────────────────────────────┤
//              deployment_completed or deployment_failed, answer ◄──────────────────┘ else, or last
//
// 1. health->deployment is the one that runs; it has a program, or is on its way to the next.
// 2. Its connection is NULL, or waits (http_wait_for). A deployment goes on without it.
// 3. So many lines a second are told as events may come from outside; of more, their number is.
#include "health/actions/deployment.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/actions/program.h"
#include "health/api/api_internal.h"
#include "obs/log.h"
#include "sys/clock.h"

#define GRACE_NS (5 * NS_PER_S) // above that, for a program that has to be killed
#define LINES_PER_SECOND 50
#define MESSAGE_MAX 65536

struct move {
    char service[PATH_PART_SIZE];
    char machine[PATH_PART_SIZE];
    char error[PROGRAM_PROBLEM_SIZE]; // "": it went well, or has not ended
};

struct deployment {
    struct health *health;
    struct http_conn *conn; // NULL: gone
    struct api_ticket ticket;
    struct program *program; // NULL: between two of them
    struct move *moves;      // owned
    size_t count;
    size_t at; // the move that runs; those before it are done
    bool intelligent;
    uint64_t begun_ns;
    uint64_t begun_wall_ms;
    uint64_t second_ns; // the begin of the second whose lines are counted
    unsigned lines;
    unsigned left_out; // lines that were not told
    char id[40];
};

static struct move *current(struct deployment *deployment)
{
    return &deployment->moves[deployment->at];
}

static bool went_well(const struct deployment *deployment)
{
    return deployment->at == deployment->count;
}

// ---- Telling

static void begin(
    struct deployment *deployment, struct json_writer *writer, struct buf *out, const char *type)
{
    char time[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), time);
    json_writer_init(writer, out);
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "type", type);
    jsonw_text(writer, "event", type);
    jsonw_text(writer, "deployment_id", deployment->id);
    jsonw_text(writer, "timestamp", time);
}

static void send(struct deployment *deployment, struct json_writer *writer, struct buf *out)
{
    jsonw_object_end(writer);
    if (!out->failed) {
        health_tell_deployment(deployment->health, slice_str(deployment->id), buf_slice(out));
    }
    buf_reset(out);
}

// Those that were begun.
static void write_results(
    const struct deployment *deployment, struct json_writer *writer, const char *key)
{
    jsonw_array_begin(writer, key);
    for (size_t i = 0; i < deployment->count && i <= deployment->at; i++) {
        const struct move *move = &deployment->moves[i];
        jsonw_object_begin(writer, NULL);
        jsonw_text(writer, "service", move->service);
        jsonw_text(writer, "target", move->machine);
        jsonw_bool(writer, "success", i < deployment->at);
        if (i < deployment->at) {
            jsonw_null(writer, "error");
        } else {
            jsonw_text(writer, "error", move->error);
        }
        jsonw_object_end(writer);
    }
    jsonw_array_end(writer);
}

static void tell_started(struct deployment *deployment)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    begin(deployment, &writer, &out, "deployment_started");
    jsonw_u64(&writer, "total_operations", deployment->count);
    send(deployment, &writer, &out);
}

static void tell_progress(struct deployment *deployment)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    begin(deployment, &writer, &out, "deployment_progress");
    jsonw_u64(&writer, "current_operation", deployment->at + 1);
    jsonw_u64(&writer, "total_operations", deployment->count);
    jsonw_text(&writer, "service", current(deployment)->service);
    jsonw_text(&writer, "target", current(deployment)->machine);
    send(deployment, &writer, &out);
}

static void tell_line(struct deployment *deployment, struct slice text)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    begin(deployment, &writer, &out, deployment->intelligent ? "output" : "deployment_log");
    jsonw_string(&writer, "message", text);
    jsonw_text(&writer, "service", current(deployment)->service);
    send(deployment, &writer, &out);
}

static void tell_left_out(struct deployment *deployment)
{
    char text[64];
    if (deployment->left_out > 0) {
        snprintf(text, sizeof text, "(%u lines left out)", deployment->left_out);
        deployment->left_out = 0;
        tell_line(deployment, slice_str(text));
    }
}

static void on_line(void *arg, struct slice text)
{
    struct deployment *deployment = arg;
    uint64_t now_ns = worker_now(deployment->health->worker);
    if (now_ns - deployment->second_ns >= NS_PER_S) {
        deployment->second_ns = now_ns;
        deployment->lines = 0;
        tell_left_out(deployment);
    }
    if (deployment->lines < LINES_PER_SECOND) {
        deployment->lines++;
        tell_line(deployment, text);
    } else {
        deployment->left_out++;
    }
}

// The failed move, as the reference tells it.
static void tell_move_failed(struct deployment *deployment)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    begin(deployment, &writer, &out, "deployment_failed");
    jsonw_text(&writer, "service", current(deployment)->service);
    jsonw_text(&writer, "error", current(deployment)->error);
    send(deployment, &writer, &out);
}

static void tell_over(struct deployment *deployment)
{
    struct buf out = BUF_INIT(MESSAGE_MAX);
    struct json_writer writer;
    bool well = went_well(deployment);
    if (deployment->intelligent) {
        begin(deployment, &writer, &out, "deployment_complete");
        jsonw_text(&writer, "status", well ? "completed" : "failed");
        jsonw_bool(&writer, "success", well);
    } else {
        begin(deployment, &writer, &out, well ? "deployment_completed" : "deployment_failed");
        write_results(deployment, &writer, "results");
    }
    send(deployment, &writer, &out);
}

// Into the timeline, and so into the log.
static void note(struct deployment *deployment, const struct move *move)
{
    char text[sizeof move->error + 64];
    bool well = move->error[0] == '\0';
    snprintf(text, sizeof text, "%s: %s%s%s", well ? "deployment_completed" : "deployment_failed",
        deployment->id, well ? "" : ": ", move->error);
    health_note(
        deployment->health, &(struct health_event){
                                .wall_ms = sys_wall_ms(),
                                .type = well ? EVENT_SERVICE_DEPLOYED : EVENT_DIAGNOSTIC_RUN,
                                .previous = EVENT_NO_STATUS,
                                .status = EVENT_NO_STATUS,
                                .service = slice_str(move->service),
                                .machine = slice_str(move->machine),
                                .message = slice_str(text),
                            });
}

// ---- The answer

static void write_intelligent(const struct deployment *deployment, struct json_writer *writer)
{
    const struct move *move = &deployment->moves[0];
    char begun[TIME_ISO_SIZE];
    char done[TIME_ISO_SIZE];
    bool well = went_well(deployment);
    double seconds = (double)((sys_now_ns() - deployment->begun_ns) / NS_PER_MS) / 1000;
    time_to_iso(deployment->begun_wall_ms, begun);
    time_to_iso(sys_wall_ms(), done);
    jsonw_text(writer, "service", move->service);
    jsonw_text(writer, "machine", move->machine);
    jsonw_text(writer, "status", well ? "completed" : "failed");
    jsonw_text(writer, "started_at", begun);
    jsonw_text(writer, "completed_at", done);
    jsonw_double(writer, "duration_seconds", seconds);
    jsonw_array_begin(writer, "phases");
    jsonw_object_begin(writer, NULL);
    jsonw_text(writer, "name", "deploy");
    jsonw_text(writer, "status", well ? "completed" : "failed");
    jsonw_double(writer, "duration_seconds", seconds);
    jsonw_object_end(writer);
    jsonw_array_end(writer);
    jsonw_bool(writer, "auto_heal_applied", false);
    jsonw_raw(writer, "problems_detected", SLICE("[]"));
    jsonw_raw(writer, "solutions_applied", SLICE("[]"));
    if (well) {
        jsonw_null(writer, "error");
    } else {
        jsonw_text(writer, "error", move->error);
    }
}

static void answer(struct deployment *deployment)
{
    struct buf document = BUF_INIT(API_DOCUMENT_MAX);
    struct json_writer writer;
    if (deployment->conn == NULL) {
        return;
    }
    json_writer_init(&writer, &document);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "success", went_well(deployment));
    jsonw_bool(&writer, "dry_run", false);
    jsonw_text(&writer, "deployment_id", deployment->id);
    if (deployment->intelligent) {
        write_intelligent(deployment, &writer);
    } else {
        write_results(deployment, &writer, "results");
    }
    jsonw_object_end(&writer);
    api_answer_later(deployment->conn, &deployment->ticket, 200, &document);
    deployment->conn = NULL;
}

// ---- Moving

static void drop(struct deployment *deployment)
{
    deployment->health->deployment = NULL;
    mem_free(deployment->moves);
    mem_free(deployment);
}

// All moves are done, or one failed.
static void finish(struct deployment *deployment)
{
    tell_over(deployment);
    answer(deployment);
    drop(deployment);
}

static void fail(struct deployment *deployment)
{
    if (!deployment->intelligent) {
        tell_move_failed(deployment);
    }
    note(deployment, current(deployment));
    finish(deployment);
}

static void on_ended(void *arg, const char *problem);

static void start_move(struct deployment *deployment)
{
    struct move *move = current(deployment);
    if (!deployment->intelligent) {
        tell_progress(deployment);
    }
    deployment->program = program_start(deployment->health->worker,
        &(struct program_options){
            .command = deployment->health->options.deploy_command,
            .args = (const char *const[]){move->machine, move->service, NULL},
            .timeout_ns = deployment->health->options.deploy_timeout_ns,
            .line = on_line,
            .ended = on_ended,
            .arg = deployment,
        },
        move->error);
    if (deployment->program == NULL) {
        fail(deployment);
    }
}

static void on_ended(void *arg, const char *problem)
{
    struct deployment *deployment = arg;
    deployment->program = NULL;
    tell_left_out(deployment);
    if (problem != NULL) {
        snprintf(current(deployment)->error, PROGRAM_PROBLEM_SIZE, "%s", problem);
        fail(deployment);
        return;
    }
    note(deployment, current(deployment));
    deployment->at++;
    if (went_well(deployment)) {
        finish(deployment);
    } else {
        start_move(deployment);
    }
}

// ---- The start and the end

static void on_conn_gone(void *arg)
{
    struct deployment *deployment = arg;
    deployment->conn = NULL;
}

static struct deployment *make(
    struct api_request *request, const struct deployment_move *moves, size_t count)
{
    struct deployment *deployment = mem_zalloc(sizeof *deployment);
    struct move *copies = mem_zalloc(count * sizeof *copies);
    if (deployment == NULL || copies == NULL) {
        mem_free(deployment);
        mem_free(copies);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(copies[i].service, sizeof copies[i].service, "%s", moves[i].service);
        snprintf(copies[i].machine, sizeof copies[i].machine, "%s", moves[i].machine);
    }
    *deployment = (struct deployment){
        .health = request->health,
        .conn = request->http->conn,
        .ticket = request->ticket,
        .moves = copies,
        .count = count,
        .begun_ns = sys_now_ns(),
        .begun_wall_ms = sys_wall_ms(),
    };
    snprintf(deployment->id, sizeof deployment->id, "deployment-%llu",
        (unsigned long long)deployment->begun_wall_ms);
    return deployment;
}

void deployment_begin(struct api_request *request, const struct deployment_move *moves,
    size_t count, bool intelligent)
{
    struct health *health = request->health;
    if (health->deployment != NULL) {
        api_answer_error(request, 409, "A deployment is under way; there is one at a time");
        return;
    }
    struct deployment *deployment = make(request, moves, count);
    if (deployment == NULL) {
        api_answer_error(request, 500, "Internal server error");
        return;
    }
    deployment->intelligent = intelligent;
    health->deployment = deployment;
    http_wait_for(deployment->conn, (health->options.deploy_timeout_ns + GRACE_NS) * count,
        on_conn_gone, deployment);
    if (!intelligent) {
        tell_started(deployment);
    }
    start_move(deployment);
}

void deployment_stop(struct health *health)
{
    struct deployment *deployment = health->deployment;
    if (deployment == NULL) {
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_HEALTH_DEPLOYMENT_CUT);
    log_text(&line, "deployment", deployment->id);
    log_text(&line, "service", current(deployment)->service);
    log_text(&line, "machine", current(deployment)->machine);
    log_end(&line);
    program_kill(deployment->program);
    drop(deployment);
}
