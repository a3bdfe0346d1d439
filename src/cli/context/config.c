// SPDX-License-Identifier: Apache-2.0
// The tree of the file is held against a table of paths, then the contexts are picked out of it.
#include "cli/context/config.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/nearest.h"
#include "sys/file.h"

#define FILE_BYTES_MAX (1024 * 1024)
#define NODES_MAX 65536
#define SIBLINGS_MAX 64
#define VERSION_KNOWN 1

static const struct yml_limits limits = {
    .bytes_max = FILE_BYTES_MAX,
    .nodes_max = NODES_MAX,
    .aliases_max = 1024,
    .depth_max = 16,
};

enum key_type { KEY_ANY, KEY_MAP, KEY_LIST, KEY_TEXT, KEY_NUMBER, KEY_BOOL, KEY_STORAGE, KEY_MODE };
enum key_flag { SECRET = 1, UNSUPPORTED = 2 };

static const struct key {
    const char *path;
    enum key_type type;
    unsigned flags;
} keys[] = {
#define CONFIG_KEY(path, type, flags) {path, KEY_##type, flags},
#include "cli/context/config_keys.def"
#undef CONFIG_KEY
};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

enum weir_result config_path(
    const char *option, const struct conf_source *variables, char path[CONFIG_PATH_SIZE])
{
    const char *named = option;
    if (named == NULL || named[0] == '\0') {
        named = variables->get(variables->arg, "RSTREAM_CONFIG");
    }
    const char *home = variables->get(variables->arg, "HOME");
    bool is_named = named != NULL && named[0] != '\0';
    if (!is_named && (home == NULL || home[0] == '\0')) {
        return WEIR_NOT_FOUND;
    }
    int len = snprintf(path, CONFIG_PATH_SIZE, "%s%s", is_named ? named : home,
        is_named ? "" : "/.rstream/config.yaml");
    return len > 0 && len < CONFIG_PATH_SIZE ? WEIR_OK : WEIR_TOO_LARGE;
}

// ---- The table

struct walk {
    struct config *config;
    struct conf_problems *problems;
    bool secret; // something of a secret was seen
};

static const struct key *find_key(const char *path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].path, path) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

// "keys[0].b" is looked up as "keys[].b", and entries of environments as contexts.
static bool step(
    const char *path, const struct yml_node *child, bool in_list, char longer[YML_PATH_SIZE])
{
    const char *base = strcmp(path, "environments") == 0 ? "contexts" : path;
    int len = in_list ? snprintf(longer, YML_PATH_SIZE, "%s[]", base)
                      : snprintf(longer, YML_PATH_SIZE, "%s%s%.*s", base,
                            base[0] == '\0' ? "" : ".", SLICE_ARG(child->key));
    return len > 0 && len < YML_PATH_SIZE;
}

static void refuse_unknown(struct walk *walk, const char *parent, const struct yml_node *node)
{
    const char *siblings[SIBLINGS_MAX];
    size_t count = 0;
    size_t len = strlen(parent);
    for (size_t i = 0; i < KEY_COUNT && count < SIBLINGS_MAX; i++) {
        const char *path = keys[i].path;
        const char *rest = len == 0 ? path : path + len + 1;
        bool below = len == 0 || (strncmp(path, parent, len) == 0 && path[len] == '.');
        if (below && strpbrk(rest, ".[") == NULL) {
            siblings[count++] = rest;
        }
    }
    const char *nearest = conf_nearest(node->key, siblings, count);
    yml_key_error(&walk->config->document, node, walk->problems, "there is no such key%s%s%s",
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?");
}

// NULL: it is of the type; otherwise what is allowed.
static const char *allowed_instead(const struct key *key, const struct yml_node *node)
{
    struct slice text;
    int64_t number;
    bool value;
    bool is_text = yml_text(node, &text) == WEIR_OK;
    switch (key->type) {
    case KEY_ANY:
        return NULL;
    case KEY_MAP:
        return yml_is(node, YML_MAPPING) ? NULL : "a map";
    case KEY_LIST:
        return yml_is(node, YML_SEQUENCE) ? NULL : "a list";
    case KEY_TEXT:
        return is_text && strlen(text.at) == text.len ? NULL : "text";
    case KEY_NUMBER:
        return yml_int(node, &number) == WEIR_OK ? NULL : "a whole number";
    case KEY_BOOL:
        return yml_bool(node, &value) == WEIR_OK ? NULL : "true or false";
    case KEY_STORAGE:
        return is_text && (slice_eq(text, SLICE("inline")) || slice_eq(text, SLICE("keychain")))
                   ? NULL
                   : "inline or keychain";
    case KEY_MODE:
        return is_text && (slice_eq(text, SLICE("auto")) || slice_eq(text, SLICE("tls")) ||
                              slice_eq(text, SLICE("quic")))
                   ? NULL
                   : "auto, tls or quic";
    }
    return NULL;
}

static void check_node(struct walk *walk, const char *path, const struct yml_node *node)
{
    const struct key *key = path[0] == '\0' ? NULL : find_key(path);
    if (key != NULL && yml_is_null(node)) {
        return;
    }
    const char *allowed = key == NULL ? NULL : allowed_instead(key, node);
    if (allowed != NULL) {
        yml_error(&walk->config->document, node, walk->problems, "found %s; allowed: %s",
            yml_kind_text(node), allowed);
        return;
    }
    walk->secret = walk->secret || (key != NULL && (key->flags & SECRET) != 0);
    if (key != NULL && key->type == KEY_ANY) {
        return;
    }
    yml_for_each (child, node) {
        char longer[YML_PATH_SIZE];
        bool in_list = yml_is(node, YML_SEQUENCE);
        if (!step(path, child, in_list, longer) || find_key(longer) == NULL) {
            refuse_unknown(walk, path, child);
        } else {
            // The table bounds the depth.
            check_node(walk, longer, child);
        }
    }
}

// ---- Contexts

static const char *text_at(const struct yml_node *node, const char *path)
{
    struct slice text;
    return yml_text(yml_find(node, slice_str(path)), &text) == WEIR_OK && text.len > 0 ? text.at
                                                                                       : NULL;
}

static void find_unsupported(struct config_context *context)
{
    const struct yml_node *transport = yml_find(context->node, SLICE("transport"));
    bool quic = false;
    yml_for_each (child, transport) {
        char path[YML_PATH_SIZE];
        snprintf(path, sizeof path, "contexts[].transport.%.*s", SLICE_ARG(child->key));
        const struct key *key = find_key(path);
        bool wants_quic =
            slice_eq(child->key, SLICE("mode")) && slice_eq(child->text, SLICE("quic"));
        wants_quic = wants_quic || (slice_eq(child->key, SLICE("useQuic")) &&
                                       yml_bool(child, &quic) == WEIR_OK && quic);
        bool other = key != NULL && (key->flags & UNSUPPORTED) != 0 && !yml_is_null(child);
        if (context->unsupported == NULL && (wants_quic || other)) {
            context->unsupported = child;
        }
    }
}

static void read_token(struct walk *walk, struct config_context *context)
{
    const struct yml_node *token = yml_find(context->node, SLICE("auth.token"));
    const char *kind = text_at(token, "storage.kind");
    const char *value = text_at(token, "storage.value");
    if (yml_is_null(token)) {
        return;
    }
    if (kind == NULL) {
        yml_error(&walk->config->document, token, walk->problems,
            "storage.kind is missing; allowed: inline or keychain");
    } else if (strcmp(kind, "keychain") == 0) {
        context->keychain = "keychain";
    } else if (value == NULL) {
        yml_error(&walk->config->document, token, walk->problems,
            "storage.value is missing: an inline token stands there");
    } else {
        context->token = value;
    }
}

static void read_context(
    struct walk *walk, const struct yml_node *node, struct config_context *context)
{
    const struct yml_node *tls = yml_find(node, SLICE("transport.tls"));
    context->node = node;
    context->name = text_at(node, "name");
    context->api_url = text_at(node, "apiUrl");
    context->engine = text_at(node, "engine");
    context->mtls = !yml_is_null(yml_find(node, SLICE("auth.mtls")));
    context->ca_file = text_at(tls, "caFile");
    context->server_name = text_at(tls, "serverName");
    if (yml_bool(yml_get(tls, SLICE("insecureSkipVerify")), &context->insecure) != WEIR_OK) {
        context->insecure = false;
    }
    if (context->name == NULL) {
        yml_error(&walk->config->document, node, walk->problems, "name is missing");
    }
    read_token(walk, context);
    find_unsupported(context);
}

static void refuse_double(struct walk *walk, const struct config_context *context)
{
    const struct config *config = walk->config;
    for (const struct config_context *other = config->contexts; other < context; other++) {
        bool same_url = slice_eq(slice_str(other->api_url), slice_str(context->api_url));
        if (same_url && context->name != NULL && other->name != NULL &&
            strcmp(context->name, other->name) == 0) {
            yml_error(&config->document, context->node, walk->problems,
                "there is a context \"%s\" already, at line %u", other->name, other->node->at.line);
            return;
        }
    }
}

static enum weir_result read_contexts(struct walk *walk)
{
    struct config *config = walk->config;
    const struct yml_node *list = yml_get(config->document.root, SLICE("contexts"));
    if (list == NULL || list->count == 0 || !yml_is(list, YML_SEQUENCE)) {
        return WEIR_OK;
    }
    if (list->count > CONFIG_CONTEXTS_MAX) {
        yml_error(&config->document, list, walk->problems, "there are %zu contexts; at most %d",
            list->count, CONFIG_CONTEXTS_MAX);
        return WEIR_OK;
    }
    config->contexts = mem_zalloc(list->count * sizeof *config->contexts);
    if (config->contexts == NULL) {
        return WEIR_MEMORY;
    }
    yml_for_each (node, list) {
        read_context(walk, node, &config->contexts[config->count]);
        refuse_double(walk, &config->contexts[config->count++]);
    }
    return WEIR_OK;
}

// ---- The file

static void check_version(struct walk *walk)
{
    const struct yml_node *node = yml_get(walk->config->document.root, SLICE("version"));
    int64_t version;
    if (yml_int(node, &version) == WEIR_OK && version != VERSION_KNOWN) {
        yml_error(&walk->config->document, node, walk->problems,
            "version %lld is not known here; allowed: %d", (long long)version, VERSION_KNOWN);
    }
}

static enum weir_result read_text(struct slice text, const char *path, struct walk *walk)
{
    struct config *config = walk->config;
    size_t errors = walk->problems->errors.len;
    config->there = true;
    enum weir_result result = yml_parse(text, path, &limits, &config->document, walk->problems);
    if (result != WEIR_OK) {
        return result;
    }
    const struct yml_node *root = config->document.root;
    if (!yml_is_null(root) && !yml_is(root, YML_MAPPING)) {
        yml_error(&config->document, root, walk->problems, "found %s; allowed: a map",
            yml_kind_text(root));
        return WEIR_MALFORMED;
    }
    check_node(walk, "", root);
    check_version(walk);
    config->default_context = text_at(root, "defaults.context.name");
    result = read_contexts(walk);
    if (result == WEIR_OK && walk->problems->errors.len > errors) {
        result = WEIR_MALFORMED;
    }
    return result;
}

enum weir_result config_parse(
    struct slice text, const char *path, struct config *ret_config, struct conf_problems *problems)
{
    struct walk walk = {.config = ret_config, .problems = problems};
    *ret_config = (struct config){0};
    return read_text(text, path, &walk);
}

enum weir_result config_load(
    const char *path, struct config *ret_config, struct conf_problems *problems)
{
    struct buf text = BUF_INIT(FILE_BYTES_MAX);
    struct walk walk = {.config = ret_config, .problems = problems};
    *ret_config = (struct config){0};
    enum weir_result result = sys_file_read_plain(path, FILE_BYTES_MAX, &text);
    if (result == WEIR_NOT_FOUND) {
        return WEIR_OK;
    }
    if (result != WEIR_OK) {
        conf_error(problems, "%s cannot be read: %s", path, weir_result_text(result));
    } else {
        result = read_text(buf_slice(&text), path, &walk);
    }
    buf_reset(&text);
    unsigned mode = sys_file_mode(path);
    if (walk.secret && (mode & 077) != 0) {
        conf_error(problems,
            "%s holds a secret, and others can open it (mode %04o): chmod 600 %s, and make a new "
            "token if somebody may have read this one",
            path, mode, path);
        result = WEIR_PERMISSION;
    }
    return result;
}

void config_fini(struct config *config)
{
    mem_free(config->contexts);
    yml_close(&config->document);
    *config = (struct config){0};
}

size_t config_find(
    const struct config *config, const char *name, const struct config_context **ret_context)
{
    size_t count = 0;
    for (size_t i = config->count; i-- > 0;) {
        if (config->contexts[i].name != NULL && strcmp(config->contexts[i].name, name) == 0) {
            *ret_context = &config->contexts[i];
            count++;
        }
    }
    return count;
}
