// SPDX-License-Identifier: Apache-2.0
// How often each service went down on each day (spec section 4.3). The document has a cell for
// every day and service, nearly all of which are empty: an empty one is two pieces of text that
// were printed before, and the events are walked through once.
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "health/api/api_internal.h"
#include "sys/clock.h"

#define MS_PER_DAY UINT64_C(86400000)
#define DAYS_MAX 366
#define CELLS_MAX 400000 // 34 MB; a thousand services over a year
#define HEATMAP_MAX (48 * 1024 * 1024)
#define NAME_MAX_BYTES 65536 // of a service, escaped
#define DATE_LEN 10

struct heat {
    unsigned medium; // transitions into degraded
    unsigned high;   // into unhealthy
};

struct row {
    struct map_node node;
    const struct service *service;
    struct heat *cells; // in heatmap.cells
};

struct heatmap {
    uint64_t first_day;
    size_t days;
    size_t count;
    struct row *rows;   // owned
    struct heat *cells; // owned
    struct map by_name;
    char (*dates)[TIME_ISO_SIZE]; // owned
    unsigned most;
};

static void free_heatmap(struct heatmap *map)
{
    map_fini(&map->by_name);
    mem_free(map->rows);
    mem_free(map->cells);
    mem_free(map->dates);
}

static bool make_heatmap(struct heatmap *map, const struct health *health, const char *only)
{
    const struct registry *registry = health->monitor.registry;
    map_init(&map->by_name, &health->worker->seed);
    map->rows = mem_zalloc((registry->service_count + 1) * sizeof *map->rows);
    map->cells = mem_zalloc((registry->service_count * map->days + 1) * sizeof *map->cells);
    map->dates = mem_zalloc(map->days * sizeof *map->dates);
    if (map->rows == NULL || map->cells == NULL || map->dates == NULL) {
        return false;
    }
    for (size_t d = 0; d < map->days; d++) {
        time_to_iso((map->first_day + d) * MS_PER_DAY, map->dates[d]);
        map->dates[d][DATE_LEN] = '\0';
    }
    for (size_t s = 0; s < registry->service_count; s++) {
        const struct service *service = &registry->services[s];
        struct row *row = &map->rows[map->count];
        if (only[0] != '\0' && strcmp(only, service->name) != 0) {
            continue;
        }
        row->service = service;
        row->cells = &map->cells[map->count++ * map->days];
        if (map_insert(&map->by_name, &row->node, slice_str(service->name)) != WEIR_OK) {
            return false;
        }
    }
    return true;
}

static void count_events(struct heatmap *map, const struct health *health)
{
    const struct health_event *event;
    for (size_t i = 0; (event = event_ring_newest(&health->events, i)) != NULL; i++) {
        uint64_t day = event->wall_ms / MS_PER_DAY;
        if (day < map->first_day) {
            return;
        }
        // One of a day to come was written before the clock was set back.
        if (event->type != EVENT_STATUS_CHANGE || day >= map->first_day + map->days) {
            continue;
        }
        struct map_node *node = map_find(&map->by_name, event->service);
        if (node != NULL) {
            struct heat *cell = &container_of(node, struct row, node)->cells[day - map->first_day];
            cell->medium += event->status == HEALTH_DEGRADED;
            cell->high += event->status == HEALTH_UNHEALTHY;
            unsigned sum = cell->medium + cell->high;
            map->most = sum > map->most ? sum : map->most;
        }
    }
}

// ---- Printing

static void put_cell(struct buf *out, const struct heat *cell, struct slice name)
{
    bool both = cell->medium > 0 && cell->high > 0;
    buf_append_slice(out, name);
    if (cell->medium + cell->high == 0) {
        buf_append_slice(out, SLICE("0,\"severity_breakdown\":{}}"));
        return;
    }
    buf_printf(out, "%u,\"severity_breakdown\":{", cell->medium + cell->high);
    if (cell->medium > 0) {
        buf_printf(out, "\"medium\":%u%s", cell->medium, both ? "," : "");
    }
    if (cell->high > 0) {
        buf_printf(out, "\"high\":%u", cell->high);
    }
    buf_append_slice(out, SLICE("}}"));
}

// "service":"…","problem_count": of every cell of a service, once.
static void print_name(struct buf *name, const struct service *service)
{
    struct json_writer writer;
    buf_clear(name);
    buf_append_slice(name, SLICE("\",\"service\":"));
    json_writer_init(&writer, name);
    jsonw_text(&writer, NULL, service->name);
    buf_append_slice(name, SLICE(",\"problem_count\":"));
}

static void put_cells(struct buf *out, const struct heatmap *map)
{
    struct buf name = BUF_INIT(NAME_MAX_BYTES);
    for (size_t s = 0; s < map->count; s++) {
        print_name(&name, map->rows[s].service);
        out->failed |= name.failed;
        for (size_t d = 0; d < map->days && !out->failed; d++) {
            buf_append_slice(out, s + d == 0 ? SLICE("{\"date\":\"") : SLICE(",{\"date\":\""));
            buf_append(out, map->dates[d], DATE_LEN);
            put_cell(out, &map->rows[s].cells[d], buf_slice(&name));
        }
    }
    buf_reset(&name);
}

static void print_heatmap(struct buf *out, const struct heatmap *map)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "dates");
    for (size_t d = 0; d < map->days; d++) {
        jsonw_text(&writer, NULL, map->dates[d]);
    }
    jsonw_array_end(&writer);
    jsonw_array_begin(&writer, "services");
    for (size_t s = 0; s < map->count; s++) {
        jsonw_text(&writer, NULL, map->rows[s].service->name);
    }
    jsonw_array_end(&writer);
    jsonw_array_begin(&writer, "data_points");
    put_cells(out, map);
    jsonw_array_end(&writer);
    jsonw_u64(&writer, "max_problems_per_day", map->most);
    jsonw_object_end(&writer);
}

// The number of days asked for, the first of which is today's; 0 after a refusal.
static size_t read_days(struct api_request *request, bool one_service)
{
    size_t services = one_service ? 1 : request->health->monitor.registry->service_count;
    char message[96];
    int64_t asked;
    if (!api_number(request, "days", 30, &asked)) {
        return 0;
    }
    size_t days = (size_t)(asked < 1 ? 1 : asked > DAYS_MAX ? DAYS_MAX : asked) + 1;
    if (services * days <= CELLS_MAX) {
        return days;
    }
    snprintf(message, sizeof message, "Input should be at most %zu for %zu services",
        CELLS_MAX / services > 1 ? CELLS_MAX / services - 1 : 1, services);
    api_answer_parameter(request, "days", message);
    return 0;
}

void api_heatmap(struct api_request *request)
{
    const struct health *health = request->health;
    struct buf document = BUF_INIT(HEATMAP_MAX);
    struct heatmap map = {0};
    char only[API_PART_SIZE];
    api_text(request, "service", only, sizeof only);
    map.days = read_days(request, only[0] != '\0');
    if (map.days == 0) {
        return;
    }
    map.first_day = sys_wall_ms() / MS_PER_DAY + 1 - map.days;
    if (!make_heatmap(&map, health, only)) {
        free_heatmap(&map);
        api_answer_error(request, 500, "Internal server error");
        return;
    }
    count_events(&map, health);
    print_heatmap(&document, &map);
    free_heatmap(&map);
    api_answer_json(request, 200, &document);
}
