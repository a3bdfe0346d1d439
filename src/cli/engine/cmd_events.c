// SPDX-License-Identifier: Apache-2.0
// weir events: what happens at an engine, for a person, a program, or a webhook (spec engine,
// section 9.2).
//
//   engine ──► event_feed ──► --events ──┬──► standard output
//                 ▲                      └──► delivery ──► --forward-to, --webhook
//                 └── paused while the delivery's queue is full; caught up with afterwards
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/engine/delivery.h"
#include "cli/engine/event_feed.h"
#include "cli/engine/filter_text.h"
#include "cli/loop.h"
#include "cli/plain.h"
#include "cli/print.h"
#include "cli/say.h"
#include "conf/nearest.h"
#include "conf/url.h"
#include "conf/yaml.h"
#include "sys/clock.h"

#define PROBLEM_SIZE 512
#define LINE_BYTES_MAX 65536
#define GAP_TYPE "feed.gap"
#define TYPES_MAX 16
#define RETRY_FOR_NS (600 * NS_PER_S)

enum {
    OPTION_EVENTS = PROFILE_OPTION_COUNT,
    OPTION_OUTPUT,
    OPTION_JSON,
    OPTION_FEED,
    OPTION_CLIENT_FILTER,
    OPTION_TUNNEL_FILTER,
    OPTION_FORWARD_TO,
    OPTION_WEBHOOK,
    OPTION_SECRET_TEXT,
    OPTION_WEBHOOK_ID,
    OPTION_WEBHOOK_HEADERS,
    OPTION_INSECURE,
    OPTION_CA_FILE,
    OPTION_RETRY,
    OPTION_RETRY_FOR,
    OPTION_COUNT
};

#define DELIVERY_GROUP "delivery"

static const struct option_row options[] = {
    PROFILE_OPTION_ROWS,
    [OPTION_EVENTS] = {"--events", "TYPE,...",
        "only these: tunnel.created, client.*, ...; see the manual"},
    [OPTION_OUTPUT] = {"--output", "FORM", "how they are shown; text on a terminal, else ndjson",
        .alias = "-o", .choices = "text|json|ndjson|none"},
    [OPTION_JSON] = {"--json", NULL, "the same as -o ndjson: one event a line"},
    [OPTION_FEED] = {"--transport", "KIND", "how the engine tells; websocket",
        .choices = "websocket|sse"},
    [OPTION_CLIENT_FILTER] = {"--client-filter", "F=V,...", "only those of such clients",
        .flags = OPTION_REPEATABLE},
    [OPTION_TUNNEL_FILTER] = {"--tunnel-filter", "F=V,...", "only those of such tunnels",
        .flags = OPTION_REPEATABLE},
    [OPTION_FORWARD_TO] = {"--forward-to", "URL", "send each event there as a POST",
        .group = DELIVERY_GROUP},
    [OPTION_WEBHOOK] = {"--webhook", "[=URL]",
        "in the signed shape of webhooks; with a URL also where to", .group = DELIVERY_GROUP},
    [OPTION_SECRET_TEXT] = {"--webhook-secret", "TEXT",
        "signs them; several while they are rotated; made and printed when there is none "
        "(WEIR_WEBHOOK_SECRET)",
        .group = DELIVERY_GROUP, .flags = OPTION_REPEATABLE | OPTION_SECRET},
    [OPTION_WEBHOOK_ID] = {"--webhook-id", "TEXT", "rstream-webhook-id; made when there is none",
        .group = DELIVERY_GROUP},
    [OPTION_WEBHOOK_HEADERS] = {"--include-webhook-headers", NULL,
        "show {headers, body} as they are sent", .group = DELIVERY_GROUP},
    [OPTION_INSECURE] = {"--forward-insecure-tls", NULL, "trust whoever answers there",
        .group = DELIVERY_GROUP},
    [OPTION_CA_FILE] = {"--forward-tls-ca-file", "FILE", "trust these authorities there",
        .group = DELIVERY_GROUP, .flags = OPTION_PATH},
    [OPTION_RETRY] = {"--retry", NULL, "send again what was not acknowledged; on",
        .group = DELIVERY_GROUP, .flags = OPTION_NEGATABLE},
    [OPTION_RETRY_FOR] = {"--retry-for", "TIME", "how long, before it is given up; 10m",
        .group = DELIVERY_GROUP},
    [OPTION_COUNT] = {NULL},
};

static const char *const known_types[] = {"state.initial", "client.created", "client.updated",
    "client.deleted", "tunnel.created", "tunnel.updated", "tunnel.deleted", GAP_TYPE};
#define KNOWN_COUNT (sizeof known_types / sizeof known_types[0])

enum form { FORM_NONE, FORM_TEXT, FORM_JSON, FORM_NDJSON };

struct following {
    const struct command *command;
    const char *const *values;
    struct profile profile;
    struct engine_api api;
    bool wanted[KNOWN_COUNT]; // of known_types
    bool wants_all;           // also what a newer engine tells
    enum form form;
    char *params; // jansson's; NULL: everything
    bool forwards;
    bool with_headers;
    const char *secrets[WEBHOOK_SECRETS_MAX];
    char secret[WEBHOOK_SECRET_SIZE]; // one that was made here
    char webhook_id[EVENT_ID_SIZE];
    struct delivery_options delivery_options;
    struct cli_loop loop;
    struct event_feed *feed;
    struct delivery delivery;
};

// ---- Showing

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void add_word(struct buf *line, const char *word)
{
    if (word != NULL && word[0] != '\0') {
        buf_append_str(line, "  ");
        plain_append(line, slice_str(word));
    }
}

static void write_text(const char *type, const json_t *event, bool late, struct buf *line)
{
    const json_t *object = json_object_get(event, "object");
    const char *when = text_of(event, "created_at");
    bool client = strncmp(type, "client.", 7) == 0;
    plain_append(line, slice_str(when == NULL ? "-" : when));
    buf_printf(line, "  %-14s", type);
    if (strcmp(type, "state.initial") == 0) {
        buf_printf(line, "  %zu clients, %zu tunnels",
            json_array_size(json_object_get(object, "clients")),
            json_array_size(json_object_get(object, "tunnels")));
    } else if (strcmp(type, GAP_TYPE) == 0) {
        buf_printf(line, "  %.1f s without the engine; %lld changes were found",
            json_number_value(json_object_get(object, "seconds")),
            (long long)json_integer_value(json_object_get(object, "events")));
    } else {
        add_word(line, text_of(object, client ? "agent" : "name"));
        add_word(line, text_of(object, client ? "version" : "protocol"));
        add_word(line, text_of(object, client ? "user_id" : "hostname"));
        add_word(line, text_of(object, "id"));
    }
    buf_append_str(line, late ? "  (meanwhile)\n" : "\n");
}

static void show(struct following *following, const char *type, const json_t *event, bool late)
{
    struct buf line = BUF_INIT(LINE_BYTES_MAX);
    bool ok = true;
    switch (following->form) {
    case FORM_NONE:
        break;
    case FORM_TEXT:
        write_text(type, event, late, &line);
        ok = print_buf(&line);
        break;
    case FORM_JSON:
    case FORM_NDJSON:
        ok = print_json(event, following->form == FORM_JSON);
        break;
    }
    buf_reset(&line);
    if (!ok) {
        cli_loop_end(&following->loop, EXIT_FAILED); // nobody reads
    }
}

static bool is_wanted(const struct following *following, const char *type)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (strcmp(known_types[i], type) == 0) {
            return following->wanted[i];
        }
    }
    return following->wants_all;
}

// {headers, body} as they are sent now.
static void show_signed(struct following *following, const struct delivery_request *request)
{
    json_t *headers = delivery_headers(&following->delivery_options, request, sys_wall_ms() / 1000);
    json_t *body = json_loads(request->body, JSON_DECODE_ANY, NULL);
    json_t *both = json_pack("{s:o, s:o}", "headers", headers, "body", body);
    show(following, request->event_type, both, false);
    json_decref(both);
}

// ---- Passing on

static void pass_on(struct following *following, const char *type, const json_t *event)
{
    struct delivery_request request;
    bool signed_shape = following->delivery_options.signed_shape;
    if (signed_shape && !webhook_delivers(type)) {
        return;
    }
    bool ok = delivery_request_init(&request, event, signed_shape);
    if (ok && following->with_headers) {
        show_signed(following, &request);
    }
    if (!ok || !following->forwards) {
        delivery_request_fini(&request);
    } else {
        ok = delivery_add(&following->delivery, &request) == WEIR_OK;
        if (delivery_is_full(&following->delivery)) {
            event_feed_pause(following->feed);
        }
    }
    if (!ok) {
        command_complain(following->command, "out of memory");
        cli_loop_end(&following->loop, EXIT_FAILED);
    }
}

static void on_event(void *arg, const char *type, const json_t *event, enum event_origin origin)
{
    struct following *following = arg;
    bool late = origin == EVENT_CATCH_UP;
    if (following->loop.ended || !is_wanted(following, type)) {
        return;
    }
    json_t *shown = json_copy((json_t *)(uintptr_t)event); // shallow
    if (late) {
        json_object_set_new(shown, "catch_up", json_true()); // without memory it is not said
    }
    if (!following->with_headers) {
        show(following, type, shown, late);
    }
    if (following->forwards || following->with_headers) {
        pass_on(following, type, shown);
    }
    json_decref(shown);
}

// A line that says: between the last event and this one there may have been others.
static void show_gap(struct following *following, uint64_t gap_ns, size_t count)
{
    char id[EVENT_ID_SIZE];
    char when[TIME_ISO_SIZE];
    event_id_make("evt_cli_", id);
    time_to_iso(sys_wall_ms(), when);
    json_t *event =
        json_pack("{s:s, s:s, s:s, s:{s:f, s:I}}", "id", id, "type", GAP_TYPE, "created_at", when,
            "object", "seconds", (double)gap_ns / (double)NS_PER_S, "events", (json_int_t)count);
    if (event != NULL && is_wanted(following, GAP_TYPE) && !following->with_headers) {
        show(following, GAP_TYPE, event, false);
    }
    json_decref(event);
}

static void on_notice(
    void *arg, enum feed_notice notice, const char *text, uint64_t wait_ns, size_t count)
{
    struct following *following = arg;
    switch (notice) {
    case FEED_CONNECTED:
        say(following->command, SAY_DEBUG, "connected to %s", following->profile.engine);
        break;
    case FEED_LOST:
        say(following->command, SAY_WARN, "the connection to %s is lost: %s; again in %.1f s",
            following->profile.engine, text, (double)wait_ns / (double)NS_PER_S);
        break;
    case FEED_CAUGHT_UP:
        say(following->command, SAY_INFO, "connected to %s again; %zu changes meanwhile",
            following->profile.engine, count);
        show_gap(following, wait_ns, count);
        break;
    case FEED_REFUSED:
        command_complain(following->command, "%s", text);
        cli_loop_end(&following->loop, EXIT_REFUSED);
        break;
    }
}

static void on_room(void *arg)
{
    struct following *following = arg;
    event_feed_resume(following->feed);
}

static void on_delivery_failed(void *arg, const char *problem, bool refused)
{
    struct following *following = arg;
    command_complain(following->command, "%s; %zu events were not delivered", problem,
        following->delivery.count);
    cli_loop_end(&following->loop, refused ? EXIT_REFUSED : EXIT_UNAVAILABLE);
}

static void on_retrying(void *arg, const char *problem, uint64_t wait_ns)
{
    struct following *following = arg;
    say(following->command, SAY_WARN, "%s; again in %.1f s (%zu events wait)", problem,
        (double)wait_ns / (double)NS_PER_S, following->delivery.count);
}

static void start(struct cli_loop *loop)
{
    struct following *following = loop->arg;
    if (following->forwards) {
        delivery_open(&following->delivery, loop->worker, &following->delivery_options);
    }
    const char *transport = following->values[OPTION_FEED];
    following->feed =
        event_feed_open(loop->worker, &(struct event_feed_options){
                                          .api = &following->api,
                                          .params = following->params,
                                          .sse = transport != NULL && strcmp(transport, "sse") == 0,
                                          .hooks = {on_event, on_notice, following},
                                      });
    if (following->feed == NULL) {
        command_complain(following->command,
            "the engine's authorities (%s) cannot be read, or the "
            "filters are too long, or memory ran out",
            following->profile.ca_file == NULL ? "the system's" : following->profile.ca_file);
        cli_loop_end(loop, EXIT_FAILED);
    }
}

static void stop(struct cli_loop *loop)
{
    struct following *following = loop->arg;
    if (following->forwards && loop->exit_code == EXIT_FINE && following->delivery.count > 0) {
        command_complain(
            following->command, "%zu events were not delivered", following->delivery.count);
    }
    delivery_close(&following->delivery);
    event_feed_close(following->feed);
}

// ---- The command line

static bool want_type(struct following *following, struct slice word)
{
    bool found = false;
    bool all = slice_ends_with(word, SLICE(".*"));
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        struct slice known = slice_str(known_types[i]);
        bool same =
            all ? slice_starts_with(known, slice_of(word.at, word.len - 1)) : slice_eq(known, word);
        following->wanted[i] = following->wanted[i] || same;
        found = found || same;
    }
    if (!found) {
        const char *nearest = conf_nearest(word, known_types, KNOWN_COUNT);
        command_complain(following->command,
            "--events: there is no type \"%.*s\"%s%s%s; allowed: state.initial, client.created, "
            "client.updated, client.deleted, the same of tunnel, client.*, tunnel.*, " GAP_TYPE,
            SLICE_ARG(word), nearest == NULL ? "" : "; did you mean ",
            nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    }
    return found;
}

static bool read_types(struct following *following)
{
    struct slice rest = slice_str(following->values[OPTION_EVENTS]);
    struct slice word;
    bool ok = true;
    following->wants_all = rest.len == 0;
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        following->wanted[i] = following->wants_all;
    }
    while (ok && rest.len > 0 && slice_split(&rest, ',', &word)) {
        ok = want_type(following, slice_trim(word));
    }
    return ok;
}

static bool read_filters(struct following *following, const struct option_repeats *repeats)
{
    static const struct {
        int option;
        enum filter_subject subject;
        const char *section;
    } kinds[] = {{OPTION_CLIENT_FILTER, FILTER_CLIENTS, "clients"},
        {OPTION_TUNNEL_FILTER, FILTER_TUNNELS, "tunnels"}};
    json_t *params = json_object();
    bool ok = params != NULL;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0] && ok; k++) {
        json_t *filter = json_object();
        for (size_t i = 0; i < repeats->count && ok; i++) {
            char problem[PROBLEM_SIZE] = "out of memory";
            ok = repeats->items[i].option != kinds[k].option ||
                 filter_text_read(repeats->items[i].value, kinds[k].subject, filter, problem,
                     sizeof problem) == WEIR_OK;
            if (!ok) {
                command_complain(
                    following->command, "%s: %s", options[kinds[k].option].name, problem);
            }
        }
        if (json_object_size(filter) == 0) {
            json_decref(filter);
        } else {
            ok = json_object_set_new(params, kinds[k].section, filter) == 0 && ok;
        }
    }
    if (ok && json_object_size(params) > 0) {
        following->params = json_dumps(params, JSON_COMPACT);
    }
    json_decref(params);
    return ok;
}

static void read_form(struct following *following)
{
    static const char *const names[] = {
        [FORM_NONE] = "none", [FORM_TEXT] = "text", [FORM_JSON] = "json", [FORM_NDJSON] = "ndjson"};
    const char *word = following->values[OPTION_OUTPUT];
    following->form = isatty(STDOUT_FILENO) ? FORM_TEXT : FORM_NDJSON;
    if (following->values[OPTION_JSON] != NULL) {
        following->form = FORM_NDJSON;
    }
    for (unsigned i = 0; word != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], word) == 0) {
            following->form = (enum form)i;
        }
    }
    following->with_headers = following->values[OPTION_WEBHOOK_HEADERS] != NULL;
    if (following->with_headers && following->form == FORM_TEXT) {
        following->form = FORM_NDJSON;
    }
}

static bool read_secrets(struct following *following, const struct option_repeats *repeats)
{
    struct delivery_options *to = &following->delivery_options;
    to->secrets = following->secrets;
    for (size_t i = 0; i < repeats->count; i++) {
        if (repeats->items[i].option == OPTION_SECRET_TEXT) {
            if (to->secret_count == WEBHOOK_SECRETS_MAX) {
                command_complain(following->command, "--webhook-secret: at most %d are taken",
                    WEBHOOK_SECRETS_MAX);
                return false;
            }
            following->secrets[to->secret_count++] = repeats->items[i].value;
        }
    }
    const char *variable = getenv("WEIR_WEBHOOK_SECRET");
    if (to->secret_count == 0 && variable != NULL && variable[0] != '\0') {
        following->secrets[to->secret_count++] = variable;
    }
    if (to->secret_count > 0) {
        return true;
    }
    if (!webhook_make_secret(following->secret)) {
        command_complain(following->command, "there are no random bytes for a secret");
        return false;
    }
    following->secrets[to->secret_count++] = following->secret;
    fprintf(stderr, "Webhook signing secret: %s\n", following->secret);
    return true;
}

static bool is_usable_id(const char *id)
{
    size_t len = strlen(id);
    bool usable = len > 0 && len < EVENT_ID_SIZE;
    for (const char *at = id; *at != '\0'; at++) {
        usable = usable && *at > ' ' && *at <= '~'; // it becomes a header
    }
    return usable;
}

static bool read_webhook_id(struct following *following)
{
    const char *id = following->values[OPTION_WEBHOOK_ID];
    if (id == NULL) {
        event_id_make("cli_we_", following->webhook_id);
    } else if (is_usable_id(id)) {
        snprintf(following->webhook_id, sizeof following->webhook_id, "%s", id);
    } else {
        command_complain(following->command,
            "--webhook-id is not usable; allowed: 1-%d plain characters without blanks",
            EVENT_ID_SIZE - 1);
        return false;
    }
    following->delivery_options.webhook_id = following->webhook_id;
    return true;
}

static bool check_url(struct following *following, const char *url)
{
    struct conf_url parts;
    bool ok = strlen(url) < DELIVERY_URL_SIZE &&
              conf_url_parse(slice_str(url), &parts) == WEIR_OK &&
              (slice_eq_nocase(parts.scheme, SLICE("http")) ||
                  slice_eq_nocase(parts.scheme, SLICE("https")));
    if (!ok) {
        command_complain(following->command,
            "the URL to send events to is none; allowed: http://... and "
            "https://...");
    }
    return ok;
}

// Where events go: --forward-to URL, --webhook=URL, or --webhook URL. word: what stands alone.
static bool read_target(
    struct following *following, const char *word, const struct option_repeats *repeats)
{
    const char *const *values = following->values;
    struct delivery_options *to = &following->delivery_options;
    const char *webhook = values[OPTION_WEBHOOK];
    const char *urls[] = {
        values[OPTION_FORWARD_TO], webhook != NULL && webhook[0] != '\0' ? webhook : NULL, word};
    *to = (struct delivery_options){
        .signed_shape = webhook != NULL,
        .ca_file = values[OPTION_CA_FILE],
        .insecure = values[OPTION_INSECURE] != NULL,
        .retry = values[OPTION_RETRY] == NULL || values[OPTION_RETRY][0] == '1',
        .retry_for_ns = RETRY_FOR_NS,
        .room = on_room,
        .failed = on_delivery_failed,
        .retrying = on_retrying,
        .arg = following,
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        if (urls[i] != NULL && to->url != NULL) {
            command_complain(following->command, "there is more than one URL to send events to");
            return false;
        }
        to->url = urls[i] != NULL ? urls[i] : to->url;
    }
    if (word != NULL && webhook == NULL) {
        command_complain(following->command, "\"%s\" is not understood", word);
        return false;
    }
    const char *retry_for = values[OPTION_RETRY_FOR];
    if (retry_for != NULL &&
        yml_duration_text(slice_str(retry_for), &to->retry_for_ns) != WEIR_OK) {
        command_complain(following->command,
            "--retry-for \"%s\" is not usable; allowed: a time like 30s, 10m or 24h", retry_for);
        return false;
    }
    following->forwards = to->url != NULL;
    if (following->with_headers && !to->signed_shape) {
        command_complain(following->command, "--include-webhook-headers wants --webhook");
        return false;
    }
    if (following->forwards && !check_url(following, to->url)) {
        return false;
    }
    return !to->signed_shape || (read_secrets(following, repeats) && read_webhook_id(following));
}

static int follow(
    struct following *following, const char *word, const struct option_repeats *repeats)
{
    read_form(following);
    if (!read_types(following) || !read_filters(following, repeats)) {
        return EXIT_USAGE;
    }
    if (!profile_of_options(
            following->command, following->values, PROFILE_WANTS_ALL, &following->profile)) {
        return EXIT_CONFIG;
    }
    int exit_code = EXIT_USAGE;
    if (read_target(following, word, repeats)) {
        if (following->forwards && !following->delivery_options.signed_shape) {
            say(following->command, SAY_WARN,
                "events are sent unsigned: their receiver cannot "
                "tell who sent them (--webhook signs them)");
        }
        engine_api_init(&following->api, &following->profile);
        following->loop = (struct cli_loop){.start = start, .stop = stop, .arg = following};
        exit_code = cli_loop_run(&following->loop);
    }
    profile_fini(&following->profile);
    return exit_code;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *values[OPTION_COUNT] = {NULL};
    struct option_repeats repeats = {0};
    struct command_line line = {.values = values, .repeats = &repeats, .count_max = 1};
    int exit_code;
    if (!command_read(command, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    static struct following following; // large
    following = (struct following){.command = command, .values = values};
    exit_code = follow(&following, line.count == 0 ? NULL : argv[0], &repeats);
    free(following.params);
    return exit_code;
}

static const struct command_example examples[] = {
    {"events", "what happens, as long as somebody looks"},
    {"events --events tunnel.created,tunnel.deleted --json", "for a program: one event a line"},
    {"events --webhook http://127.0.0.1:8080/hook -o none", "as signed requests, and nothing else"},
    {"events --transport sse --tunnel-filter labels.env=prod", "of some tunnels only"},
    {NULL},
};

const struct command command_events = {
    .name = "events",
    .summary = "Show what happens at an engine, or pass it on to a webhook",
    .usage = "[--webhook URL]",
    .options = options,
    .run = run,
    .examples = examples,
    .about =
        "Types of events: state.initial (what is there, first), client.created, client.updated, "
        "client.deleted, tunnel.created, tunnel.updated, tunnel.deleted.\n\nA connection that is "
        "lost is made again. What happened in between is found by comparing, and told as events "
        "with \"catch_up\": true; behind them " GAP_TYPE " says how long nothing was heard.\n\n"
        "An event that is passed on is sent again until it is acknowledged with 2xx, in order, and "
        "never again afterwards. 4xx other than 408, 425 and 429, and redirects to other hosts, "
        "end the command. Webhooks get client.created, client.deleted, tunnel.created and "
        "tunnel.deleted only.",
};
