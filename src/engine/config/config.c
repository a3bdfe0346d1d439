// SPDX-License-Identifier: Apache-2.0
// Loading: the file, the rows, the list of further certificates, what no row names, the rules. Each
// step goes on after mistakes of the ones before, so that one start names them all.
#include "engine/config/config.h"

#include "base/mem.h"
#include "conf/yaml.h"
#include "engine/config/config_internal.h"

static const struct yml_limits limits = {
    .bytes_max = (size_t)1 << 20,
    .nodes_max = 10000,
    .aliases_max = 100,
    .depth_max = 16,
};

const struct conf_row engine_config_table[ROW_COUNT] = {
#define KEY(                                                                                       \
    field_, type_, name_, other_, fallback_, min_, max_, choices_, flags_, group_, meaning_)       \
    {                                                                                              \
        .name = name_,                                                                             \
        .other = other_,                                                                           \
        .fallback = fallback_,                                                                     \
        .choices = choices_,                                                                       \
        .group = group_,                                                                           \
        .meaning = meaning_,                                                                       \
        .offset = offsetof(struct engine_config, field_),                                          \
        .min = min_,                                                                               \
        .max = max_,                                                                               \
        .type = CONF_##type_,                                                                      \
        .flags = flags_,                                                                           \
    },
#include "engine/config/config.def"
#undef KEY
};

// ---- extensions.certs: a list of maps

static const struct conf_row cert_rows[] = {
    {.name = "cert_file",
        .type = CONF_PATH,
        .offset = offsetof(struct engine_cert, cert_file),
        .flags = CONF_REQUIRED},
    {.name = "key_file",
        .type = CONF_PATH,
        .offset = offsetof(struct engine_cert, key_file),
        .flags = CONF_REQUIRED},
};
#define CERT_ROWS (sizeof cert_rows / sizeof cert_rows[0])
#define CERTS_PATH "extensions.certs"

static const char *const lists[] = {CERTS_PATH, NULL};

static enum weir_result read_cert(struct config_loading *loading, const struct yml_node *node)
{
    struct engine_cert *cert = &loading->config->certs[loading->config->cert_count++];
    struct conf_file file = *loading->file;
    bool set[CERT_ROWS];
    file.root = node;
    file.prefix = NULL;
    conf_refuse_unknown(cert_rows, CERT_ROWS, NULL, &file, loading->problems);
    if (!yml_is(node, YML_MAPPING)) {
        return WEIR_OK;
    }
    enum weir_result result =
        conf_read_file(cert_rows, CERT_ROWS, &file, cert, set, loading->problems);
    if (result == WEIR_OK && cert->cert_file != NULL && cert->key_file != NULL) {
        char labels[CERT_ROWS][CONF_LABEL_SIZE];
        conf_label(&file, &cert_rows[0], labels[0]);
        conf_label(&file, &cert_rows[1], labels[1]);
        engine_config_certs_check(
            cert->cert_file, labels[0], cert->key_file, labels[1], NULL, loading->problems);
    }
    return result;
}

static enum weir_result read_certs(struct config_loading *loading)
{
    const struct yml_node *list = yml_find(loading->file->root, SLICE(CERTS_PATH));
    if (yml_is_null(list)) {
        return WEIR_OK;
    }
    if (list->kind != YML_SEQUENCE || list->count > ENGINE_CERTS_MAX) {
        yml_error(loading->file->document, list, loading->problems,
            "allowed: a list of at most %d pairs {cert_file, key_file}", ENGINE_CERTS_MAX);
        return WEIR_OK;
    }
    loading->config->certs = mem_zalloc((list->count + 1) * sizeof *loading->config->certs);
    enum weir_result result = loading->config->certs == NULL ? WEIR_MEMORY : WEIR_OK;
    for (const struct yml_node *item = list->first; item != NULL && result == WEIR_OK;
         item = item->next) {
        result = read_cert(loading, item);
    }
    return result;
}

static void release_certs(struct engine_config *config)
{
    for (size_t i = 0; i < config->cert_count; i++) {
        conf_release(cert_rows, CERT_ROWS, &config->certs[i]);
    }
    mem_free(config->certs);
    config->certs = NULL;
    config->cert_count = 0;
}

static bool same_certs(const struct engine_config *a, const struct engine_config *b)
{
    bool same = a->cert_count == b->cert_count;
    for (size_t i = 0; same && i < a->cert_count; i++) {
        same = conf_same(&cert_rows[0], &a->certs[i], &b->certs[i]) &&
               conf_same(&cert_rows[1], &a->certs[i], &b->certs[i]);
    }
    return same;
}

// ---- Loading

static enum weir_result read_everything(struct config_loading *loading)
{
    enum weir_result result = conf_read_file(engine_config_table, ROW_COUNT, loading->file,
        loading->config, loading->set, loading->problems);
    if (result != WEIR_OK) {
        return result;
    }
    conf_refuse_unknown(engine_config_table, ROW_COUNT, lists, loading->file, loading->problems);
    result = read_certs(loading);
    if (result == WEIR_OK) {
        engine_config_rules_apply(loading);
    }
    if (!loading->config->extensions_enabled) {
        release_certs(loading->config);
    }
    return loading->out_of_memory ? WEIR_MEMORY : result;
}

enum weir_result engine_config_load(const struct engine_config_source *source,
    struct engine_config *ret_config, bool *set, struct conf_problems *problems)
{
    struct yml_document document = {0};
    struct conf_file file = {
        .document = &document,
        .prefix = ENGINE_VARIABLE_PREFIX,
        .variables = source->variables,
        .environment = source->environment,
    };
    struct config_loading loading = {.config = ret_config, .file = &file, .problems = problems};
    *ret_config = (struct engine_config){0};
    enum weir_result result = WEIR_OK;
    if (source->path != NULL) {
        result = yml_load(source->path, &limits, &document, problems);
    }
    file.root = source->section == NULL ? document.root
                                        : yml_get(document.root, slice_str(source->section));
    // Without a tree, lines about everything that is missing from it would say nothing.
    if (result == WEIR_OK || (result == WEIR_MALFORMED && document.root != NULL)) {
        result = read_everything(&loading);
    } else if (result != WEIR_MEMORY) {
        result = WEIR_OK;
    }
    if (set != NULL) {
        memcpy(set, loading.set, sizeof loading.set);
    }
    yml_close(&document);
    return result == WEIR_OK && conf_problems_lost(problems) ? WEIR_MEMORY : result;
}

void engine_config_free(struct engine_config *config)
{
    conf_release(engine_config_table, ROW_COUNT, config);
    release_certs(config);
}

const struct conf_row *engine_config_rows(size_t *ret_count)
{
    *ret_count = ROW_COUNT;
    return engine_config_table;
}

// ---- Reload

static void append_name(struct buf *out, const char *name)
{
    buf_printf(out, "%s%s", out->len > 0 ? ", " : "", name);
}

bool engine_config_diff(const struct engine_config *old, const struct engine_config *next,
    struct buf *live, struct buf *restart)
{
    bool differ = !same_certs(old, next);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct conf_row *row = &engine_config_table[i];
        if (!conf_same(row, old, next)) {
            append_name((row->flags & CONF_LIVE) != 0 ? live : restart, row->name);
            differ = true;
        }
    }
    if (!same_certs(old, next)) {
        append_name(live, CERTS_PATH);
    }
    return differ;
}

bool engine_config_keep(const struct engine_config *old, struct engine_config *next)
{
    return conf_keep(engine_config_table, ROW_COUNT, old, next);
}

// ---- Pages

void engine_config_manual(struct buf *out)
{
    buf_append_str(out,
        "# Configuration of the tunnel engine\n"
        "\n"
        "A YAML file, named by `--config` or `RSTREAM_ENGINE_CONFIG`, and environment variables "
        "above it.\n"
        "This page is the output of `weir config reference engine`; `weir config check engine -c "
        "FILE`\n"
        "finds every mistake of a file at once, and `weir config print engine -c FILE` shows what "
        "is in\n"
        "effect. A file to start from: `packaging/examples/engine.yml`.\n"
        "\n"
        "- A key is a path: `tls.listen_addr` is `listen_addr` in the section `tls`. A key that is "
        "not\n"
        "  in these tables is a mistake, and the line says which one may be meant.\n"
        "- A variable wins over the file, and the file over the default. A text may be set to "
        "nothing\n"
        "  by an empty variable; for other types an empty variable counts as not set.\n"
        "- Booleans and words are read in any case. Lists are YAML lists, or one text with "
        "commas.\n"
        "- The file has one document, at most 1 MiB; aliases and merge keys work, other tags than\n"
        "  YAML's own do not.\n"
        "- SIGHUP reads the file again. What says \"reload\" takes effect then; what says "
        "\"restart\"\n"
        "  stays as it was, and the log says so. A file with a mistake changes nothing.\n"
        "- Secrets are never shown.\n");
    conf_manual_file(engine_config_table, ROW_COUNT, ENGINE_VARIABLE_PREFIX, out);
    buf_append_str(out,
        "\n## Further certificates\n\n"
        "`extensions.certs` is a list of pairs, for server names that the first certificate does "
        "not cover:\n"
        "\n"
        "```yaml\n"
        "extensions:\n"
        "  enabled: true\n"
        "  certs:\n"
        "    - cert_file: /etc/weir/other.crt\n"
        "      key_file: /etc/weir/other.key\n"
        "```\n"
        "\n"
        "Both are required in each pair. A visitor gets the pair whose certificate has the name it "
        "asks\n"
        "for among its alternative names: written out before `*.`, then in order, `certs.static` "
        "first;\n"
        "names that no certificate has get `certs.static`. Changed files are used by the next "
        "connections.\n"
        "There is no variable for it; a reload takes it.\n"
        "\n"
        "It chooses certificates, not tunnels: those stay under `t.<host>`. So the engine's host "
        "and the\n"
        "wildcard may be in two certificates, and a tunnel's name may have one of its own.\n");
}

static void print_path(const char *key, const char *path, struct buf *out)
{
    buf_printf(out, "%s: \"", key);
    for (; *path != '\0'; path++) {
        buf_printf(out, *path == '"' || *path == '\\' ? "\\%c" : "%c", *path);
    }
    buf_append_str(out, "\"\n");
}

void engine_config_print(const struct engine_config *config, const bool *set, struct buf *out)
{
    conf_print(engine_config_table, ROW_COUNT, config, set, out);
    // The rows of the section "extensions" were the last ones.
    if (config->cert_count > 0) {
        buf_append_str(out, "  certs:\n");
    }
    for (size_t i = 0; i < config->cert_count; i++) {
        print_path("    - cert_file", config->certs[i].cert_file, out);
        print_path("      key_file", config->certs[i].key_file, out);
    }
}
