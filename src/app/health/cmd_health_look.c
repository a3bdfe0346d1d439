// SPDX-License-Identifier: Apache-2.0
// weir health machines | history | events | metrics | uptime | maintenance.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/health/cmd_health.h"
#include "app/health/health_feed.h"
#include "app/health/health_look.h"
#include "base/time.h"
#include "cli/loop.h"
#include "cli/print.h"
#include "sys/clock.h"

#define NAME_SIZE 512
#define LINES_MAX (1024 * 1024)
#define FOLLOW_NS (10 * NS_PER_S)
#define NEWS_NS (50 * NS_PER_MS) // what happens together is asked for once
#define PROBLEM_SIZE 512

// ---- machines

static const struct option_row common_options[] = {LOOK_OPTIONS, {NULL}};

static void fill_machines(struct table *table, const json_t *root)
{
    size_t i;
    json_t *machine;
    json_array_foreach(json_object_get(root, "machines"), i, machine)
    {
        const json_t *reachable = json_object_get(machine, "reachable");
        look_add_text(table, machine, "machine");
        look_add_text(table, machine, "status");
        look_add_number(table, machine, "services_count", 0, "");
        look_add_number(table, machine, "healthy_services", 0, "");
        look_add_number(table, machine, "cpu_usage", 1, " %");
        look_add_number(table, machine, "memory_usage", 1, " %");
        look_add_number(table, machine, "disk_usage", 1, " %");
        table_add_str(table, json_is_null(reachable) ? "" : json_is_true(reachable) ? "yes" : "no");
    }
}

static int run_machines(const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {
        "MACHINE", "STATUS", "SERVICES", "HEALTHY", "CPU", "MEMORY", "DISK", "REACHABLE"};
    struct look look;
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    if (look.count > 0) {
        return look_misunderstood(&look);
    }
    buf_append_str(&look.path, health_dashboard.path);
    json_t *root = look_get(&look);
    if (root != NULL && look.json) {
        json_t *machines = json_pack("{sO}", "machines", json_object_get(root, "machines"));
        json_decref(root);
        root = machines;
    }
    return look_finish(&look, root, fill_machines, titles, 8);
}

const struct command command_health_machines = {
    .name = "health machines",
    .summary = "Show the machines, their services and their resources",
    .usage = "",
    .options = common_options,
    .run = run_machines,
};

// ---- history

enum { OPTION_SINCE = LOOK_OWN };

static const struct option_row history_options[] = {
    LOOK_OPTIONS,
    [OPTION_SINCE] = {"--since", "SPAN", "how far back, 30 days at most: 6h, 7d; 24h"},
    {NULL},
};

static const char *range_of(uint64_t span_s)
{
    return span_s <= 3600        ? "1h"
           : span_s <= 21600     ? "6h"
           : span_s <= 86400     ? "24h"
           : span_s <= 7 * 86400 ? "7d"
                                 : "30d";
}

// Drops the buckets before that.
static void cut_buckets(json_t *root, uint64_t since_ms)
{
    json_t *buckets = json_object_get(root, "buckets");
    char since[TIME_ISO_SIZE];
    time_to_iso(since_ms, since);
    while (json_array_size(buckets) > 0 &&
           strcmp(look_text(json_array_get(buckets, 0), "t"), since) < 0) {
        json_array_remove(buckets, 0);
    }
}

static void fill_history(struct table *table, const json_t *root)
{
    size_t i;
    json_t *bucket;
    json_array_foreach(json_object_get(root, "buckets"), i, bucket)
    {
        look_add_text(table, bucket, "t");
        look_add_text(table, bucket, "state");
        look_add_number(table, bucket, "checks", 0, "");
        look_add_number(table, bucket, "failures", 0, "");
        look_add_number(table, bucket, "avg_ms", 1, " ms");
        look_add_number(table, bucket, "p95_ms", 1, " ms");
        look_add_number(table, bucket, "max_ms", 1, " ms");
    }
}

static int run_history(const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {
        "TIME", "STATE", "CHECKS", "FAILURES", "MEAN", "P95", "MAX"};
    struct look look;
    uint64_t span_s = 86400;
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    const char *since = look.values[OPTION_SINCE];
    if (look.count < 1 || look.count > 2) {
        return look_misunderstood(&look);
    }
    if (since != NULL && !look_read_span(&look, "--since", since, &span_s)) {
        return EXIT_USAGE;
    }
    buf_append_str(&look.path, "/api/health/services");
    look_put_part(&look, look.words[0]);
    buf_append_str(&look.path, "/history");
    look_put_query(&look, "range", range_of(span_s));
    look_put_query(&look, "machine", look.count > 1 ? look.words[1] : NULL);
    json_t *root = look_get(&look);
    // A bucket that reaches into the time is shown.
    uint64_t step_s = (uint64_t)json_integer_value(json_object_get(root, "step"));
    cut_buckets(root, sys_wall_ms() - (span_s + step_s) * 1000);
    return look_finish(&look, root, fill_history, titles, 7);
}

const struct command command_health_history = {
    .name = "health history",
    .summary = "Show what a service's checks gave, summed up over five minutes or an hour",
    .usage = "SERVICE [MACHINE]",
    .options = history_options,
    .run = run_history,
};

// ---- events

enum {
    OPTION_FOLLOW = LOOK_OWN,
    OPTION_EVENTS_SINCE,
    OPTION_SERVICE,
    OPTION_MACHINE,
    OPTION_TYPE,
    OPTION_LIMIT
};

static const struct option_row events_options[] = {
    LOOK_OPTIONS,
    [OPTION_FOLLOW] = {"--follow", NULL, "go on with what comes", .alias = "-f"},
    [OPTION_EVENTS_SINCE] = {"--since", "SPAN", "how far back: 30m, 6h; 24h"},
    [OPTION_SERVICE] = {"--service", "NAME", "only of this service"},
    [OPTION_MACHINE] = {"--machine", "NAME", "only of this machine"},
    [OPTION_TYPE] = {"--type", "TYPE", "only of this type: status_change, …"},
    [OPTION_LIMIT] = {"--limit", "N", "so many of the newest; 1000"},
    {NULL},
};

static void fill_events(struct table *table, const json_t *root)
{
    const json_t *events = json_object_get(root, "events");
    for (size_t i = json_array_size(events); i-- > 0;) { // the newest last
        const json_t *event = json_array_get(events, i);
        look_add_text(table, event, "timestamp");
        look_add_text(table, event, "event_type");
        look_add_text(table, event, "service");
        look_add_text(table, event, "machine");
        look_add_text(table, event, "new_status");
        look_add_text(table, event, "message");
    }
}

// Prints the events behind the one with that id, each on a line. False: nobody reads them.
static bool print_news(const struct look *look, const json_t *root, unsigned long long *last)
{
    const json_t *events = json_object_get(root, "events");
    bool ok = true;
    for (size_t i = json_array_size(events); ok && i-- > 0;) {
        const json_t *event = json_array_get(events, i);
        const char *id = look_text(event, "id");
        unsigned long long number = strlen(id) > 4 ? strtoull(id + 4, NULL, 10) : 0;
        if (number <= *last) {
            continue;
        }
        *last = number;
        if (look->json) {
            ok = print_json(event, false);
            continue;
        }
        struct table table;
        struct buf out = BUF_INIT(LINES_MAX);
        json_t *alone = json_pack("{s[O]}", "events", event);
        table_init(&table, NULL, 6);
        fill_events(&table, alone);
        ok = table_write(&table, &out) == WEIR_OK && print_buf(&out);
        table_fini(&table);
        buf_reset(&out);
        json_decref(alone);
    }
    return ok;
}

struct following {
    struct cli_loop loop;
    struct look *look;
    struct health_feed feed;
    struct timer due;       // the next question
    struct http_call *call; // NULL: none is under way
    bool hurried;           // it is due because of news
    unsigned long long last;
};

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct following *following = arg;
    struct look *look = following->look;
    char problem[PROBLEM_SIZE];
    following->call = NULL;
    if (result->outcome != HTTP_CALL_ANSWERED || result->status != 200) {
        health_fetch_describe(&look->server, result, problem, sizeof problem);
        cli_loop_end(&following->loop, look_complain(look, EXIT_UNAVAILABLE, problem));
        return;
    }
    json_t *root = json_loadb(result->body.at, result->body.len, 0, NULL);
    if (!print_news(look, root, &following->last)) {
        cli_loop_end(&following->loop, EXIT_OUTPUT);
    }
    json_decref(root);
}

static void on_news(void *arg)
{
    struct following *following = arg;
    if (!following->hurried) {
        following->hurried = true;
        worker_arm_in(following->loop.worker, &following->due, NEWS_NS);
    }
}

static void on_due(struct timer *timer)
{
    struct following *following = container_of(timer, struct following, due);
    struct look *look = following->look;
    following->hurried = false;
    if (following->call != NULL) {
        on_news(following); // the answer under way may be older than they are
        return;
    }
    worker_arm_in(following->loop.worker, timer, FOLLOW_NS);
    following->call = health_fetch_start(following->loop.worker, &look->server,
        &(struct health_question){.method = "GET", .path = buf_text(&look->path)}, on_answer,
        following);
}

static void start_following(struct cli_loop *loop)
{
    struct following *following = container_of(loop, struct following, loop);
    timer_init(&following->due, on_due);
    worker_arm_in(loop->worker, &following->due, FOLLOW_NS);
    enum weir_result result = health_feed_open(
        &following->feed, loop->worker, &following->look->server, on_news, following);
    if (result != WEIR_OK) {
        cli_loop_end(loop, look_complain(following->look, EXIT_FAILED, weir_result_text(result)));
    }
}

static void stop_following(struct cli_loop *loop)
{
    struct following *following = container_of(loop, struct following, loop);
    timer_cancel(&following->due);
    if (following->call != NULL) {
        http_call_cancel(following->call);
    }
    health_feed_close(&following->feed);
    health_feed_fini(&following->feed, loop->worker);
}

// The monitor's socket says when there is something to ask for; without it, a pause does.
static int follow(struct look *look)
{
    struct following following = {
        .loop = {.start = start_following, .stop = stop_following},
        .look = look,
    };
    json_t *root = look_get(look);
    if (root == NULL) {
        return look->exit_code;
    }
    bool ok = print_news(look, root, &following.last);
    json_decref(root);
    return ok ? cli_loop_run(&following.loop) : EXIT_OUTPUT;
}

static int run_events(const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {"TIME", "TYPE", "SERVICE", "MACHINE", "STATUS", "MESSAGE"};
    struct look look;
    uint64_t span_s = 86400;
    char hours[32];
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    const char *since = look.values[OPTION_EVENTS_SINCE];
    if (look.count > 0) {
        return look_misunderstood(&look);
    }
    if (since != NULL && !look_read_span(&look, "--since", since, &span_s)) {
        return EXIT_USAGE;
    }
    snprintf(hours, sizeof hours, "%llu", (unsigned long long)((span_s + 3599) / 3600));
    buf_append_str(&look.path, "/api/health/timeline");
    look_put_query(&look, "hours", hours);
    look_put_query(&look, "service", look.values[OPTION_SERVICE]);
    look_put_query(&look, "machine", look.values[OPTION_MACHINE]);
    look_put_query(&look, "type", look.values[OPTION_TYPE]);
    look_put_query(&look, "limit", look.values[OPTION_LIMIT]);
    if (look.values[OPTION_FOLLOW] != NULL) {
        int exit_code = follow(&look);
        buf_reset(&look.path);
        return exit_code;
    }
    return look_finish(&look, look_get(&look), fill_events, titles, 6);
}

const struct command command_health_events = {
    .name = "health events",
    .summary = "Show what happened, and go on with what happens",
    .usage = "",
    .options = events_options,
    .run = run_events,
};

// ---- metrics

static json_t *number_or_zero(const json_t *sample, const char *key)
{
    const json_t *value = json_object_get(sample, key);
    return json_is_number(value) ? json_real(json_number_value(value)) : json_integer(0);
}

// The object that scripts know (spec section 5.4).
static json_t *metrics_of(const json_t *sample)
{
    uint64_t wall_ms = 0;
    const char *time = look_text(sample, "timestamp");
    double used_gb = json_number_value(json_object_get(sample, "disk_used_gb"));
    double total_gb = json_number_value(json_object_get(sample, "disk_total_gb"));
    if (time_from_iso(slice_str(time), &wall_ms) != WEIR_OK) {
        wall_ms = 0;
    }
    return json_pack("{ss so so so s{soso} so so s{sososf} s{soso} ss sI ss}", "hostname",
        look_text(sample, "machine"), "cpu_percent", number_or_zero(sample, "cpu_percent"),
        "memory_used_mb", number_or_zero(sample, "memory_used_mb"), "memory_total_mb",
        number_or_zero(sample, "memory_total_mb"), "memory", "used_mb",
        number_or_zero(sample, "memory_used_mb"), "total_mb",
        number_or_zero(sample, "memory_total_mb"), "disk_used_gb",
        number_or_zero(sample, "disk_used_gb"), "disk_total_gb",
        number_or_zero(sample, "disk_total_gb"), "disk", "used_gb",
        number_or_zero(sample, "disk_used_gb"), "total_gb", number_or_zero(sample, "disk_total_gb"),
        "available_gb", total_gb - used_gb, "network", "received_bytes",
        number_or_zero(sample, "network_rx_bytes"), "transmitted_bytes",
        number_or_zero(sample, "network_tx_bytes"), "timestamp", time, "timestamp_epoch",
        (json_int_t)(wall_ms / 1000), "status", look_text(sample, "status"));
}

// The JSON of `metrics`, out of one sample or a list of them.
static json_t *as_scripts_know(json_t *root)
{
    json_t *list = json_is_array(root) ? json_array() : NULL;
    size_t i;
    json_t *sample;
    if (list == NULL) {
        json_t *one = metrics_of(root);
        json_decref(root);
        return one;
    }
    json_array_foreach(root, i, sample)
    {
        json_array_append_new(list, json_pack("{ssso}", "machine", look_text(sample, "machine"),
                                        "metrics", metrics_of(sample)));
    }
    json_decref(root);
    return json_pack("{so}", "machines", list);
}

static void fill_sample(struct table *table, const json_t *sample)
{
    look_add_text(table, sample, "machine");
    look_add_text(table, sample, "status");
    look_add_number(table, sample, "cpu_percent", 1, " %");
    look_add_number(table, sample, "memory_percent", 1, " %");
    look_add_number(table, sample, "disk_percent", 1, " %");
    look_add_number(table, sample, "load1", 2, "");
    look_add_text(table, sample, "timestamp");
}

static void fill_samples(struct table *table, const json_t *root)
{
    size_t i;
    json_t *sample;
    if (!json_is_array(root)) {
        fill_sample(table, root);
    }
    json_array_foreach(root, i, sample)
    {
        fill_sample(table, sample);
    }
}

static int run_metrics(const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {
        "MACHINE", "STATUS", "CPU", "MEMORY", "DISK", "LOAD", "TIME"};
    struct look look;
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    const char *what = look.count > 0 ? look.words[0] : "";
    if (strcmp(what, "service") == 0 && look.count > 1) {
        return look_complain(&look, EXIT_FAILED,
            "single services are not sampled, machines are: weir health metrics machine NAME");
    }
    if (strcmp(what, "all") == 0 && look.count == 1) {
        buf_append_str(&look.path, "/api/metrics/all");
    } else if (strcmp(what, "machine") == 0 && look.count == 2) {
        buf_append_str(&look.path, "/api/metrics/machine");
        look_put_part(&look, look.words[1]);
    } else {
        return look_misunderstood(&look);
    }
    json_t *root = look_get(&look);
    if (root != NULL && look.json) {
        root = as_scripts_know(root);
    }
    return look_finish(&look, root, fill_samples, titles, 7);
}

const struct command command_health_metrics = {
    .name = "health metrics",
    .summary = "Show the resources of machines",
    .usage = "all | machine NAME",
    .options = common_options,
    .run = run_metrics,
    .words = "all|machine",
};

// ---- uptime

enum { OPTION_DAYS = LOOK_OWN };

static const struct option_row uptime_options[] = {
    LOOK_OPTIONS,
    [OPTION_DAYS] = {"--days", "N", "over so many days; 30"},
    {NULL},
};

static void fill_uptime(struct table *table, const json_t *root)
{
    size_t count = json_is_array(root) ? json_array_size(root) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(root) ? json_array_get(root, i) : root;
        look_add_text(table, one, "service");
        look_add_text(table, one, "machine");
        look_add_text(table, one, "current_status");
        look_add_number(table, one, "availability_percent", 2, " %");
        look_add_number(table, one, "failure_count", 0, "");
        look_add_span(table, one, "mtbf");
        look_add_span(table, one, "mttr");
    }
}

static void fill_uptime_events(struct table *table, const json_t *root)
{
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(root, "events"), i, event)
    {
        look_add_text(table, event, "timestamp");
        look_add_text(table, event, "event_type");
        look_add_text(table, event, "service");
        look_add_text(table, event, "machine");
        look_add_text(table, event, "details");
    }
}

// Where a service is, as the monitor knows; "" after saying why.
static void find_machine(struct look *look, const char *service, char machine[NAME_SIZE])
{
    machine[0] = '\0';
    buf_append_str(&look->path, "/api/health/services");
    look_put_part(look, service);
    json_t *root = look_get(look);
    snprintf(machine, NAME_SIZE, "%s", look_text(root, "machine"));
    json_decref(root);
    buf_clear(&look->path);
}

static int run_uptime(const struct command *command, int argc, char **argv)
{
    static const char *const titles[] = {
        "SERVICE", "MACHINE", "STATUS", "AVAILABILITY", "FAILURES", "MTBF", "MTTR"};
    static const char *const event_titles[] = {"TIME", "EVENT", "SERVICE", "MACHINE", "DETAILS"};
    struct look look;
    char machine[NAME_SIZE];
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    const char *what = look.count > 0 ? look.words[0] : "";
    bool history = strcmp(what, "history") == 0;
    if (look.count == 1 && (strcmp(what, "all") == 0 || strcmp(what, "status") == 0)) {
        buf_append_str(&look.path, "/api/uptime/all");
    } else if ((history || strcmp(what, "service") == 0) && (look.count == 2 || look.count == 3)) {
        snprintf(machine, sizeof machine, "%s", look.count == 3 ? look.words[2] : "");
        if (look.count == 2) {
            find_machine(&look, look.words[1], machine);
        }
        if (machine[0] == '\0') {
            buf_reset(&look.path);
            return look.exit_code;
        }
        buf_append_str(&look.path, "/api/uptime");
        look_put_part(&look, look.words[1]);
        look_put_part(&look, machine);
        buf_append_str(&look.path, history ? "/history" : "");
    } else {
        return look_misunderstood(&look);
    }
    look_put_query(&look, "days", look.values[OPTION_DAYS]);
    return history ? look_finish(&look, look_get(&look), fill_uptime_events, event_titles, 5)
                   : look_finish(&look, look_get(&look), fill_uptime, titles, 7);
}

const struct command command_health_uptime = {
    .name = "health uptime",
    .summary = "Show how long services were up, as far as is known",
    .usage = "all | service NAME [MACHINE] | history NAME [MACHINE]",
    .options = uptime_options,
    .run = run_uptime,
    .words = "all|service|history|status",
};

// ---- maintenance

enum { OPTION_FOR = LOOK_OWN, OPTION_REASON };

static const struct option_row maintenance_options[] = {
    LOOK_OPTIONS,
    [OPTION_FOR] = {"--for", "SPAN", "how long: 30m, 2h; until it is ended"},
    [OPTION_REASON] = {"--reason", "TEXT", "why, for whoever looks"},
    {NULL},
};

static void fill_message(struct table *table, const json_t *root)
{
    look_add_text(table, root, "message");
}

static int run_maintenance(const struct command *command, int argc, char **argv)
{
    struct look look;
    uint64_t span_s = 0;
    if (!look_begin(&look, command, argc, argv)) {
        return look.exit_code;
    }
    const char *span = look.values[OPTION_FOR];
    const char *reason = look.values[OPTION_REASON];
    bool on = look.count > 0 && strcmp(look.words[0], "on") == 0;
    if (look.count != 2 || (!on && strcmp(look.words[0], "off") != 0)) {
        return look_misunderstood(&look);
    }
    if (span != NULL && !look_read_span(&look, "--for", span, &span_s)) {
        return EXIT_USAGE;
    }
    buf_append_str(&look.path, "/api/health/maintenance");
    look_put_part(&look, look.words[1]);
    json_t *body = json_object();
    if (span != NULL) {
        json_object_set_new(body, "for_seconds", json_integer((json_int_t)span_s));
    }
    if (reason != NULL) {
        json_object_set_new(body, "reason", json_string(reason));
    }
    char *text = on ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *root = look_ask(&look, on ? "POST" : "DELETE", slice_str(text));
    free(text); // jansson's
    json_decref(body);
    return look_finish(&look, root, fill_message, NULL, 1);
}

const struct command command_health_maintenance = {
    .name = "health maintenance",
    .summary = "Begin or end the maintenance of a service, or of all services of a machine",
    .usage = "on|off SERVICE|MACHINE",
    .options = maintenance_options,
    .run = run_maintenance,
    .words = "on|off",
};
