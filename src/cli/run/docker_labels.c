// SPDX-License-Identifier: Apache-2.0
// Each tunnel is written as an item of a file and read alone first; those that can be used become
// one file. The oldest container comes first, so that of two with one name the older keeps it.
#include "cli/run/docker_labels.h"

#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "cli/run/run_file_internal.h"
#include "conf/nearest.h"
#include "proto/json_write.h"

#define PREFIX "rstream.tunnel."
#define PLAIN_LABEL "label."
#define CONTEXT_LABEL "rstream.context"
#define ITEM_MAX (64 * 1024)
#define HEAD "{\"version\":1,\"tunnels\":["
#define TAIL "]}"

enum shape { TEXT, SWITCH, LIST };

static const struct row {
    const char *label;
    const char *map;
    const char *key;
    enum shape shape;
} rows[] = {
#define DOCKER_LABEL(label, map, key, shape) {label, map, key, shape},
#include "cli/run/docker_labels.def"
#undef DOCKER_LABEL
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

struct container {
    const char *name;
    const json_t *labels;
    const json_t *all; // of the list
};

struct reading {
    const struct docker_rules *rules;
    uint64_t wall_ms;
    struct buf *out;
    struct conf_problems *problems;
    json_t *taken; // names of tunnels, and whose they are
    size_t count;
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key)); // NULL for what is none
}

// ---- One tunnel

static const char *label_of(
    const struct container *container, struct slice tunnel, const char *label)
{
    char key[512];
    int len = snprintf(key, sizeof key, PREFIX "%.*s.%s", SLICE_ARG(tunnel), label);
    return len > 0 && (size_t)len < sizeof key ? text_of(container->labels, key) : NULL;
}

// ${ is not a variable here.
static void write_text(struct json_writer *writer, const char *key, struct slice text)
{
    struct buf plain = BUF_INIT(ITEM_MAX);
    while (text.len > 0) {
        buf_append_str(&plain, slice_starts_with(text, SLICE("${")) ? "$" : "");
        buf_append_byte(&plain, text.at[0]);
        text = slice_skip(text, 1);
    }
    jsonw_string(writer, key, buf_slice(&plain));
    writer->out->failed |= plain.failed;
    buf_reset(&plain);
}

static void write_list(struct json_writer *writer, const char *key, struct slice words)
{
    struct slice word;
    jsonw_array_begin(writer, key);
    while (words.len > 0 && slice_split(&words, ',', &word)) {
        write_text(writer, NULL, slice_trim(word));
    }
    jsonw_array_end(writer);
}

static void write_rows(struct json_writer *writer, const struct container *container,
    struct slice tunnel, const char *map)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *value =
            strcmp(rows[i].map, map) == 0 ? label_of(container, tunnel, rows[i].label) : NULL;
        enum weir_tunnel_switch yes;
        if (value != NULL && rows[i].shape == LIST) {
            write_list(writer, rows[i].key, slice_str(value));
        } else if (value != NULL && rows[i].shape == SWITCH && run_switch(value, &yes)) {
            jsonw_bool(writer, rows[i].key, yes == WEIR_TUNNEL_YES);
        } else if (value != NULL) {
            write_text(writer, rows[i].key, slice_str(value));
        }
    }
}

static bool has_any(const struct container *container, struct slice tunnel, const char *front)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (slice_starts_with(slice_str(rows[i].label), slice_str(front)) &&
            label_of(container, tunnel, rows[i].label) != NULL) {
            return true;
        }
    }
    return false;
}

static void write_map(struct json_writer *writer, const struct container *container,
    struct slice tunnel, const char *map)
{
    jsonw_object_begin(writer, map);
    write_rows(writer, container, tunnel, map);
    jsonw_object_end(writer);
}

static void write_labels(
    struct json_writer *writer, const struct container *container, struct slice tunnel)
{
    char front[512];
    const char *key;
    json_t *value;
    snprintf(front, sizeof front, PREFIX "%.*s." PLAIN_LABEL, SLICE_ARG(tunnel));
    jsonw_object_begin(writer, "labels");
    json_object_foreach((json_t *)(uintptr_t)container->labels, key, value)
    {
        if (strncmp(key, front, strlen(front)) == 0 && json_is_string(value)) {
            write_text(writer, key + strlen(front), slice_str(json_string_value(value)));
        }
    }
    jsonw_object_end(writer);
}

static void write_properties(
    struct json_writer *writer, const struct container *container, struct slice tunnel)
{
    jsonw_object_begin(writer, "tunnel");
    if (label_of(container, tunnel, "publish") == NULL) {
        jsonw_bool(writer, "publish", true);
    }
    write_rows(writer, container, tunnel, "tunnel");
    write_labels(writer, container, tunnel);
    if (has_any(container, tunnel, "http.")) {
        jsonw_object_begin(writer, "http");
        write_rows(writer, container, tunnel, "http");
        write_map(writer, container, tunnel, "auth");
        write_map(writer, container, tunnel, "gate");
        jsonw_object_end(writer);
    }
    if (has_any(container, tunnel, "tls.")) {
        write_map(writer, container, tunnel, "tls");
    }
    jsonw_object_end(writer);
}

// NULL: it has none there.
static const char *address_of(const struct container *container, const char *network)
{
    const json_t *host = json_object_get(container->all, "HostConfig");
    const char *mode = text_of(host, "NetworkMode");
    const char *name;
    json_t *one;
    if (mode != NULL && strcmp(mode, "host") == 0) {
        return "127.0.0.1";
    }
    json_t *networks =
        json_object_get(json_object_get(container->all, "NetworkSettings"), "Networks");
    json_object_foreach(networks, name, one)
    {
        const char *ip = text_of(one, "IPAddress");
        if (ip != NULL && ip[0] != '\0' && (network == NULL || strcmp(network, name) == 0)) {
            return ip;
        }
    }
    return NULL;
}

static bool write_forward(struct reading *reading, struct json_writer *writer,
    const struct container *container, struct slice tunnel)
{
    const char *forward = label_of(container, tunnel, "forward");
    const char *network = reading->rules->network;
    char place[512];
    if (forward == NULL) {
        conf_error(reading->problems,
            "container %s: tunnel %.*s: the label " PREFIX
            "%.*s.forward is missing; allowed: PORT or HOST:PORT",
            container->name, SLICE_ARG(tunnel), SLICE_ARG(tunnel));
        return false;
    }
    if (forward[0] == '\0' || strspn(forward, "0123456789") != strlen(forward)) {
        write_text(writer, "forward", slice_str(forward));
        return true;
    }
    const char *address = address_of(container, network);
    if (address == NULL) {
        conf_error(reading->problems,
            "container %s: tunnel %.*s: no address%s%s; name another "
            "network, or write HOST:PORT",
            container->name, SLICE_ARG(tunnel), network == NULL ? "" : " in the network ",
            network == NULL ? "" : network);
        return false;
    }
    snprintf(place, sizeof place, "%s:%s", address, forward);
    write_text(writer, "forward", slice_str(place));
    return true;
}

static bool write_context(
    struct reading *reading, struct json_writer *writer, const struct container *container)
{
    const char *said = text_of(container->labels, CONTEXT_LABEL);
    const char *context = said == NULL ? reading->rules->default_context : said;
    if (said != NULL && !reading->rules->allow_contexts) {
        conf_error(reading->problems,
            "container %s: the label " CONTEXT_LABEL
            " chooses an engine; it may with --docker-allow-context-labels",
            container->name);
        return false;
    }
    if (context != NULL) {
        write_text(writer, "context", slice_str(context));
    }
    return true;
}

// ---- What is wrong with it

static bool check_label(struct reading *reading, const struct container *container,
    struct slice tunnel, const char *label)
{
    const char *known[ROW_COUNT + 1] = {"forward"};
    for (size_t i = 0; i < ROW_COUNT; i++) {
        known[i + 1] = rows[i].label;
    }
    for (size_t i = 0; i < ROW_COUNT + 1; i++) {
        if (strcmp(known[i], label) == 0) {
            return true;
        }
    }
    const char *meant = conf_nearest(slice_str(label), known, ROW_COUNT + 1);
    conf_error(reading->problems, "container %s: there is no label " PREFIX "%.*s.%s%s%s%s",
        container->name, SLICE_ARG(tunnel), label, meant == NULL ? "" : "; did you mean ",
        meant == NULL ? "" : meant, meant == NULL ? "" : "?");
    return false;
}

static bool check_labels(
    struct reading *reading, const struct container *container, struct slice tunnel)
{
    char front[512];
    const char *key;
    json_t *value;
    bool good = true;
    snprintf(front, sizeof front, PREFIX "%.*s.", SLICE_ARG(tunnel));
    json_object_foreach((json_t *)(uintptr_t)container->labels, key, value)
    {
        if (strncmp(key, front, strlen(front)) == 0 &&
            strncmp(key + strlen(front), PLAIN_LABEL, strlen(PLAIN_LABEL)) != 0) {
            good = check_label(reading, container, tunnel, key + strlen(front)) && good;
        }
    }
    return good;
}

// Reads it as a file of its own.
static bool try_item(struct reading *reading, const struct container *container, struct slice item)
{
    const struct docker_rules *rules = reading->rules;
    struct buf text = BUF_INIT(ITEM_MAX + sizeof HEAD + sizeof TAIL);
    struct run_plan plan = {0};
    struct conf_problems found;
    struct slice line;
    buf_append_str(&text, HEAD);
    buf_append_slice(&text, item);
    buf_append_str(&text, TAIL);
    conf_problems_init(&found);
    const struct run_text whole = {buf_slice(&text), "labels", RUN_SOURCE_DOCKER};
    bool good = !text.failed && run_plan_parse(&whole, rules->ask, rules->variables,
                                    reading->wall_ms, &plan, &found);
    struct slice rest = buf_slice(&found.errors);
    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        conf_error(reading->problems, "container %s: %.*s", container->name, SLICE_ARG(line));
    }
    run_plan_close(&plan);
    conf_problems_fini(&found);
    buf_reset(&text);
    return good;
}

static bool write_item(struct reading *reading, const struct container *container,
    struct slice tunnel, struct buf *item)
{
    struct json_writer writer;
    char name[256];
    json_writer_init(&writer, item);
    jsonw_object_begin(&writer, NULL);
    snprintf(name, sizeof name, "%.*s", SLICE_ARG(tunnel));
    write_text(&writer, "name", slice_str(name));
    bool good = check_labels(reading, container, tunnel) &&
                write_forward(reading, &writer, container, tunnel) &&
                write_context(reading, &writer, container);
    if (good) {
        write_properties(&writer, container, tunnel);
    }
    jsonw_object_end(&writer);
    return good;
}

static void add_tunnel(
    struct reading *reading, const struct container *container, struct slice tunnel)
{
    struct buf item = BUF_INIT(ITEM_MAX);
    if (!write_item(reading, container, tunnel, &item)) {
        buf_reset(&item);
        return;
    }
    if (item.failed) {
        conf_error(reading->problems, "container %s: tunnel %.*s: its labels are too large",
            container->name, SLICE_ARG(tunnel));
    } else if (try_item(reading, container, buf_slice(&item))) {
        buf_append_str(reading->out, reading->count++ == 0 ? "" : ",");
        buf_append_slice(reading->out, buf_slice(&item));
    }
    buf_reset(&item);
}

// ---- All of them

static void read_container(struct reading *reading, const struct container *container)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)container->labels, key, value)
    {
        struct slice rest = slice_skip(slice_str(key), strlen(PREFIX));
        struct slice name;
        char text[256];
        if (strncmp(key, PREFIX, strlen(PREFIX)) != 0 || !slice_split(&rest, '.', &name) ||
            rest.at == NULL || !slice_to_text(name, text, sizeof text)) {
            continue;
        }
        const json_t *owner = json_object_get(reading->taken, text);
        if (owner == NULL) {
            (void)json_object_set_new(reading->taken, text, json_string(container->name));
            add_tunnel(reading, container, name);
        } else if (strcmp(json_string_value(owner), container->name) != 0) {
            (void)json_object_set_new(reading->taken, text, json_string(container->name));
            conf_error(reading->problems, "container %s: tunnel %s is another container's, too",
                container->name, text);
        }
    }
}

static bool is_list(const json_t *list)
{
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        good = json_is_object(json_array_get(list, i));
    }
    return good;
}

bool docker_labels_read(struct slice text, const struct docker_rules *rules, uint64_t wall_ms,
    struct buf *out, struct conf_problems *problems, size_t *ret_count)
{
    json_t *list = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    struct reading reading = {rules, wall_ms, out, problems, json_object(), 0};
    bool good = is_list(list) && reading.taken != NULL;
    buf_append_str(out, HEAD);
    for (size_t left = good ? json_array_size(list) : 0; left > 0; left--) {
        const json_t *one = json_array_get(list, left - 1); // the newest come first
        const char *name = json_string_value(json_array_get(json_object_get(one, "Names"), 0));
        const struct container container = {
            .name = name == NULL ? "?" : name + (name[0] == '/'),
            .labels = json_object_get(one, "Labels"),
            .all = one,
        };
        read_container(&reading, &container);
    }
    buf_append_str(out, TAIL);
    if (!good || out->failed) {
        conf_error(problems, !good ? "what answers is no engine of containers: no list of them"
                                   : "there are too many tunnels, or too little memory");
    }
    *ret_count = reading.count;
    json_decref(reading.taken);
    json_decref(list);
    return good && !out->failed;
}
