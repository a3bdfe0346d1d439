// SPDX-License-Identifier: Apache-2.0
// Rows of a YAML file with variables above it. A value is looked for in this order: the row's
// variable, its other variable, the file, the default.
#include <ctype.h>
#include <stdio.h>

#include "conf/conf_internal.h"
#include "conf/nearest.h"
#include "conf/yaml.h"

#define LIST_BYTES_MAX 65536
#define SIBLINGS_MAX 64 // keys of one section
#define ROWS_MAX 128    // of a table with variables

// Where a row's value stands. At most one of the two is there.
struct found {
    const char *variable; // its text, or NULL
    const struct yml_node *node;
    struct buf joined; // text of a list
    char label[CONF_LABEL_SIZE];
};

void conf_variable(const char *prefix, const char *path, char text[CONF_VARIABLE_SIZE])
{
    size_t len = 0;
    while (*prefix != '\0' && len + 1 < CONF_VARIABLE_SIZE) {
        text[len++] = *prefix++;
    }
    for (; *path != '\0' && len + 2 < CONF_VARIABLE_SIZE; path++) {
        text[len++] = *path == '.' ? '_' : (char)toupper((unsigned char)*path);
        if (*path == '.') {
            text[len++] = '_';
        }
    }
    text[len] = '\0';
}

// ---- Finding

static bool is_text(enum conf_type type)
{
    return type == CONF_TEXT || type == CONF_SECRET || type == CONF_PATH || type == CONF_URL ||
           type == CONF_SECRET_URL;
}

// A variable that is "" clears a text; for other types it is not set.
static const char *look_at_variable(
    const struct conf_file *file, const struct conf_row *row, const char *name)
{
    const char *value = file->variables->get(file->variables->arg, name);
    if (value != NULL && slice_trim(slice_str(value)).len == 0) {
        return is_text(row->type) ? "" : NULL;
    }
    return value;
}

static void find_variable(
    const struct conf_file *file, const struct conf_row *row, struct found *found)
{
    if (file->prefix != NULL) {
        conf_variable(file->prefix, row->name, found->label);
        found->variable = look_at_variable(file, row, found->label);
    }
    if (found->variable == NULL && row->other != NULL) {
        snprintf(found->label, sizeof found->label, "%s", row->other);
        found->variable = look_at_variable(file, row, row->other);
    }
}

static void label_node(
    const struct conf_file *file, const struct yml_node *node, const char *name, char *label)
{
    char path[YML_PATH_SIZE];
    if (node != NULL) {
        yml_path(node, path);
        snprintf(label, CONF_LABEL_SIZE, "%s:%u:%u: %s", file->document->file, node->at.line,
            node->at.column, path);
    } else if (file->document->file != NULL) {
        char root[YML_PATH_SIZE];
        yml_path(file->root, root);
        snprintf(label, CONF_LABEL_SIZE, "%s: %s%s%s", file->document->file, root,
            root[0] == '\0' ? "" : ".", name);
    } else {
        snprintf(label, CONF_LABEL_SIZE, "%s", name);
    }
}

static void find(const struct conf_file *file, const struct conf_row *row, struct found *found)
{
    *found = (struct found){.joined = BUF_INIT(LIST_BYTES_MAX)};
    find_variable(file, row, found);
    if (found->variable != NULL) {
        return;
    }
    const struct yml_node *node = yml_find(file->root, slice_str(row->name));
    found->node = yml_is_null(node) ? NULL : node;
    label_node(file, found->node, row->name, found->label);
}

void conf_label(
    const struct conf_file *file, const struct conf_row *row, char text[CONF_LABEL_SIZE])
{
    struct found found;
    find(file, row, &found);
    memcpy(text, found.label, CONF_LABEL_SIZE);
}

// ---- Reading

bool conf_takes_list(enum conf_type type)
{
    return type == CONF_NETWORKS || type == CONF_WORDS;
}

bool conf_join_list(const struct yml_document *document, const struct yml_node *list,
    struct buf *out, struct conf_problems *problems)
{
    struct slice text;
    yml_for_each (item, list) {
        if (yml_text(item, &text) != WEIR_OK || slice_find(text, ',') >= 0) {
            yml_error(document, item, problems, "%s is not usable; allowed: one value",
                yml_kind_text(item));
            return false;
        }
        if (out->len > 0) {
            buf_append_str(out, ",");
        }
        buf_append_slice(out, text);
    }
    return true;
}

// The value as text; false: there is none, or it was refused.
static bool take_value(const struct conf_file *file, struct found *found,
    const struct conf_row *row, struct slice *ret_value, struct conf_problems *problems)
{
    if (found->variable != NULL) {
        *ret_value = slice_str(found->variable);
    } else if (found->node == NULL) {
        return false;
    } else if (found->node->kind == YML_SCALAR) {
        *ret_value = found->node->text;
    } else if (found->node->kind == YML_SEQUENCE && conf_takes_list(row->type)) {
        if (!conf_join_list(file->document, found->node, &found->joined, problems)) {
            return false;
        }
        *ret_value = buf_slice(&found->joined);
    } else {
        conf_error(problems, "%s: %s is not usable; allowed: one value", found->label,
            yml_kind_text(found->node));
        return false;
    }
    // A secret is its bytes as written.
    if (row->type != CONF_SECRET) {
        *ret_value = slice_trim(*ret_value);
    }
    return true;
}

static void require(const struct conf_file *file, const struct conf_row *row,
    const struct found *found, struct conf_problems *problems)
{
    char variable[CONF_VARIABLE_SIZE];
    if ((row->flags & CONF_REQUIRED) == 0) {
        return;
    }
    if (found->variable != NULL || found->node != NULL) {
        conf_error(problems, "%s: is empty, but it is required", found->label);
    } else if (file->prefix == NULL) {
        conf_error(problems, "%s: is required", found->label);
    } else {
        conf_variable(file->prefix, row->name, variable);
        conf_error(problems, "%s: is required; set it %s %s", found->label,
            file->document->file == NULL ? "in a file, or by" : "there, or by", variable);
    }
}

static enum weir_result read_row(const struct conf_row *row, const struct conf_file *file,
    void *target, bool *ret_set, struct conf_problems *problems)
{
    struct slice value = SLICE_EMPTY;
    struct found found;
    find(file, row, &found);
    bool taken = take_value(file, &found, row, &value, problems);
    *ret_set = found.variable != NULL || found.node != NULL;
    if (taken ? value.len == 0 : !*ret_set) {
        require(file, row, &found, problems);
    }
    struct conf_reading reading = {
        .row = row,
        .source = file->variables,
        .problems = problems,
        .name = found.label,
        .value = value,
        .field = (char *)target + row->offset,
        .given = taken,
    };
    enum weir_result result = WEIR_OK;
    // Set to nothing: not even the default.
    if (!taken || value.len > 0) {
        result = conf_reading_run(&reading);
    }
    result = found.joined.failed ? WEIR_MEMORY : result;
    buf_reset(&found.joined);
    return result == WEIR_MALFORMED ? WEIR_OK : result;
}

enum weir_result conf_read_file(const struct conf_row *rows, size_t count,
    const struct conf_file *file, void *target, bool *set, struct conf_problems *problems)
{
    for (size_t i = 0; i < count; i++) {
        enum weir_result result = read_row(&rows[i], file, target, &set[i], problems);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

// ---- What no row names

struct known {
    const struct conf_row *rows;
    size_t count;
    const char *const *extra;
    const struct conf_file *file;
    struct conf_problems *problems;
};

static const char *path_at(const struct known *known, size_t index)
{
    if (index < known->count) {
        return known->rows[index].name;
    }
    return known->extra == NULL ? NULL : known->extra[index - known->count];
}

// The component of a path behind the section (which is "" or ends with '.'), or nothing.
static bool next_component(const char *path, struct slice section, struct slice *ret_component)
{
    struct slice rest = slice_str(path);
    if (!slice_starts_with(rest, section)) {
        return false;
    }
    rest = slice_skip(rest, section.len);
    return slice_split(&rest, '.', ret_component) && ret_component->len > 0;
}

static void refuse_key(const struct known *known, struct slice section, const struct yml_node *node)
{
    char names[SIBLINGS_MAX][64];
    const char *siblings[SIBLINGS_MAX];
    size_t count = 0;
    struct slice component;
    for (size_t i = 0; path_at(known, i) != NULL && count < SIBLINGS_MAX; i++) {
        if (next_component(path_at(known, i), section, &component) &&
            slice_to_text(component, names[count], sizeof names[count])) {
            siblings[count] = names[count];
            count++;
        }
    }
    const char *nearest = conf_nearest(node->key, siblings, count);
    yml_key_error(known->file->document, node, known->problems, "there is no such key%s%s%s",
        nearest == NULL ? "" : "; is \"", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "\" meant?");
}

enum standing { UNKNOWN, SECTION, KEY };

static enum standing standing_of(const struct known *known, struct slice path)
{
    enum standing standing = UNKNOWN;
    for (size_t i = 0; path_at(known, i) != NULL; i++) {
        struct slice name = slice_str(path_at(known, i));
        if (slice_eq(name, path)) {
            return KEY;
        }
        if (name.len > path.len && name.at[path.len] == '.' && slice_starts_with(name, path)) {
            standing = SECTION;
        }
    }
    return standing;
}

static void look_through(
    const struct known *known, const struct yml_node *section, struct slice path)
{
    char text[CONF_VARIABLE_SIZE];
    yml_for_each (node, section) {
        int len = snprintf(text, sizeof text, "%.*s%.*s", SLICE_ARG(path), SLICE_ARG(node->key));
        bool fits = len > 0 && (size_t)len + 1 < sizeof text && slice_find(node->key, '.') < 0;
        enum standing standing = fits ? standing_of(known, slice_str(text)) : UNKNOWN;
        if (standing == UNKNOWN) {
            refuse_key(known, path, node);
        } else if (standing == SECTION && node->kind == YML_MAPPING) {
            text[len] = '.';
            look_through(known, node, slice_of(text, (size_t)len + 1));
        } else if (standing == SECTION && !yml_is_null(node)) {
            yml_error(known->file->document, node, known->problems,
                "%s is not usable; allowed: a map of keys", yml_kind_text(node));
        }
    }
}

static void refuse_variable(const struct known *known, struct slice name)
{
    char variables[ROWS_MAX][CONF_VARIABLE_SIZE];
    const char *names[ROWS_MAX];
    for (size_t i = 0; i < known->count; i++) {
        conf_variable(known->file->prefix, known->rows[i].name, variables[i]);
        names[i] = variables[i];
        if (slice_eq(name, slice_str(variables[i]))) {
            return;
        }
    }
    const char *nearest = conf_nearest(name, names, known->count);
    conf_error(known->problems, "%.*s: there is no such variable%s%s%s", SLICE_ARG(name),
        nearest == NULL ? "" : "; is ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : " meant?");
}

// Only those with "__": the prefix alone may be somebody else's.
static void look_through_variables(const struct known *known)
{
    const struct conf_file *file = known->file;
    if (file->prefix == NULL || file->environment == NULL) {
        return;
    }
    for (size_t i = 0; file->environment[i] != NULL; i++) {
        struct slice rest = slice_str(file->environment[i]);
        struct slice name;
        if (slice_split(&rest, '=', &name) && slice_starts_with(name, slice_str(file->prefix)) &&
            slice_contains_nocase(slice_skip(name, strlen(file->prefix)), SLICE("__"))) {
            refuse_variable(known, name);
        }
    }
}

void conf_refuse_unknown(const struct conf_row *rows, size_t count, const char *const *extra,
    const struct conf_file *file, struct conf_problems *problems)
{
    weir_assert(count <= ROWS_MAX);
    struct known known = {rows, count, extra, file, problems};
    if (yml_is(file->root, YML_MAPPING)) {
        look_through(&known, file->root, SLICE_EMPTY);
    } else if (!yml_is_null(file->root)) {
        yml_error(file->document, file->root, problems, "%s is not usable; allowed: a map of keys",
            yml_kind_text(file->root));
    }
    look_through_variables(&known);
}
