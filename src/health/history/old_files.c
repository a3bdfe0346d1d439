// SPDX-License-Identifier: Apache-2.0
#include "health/history/old_files.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "health/history/uptime.h"
#include "sys/file.h"

#define ARENA_MAX (64 * 1024 * 1024)
#define FILE_MAX (32 * 1024 * 1024)
#define PATH_SIZE 4096
#define DETAILS_MAX 512
#define NAME_BYTES_MAX 512

const char *old_severity_name(enum old_severity severity)
{
    static const char *const names[OLD_SEVERITY_COUNT] = {"info", "warning", "error", "critical"};
    return names[severity];
}

// ---- Events

static bool make_room(struct old_files *files)
{
    if (files->event_count < files->event_size) {
        return true;
    }
    size_t size = files->event_size == 0 ? 256 : files->event_size * 2;
    struct health_event *larger =
        size > 2 * OLD_EVENTS_MAX ? NULL : mem_realloc(files->events, size * sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    files->events = larger;
    files->event_size = size;
    return true;
}

static struct slice keep(struct old_files *files, struct slice text, size_t max)
{
    text.len = text.len > max ? max : text.len;
    return slice_str(arena_copy(&files->arena, text));
}

struct old_line {
    struct slice time;
    struct slice word;
    struct slice service;
    struct slice machine;
    struct slice details;
};

static void take(struct old_files *files, const struct old_line *line)
{
    char word[32];
    enum event_type type;
    uint64_t wall_ms;
    bool good = slice_to_text(line->word, word, sizeof word) && uptime_type_of_word(word, &type) &&
                line->service.len > 0 && line->machine.len > 0 &&
                time_from_iso(line->time, &wall_ms) == WEIR_OK;
    files->lines++;
    if (!good) {
        files->bad++;
        return;
    }
    if (files->event_count < OLD_EVENTS_MAX && make_room(files)) {
        files->events[files->event_count++] = (struct health_event){
            .wall_ms = wall_ms,
            .type = type,
            .previous = EVENT_NO_STATUS,
            .status = EVENT_NO_STATUS,
            .service = keep(files, line->service, NAME_BYTES_MAX),
            .machine = keep(files, line->machine, NAME_BYTES_MAX),
            .message = keep(files, line->details, DETAILS_MAX),
        };
    }
}

static struct slice member(const json_t *event, const char *name)
{
    return slice_str(json_string_value(json_object_get(event, name)));
}

void old_files_take_json(struct old_files *files, struct slice line)
{
    json_t *event = json_loadb(line.at, line.len, 0, NULL);
    take(files, &(struct old_line){
                    .time = member(event, "timestamp"),
                    .word = member(event, "event_type"),
                    .service = member(event, "service"),
                    .machine = member(event, "machine"),
                    .details = member(event, "details"),
                });
    json_decref(event);
}

void old_files_take_log(struct old_files *files, struct slice line)
{
    struct old_line parts = {.details = SLICE_EMPTY};
    struct slice rest = line;
    bool whole = slice_split(&rest, '|', &parts.time) && slice_split(&rest, '|', &parts.word) &&
                 slice_split(&rest, '|', &parts.service) && slice_split(&rest, '|', &parts.machine);
    // What is behind the machine may hold the separator itself.
    parts.details = whole && rest.at != NULL ? rest : SLICE_EMPTY;
    parts.word = whole ? slice_trim(parts.word) : SLICE_EMPTY;
    take(files, &parts);
}

// ---- Problems

static struct old_problem *find_problem(struct old_files *files, struct slice type)
{
    for (size_t i = 0; i < files->problem_count; i++) {
        if (slice_eq(slice_str(files->problems[i].type), type)) {
            return &files->problems[i];
        }
    }
    char *copy = files->problem_count < OLD_PROBLEMS_MAX && type.len <= NAME_BYTES_MAX
                     ? arena_copy(&files->arena, type)
                     : NULL;
    if (copy == NULL) {
        return NULL;
    }
    struct old_problem *fresh = &files->problems[files->problem_count++];
    *fresh = (struct old_problem){.type = copy};
    return fresh;
}

static void add_service(struct old_files *files, struct old_problem *problem, struct slice service)
{
    for (size_t i = 0; i < problem->service_count; i++) {
        if (slice_eq(slice_str(problem->services[i]), service)) {
            return;
        }
    }
    char *copy = problem->service_count < OLD_SERVICES_MAX && service.len <= NAME_BYTES_MAX
                     ? arena_copy(&files->arena, service)
                     : NULL;
    if (copy != NULL) {
        problem->services[problem->service_count++] = copy;
    }
}

static bool read_severity(struct slice text, enum old_severity *ret_severity)
{
    for (unsigned i = 0; i < OLD_SEVERITY_COUNT; i++) {
        if (slice_eq_nocase(text, slice_str(old_severity_name(i)))) {
            *ret_severity = i;
            return true;
        }
    }
    return false;
}

void old_files_take_problem(struct old_files *files, struct slice line)
{
    struct slice rest = line;
    struct slice time;
    struct slice type;
    struct slice service;
    struct slice severity_text;
    enum old_severity severity;
    uint64_t wall_ms;
    bool good = slice_split(&rest, '|', &time) && slice_split(&rest, '|', &type) &&
                slice_split(&rest, '|', &service) && slice_split(&rest, '|', &severity_text) &&
                type.len > 0 && read_severity(slice_trim(severity_text), &severity) &&
                time_from_iso(slice_trim(time), &wall_ms) == WEIR_OK;
    struct old_problem *problem = good ? find_problem(files, type) : NULL;
    files->lines++;
    files->bad += !good;
    if (problem != NULL) {
        problem->count++;
        problem->last_wall_ms = wall_ms > problem->last_wall_ms ? wall_ms : problem->last_wall_ms;
        problem->severity = severity > problem->severity ? severity : problem->severity;
        add_service(files, problem, service);
    }
}

// ---- Files

typedef void take_fn(struct old_files *files, struct slice line);

static void read_lines(struct old_files *files, const char *path, take_fn *take_line)
{
    struct buf text = BUF_INIT(FILE_MAX);
    if (sys_file_read_plain(path, FILE_MAX, &text) == WEIR_OK) {
        struct slice rest = buf_slice(&text);
        struct slice line;
        while (slice_split(&rest, '\n', &line)) {
            line = slice_trim(line);
            if (line.len > 0) {
                take_line(files, line);
            }
        }
    }
    buf_reset(&text);
}

struct reading {
    struct old_files *files;
    const char *suffix;
    take_fn *take_line;
};

static void on_file(void *arg, const char *path)
{
    const struct reading *reading = arg;
    if (slice_ends_with(slice_str(path), slice_str(reading->suffix))) {
        read_lines(reading->files, path, reading->take_line);
    }
}

static int compare_times(const void *a, const void *b)
{
    const struct health_event *first = a;
    const struct health_event *second = b;
    return first->wall_ms < second->wall_ms ? -1 : first->wall_ms > second->wall_ms;
}

void old_files_read(struct old_files *files, const char *directory)
{
    struct reading events = {files, "_events.jsonl", old_files_take_json};
    struct reading logs = {files, ".log", old_files_take_log};
    char path[PATH_SIZE];
    arena_init(&files->arena, ARENA_MAX);
    snprintf(path, sizeof path, "%s/uptime_events", directory);
    sys_dir_walk(path, on_file, &events);
    snprintf(path, sizeof path, "%s/metrics/uptime", directory);
    sys_dir_walk(path, on_file, &logs);
    snprintf(path, sizeof path, "%s/knowledge/problem_frequency.txt", directory);
    read_lines(files, path, old_files_take_problem);
    if (files->event_count > 0) {
        qsort(files->events, files->event_count, sizeof *files->events, compare_times);
    }
}

void old_files_drop_events(struct old_files *files)
{
    mem_free(files->events);
    files->events = NULL;
    files->event_count = files->event_size = 0;
}

void old_files_fini(struct old_files *files)
{
    old_files_drop_events(files);
    arena_reset(&files->arena);
    files->problem_count = 0;
}
