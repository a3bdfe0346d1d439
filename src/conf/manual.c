// SPDX-License-Identifier: Apache-2.0
// The manual of a key table, as Markdown.
#include "conf/conf.h"

static const char *type_name(enum conf_type type)
{
    static const char *const names[] = {
        [CONF_TEXT] = "text",
        [CONF_URL] = "URL",
        [CONF_SECRET_URL] = "URL, secret",
        [CONF_PATH] = "path",
        [CONF_SECRET] = "secret",
        [CONF_INT] = "integer",
        [CONF_BOOL] = "boolean",
        [CONF_CHOICE] = "word",
        [CONF_NETWORKS] = "list",
        [CONF_WORDS] = "list",
        [CONF_LISTEN] = "address",
        [CONF_PORTS] = "ports",
    };
    return names[type];
}

static void write_choices(const struct conf_row *row, const char *suffix, struct buf *out)
{
    struct slice rest = slice_str(row->choices);
    struct slice word;
    for (bool first = true; slice_split(&rest, '|', &word); first = false) {
        buf_printf(out, "%s`%.*s%s`", first ? "" : ", ", SLICE_ARG(word), suffix);
    }
}

static void write_allowed(const struct conf_row *row, struct buf *out)
{
    switch (row->type) {
    case CONF_INT:
        buf_printf(out, "%llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
        return;
    case CONF_BOOL:
        buf_append_str(out, "`0` `1` `false` `true` `no` `yes` `off` `on`");
        return;
    case CONF_CHOICE:
        write_choices(row, "", out);
        return;
    case CONF_URL:
    case CONF_SECRET_URL:
        write_choices(row, "://…", out);
        return;
    case CONF_NETWORKS:
        buf_append_str(out, "addresses and networks, comma-separated");
        return;
    case CONF_WORDS:
        buf_append_str(out, "words, comma-separated");
        return;
    case CONF_PATH:
        buf_append_str(out, "`~/` in front is the home directory");
        return;
    case CONF_LISTEN:
        buf_printf(out, "`ADDRESS:PORT`, port %llu to %llu", (unsigned long long)row->min,
            (unsigned long long)row->max);
        return;
    case CONF_PORTS:
        buf_printf(out, "`FIRST-LAST`, %llu to %llu", (unsigned long long)row->min,
            (unsigned long long)row->max);
        return;
    case CONF_TEXT:
    case CONF_SECRET:
        buf_append_str(out, "no control characters");
        return;
    }
}

static void write_word_or_dash(const char *word, struct buf *out)
{
    buf_printf(out, " | %s%s%s", word == NULL ? "" : "`", word == NULL ? "–" : word,
        word == NULL ? "" : "`");
}

static void write_row(const struct conf_row *row, struct buf *out)
{
    buf_printf(out, "| `%s`", row->name);
    write_word_or_dash(row->other, out);
    buf_printf(out, " | %s", type_name(row->type));
    write_word_or_dash(row->fallback, out);
    buf_append_str(out, " | ");
    write_allowed(row, out);
    buf_printf(out, " | %s |\n", row->meaning);
}

void conf_manual(const struct conf_row *rows, size_t count, struct buf *out)
{
    const char *group = NULL;
    for (size_t i = 0; i < count; i++) {
        if (group == NULL || strcmp(group, rows[i].group) != 0) {
            group = rows[i].group;
            buf_printf(out,
                "\n## %s\n\n| variable | other name | type | default | allowed | meaning |\n"
                "|---|---|---|---|---|---|\n",
                group);
        }
        write_row(&rows[i], out);
    }
}

static void write_file_row(const struct conf_row *row, const char *prefix, struct buf *out)
{
    char variable[CONF_VARIABLE_SIZE];
    buf_printf(out, "| `%s` | ", row->name);
    if (prefix != NULL) {
        conf_variable(prefix, row->name, variable);
        buf_printf(out, "`%s`", variable);
    } else {
        buf_append_str(out, "-");
    }
    if (row->other != NULL) {
        buf_printf(out, ", `%s`", row->other);
    }
    buf_printf(out, " | %s", type_name(row->type));
    if ((row->flags & CONF_REQUIRED) != 0) {
        buf_append_str(out, " | required");
    } else {
        write_word_or_dash(row->fallback, out);
    }
    buf_append_str(out, " | ");
    write_allowed(row, out);
    buf_printf(
        out, " | %s | %s |\n", (row->flags & CONF_LIVE) != 0 ? "reload" : "restart", row->meaning);
}

void conf_manual_file(
    const struct conf_row *rows, size_t count, const char *prefix, struct buf *out)
{
    const char *group = NULL;
    for (size_t i = 0; i < count; i++) {
        if (group == NULL || strcmp(group, rows[i].group) != 0) {
            group = rows[i].group;
            buf_printf(out,
                "\n## %s\n\n| key | variable | type | default | allowed | takes effect | meaning "
                "|\n"
                "|---|---|---|---|---|---|---|\n",
                group);
        }
        write_file_row(&rows[i], prefix, out);
    }
}
