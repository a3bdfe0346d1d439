// SPDX-License-Identifier: Apache-2.0
// From libyaml's events to a tree. Open mappings and sequences are frames on a stack; every event
// makes a node, and the frame on top says where it goes: root, item, key or value.
//
//   event ──> new_node ──> place_node ──> frame on top: item │ key │ value │ merge source
//                 alias ──> copy_node ──^      end of a mapping: merge, order, refuse doubles
//
// Invariants:
// 1. A node is in the tree once; an alias makes a copy. So a path is unique, and the tree is freed
//    as a whole.
// 2. Nodes, copies included, are counted before they are made; nothing grows without a limit.
// 3. The index of a finished mapping is ordered by key and holds no key twice.
// 4. After a refusal that is not the end, the tree is whole without what was refused.
// 5. A frame that takes no value (its key was refused) still reads it: mistakes inside are found.
#include "conf/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "conf/libyaml.h"
#include "sys/file.h"

#define ANCHORS_MAX 1024 // they are searched one by one
#define DROPPED SIZE_MAX // position of a child that leaves its mapping

const struct yml_limits yml_limits_default = {
    .bytes_max = (size_t)16 << 20,
    .nodes_max = 250000,
    .aliases_max = 20000,
    .depth_max = 64,
};

struct frame {
    struct yml_node *node; // open
    struct yml_node **tail;
    struct yml_node *key;   // waits for its value; NULL: none does
    struct yml_node *merge; // the value of "<<"; not among the children
    bool key_refused;
};

struct anchor {
    struct anchor *older;
    struct slice name;
    const struct yml_node *node;
};

struct reader {
    yaml_parser_t parser;
    struct slice text;
    const struct yml_limits *limits;
    struct yml_document *document;
    struct conf_problems *problems;
    struct frame *frames; // owned; limits->depth_max of them
    struct anchor *anchors;
    size_t anchor_count;
    size_t alias_count;
    size_t node_count;
    unsigned depth;          // frames in use
    enum weir_result result; // WEIR_OK while the reading goes on
    bool refused;            // something was, and the reading went on
    bool had_document;
};

// ---- Mistakes

static struct yml_place place_of(yaml_mark_t mark)
{
    return (struct yml_place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static void report(struct reader *reader, struct yml_place at, const char *message)
{
    conf_error(
        reader->problems, "%s:%u:%u: %s", reader->document->file, at.line, at.column, message);
}

// Ends the reading.
static void stop(struct reader *reader, struct yml_place at, const char *message)
{
    report(reader, at, message);
    reader->result = WEIR_MALFORMED;
}

static void stop_at_limit(struct reader *reader, struct yml_place at, const char *what, size_t max)
{
    char message[128];
    snprintf(message, sizeof message, "%s; at most %zu are read", what, max);
    stop(reader, at, message);
}

static void refuse(struct reader *reader, const struct yml_node *node, const char *message)
{
    yml_error(reader->document, node, reader->problems, "%s", message);
    reader->refused = true;
}

static void *take_memory(struct reader *reader, size_t size)
{
    void *memory = arena_alloc(&reader->document->arena, size);
    if (memory == NULL) {
        reader->result = WEIR_MEMORY;
    }
    return memory;
}

static bool take_text(struct reader *reader, struct slice text, struct slice *ret_copy)
{
    const char *copy = arena_copy(&reader->document->arena, text);
    if (copy == NULL) {
        reader->result = WEIR_MEMORY;
        return false;
    }
    *ret_copy = slice_of(copy, text.len);
    return true;
}

// ---- Nodes

static struct yml_node *new_node(struct reader *reader, enum yml_kind kind, struct yml_place at)
{
    if (reader->node_count == reader->limits->nodes_max) {
        stop_at_limit(
            reader, at, "too many values, those behind aliases counted", reader->limits->nodes_max);
        return NULL;
    }
    struct yml_node *node = take_memory(reader, sizeof *node);
    if (node == NULL) {
        return NULL;
    }
    reader->node_count++;
    node->kind = kind;
    node->at = at;
    node->key = SLICE_EMPTY;
    node->text = SLICE_EMPTY;
    node->plain = kind == YML_SCALAR; // null, until something else is said
    return node;
}

static void add_child(struct yml_node *parent, struct yml_node ***tail, struct yml_node *child)
{
    child->parent = parent;
    child->position = parent->count++;
    child->next = NULL;
    **tail = child;
    *tail = &child->next;
}

static void take_key(struct reader *reader, struct frame *frame, struct yml_node *node)
{
    frame->key = node;
    frame->key_refused = node->kind != YML_SCALAR || (node->plain && node->text.len == 0);
    if (frame->key_refused) {
        report(reader, node->at,
            node->kind == YML_SCALAR ? "a value without a key"
                                     : "a map or a list stands where a key is wanted");
        reader->refused = true;
    }
}

static void take_value(struct reader *reader, struct frame *frame, struct yml_node *node)
{
    struct yml_node *key = frame->key;
    frame->key = NULL;
    node->parent = frame->node;
    node->key = key->text;
    node->key_at = key->at;
    if (frame->key_refused) {
        return;
    }
    if (!key->plain || !slice_eq(key->text, SLICE("<<"))) {
        add_child(frame->node, &frame->tail, node);
    } else if (frame->merge == NULL) {
        frame->merge = node;
    } else {
        refuse(reader, node, "the key is there twice");
    }
}

static void place_node(struct reader *reader, struct yml_node *node)
{
    if (reader->depth == 0) {
        reader->document->root = node;
        return;
    }
    struct frame *frame = &reader->frames[reader->depth - 1];
    if (frame->node->kind == YML_SEQUENCE) {
        add_child(frame->node, &frame->tail, node);
    } else if (frame->key == NULL) {
        take_key(reader, frame, node);
    } else {
        take_value(reader, frame, node);
    }
}

// ---- The end of a mapping

static int compare_keys(const void *a, const void *b)
{
    const struct yml_node *left = *(struct yml_node *const *)a;
    const struct yml_node *right = *(struct yml_node *const *)b;
    int order = slice_compare(left->key, right->key);
    return order != 0 ? order
                      : (left->position > right->position) - (left->position < right->position);
}

// Fills node->index, ordered by key, then by position.
static bool order_children(struct reader *reader, struct yml_node *node)
{
    size_t count = 0;
    node->index = take_memory(reader, (node->count + 1) * sizeof *node->index);
    if (node->index == NULL) {
        return false;
    }
    for (struct yml_node *child = node->first; child != NULL; child = child->next) {
        node->index[count++] = child;
    }
    qsort(node->index, count, sizeof *node->index, compare_keys);
    return true;
}

static void relink_children(struct yml_node *node)
{
    struct yml_node **tail = &node->first;
    struct yml_node *next;
    node->count = 0;
    for (struct yml_node *child = node->first; child != NULL; child = next) {
        next = child->next;
        if (child->position != DROPPED) {
            add_child(node, &tail, child);
        }
    }
    *tail = NULL;
}

// Of equal keys the first stays; what a merge key brought gives way without a word.
static void drop_doubles(struct reader *reader, struct yml_node *node)
{
    struct yml_node **index = node->index;
    size_t kept = 0;
    for (size_t i = 0; i < node->count; i++) {
        if (kept == 0 || !slice_eq(index[kept - 1]->key, index[i]->key)) {
            index[kept++] = index[i];
            continue;
        }
        if (!index[i]->merged) {
            yml_key_error(reader->document, index[i], reader->problems,
                "the key is there twice; the first is in line %u", index[kept - 1]->key_at.line);
            reader->refused = true;
        }
        index[i]->position = DROPPED;
    }
    if (kept < node->count) {
        relink_children(node);
    }
}

// A copy of the tree below node for a place under depth open nodes; NULL when the reading ended.
static struct yml_node *copy_node(
    struct reader *reader, const struct yml_node *node, struct yml_place at, unsigned depth)
{
    if (node->kind != YML_SCALAR && depth == reader->limits->depth_max) {
        stop_at_limit(reader, at, "an alias goes too deep", reader->limits->depth_max);
        return NULL;
    }
    struct yml_node *copy = new_node(reader, node->kind, at);
    if (copy == NULL) {
        return NULL;
    }
    struct yml_node **tail = &copy->first;
    copy->key = node->key;
    copy->key_at = node->key_at;
    copy->at = node->at;
    copy->text = node->text;
    copy->plain = node->plain;
    copy->merged = node->merged;
    yml_for_each (child, node) {
        struct yml_node *child_copy = copy_node(reader, child, at, depth + 1);
        if (child_copy == NULL) {
            return NULL;
        }
        add_child(copy, &tail, child_copy);
    }
    return copy->kind != YML_MAPPING || order_children(reader, copy) ? copy : NULL;
}

// Copies: an anchor may name the source, and aliases of it may follow.
static void merge_mapping(struct reader *reader, struct frame *frame, const struct yml_node *source)
{
    yml_for_each (child, source) {
        struct yml_node *copy = copy_node(reader, child, source->at, reader->depth + 1);
        if (copy == NULL) {
            return;
        }
        copy->merged = true;
        add_child(frame->node, &frame->tail, copy);
    }
}

static void merge(struct reader *reader, struct frame *frame)
{
    const struct yml_node *source = frame->merge;
    const struct yml_node *maps = source->kind == YML_SEQUENCE ? source->first : source;
    for (; maps != NULL; maps = maps->next) {
        if (maps->kind == YML_MAPPING) {
            merge_mapping(reader, frame, maps);
        } else {
            refuse(reader, maps, "a merge key wants a map or a list of maps");
        }
    }
}

static void close_node(struct reader *reader)
{
    struct frame *frame = &reader->frames[--reader->depth];
    if (frame->node->kind != YML_MAPPING) {
        return;
    }
    if (frame->merge != NULL) {
        merge(reader, frame);
    }
    if (order_children(reader, frame->node)) {
        drop_doubles(reader, frame->node);
    }
}

// ---- Aliases

static void set_anchor(struct reader *reader, const yaml_char_t *name, struct yml_node *node)
{
    if (name == NULL) {
        return;
    }
    if (reader->anchor_count++ == ANCHORS_MAX) {
        stop_at_limit(reader, node->at, "too many anchors", ANCHORS_MAX);
        return;
    }
    struct anchor *anchor = take_memory(reader, sizeof *anchor);
    if (anchor != NULL && take_text(reader, slice_str((const char *)name), &anchor->name)) {
        anchor->node = node;
        anchor->older = reader->anchors;
        reader->anchors = anchor;
    }
}

static const struct yml_node *find_anchor(const struct reader *reader, struct slice name)
{
    const struct anchor *anchor = reader->anchors;
    while (anchor != NULL && !slice_eq(anchor->name, name)) {
        anchor = anchor->older;
    }
    return anchor == NULL ? NULL : anchor->node;
}

static bool is_open(const struct reader *reader, const struct yml_node *node)
{
    for (unsigned i = 0; i < reader->depth; i++) {
        if (reader->frames[i].node == node) {
            return true;
        }
    }
    return false;
}

static void on_alias(struct reader *reader, const yaml_event_t *event)
{
    struct slice name = slice_str((const char *)event->data.alias.anchor);
    struct yml_place at = place_of(event->start_mark);
    const struct yml_node *original = find_anchor(reader, name);
    struct yml_node *node;
    if (reader->alias_count++ == reader->limits->aliases_max) {
        stop_at_limit(reader, at, "too many aliases", reader->limits->aliases_max);
        return;
    }
    if (original != NULL && !is_open(reader, original)) {
        node = copy_node(reader, original, at, reader->depth);
    } else {
        report(reader, at,
            original == NULL ? "an alias of what has no anchor before it"
                             : "an alias stands inside of what it names");
        reader->refused = true;
        node = new_node(reader, YML_SCALAR, at);
    }
    if (node != NULL) {
        place_node(reader, node);
    }
}

// ---- Other events

// What a tag says about a node. A tag that is not known is refused, and then taken for none.
static void apply_tag(struct reader *reader, const yaml_char_t *tag, struct yml_node *node)
{
    static const struct {
        const char *tag;
        enum yml_kind kind;
        bool plain;
    } tags[] = {
        {"!", YML_SCALAR, false},
        {"!", YML_SEQUENCE, false},
        {"!", YML_MAPPING, false},
        {YAML_STR_TAG, YML_SCALAR, false},
        {YAML_NULL_TAG, YML_SCALAR, true},
        {YAML_BOOL_TAG, YML_SCALAR, true},
        {YAML_INT_TAG, YML_SCALAR, true},
        {YAML_FLOAT_TAG, YML_SCALAR, true},
        {YAML_SEQ_TAG, YML_SEQUENCE, false},
        {YAML_MAP_TAG, YML_MAPPING, false},
    };
    if (tag == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (tags[i].kind == node->kind && strcmp(tags[i].tag, (const char *)tag) == 0) {
            node->plain = tags[i].plain;
            return;
        }
    }
    char message[160];
    snprintf(message, sizeof message, "the tag \"%.80s\" is not known, or not for %s", tag,
        yml_kind_text(node));
    report(reader, node->at, message);
    reader->refused = true;
}

static void on_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct slice text = slice_of((const char *)event->data.scalar.value, event->data.scalar.length);
    struct yml_node *node = new_node(reader, YML_SCALAR, place_of(event->start_mark));
    if (node == NULL || !take_text(reader, text, &node->text)) {
        return;
    }
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    apply_tag(reader, event->data.scalar.tag, node);
    set_anchor(reader, event->data.scalar.anchor, node);
    place_node(reader, node);
}

static void open_node(struct reader *reader, const yaml_event_t *event, enum yml_kind kind)
{
    bool mapping = kind == YML_MAPPING;
    struct yml_place at = place_of(event->start_mark);
    if (reader->depth == reader->limits->depth_max) {
        stop_at_limit(
            reader, at, "too many maps and lists inside one another", reader->limits->depth_max);
        return;
    }
    struct yml_node *node = new_node(reader, kind, at);
    if (node == NULL) {
        return;
    }
    apply_tag(
        reader, mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag, node);
    set_anchor(reader,
        mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, node);
    place_node(reader, node);
    reader->frames[reader->depth++] = (struct frame){.node = node, .tail = &node->first};
}

static void on_document(struct reader *reader, const yaml_event_t *event)
{
    if (reader->had_document) {
        stop(reader, place_of(event->start_mark), "a second document; a file may hold one");
    }
    reader->had_document = true;
}

static void on_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        on_document(reader, event);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(reader, event);
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        open_node(reader, event, YML_SEQUENCE);
        break;
    case YAML_MAPPING_START_EVENT:
        open_node(reader, event, YML_MAPPING);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_node(reader);
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
}

// ---- Syntax

static struct yml_place place_of_offset(struct slice text, size_t offset)
{
    struct yml_place at = {1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.at[i] == '\n') {
            at = (struct yml_place){at.line + 1, 1};
        } else if (((unsigned char)text.at[i] & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

// Whether the character at a place is a tab: the usual reason why a line does not start well.
static bool is_tab(struct slice text, struct yml_place at)
{
    struct slice line = SLICE_EMPTY;
    for (unsigned i = 0; i < at.line; i++) {
        if (!slice_split(&text, '\n', &line)) {
            return false;
        }
    }
    for (unsigned column = 1; line.len > 0 && column < at.column; column++) {
        size_t len = utf8_sequence_len(line);
        line = slice_skip(line, len == 0 ? 1 : len);
    }
    return line.len > 0 && line.at[0] == '\t';
}

static void stop_at_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    struct yml_place at = place_of(parser->problem_mark);
    char message[256];
    if (parser->error == YAML_MEMORY_ERROR) {
        reader->result = WEIR_MEMORY;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        stop(reader, place_of_offset(reader->text, parser->problem_offset), parser->problem);
        return;
    }
    if (is_tab(reader->text, at)) {
        stop(reader, at, "a tab stands here; YAML is indented with spaces");
        return;
    }
    snprintf(message, sizeof message, "%s", parser->problem);
    if (parser->context != NULL) {
        snprintf(message, sizeof message, "%s, %s from line %zu on", parser->problem,
            parser->context, parser->context_mark.line + 1);
    }
    stop(reader, at, message);
}

static bool is_readable(struct reader *reader)
{
    struct slice rest = reader->text;
    char message[96];
    if (rest.len > reader->limits->bytes_max) {
        snprintf(message, sizeof message, "the file is larger than %zu bytes",
            reader->limits->bytes_max);
        stop(reader, (struct yml_place){1, 1}, message);
        return false;
    }
    if (utf8_valid(rest)) {
        return true;
    }
    for (size_t len = utf8_sequence_len(rest); len > 0; len = utf8_sequence_len(rest)) {
        rest = slice_skip(rest, len);
    }
    stop(reader, place_of_offset(reader->text, reader->text.len - rest.len),
        "the bytes from here on are not UTF-8");
    return false;
}

static void read_events(struct reader *reader)
{
    yaml_event_type_t type = YAML_NO_EVENT;
    yaml_event_t event;
    while (reader->result == WEIR_OK && type != YAML_STREAM_END_EVENT) {
        if (!yaml.parser_parse(&reader->parser, &event)) {
            stop_at_syntax(reader);
            return;
        }
        type = event.type;
        on_event(reader, &event);
        yaml.event_delete(&event);
    }
}

static void read_text(struct reader *reader)
{
    char problem[128];
    if (libyaml_load(problem, sizeof problem) != WEIR_OK) {
        conf_error(reader->problems, "%s: %s", reader->document->file, problem);
        reader->result = WEIR_MALFORMED;
        return;
    }
    reader->frames = mem_zalloc((reader->limits->depth_max + 1) * sizeof *reader->frames);
    if (reader->frames == NULL || !yaml.parser_initialize(&reader->parser)) {
        reader->result = WEIR_MEMORY;
        return;
    }
    // Set, so that nothing is guessed from the first bytes.
    yaml.parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    // libyaml passes over a byte order mark, but then counts it as a column: what follows in the
    // first line would be indented deeper than its brothers.
    struct slice text = reader->text;
    if (slice_starts_with(text, SLICE("\xef\xbb\xbf"))) {
        text = slice_skip(text, 3);
    }
    yaml.parser_set_input_string(&reader->parser, (const unsigned char *)text.at, text.len);
    read_events(reader);
    yaml.parser_delete(&reader->parser);
}

// ---- Documents

// Room for every node with its index, its text and an anchor, and what chunks waste at their ends.
static size_t arena_bytes(const struct yml_limits *limits)
{
    return 2 * (limits->nodes_max * (sizeof(struct yml_node) + 128) + limits->bytes_max) + 65536;
}

static bool start_document(
    struct yml_document *document, const char *file, const struct yml_limits *limits)
{
    *document = (struct yml_document){0};
    arena_init(&document->arena, arena_bytes(limits));
    document->file = arena_copy(&document->arena, slice_str(file));
    return document->file != NULL;
}

enum weir_result yml_parse(struct slice text, const char *file, const struct yml_limits *limits,
    struct yml_document *ret_document, struct conf_problems *problems)
{
    struct reader reader = {
        .text = text,
        .limits = limits,
        .document = ret_document,
        .problems = problems,
    };
    if (!start_document(ret_document, file, limits)) {
        return WEIR_MEMORY;
    }
    if (is_readable(&reader)) {
        read_text(&reader);
    }
    mem_free(reader.frames);
    if (reader.result != WEIR_OK) {
        ret_document->root = NULL;
    }
    return reader.result == WEIR_OK && reader.refused ? WEIR_MALFORMED : reader.result;
}

enum weir_result yml_load(const char *path, const struct yml_limits *limits,
    struct yml_document *ret_document, struct conf_problems *problems)
{
    struct buf content = BUF_INIT(limits->bytes_max);
    enum weir_result result = sys_file_read(path, limits->bytes_max, &content);
    if (result == WEIR_OK) {
        result = yml_parse(buf_slice(&content), path, limits, ret_document, problems);
    } else {
        *ret_document = (struct yml_document){0};
        if (result == WEIR_TOO_LARGE) {
            conf_error(problems, "%s: the file is larger than %zu bytes", path, limits->bytes_max);
            result = WEIR_MALFORMED;
        } else if (result != WEIR_MEMORY) {
            conf_error(problems, "%s: cannot be read: %s", path, weir_result_text(result));
        }
    }
    buf_reset(&content);
    return result;
}

void yml_close(struct yml_document *document)
{
    arena_reset(&document->arena);
    document->root = NULL;
    document->file = NULL;
}
