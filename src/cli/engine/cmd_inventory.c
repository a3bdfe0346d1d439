// SPDX-License-Identifier: Apache-2.0
// weir tunnels and weir clients: what an engine has now, once or for as long as somebody looks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/engine/event_feed.h"
#include "cli/engine/inventory.h"
#include "cli/loop.h"
#include "cli/paint.h"
#include "cli/plain.h"
#include "cli/print.h"
#include "cli/say.h"
#include "sys/terminal.h"

#define OUTPUT_BYTES_MAX ((size_t)64 << 20)
#define PROBLEM_SIZE 512
#define PAINT_NS (100 * NS_PER_MS) // at most so often
#define STATUS_SIZE 256

enum {
    OPTION_FILTER = PROFILE_OPTION_COUNT,
    OPTION_OUTPUT,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_WATCH,
    OPTION_COUNT
};

static const struct option_row list_options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_FILTER] = {"--filter", "F=V,...",
        "only those; fields of the API, and labels.KEY=VALUE (VALUE empty or *: any)",
        .flags = OPTION_REPEATABLE},
    [OPTION_OUTPUT] = {"--output", "FORM", "how it is shown", .alias = "-o",
        .choices = "table|json"},
    [OPTION_JSON] = {"--json", NULL, "the same as -o json"},
    [OPTION_QUIET] = {"--quiet", NULL, "only ids", .alias = "-q"},
    [OPTION_WATCH] = {"--watch", NULL,
        "again at every change; in a pipe or as JSON one line a change"},
    [OPTION_COUNT] = {NULL},
};

struct asking {
    const struct command *command;
    const char *const *values;
    enum filter_subject subject;
    struct profile profile;
    struct engine_api api;
    json_t *filters; // owned
    bool json;
    // of --watch
    struct cli_loop loop;
    struct event_feed *feed;
    struct feed_state state;
    struct timer paint;
    char status[STATUS_SIZE]; // of the connection
    bool on_terminal;
};

static enum filter_subject subject_of(const struct command *command)
{
    return strncmp(command->name, "tunnels", 7) == 0 ? FILTER_TUNNELS : FILTER_CLIENTS;
}

static const char *plural(const struct asking *asking)
{
    return asking->subject == FILTER_TUNNELS ? "tunnels" : "clients";
}

// ---- Once

// A list of objects, or NULL after saying why.
static json_t *fetch(struct asking *asking, const json_t *filters, int *ret_exit)
{
    char target[ENGINE_API_TARGET_SIZE];
    char path[32];
    char problem[ENGINE_API_PROBLEM_SIZE] = "the filter is too long";
    struct buf answer = BUF_INIT(ENGINE_API_ANSWER_MAX);
    json_t *params = json_pack("{s:O}", "filters", filters);
    char *text = json_object_size(filters) == 0 ? NULL : json_dumps(params, JSON_COMPACT);
    json_t *list = NULL;
    *ret_exit = EXIT_USAGE;
    snprintf(path, sizeof path, "/api/%s", plural(asking));
    if (engine_api_target(path, text, target) &&
        engine_api_fetch(&asking->api, target, &answer, problem, ret_exit) == WEIR_OK) {
        list = json_loadb(buf_slice(&answer).at, answer.len, 0, NULL);
        if (!json_is_array(list)) {
            snprintf(problem, sizeof problem, "the engine's answer is no list");
            json_decref(list);
            list = NULL;
            *ret_exit = EXIT_DATA;
        }
    }
    if (list == NULL) {
        command_complain(asking->command, "%s", problem);
    }
    free(text);
    json_decref(params);
    buf_reset(&answer);
    return list;
}

static bool print_ids(const json_t *list)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    json_t *object;
    size_t index;
    json_array_foreach(list, index, object)
    {
        plain_append(&out, slice_str(json_string_value(json_object_get(object, "id"))));
        buf_append_byte(&out, '\n');
    }
    bool ok = print_buf(&out);
    buf_reset(&out);
    return ok;
}

static bool print_table(const struct asking *asking, const json_t *list)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    bool ok =
        inventory_write_table(asking->subject, list, SIZE_MAX, &out) == WEIR_OK && print_buf(&out);
    buf_reset(&out);
    return ok;
}

static int say_written(const struct asking *asking, bool ok)
{
    if (!ok) {
        command_complain(asking->command, "the output cannot be written, or memory ran out");
    }
    return ok ? EXIT_FINE : EXIT_FAILED;
}

static int list_once(struct asking *asking)
{
    int exit_code;
    json_t *answered = fetch(asking, asking->filters, &exit_code);
    if (answered == NULL) {
        return exit_code;
    }
    json_t *list = inventory_sort(answered);
    json_decref(answered);
    bool ok = list == NULL                           ? false
              : asking->values[OPTION_QUIET] != NULL ? print_ids(list)
              : asking->json                         ? print_json(list, true)
                                                     : print_table(asking, list);
    json_decref(list);
    return say_written(asking, ok);
}

// ---- For as long as somebody looks

static void paint(struct asking *asking)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    struct buf table = BUF_INIT(OUTPUT_BYTES_MAX);
    json_t *objects =
        asking->subject == FILTER_TUNNELS ? asking->state.tunnels : asking->state.clients;
    json_t *list = json_array();
    const char *id;
    json_t *object;
    unsigned rows;
    unsigned columns;
    json_object_foreach(objects, id, object)
    {
        json_array_append(list, object); // without memory it is not shown
    }
    sys_terminal_size(STDOUT_FILENO, &rows, &columns);
    buf_append_str(&out, "\033[H");
    buf_printf(&out, "%zu %s of %s, %s\033[K\n\033[K\n", json_array_size(list), plural(asking),
        asking->profile.engine, asking->status);
    json_t *sorted = inventory_sort(list);
    bool ok =
        inventory_write_table(asking->subject, sorted, rows > 6 ? rows - 6 : 1, &table) == WEIR_OK;
    struct slice rest = buf_slice(&table);
    struct slice line;
    while (slice_split(&rest, '\n', &line) && line.len > 0) {
        // Cut by bytes of a character at worst: the terminal wraps nothing.
        while (plain_width(line) >= columns) {
            line.len--;
        }
        buf_append_slice(&out, line);
        buf_append_str(&out, "\033[K\n");
    }
    buf_append_str(&out, "\033[J");
    if (!ok || !print_buf(&out)) {
        cli_loop_end(&asking->loop, EXIT_FAILED);
    }
    json_decref(sorted);
    json_decref(list);
    buf_reset(&table);
    buf_reset(&out);
}

static void on_paint(struct timer *timer)
{
    paint(container_of(timer, struct asking, paint));
}

static void paint_soon(struct asking *asking)
{
    if (asking->on_terminal && !timer_armed(&asking->paint)) {
        worker_arm_in(asking->loop.worker, &asking->paint, PAINT_NS);
    }
}

static void print_change(struct asking *asking, const char *what, json_t *object)
{
    json_t *line = json_pack("{s:s, s:O}", "event", what,
        asking->subject == FILTER_TUNNELS ? "tunnel" : "client", object);
    if (!print_json(line, false)) {
        cli_loop_end(&asking->loop, EXIT_FAILED); // nobody reads
    }
    json_decref(line);
}

static void print_event(struct asking *asking, const char *type, const json_t *event)
{
    const char *prefix = asking->subject == FILTER_TUNNELS ? "tunnel." : "client.";
    json_t *object = json_object_get(event, "object");
    json_t *item;
    size_t index;
    if (strcmp(type, "state.initial") == 0) {
        json_array_foreach(json_object_get(object, plural(asking)), index, item)
        {
            print_change(asking, "present", item);
        }
    } else if (strncmp(type, prefix, strlen(prefix)) == 0) {
        print_change(asking, type + strlen(prefix), object);
    }
}

static void on_event(void *arg, const char *type, const json_t *event, enum event_origin origin)
{
    struct asking *asking = arg;
    (void)origin;
    if (asking->loop.ended) {
        return;
    }
    if (!asking->on_terminal) {
        print_event(asking, type, event);
    } else if (feed_state_apply(&asking->state, event) != WEIR_OK) {
        command_complain(asking->command, "out of memory");
        cli_loop_end(&asking->loop, EXIT_FAILED);
    }
    paint_soon(asking);
}

static void on_notice(
    void *arg, enum feed_notice notice, const char *text, uint64_t wait_ns, size_t count)
{
    struct asking *asking = arg;
    (void)count;
    switch (notice) {
    case FEED_CONNECTED:
    case FEED_CAUGHT_UP:
        snprintf(asking->status, sizeof asking->status, "live");
        break;
    case FEED_LOST:
        snprintf(asking->status, sizeof asking->status, "connection lost (%s), again in %.1f s",
            text, (double)wait_ns / (double)NS_PER_S);
        break;
    case FEED_REFUSED:
        break;
    }
    if (notice == FEED_LOST && !asking->on_terminal) {
        say(asking->command, SAY_WARN, "%s", text);
    }
    if (notice == FEED_REFUSED) {
        command_complain(asking->command, "%s", text);
        cli_loop_end(&asking->loop, EXIT_REFUSED);
    }
    paint_soon(asking);
}

static void on_screen(struct cli_loop *loop)
{
    paint_soon(loop->arg);
}

static void start(struct cli_loop *loop)
{
    struct asking *asking = loop->arg;
    struct buf out = BUF_INIT(64);
    json_t *params = json_pack("{s:O}", plural(asking), asking->filters);
    char *text = json_object_size(asking->filters) == 0 ? NULL : json_dumps(params, JSON_COMPACT);
    asking->feed = event_feed_open(loop->worker, &(struct event_feed_options){
                                                     .api = &asking->api,
                                                     .params = text,
                                                     .hooks = {on_event, on_notice, asking},
                                                 });
    if (asking->on_terminal) {
        buf_append_str(&out, PAINT_ENTER); // it fits
        (void)print_buf(&out);             // paint finds out
        buf_reset(&out);
        paint_soon(asking);
    }
    if (asking->feed == NULL) {
        command_complain(asking->command, "the engine's authorities cannot be read, or the filter "
                                          "is too long, or memory ran out");
        cli_loop_end(loop, EXIT_FAILED);
    }
    free(text);
    json_decref(params);
}

static void stop(struct cli_loop *loop)
{
    struct asking *asking = loop->arg;
    struct buf out = BUF_INIT(64);
    timer_cancel(&asking->paint);
    event_feed_close(asking->feed);
    if (asking->on_terminal) {
        buf_append_str(&out, PAINT_LEAVE); // it fits
        (void)print_buf(&out);             // nothing more can be done
        buf_reset(&out);
    }
}

static int list_watching(struct asking *asking)
{
    asking->on_terminal = !asking->json && isatty(STDOUT_FILENO);
    asking->loop =
        (struct cli_loop){.start = start, .stop = stop, .screen = on_screen, .arg = asking};
    timer_init(&asking->paint, on_paint);
    snprintf(asking->status, sizeof asking->status, "connecting");
    int exit_code = EXIT_FAILED;
    if (feed_state_init(&asking->state) == WEIR_OK) {
        exit_code = cli_loop_run(&asking->loop);
    }
    feed_state_fini(&asking->state);
    return exit_code;
}

// ---- The command line

static bool read_filters(struct asking *asking, const struct option_repeats *repeats)
{
    char problem[PROBLEM_SIZE] = "out of memory";
    for (size_t i = 0; i < repeats->count; i++) {
        if (filter_text_read(repeats->items[i].value, asking->subject, asking->filters, problem,
                sizeof problem) != WEIR_OK) {
            command_complain(asking->command, "--filter: %s", problem);
            return false;
        }
    }
    return true;
}

static int answer(struct asking *asking, const struct option_repeats *repeats)
{
    asking->filters = json_object();
    asking->json = asking->values[OPTION_JSON] != NULL ||
                   (asking->values[OPTION_OUTPUT] != NULL &&
                       strcmp(asking->values[OPTION_OUTPUT], "json") == 0);
    bool watch = asking->values[OPTION_WATCH] != NULL;
    if (watch && asking->values[OPTION_QUIET] != NULL) {
        command_complain(asking->command, "--watch and --quiet exclude one another");
        return EXIT_USAGE;
    }
    if (!read_filters(asking, repeats)) {
        return EXIT_USAGE;
    }
    if (!profile_of_options(asking->command, asking->values, PROFILE_WANTS_ALL, &asking->profile)) {
        return EXIT_CONFIG;
    }
    engine_api_init(&asking->api, &asking->profile);
    int exit_code = watch ? list_watching(asking) : list_once(asking);
    profile_fini(&asking->profile);
    return exit_code;
}

static int run_list(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    struct option_repeats repeats = {0};
    struct command_line line = {
        .values = values, .repeats = &repeats, .allowed = "list, inspect ID"};
    int exit_code;
    if (!command_read(command, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    static struct asking asking; // large
    asking = (struct asking){.command = command, .values = values, .subject = subject_of(command)};
    exit_code = answer(&asking, &repeats);
    json_decref(asking.filters);
    return exit_code;
}

// ---- inspect

enum { INSPECT_OUTPUT = PROFILE_OPTION_COUNT, INSPECT_JSON, INSPECT_COUNT };

static const struct option_row inspect_options[] = {
    PROFILE_OPTION_ROWS,
    [INSPECT_OUTPUT] = {"--output", "FORM", "how it is shown", .alias = "-o",
        .choices = "table|json"},
    [INSPECT_JSON] = {"--json", NULL, "the same as -o json"},
    [INSPECT_COUNT] = {NULL},
};

static int print_object(const struct asking *asking, const json_t *object, bool json)
{
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    bool ok = json ? print_json(object, true)
                   : inventory_write_object(object, &out) == WEIR_OK && print_buf(&out);
    buf_reset(&out);
    return say_written(asking, ok);
}

// By its id, then, of a tunnel, by its name.
static int inspect(struct asking *asking, const char *word, bool json)
{
    static const char *const fields[] = {"id", "name"};
    size_t field_count = asking->subject == FILTER_TUNNELS ? 2 : 1;
    int exit_code = EXIT_FAILED;
    for (size_t i = 0; i < field_count; i++) {
        json_t *filters = json_pack("{s:s}", fields[i], word);
        json_t *list = fetch(asking, filters, &exit_code);
        bool found = json_array_size(list) > 0;
        if (found) {
            exit_code = print_object(asking, json_array_get(list, 0), json);
        }
        bool failed = list == NULL;
        json_decref(list);
        json_decref(filters);
        if (found || failed) {
            return exit_code;
        }
    }
    command_complain(asking->command, "the engine has no %s \"%s\"; see %s %s",
        asking->subject == FILTER_TUNNELS ? "tunnel" : "client", word, command_program(),
        plural(asking));
    return EXIT_UNAVAILABLE;
}

static int run_inspect(const struct command *command, int argc, char **argv)
{
    const char *values[INSPECT_COUNT] = {NULL};
    int count;
    int exit_code;
    if (!command_parse(command, argc, argv, values, &count, &exit_code)) {
        return exit_code;
    }
    if (count != 1) {
        command_complain(command, "one ID is wanted");
        return EXIT_USAGE;
    }
    static struct asking asking; // large
    asking = (struct asking){.command = command, .values = values, .subject = subject_of(command)};
    if (!profile_of_options(command, values, PROFILE_WANTS_ALL, &asking.profile)) {
        return EXIT_CONFIG;
    }
    engine_api_init(&asking.api, &asking.profile);
    bool json = values[INSPECT_JSON] != NULL ||
                (values[INSPECT_OUTPUT] != NULL && strcmp(values[INSPECT_OUTPUT], "json") == 0);
    exit_code = inspect(&asking, argv[0], json);
    profile_fini(&asking.profile);
    return exit_code;
}

// ---- The two trees

static const struct command_example tunnel_examples[] = {
    {"tunnels", "all tunnels, the newest first"},
    {"tunnels list --filter protocol=http,labels.env=prod -o json", "some, for a program"},
    {"tunnels --watch --json", "one line of JSON a change"},
    {NULL},
};

static const struct command_example inspect_examples[] = {
    {"tunnels inspect web", "everything about the tunnel of this name"},
    {NULL},
};

static const struct command_example client_examples[] = {
    {"clients -q", "the ids of all agents that are connected"},
    {"clients list --filter labels.site=*", "those with a label"},
    {NULL},
};

static const struct command command_tunnels_list = {
    .name = "tunnels list",
    .summary = "Show the tunnels of an engine",
    .usage = "",
    .options = list_options,
    .run = run_list,
    .other_names = "ls",
    .examples = tunnel_examples,
};

static const struct command command_tunnels_inspect = {
    .name = "tunnels inspect",
    .summary = "Show everything about one tunnel",
    .usage = "ID|NAME",
    .options = inspect_options,
    .run = run_inspect,
    .other_names = "get",
    .examples = inspect_examples,
};

static const struct command *const tunnels_children[] = {
    &command_tunnels_list, &command_tunnels_inspect, NULL};

const struct command command_tunnels = {
    .name = "tunnels",
    .summary = "Show the tunnels of an engine",
    .usage = "[list|inspect ID]",
    .options = list_options,
    .run = run_list,
    .children = tunnels_children,
    .other_names = "tunnel",
    .examples = tunnel_examples,
};

static const struct command command_clients_list = {
    .name = "clients list",
    .summary = "Show the agents that are connected to an engine",
    .usage = "",
    .options = list_options,
    .run = run_list,
    .other_names = "ls",
    .examples = client_examples,
};

static const struct command command_clients_inspect = {
    .name = "clients inspect",
    .summary = "Show everything about one agent",
    .usage = "ID",
    .options = inspect_options,
    .run = run_inspect,
    .other_names = "get",
};

static const struct command *const clients_children[] = {
    &command_clients_list, &command_clients_inspect, NULL};

const struct command command_clients = {
    .name = "clients",
    .summary = "Show the agents that are connected to an engine",
    .usage = "[list|inspect ID]",
    .options = list_options,
    .run = run_list,
    .children = clients_children,
    .other_names = "client",
    .examples = client_examples,
};
