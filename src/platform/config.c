// SPDX-License-Identifier: Apache-2.0
// Loading: the file, the rows, what no row names, the rules. Each step goes on after mistakes of
// the ones before, so that one start names them all.
#include "platform/config.h"

#include <string.h>

#include "conf/url.h"
#include "conf/yaml.h"
#include "sys/file.h"

#define SECTION SLICE("platform")

static const struct yml_limits limits = {
    .bytes_max = (size_t)1 << 20,
    .nodes_max = 10000,
    .aliases_max = 100,
    .depth_max = 16,
};

enum platform_config_row {
#define KEY(field, ...) ROW_##field,
#include "platform/config.def"
#undef KEY
    ROW_COUNT
};

static const struct conf_row rows[ROW_COUNT] = {
#define KEY(                                                                                       \
    field_, type_, name_, other_, fallback_, min_, max_, choices_, flags_, group_, meaning_)       \
    {                                                                                              \
        .name = name_,                                                                             \
        .other = other_,                                                                           \
        .fallback = fallback_,                                                                     \
        .choices = choices_,                                                                       \
        .group = group_,                                                                           \
        .meaning = meaning_,                                                                       \
        .offset = offsetof(struct platform_config, field_),                                        \
        .min = min_,                                                                               \
        .max = max_,                                                                               \
        .type = CONF_##type_,                                                                      \
        .flags = flags_,                                                                           \
    },
#include "platform/config.def"
#undef KEY
};

// ---- Rules

struct loading {
    struct platform_config *config;
    const struct conf_file *file;
    struct conf_problems *problems;
};

static void complain(
    const struct loading *loading, enum platform_config_row row, const char *allowed)
{
    char label[CONF_LABEL_SIZE];
    conf_label(loading->file, &rows[row], label);
    conf_error(loading->problems, "%s: %s", label, allowed);
}

static void rule_file(const struct loading *loading, enum platform_config_row row, const char *path)
{
    if (path != NULL && !sys_file_exists(path)) {
        complain(loading, row, "there is no such file; allowed: a PEM file that can be read");
    }
}

static void rule_tls(const struct loading *loading)
{
    const struct platform_config *config = loading->config;
    rule_file(loading, ROW_cert_file, config->cert_file);
    rule_file(loading, ROW_key_file, config->key_file);
    rule_file(loading, ROW_client_ca_file, config->client_ca_file);
    if ((config->cert_file == NULL) != (config->key_file == NULL)) {
        complain(loading, config->cert_file == NULL ? ROW_cert_file : ROW_key_file,
            "is not set while the other of the pair is; set tls.cert_file and tls.key_file");
    }
    if (config->client_ca_file != NULL && config->cert_file == NULL) {
        complain(loading, ROW_client_ca_file,
            "client certificates need TLS; set tls.cert_file and tls.key_file");
    }
}

// The name in the URL is looked up by us, and libpq must not look up a second one.
static void rule_database(const struct loading *loading)
{
    const char *url = loading->config->database;
    struct conf_url parts;
    if (url != NULL &&
        (conf_url_parse(slice_str(url), &parts) != WEIR_OK || slice_find(parts.host, ',') >= 0)) {
        complain(loading, ROW_database,
            "allowed: one host; put a proxy or a name that moves in front of several");
    }
}

static void rule_keys(const struct loading *loading)
{
    if (loading->config->keys_refresh_s >= loading->config->keys_ahead_s) {
        complain(loading, ROW_keys_refresh_s,
            "a process would sign with a key that others do not know yet; allowed: less than "
            "keys.publish_ahead_s");
    }
}

// Behind a TLS terminator that is as it should be; the operator is to know it.
static void rule_plain(const struct loading *loading)
{
    const struct platform_config *config = loading->config;
    if (config->cert_file == NULL && config->listen.host != NULL &&
        !conf_listen_is_loopback(&config->listen)) {
        conf_warning(loading->problems,
            "the platform listens on %s without TLS: the internal key and tokens cross the network "
            "in the clear; set tls.cert_file and tls.key_file, or end TLS in front of it",
            config->listen.host[0] == '\0' ? "all addresses" : config->listen.host);
    }
}

// ---- Loading

static enum weir_result read_everything(struct loading *loading, bool *set)
{
    bool ignored[ROW_COUNT];
    enum weir_result result = conf_read_file(rows, ROW_COUNT, loading->file, loading->config,
        set == NULL ? ignored : set, loading->problems);
    if (result != WEIR_OK) {
        return result;
    }
    conf_refuse_unknown(rows, ROW_COUNT, NULL, loading->file, loading->problems);
    rule_tls(loading);
    rule_database(loading);
    rule_keys(loading);
    rule_plain(loading);
    return WEIR_OK;
}

enum weir_result platform_config_load(const struct platform_config_source *source,
    struct platform_config *ret_config, bool *set, struct conf_problems *problems)
{
    struct yml_document document = {0};
    struct conf_file file = {
        .document = &document,
        .prefix = PLATFORM_VARIABLE_PREFIX,
        .variables = source->variables,
        .environment = source->environment,
    };
    struct loading loading = {.config = ret_config, .file = &file, .problems = problems};
    *ret_config = (struct platform_config){0};
    enum weir_result result = WEIR_OK;
    if (source->path != NULL) {
        result = yml_load(source->path, &limits, &document, problems);
    }
    file.root = document.root == NULL ? NULL : yml_get(document.root, SECTION);
    if (result == WEIR_OK || (result == WEIR_MALFORMED && document.root != NULL)) {
        result = read_everything(&loading, set);
    } else if (result != WEIR_MEMORY) {
        result = WEIR_OK;
    }
    yml_close(&document);
    return result == WEIR_OK && conf_problems_lost(problems) ? WEIR_MEMORY : result;
}

void platform_config_free(struct platform_config *config)
{
    conf_release(rows, ROW_COUNT, config);
}

const struct conf_row *platform_config_rows(size_t *ret_count)
{
    *ret_count = ROW_COUNT;
    return rows;
}

// ---- Pages

void platform_config_manual(struct buf *out)
{
    buf_append_str(out,
        "# Configuration of the platform\n"
        "\n"
        "The section `platform:` of a YAML file that `--config` names, and environment variables "
        "above it.\n"
        "This page is the output of `weir config reference platform`; `weir config check platform "
        "-c FILE`\n"
        "finds every mistake of a file at once, and `weir config print platform -c FILE` shows "
        "what is in\n"
        "effect. How to run it: `docs/platform.md`.\n"
        "\n"
        "- A key is a path below `platform:`. A key that is not in these tables is a mistake.\n"
        "- A variable wins over the file, and the file over the default.\n"
        "- Without any of them it runs: on loopback, over SQLite, with secrets it makes itself.\n"
        "- SIGHUP reads the certificate and the signing keys again; everything else wants a "
        "restart.\n"
        "- Secrets are never shown.\n");
    conf_manual_file(rows, ROW_COUNT, PLATFORM_VARIABLE_PREFIX, out);
}

void platform_config_print(const struct platform_config *config, const bool *set, struct buf *out)
{
    struct buf values = BUF_INIT(out->len_max);
    conf_print(rows, ROW_COUNT, config, set, &values);
    struct slice rest = buf_slice(&values);
    struct slice line;
    buf_append_str(out, "platform:\n");
    while (slice_split(&rest, '\n', &line)) {
        if (line.len > 0) {
            buf_printf(out, "  %.*s\n", SLICE_ARG(line));
        }
    }
    out->failed = out->failed || values.failed;
    buf_reset(&values);
}
