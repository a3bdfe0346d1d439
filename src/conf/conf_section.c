// SPDX-License-Identifier: Apache-2.0
#include "conf/conf_section.h"

#include <ctype.h>
#include <stdio.h>

#include "conf/conf_internal.h"
#include "conf/nearest.h"

#define ARENA_BYTES_MAX (256 * 1024)
#define LIST_BYTES_MAX 65536
#define KEYS_MAX 256 // rows, and their other names

struct conf_section_value {
    const struct conf_section_value *next;
    const struct yml_node *node;
    const char *variable; // of a row
    const char *text;
};

// ---- Names

// "listen_port" of RELAY_LISTEN_PORT.
static void key_of(const char *variable, const char *prefix, char key[CONF_VARIABLE_SIZE])
{
    size_t len = strlen(prefix);
    const char *from = strncmp(variable, prefix, len) == 0 ? variable + len : variable;
    size_t i = 0;
    for (; from[i] != '\0' && i + 1 < CONF_VARIABLE_SIZE; i++) {
        key[i] = (char)tolower((unsigned char)from[i]);
    }
    key[i] = '\0';
}

static bool is_named(const struct yml_node *node, const char *variable, const char *prefix)
{
    char key[CONF_VARIABLE_SIZE];
    if (variable == NULL) {
        return false;
    }
    key_of(variable, prefix, key);
    return slice_eq(node->key, slice_str(key));
}

// The row that the key is about, by its name or its other one, which goes to *ret_variable.
static const struct conf_row *row_of(const struct yml_node *node, const char *prefix,
    const struct conf_row *rows, size_t count, const char **ret_variable)
{
    for (size_t i = 0; i < count; i++) {
        bool by_name = is_named(node, rows[i].name, prefix);
        if (by_name || is_named(node, rows[i].other, prefix)) {
            *ret_variable = by_name ? rows[i].name : rows[i].other;
            return &rows[i];
        }
    }
    return NULL;
}

static void refuse_key(const struct conf_section *section, const struct yml_node *node,
    const char *prefix, const struct conf_row *rows, size_t count, struct conf_problems *problems)
{
    char keys[KEYS_MAX][CONF_VARIABLE_SIZE];
    const char *known[KEYS_MAX];
    for (size_t i = 0; i < count; i++) {
        key_of(rows[i].name, prefix, keys[i]);
        known[i] = keys[i];
    }
    const char *nearest = conf_nearest(node->key, known, count);
    yml_key_error(section->document, node, problems, "there is no such key%s%s%s",
        nearest == NULL ? "" : "; is \"", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "\" meant?");
}

// ---- Values

static enum weir_result add_value(struct conf_section *section, const struct yml_node *node,
    const char *variable, struct slice text)
{
    struct conf_section_value *value = arena_alloc(&section->arena, sizeof *value);
    const char *copy = arena_copy(&section->arena, text);
    if (value == NULL || copy == NULL) {
        return WEIR_MEMORY;
    }
    *value = (struct conf_section_value){
        .next = section->values, .node = node, .variable = variable, .text = copy};
    section->values = value;
    return WEIR_OK;
}

static enum weir_result take_value(struct conf_section *section, const struct yml_node *node,
    const struct conf_row *row, const char *variable, struct conf_problems *problems)
{
    struct buf joined = BUF_INIT(LIST_BYTES_MAX);
    enum weir_result result = WEIR_OK;
    if (node->kind == YML_SCALAR) {
        result = add_value(section, node, variable, node->text);
    } else if (node->kind != YML_SEQUENCE || !conf_takes_list(row->type)) {
        yml_error(section->document, node, problems, "%s is not usable; allowed: one value",
            yml_kind_text(node));
    } else if (conf_join_list(section->document, node, &joined, problems)) {
        result = joined.failed ? WEIR_MEMORY
                               : add_value(section, node, variable, buf_slice(&joined));
    }
    buf_reset(&joined);
    return result;
}

// ---- As a source

static const struct conf_section_value *find(
    const struct conf_section *section, const char *variable)
{
    const struct conf_section_value *value = section->values;
    while (value != NULL && strcmp(value->variable, variable) != 0) {
        value = value->next;
    }
    return value;
}

// An empty variable does not hide what the file says, as it does not hide a default.
static const char *get_above(const struct conf_section *section, const char *name)
{
    const char *text = section->above->get(section->above->arg, name);
    return text == NULL || slice_trim(slice_str(text)).len == 0 ? NULL : text;
}

static const char *get(void *arg, const char *name)
{
    const struct conf_section *section = arg;
    const struct conf_section_value *value = find(section, name);
    const char *above = get_above(section, name);
    return above != NULL || value == NULL ? above : value->text;
}

static bool file_exists(void *arg, const char *path)
{
    const struct conf_section *section = arg;
    return section->above->file_exists(section->above->arg, path);
}

static void label(void *arg, const char *name, char text[CONF_LABEL_SIZE])
{
    const struct conf_section *section = arg;
    const struct conf_section_value *value = find(section, name);
    if (value == NULL || get_above(section, name) != NULL) {
        conf_source_label(section->above, name, text);
        return;
    }
    char path[YML_PATH_SIZE];
    yml_path(value->node, path);
    snprintf(text, CONF_LABEL_SIZE, "%s:%u:%u: %s", section->document->file, value->node->at.line,
        value->node->at.column, path);
}

// ---- Life

enum weir_result conf_section_open(struct conf_section *section,
    const struct yml_document *document, const struct yml_node *node, const char *prefix,
    const struct conf_row *rows, size_t count, const struct conf_source *above,
    struct conf_problems *problems)
{
    weir_assert(count <= KEYS_MAX);
    *section = (struct conf_section){
        .source = {get, file_exists, section, label}, .above = above, .document = document};
    arena_init(&section->arena, ARENA_BYTES_MAX);
    if (!yml_is_null(node) && node->kind != YML_MAPPING) {
        yml_error(document, node, problems, "%s is not usable; allowed: a map of keys",
            yml_kind_text(node));
        return WEIR_OK;
    }
    yml_for_each (child, node) {
        const char *variable;
        const struct conf_row *row = row_of(child, prefix, rows, count, &variable);
        enum weir_result result = WEIR_OK;
        if (row == NULL) {
            refuse_key(section, child, prefix, rows, count, problems);
        } else if (!yml_is_null(child)) {
            result = take_value(section, child, row, variable, problems);
        }
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

void conf_section_close(struct conf_section *section)
{
    arena_reset(&section->arena);
    section->values = NULL;
}

bool conf_section_holds(const struct conf_section *section, const char *variable)
{
    return find(section, variable) != NULL;
}
