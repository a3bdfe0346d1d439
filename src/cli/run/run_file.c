// SPDX-License-Identifier: Apache-2.0
// The tree is held against the table of keys first: unknown keys, wrong types, words that are none
// and variables that are not set are all found in one walk, each with its place. Only a tree
// without a mistake is made into tunnels.
#include "cli/run/run_file.h"

#include <stdio.h>
#include <strings.h>

#include "cli/run/run_file_internal.h"
#include "conf/nearest.h"
#include "sys/file.h"

#define FILE_BYTES_MAX (1024 * 1024)
#define ARENA_BYTES_MAX (16 * 1024 * 1024)
#define WORDS_MAX 32
#define VERSION_KNOWN "1"
#define CONTEXT_PATH "contexts.*"

static const struct yml_limits limits = {
    .bytes_max = FILE_BYTES_MAX,
    .nodes_max = 65536,
    .aliases_max = 1024,
    .depth_max = 16,
};

static const struct run_key {
    const char *path;
    enum run_type type;
    const char *choices;
} keys[] = {
#define RUN_KEY(path, type, choices) {path, RUN_##type, choices},
#include "cli/run/run_keys.def"
#undef RUN_KEY
};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

// ---- Variables

static enum weir_result append_variable(
    struct slice inside, const struct conf_source *variables, struct buf *out, char *name)
{
    struct slice fallback = {NULL, 0};
    struct slice word = inside;
    for (size_t i = 0; i + 1 < inside.len; i++) {
        if (inside.at[i] == ':' && inside.at[i + 1] == '-') {
            word = slice_of(inside.at, i);
            fallback = slice_skip(inside, i + 2);
            break;
        }
    }
    if (word.len == 0 || !slice_to_text(word, name, RUN_VARIABLE_SIZE)) {
        return WEIR_MALFORMED;
    }
    const char *value = variables->get(variables->arg, name);
    if (value != NULL && (value[0] != '\0' || fallback.at == NULL)) {
        return buf_append_str(out, value);
    }
    return fallback.at == NULL ? WEIR_NOT_FOUND : buf_append_slice(out, fallback);
}

static enum weir_result expand_into(
    struct slice text, const struct conf_source *variables, struct buf *out, char *name)
{
    enum weir_result result = WEIR_OK;
    while (text.len > 0 && result == WEIR_OK) {
        if (slice_starts_with(text, SLICE("$${"))) {
            result = buf_append_str(out, "${");
            text = slice_skip(text, 3);
        } else if (slice_starts_with(text, SLICE("${"))) {
            ptrdiff_t end = slice_find(text, '}');
            if (end < 0) {
                return WEIR_MALFORMED;
            }
            result = append_variable(slice_of(text.at + 2, (size_t)end - 2), variables, out, name);
            text = slice_skip(text, (size_t)end + 1);
        } else {
            result = buf_append_byte(out, text.at[0]);
            text = slice_skip(text, 1);
        }
    }
    return result;
}

enum weir_result run_expand(struct slice text, const struct conf_source *variables,
    struct arena *arena, const char **ret_text, char name[RUN_VARIABLE_SIZE])
{
    struct buf out = BUF_INIT(RUN_TEXT_LEN_MAX);
    name[0] = '\0';
    enum weir_result result = expand_into(text, variables, &out, name);
    if (result == WEIR_OK) {
        *ret_text = arena_copy(arena, buf_slice(&out));
        result = *ret_text == NULL ? WEIR_MEMORY : WEIR_OK;
    }
    buf_reset(&out);
    return result == WEIR_FULL ? WEIR_TOO_LARGE : result;
}

const char *run_text(struct run_reader *reader, const struct yml_node *node)
{
    struct slice text;
    const char *result = NULL;
    char name[RUN_VARIABLE_SIZE];
    const struct yml_document *document = &reader->file->document;
    if (yml_text(node, &text) != WEIR_OK) {
        return NULL;
    }
    enum weir_result expanded =
        run_expand(text, reader->variables, &reader->file->arena, &result, name);
    if (expanded == WEIR_NOT_FOUND) {
        yml_error(document, node, reader->problems,
            "the variable %s is not set; set it, or write ${%s:-default}", name, name);
    } else if (expanded == WEIR_MALFORMED) {
        yml_error(document, node, reader->problems,
            "a variable is ${NAME} or ${NAME:-default}; a literal ${ is $${");
    } else if (expanded != WEIR_OK) {
        yml_error(document, node, reader->problems, "longer than %d bytes", RUN_TEXT_LEN_MAX);
    }
    return result;
}

bool run_switch(const char *text, enum weir_tunnel_switch *ret_value)
{
    bool yes = strcasecmp(text, "true") == 0;
    *ret_value = yes ? WEIR_TUNNEL_YES : WEIR_TUNNEL_NO;
    return yes || strcasecmp(text, "false") == 0;
}

// ---- The table

static const struct run_key *find_key(const char *path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].path, path) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static bool has_star(const char *path)
{
    char below[YML_PATH_SIZE];
    snprintf(below, sizeof below, "%s.*", path);
    return find_key(below) != NULL;
}

// The path of a child in the table; an inline context has the keys of a named one.
static bool step(
    const char *path, const struct yml_node *child, bool in_list, char longer[YML_PATH_SIZE])
{
    const char *base = strcmp(path, "tunnels[].context") == 0 ? CONTEXT_PATH : path;
    const char *dot = base[0] == '\0' ? "" : ".";
    int len;
    if (in_list) {
        len = snprintf(longer, YML_PATH_SIZE, "%s[]", base);
    } else if (has_star(base)) {
        len = snprintf(longer, YML_PATH_SIZE, "%s.*", base);
    } else {
        len = snprintf(longer, YML_PATH_SIZE, "%s%s%.*s", base, dot, SLICE_ARG(child->key));
    }
    return len > 0 && len < YML_PATH_SIZE;
}

static void refuse_unknown(struct run_reader *reader, const char *path, const struct yml_node *node)
{
    const char *base = strcmp(path, "tunnels[].context") == 0 ? CONTEXT_PATH : path;
    const char *siblings[WORDS_MAX];
    size_t count = 0;
    size_t len = strlen(base);
    for (size_t i = 0; i < KEY_COUNT && count < WORDS_MAX; i++) {
        const char *rest = keys[i].path + (len == 0 ? 0 : len + 1);
        bool below =
            len == 0 || (strncmp(keys[i].path, base, len) == 0 && keys[i].path[len] == '.');
        if (below && strpbrk(rest, ".[*") == NULL) {
            siblings[count++] = rest;
        }
    }
    const char *nearest = conf_nearest(node->key, siblings, count);
    yml_key_error(&reader->file->document, node, reader->problems, "there is no such key%s%s%s",
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?");
}

static bool refuse_kind(struct run_reader *reader, const struct yml_node *node, const char *allowed)
{
    yml_error(&reader->file->document, node, reader->problems, "found %s; allowed: %s",
        yml_kind_text(node), allowed);
    return false;
}

static void check_choice(
    struct run_reader *reader, const struct yml_node *node, const char *choices)
{
    const char *text = run_text(reader, node);
    struct slice rest = slice_str(choices);
    struct slice word;
    if (text == NULL) {
        return;
    }
    while (slice_split(&rest, '|', &word)) {
        if (slice_eq(word, slice_str(text))) {
            return;
        }
    }
    yml_error(
        &reader->file->document, node, reader->problems, "\"%s\" is none of %s", text, choices);
}

static void check_scalar(
    struct run_reader *reader, const struct run_key *key, const struct yml_node *node)
{
    enum weir_tunnel_switch value;
    struct slice plain;
    if (yml_text(node, &plain) != WEIR_OK || strlen(plain.at) != plain.len) {
        (void)refuse_kind(reader, node, key->choices == NULL ? "text" : key->choices);
        return;
    }
    if (key->type == RUN_CHOICE) {
        check_choice(reader, node, key->choices);
        return;
    }
    const char *text = run_text(reader, node);
    if (text == NULL) {
        return;
    }
    if (key->type == RUN_SWITCH && (!node->plain || !run_switch(text, &value))) {
        (void)refuse_kind(reader, node, "true or false");
    } else if (key->type == RUN_VERSION && strcmp(text, VERSION_KNOWN) != 0) {
        yml_error(&reader->file->document, node, reader->problems,
            "version \"%s\" is not known; allowed: " VERSION_KNOWN, text);
    }
}

static void check_texts(struct run_reader *reader, const struct yml_node *node, enum yml_kind kind)
{
    static const struct run_key item = {"", RUN_TEXT, NULL};
    if (!yml_is(node, kind)) {
        (void)refuse_kind(reader, node, kind == YML_MAPPING ? "a map of texts" : "a list of texts");
        return;
    }
    yml_for_each (child, node) {
        check_scalar(reader, &item, child);
    }
}

// What there is to check of the node itself; true: its children are to be checked by the table.
static bool check_type(
    struct run_reader *reader, const struct run_key *key, const struct yml_node *node)
{
    switch (key->type) {
    case RUN_MAP:
        return yml_is(node, YML_MAPPING) || refuse_kind(reader, node, "a map");
    case RUN_LIST:
        return yml_is(node, YML_SEQUENCE) || refuse_kind(reader, node, "a list");
    case RUN_CONTEXT:
        if (!yml_is(node, YML_MAPPING)) {
            check_scalar(reader, &(struct run_key){"", RUN_TEXT, NULL}, node);
        }
        return yml_is(node, YML_MAPPING);
    case RUN_TEXTS:
        check_texts(reader, node, YML_SEQUENCE);
        return false;
    case RUN_LABELS:
        check_texts(reader, node, YML_MAPPING);
        return false;
    case RUN_UNSUPPORTED:
        yml_key_error(&reader->file->document, node, reader->problems,
            "is none of weir's; what there is: mode, tls");
        return false;
    case RUN_VERSION:
    case RUN_TEXT:
    case RUN_SECRET:
    case RUN_CHOICE:
    case RUN_SWITCH:
        check_scalar(reader, key, node);
        return false;
    }
    return false;
}

static void check_node(struct run_reader *reader, const char *path, const struct yml_node *node)
{
    static const struct run_key root = {"", RUN_MAP, NULL};
    const struct run_key *key = path[0] == '\0' ? &root : find_key(path);
    if ((path[0] != '\0' && yml_is_null(node)) || !check_type(reader, key, node)) {
        return;
    }
    yml_for_each (child, node) {
        char longer[YML_PATH_SIZE];
        bool in_list = yml_is(node, YML_SEQUENCE);
        if (!step(path, child, in_list, longer) || find_key(longer) == NULL) {
            refuse_unknown(reader, path, child);
        } else {
            check_node(reader, longer, child); // the table bounds the depth
        }
    }
}

// ---- The whole

static bool read(struct run_reader *reader, enum weir_result parsed)
{
    struct run_file *file = reader->file;
    if (file->document.root == NULL) {
        if (parsed == WEIR_OK) {
            yml_error(&file->document, NULL, reader->problems,
                "the file is empty; it begins with version: 1");
        }
        return false;
    }
    check_node(reader, "", file->document.root);
    bool made = run_file_make(reader);
    if (file->arena.full || reader->problems->errors.failed) {
        yml_error(&file->document, NULL, reader->problems, "the file is too large");
    }
    return made && reader->problems->errors.len == 0;
}

bool run_file_parse(const struct run_text *text, const struct conf_source *variables,
    struct run_file *ret_file, struct conf_problems *problems)
{
    struct run_reader reader = {ret_file, variables, problems, text->source};
    *ret_file = (struct run_file){0};
    arena_init(&ret_file->arena, ARENA_BYTES_MAX);
    return read(&reader, yml_parse(text->text, text->path, &limits, &ret_file->document, problems));
}

bool run_file_load(const char *path, const struct conf_source *variables, struct run_file *ret_file,
    struct conf_problems *problems)
{
    struct run_reader reader = {ret_file, variables, problems, RUN_SOURCE_APPLY};
    *ret_file = (struct run_file){0};
    arena_init(&ret_file->arena, ARENA_BYTES_MAX);
    bool good = read(&reader, yml_load(path, &limits, &ret_file->document, problems));
    for (size_t i = 0; i < ret_file->context_count; i++) {
        const struct yml_node *token = yml_get(ret_file->contexts[i].node, SLICE("token"));
        if (token != NULL && slice_find(token->text, '$') < 0 && sys_file_is_public(path)) {
            yml_warning(&ret_file->document, token, problems,
                "everybody on this machine can read this token; chmod 600, or write ${NAME}");
        }
    }
    return good;
}

void run_file_close(struct run_file *file)
{
    yml_close(&file->document);
    arena_reset(&file->arena);
    *file = (struct run_file){0};
}

const struct run_tunnel *run_file_find(const struct run_file *file, const char *name)
{
    for (size_t i = 0; i < file->tunnel_count; i++) {
        if (file->tunnels[i].name != NULL && strcmp(file->tunnels[i].name, name) == 0) {
            return &file->tunnels[i];
        }
    }
    return NULL;
}
