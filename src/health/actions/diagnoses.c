// SPDX-License-Identifier: Apache-2.0
//   POST ──► running ──every check ended, or the deadline──► answered, kept, told
//               │
//               └── its connection goes: it runs on, for whoever asks later
//
// 1. A diagnosis is in diagnoses->running until it is finished; it has a deadline.
// 2. A target in its steps is one of the monitor's: diagnoses_lost takes it out before it goes.
// 3. Its connection is NULL, or waits (http_wait_for).
#include "health/actions/diagnoses.h"

#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define DEADLINE_MAX_NS (60 * NS_PER_S)
#define GRACE_NS (5 * NS_PER_S) // above the longest timeout: waiting for a place, killing a program

struct diagnosis {
    struct list node;
    struct health *health;
    struct http_conn *conn; // NULL: gone
    struct api_ticket ticket;
    struct timer deadline;
    uint64_t begun_ns;
    uint64_t begun_wall_ms;
    struct diagnosis_step steps[DIAGNOSIS_TARGETS_MAX];
    size_t count;
    size_t left; // checks that have not ended
    char service[PATH_PART_SIZE];
    char machine[PATH_PART_SIZE];
};

// What is kept of a finished one.
struct finding {
    struct list node;
    struct buf whole;
    struct buf problems;
    char *service; // owned, as is the next one
    char *machine;
};

// ---- Findings

static void free_finding(struct diagnoses *diagnoses, struct finding *finding)
{
    list_remove(&finding->node);
    diagnoses->kept_count--;
    buf_reset(&finding->whole);
    buf_reset(&finding->problems);
    mem_free(finding->service);
    mem_free(finding->machine);
    mem_free(finding);
}

static struct finding *find_finding(
    const struct diagnoses *diagnoses, const char *service, const char *machine)
{
    list_for_each (node, &diagnoses->kept) {
        struct finding *finding = container_of(node, struct finding, node);
        if (strcmp(finding->service, service) == 0 && strcmp(finding->machine, machine) == 0) {
            return finding;
        }
    }
    return NULL;
}

// Takes the documents over. Without memory nothing is kept.
static void keep(struct diagnoses *diagnoses, const struct diagnosis *of, struct buf *whole,
    struct buf *problems)
{
    struct finding *old = find_finding(diagnoses, of->service, of->machine);
    if (old != NULL) {
        free_finding(diagnoses, old);
    } else if (diagnoses->kept_count >= DIAGNOSES_KEPT_MAX) {
        free_finding(diagnoses, container_of(diagnoses->kept.prev, struct finding, node));
    }
    struct finding *finding = mem_zalloc(sizeof *finding);
    if (finding == NULL || whole->failed || problems->failed) {
        mem_free(finding);
        buf_reset(whole);
        buf_reset(problems);
        return;
    }
    list_init(&finding->node);
    list_push_front(&diagnoses->kept, &finding->node);
    diagnoses->kept_count++;
    finding->whole = *whole;
    finding->problems = *problems;
    finding->service = mem_copy(of->service, strlen(of->service));
    finding->machine = mem_copy(of->machine, strlen(of->machine));
    if (finding->service == NULL || finding->machine == NULL) {
        free_finding(diagnoses, finding);
    }
}

// ---- Running

static void drop(struct diagnosis *diagnosis)
{
    struct diagnoses *diagnoses = &diagnosis->health->diagnoses;
    timer_cancel(&diagnosis->deadline);
    list_remove(&diagnosis->node);
    diagnoses->running_count--;
    mem_free(diagnosis);
}

static void tell(struct diagnosis *diagnosis, struct slice whole, size_t problems)
{
    char text[64];
    snprintf(text, sizeof text, "diagnosis: %zu problem%s", problems, problems == 1 ? "" : "s");
    health_emit(diagnosis->health, &(struct health_event){
                                       .wall_ms = sys_wall_ms(),
                                       .type = EVENT_DIAGNOSTIC_RUN,
                                       .previous = EVENT_NO_STATUS,
                                       .status = EVENT_NO_STATUS,
                                       .service = slice_str(diagnosis->service),
                                       .machine = slice_str(diagnosis->machine),
                                       .message = slice_str(text),
                                   });
    sockets_tell_diagnosis(
        &diagnosis->health->sockets, diagnosis->service, diagnosis->machine, whole);
}

// Answers, keeps, tells; the diagnosis is gone afterwards.
static void finish(struct diagnosis *diagnosis)
{
    struct buf whole = BUF_INIT(DIAGNOSIS_TEXT_MAX);
    struct buf problems = BUF_INIT(DIAGNOSIS_TEXT_MAX);
    uint64_t duration_ns = sys_now_ns() - diagnosis->begun_ns;
    size_t count = diagnosis_write(
        &(struct diagnosis_report){
            .health = diagnosis->health,
            .service = diagnosis->service,
            .machine = diagnosis->machine,
            .begun_wall_ms = diagnosis->begun_wall_ms,
            .duration_s = (double)(duration_ns / NS_PER_MS) / 1000,
            .steps = diagnosis->steps,
            .count = diagnosis->count,
        },
        &whole, &problems);
    if (diagnosis->conn != NULL) {
        struct buf copy = BUF_INIT(DIAGNOSIS_TEXT_MAX);
        buf_append_slice(&copy, buf_slice(&whole));
        copy.failed = copy.failed || whole.failed;
        api_answer_later(diagnosis->conn, &diagnosis->ticket, 200, &copy);
        diagnosis->conn = NULL;
    }
    if (!whole.failed) {
        tell(diagnosis, buf_slice(&whole), count);
    }
    keep(&diagnosis->health->diagnoses, diagnosis, &whole, &problems);
    drop(diagnosis);
}

static void on_deadline(struct timer *timer)
{
    finish(container_of(timer, struct diagnosis, deadline));
}

static void on_conn_gone(void *arg)
{
    struct diagnosis *diagnosis = arg;
    diagnosis->conn = NULL;
}

static void look_for(struct health *health, const struct target *target, bool gone)
{
    list_for_each_safe (node, &health->diagnoses.running) {
        struct diagnosis *diagnosis = container_of(node, struct diagnosis, node);
        for (size_t i = 0; i < diagnosis->count; i++) {
            struct diagnosis_step *step = &diagnosis->steps[i];
            if (step->target != target) {
                continue;
            }
            diagnosis->left -= step->awaited;
            step->awaited = false;
            step->heard = true;
            step->target = gone ? NULL : target;
        }
        if (diagnosis->left == 0 || (gone && diagnosis->steps[0].target == NULL)) {
            finish(diagnosis);
        }
    }
}

void diagnoses_heard(struct health *health, const struct target *target)
{
    look_for(health, target, false);
}

void diagnoses_lost(struct health *health, const struct target *target)
{
    look_for(health, target, true);
}

// ---- Starting

static bool has(struct target *const *targets, size_t count, const struct target *target)
{
    for (size_t i = 0; i < count; i++) {
        if (targets[i] == target) {
            return true;
        }
    }
    return false;
}

size_t diagnosis_closure(struct monitor *monitor, struct target *service,
    struct target *ret_targets[DIAGNOSIS_TARGETS_MAX])
{
    size_t count = 1;
    ret_targets[0] = service;
    for (size_t i = 0; i < count; i++) {
        const struct service *of = ret_targets[i]->service;
        for (size_t n = 0; n < of->dependency_count && count < DIAGNOSIS_TARGETS_MAX; n++) {
            struct target *needed =
                monitor_find(monitor, slice_str(of->dependencies[n]), SLICE_EMPTY);
            if (needed != NULL && !has(ret_targets, count, needed)) {
                ret_targets[count++] = needed;
            }
        }
    }
    return count;
}

static void begin(struct diagnosis *diagnosis, struct target *service)
{
    struct target *targets[DIAGNOSIS_TARGETS_MAX];
    uint64_t longest_ns = 0;
    diagnosis->count = diagnosis_closure(&diagnosis->health->monitor, service, targets);
    for (size_t i = 0; i < diagnosis->count; i++) {
        uint64_t timeout_ns = targets[i]->service->check.timeout_ns;
        diagnosis->steps[i].target = targets[i];
        diagnosis->steps[i].awaited = service_monitored(targets[i]->service);
        diagnosis->left += diagnosis->steps[i].awaited;
        longest_ns = timeout_ns > longest_ns ? timeout_ns : longest_ns;
        // One that is under way already does as well.
        (void)health_check_now(diagnosis->health, targets[i]);
    }
    uint64_t deadline_ns = longest_ns + GRACE_NS;
    deadline_ns = deadline_ns > DEADLINE_MAX_NS ? DEADLINE_MAX_NS : deadline_ns;
    worker_arm_in(diagnosis->health->worker, &diagnosis->deadline, deadline_ns);
    if (diagnosis->left == 0) {
        finish(diagnosis);
    } else {
        http_wait_for(diagnosis->conn, deadline_ns + GRACE_NS, on_conn_gone, diagnosis);
    }
}

static void start(struct api_request *request, struct target *service)
{
    struct health *health = request->health;
    struct diagnosis *diagnosis = mem_zalloc(sizeof *diagnosis);
    if (diagnosis == NULL || health->diagnoses.running_count >= DIAGNOSES_RUNNING_MAX) {
        mem_free(diagnosis);
        api_answer_error(request, 429, "Too many diagnoses run at once");
        return;
    }
    diagnosis->health = health;
    diagnosis->conn = request->http->conn;
    diagnosis->ticket = request->ticket;
    diagnosis->begun_ns = sys_now_ns();
    diagnosis->begun_wall_ms = sys_wall_ms();
    snprintf(diagnosis->service, sizeof diagnosis->service, "%s", service->service->name);
    snprintf(diagnosis->machine, sizeof diagnosis->machine, "%s", service->service->machine->name);
    timer_init(&diagnosis->deadline, on_deadline);
    list_init(&diagnosis->node);
    list_push_back(&health->diagnoses.running, &diagnosis->node);
    health->diagnoses.running_count++;
    begin(diagnosis, service);
}

void api_diagnostics_run(struct api_request *request)
{
    struct slice body = request->http->body;
    json_t *root = json_loadb(body.at, body.len, 0, NULL);
    const char *service = json_string_value(json_object_get(root, "service"));
    const char *machine = json_string_value(json_object_get(root, "machine"));
    char message[PATH_PART_SIZE];
    struct target *target = service == NULL ? NULL
                                            : monitor_find(&request->health->monitor,
                                                  slice_str(service), slice_str(machine));
    if (service == NULL) {
        api_answer_error(request, 422, "The body must be a JSON object with service and machine");
    } else if (target == NULL) {
        snprintf(message, sizeof message, "Service '%.200s' not found%s", service,
            machine == NULL ? "" : " on this machine");
        api_answer_error(request, 404, message);
    } else {
        start(request, target);
    }
    json_decref(root);
}

// ---- Asking later

// NULL after a 404.
static const struct finding *known(struct api_request *request)
{
    const struct finding *finding =
        find_finding(&request->health->diagnoses, request->path.text[0], request->path.text[1]);
    if (finding == NULL) {
        api_answer_error(
            request, 404, "No diagnosis was made; POST /api/diagnostics/run makes one");
    }
    return finding;
}

void api_diagnostics_result(struct api_request *request)
{
    const struct finding *finding = known(request);
    if (finding != NULL) {
        api_answer_text(request, "application/json", NULL, buf_slice(&finding->whole));
    }
}

void api_diagnostics_problems(struct api_request *request)
{
    const struct finding *finding = known(request);
    if (finding != NULL) {
        api_answer_text(request, "application/json", NULL, buf_slice(&finding->problems));
    }
}

// What is wrong is told; what to do about it is not weir's to say.
void api_diagnostics_solutions(struct api_request *request)
{
    if (known(request) != NULL) {
        api_answer_text(request, "application/json", NULL, SLICE("[]"));
    }
}

// ---- Life

void diagnoses_init(struct diagnoses *diagnoses)
{
    list_init(&diagnoses->running);
    list_init(&diagnoses->kept);
}

void diagnoses_stop(struct diagnoses *diagnoses)
{
    if (diagnoses->running.next == NULL) {
        return;
    }
    list_for_each_safe (node, &diagnoses->running) {
        drop(container_of(node, struct diagnosis, node));
    }
    list_for_each_safe (node, &diagnoses->kept) {
        free_finding(diagnoses, container_of(node, struct finding, node));
    }
}
