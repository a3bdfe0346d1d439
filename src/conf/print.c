// SPDX-License-Identifier: Apache-2.0
// Effective values of a file's rows as YAML. Sections open as the paths say and close by
// themselves.
#include "conf/conf.h"

#define INDENT 2

static void write_indent(size_t depth, struct buf *out)
{
    for (size_t i = 0; i < depth * INDENT; i++) {
        buf_append_byte(out, ' ');
    }
}

// Opens the sections of path that the row before did not leave open; returns the key itself and how
// deep it stands.
static struct slice open_sections(
    const char *before, const char *path, struct buf *out, size_t *ret_depth)
{
    struct slice old = slice_str(before);
    struct slice rest = slice_str(path);
    struct slice part;
    struct slice old_part;
    size_t depth = 0;
    bool open = true; // in the row before, too
    while (slice_split(&rest, '.', &part) && rest.at != NULL) {
        open =
            open && slice_split(&old, '.', &old_part) && old.at != NULL && slice_eq(part, old_part);
        if (!open) {
            write_indent(depth, out);
            buf_printf(out, "%.*s:\n", SLICE_ARG(part));
        }
        depth++;
    }
    *ret_depth = depth;
    return part;
}

// In double quotes, so that nothing of it means anything to YAML; values hold no control
// characters.
static void write_quoted(const char *text, struct buf *out)
{
    buf_append_byte(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, *text);
    }
    buf_append_byte(out, '"');
}

static void write_text(const char *text, bool secret, struct buf *out)
{
    if (text == NULL || text[0] == '\0') {
        buf_append_str(out, text == NULL ? "null" : "\"\"");
    } else if (secret) {
        buf_append_str(out, "\"(hidden)\"");
    } else {
        write_quoted(text, out);
    }
}

static void write_choice(const struct conf_row *row, unsigned choice, struct buf *out)
{
    struct slice rest = slice_str(row->choices);
    struct slice word = SLICE_EMPTY;
    for (unsigned i = 0; slice_split(&rest, '|', &word) && i < choice; i++) {
    }
    buf_append_slice(out, word);
}

static void write_networks(const struct conf_networks *networks, struct buf *out)
{
    char ip[IP_TEXT_SIZE];
    buf_append_byte(out, '[');
    for (size_t i = 0; i < networks->count; i++) {
        const struct ip_network *network = &networks->items[i];
        unsigned bits = network->prefix_len;
        ip_to_text(&network->base, ip);
        bool v4 = ip_is_v4(&network->base) && bits >= 96;
        buf_printf(out, "%s\"%s/%u\"", i == 0 ? "" : ", ", ip, v4 ? bits - 96 : bits);
    }
    buf_append_byte(out, ']');
}

static void write_words(const struct conf_words *words, struct buf *out)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < words->count; i++) {
        buf_append_str(out, i == 0 ? "" : ", ");
        write_quoted(words->items[i], out);
    }
    buf_append_byte(out, ']');
}

static void write_listen(const struct conf_listen *listen, struct buf *out)
{
    if (listen->host == NULL) {
        buf_append_str(out, "null");
        return;
    }
    bool v6 = slice_find(slice_str(listen->host), ':') >= 0;
    buf_printf(
        out, v6 ? "\"[%s]:%llu\"" : "\"%s:%llu\"", listen->host, (unsigned long long)listen->port);
}

static void write_ports(const struct conf_ports *ports, struct buf *out)
{
    if (ports->first == 0) {
        buf_append_str(out, "null");
        return;
    }
    buf_printf(
        out, "\"%llu-%llu\"", (unsigned long long)ports->first, (unsigned long long)ports->last);
}

static void write_value(const struct conf_row *row, const void *field, struct buf *out)
{
    switch (row->type) {
    case CONF_TEXT:
    case CONF_URL:
    case CONF_PATH:
        write_text(*(char *const *)field, false, out);
        return;
    case CONF_SECRET_URL:
    case CONF_SECRET:
        write_text(*(char *const *)field, true, out);
        return;
    case CONF_INT:
        buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
        return;
    case CONF_BOOL:
        buf_append_str(out, *(const bool *)field ? "true" : "false");
        return;
    case CONF_CHOICE:
        write_choice(row, *(const unsigned *)field, out);
        return;
    case CONF_NETWORKS:
        write_networks(field, out);
        return;
    case CONF_WORDS:
        write_words(field, out);
        return;
    case CONF_LISTEN:
        write_listen(field, out);
        return;
    case CONF_PORTS:
        write_ports(field, out);
        return;
    }
}

void conf_print(
    const struct conf_row *rows, size_t count, const void *target, const bool *set, struct buf *out)
{
    const char *before = "";
    size_t depth;
    for (size_t i = 0; i < count; i++) {
        struct slice key = open_sections(before, rows[i].name, out, &depth);
        write_indent(depth, out);
        buf_printf(out, "%.*s: ", SLICE_ARG(key));
        write_value(&rows[i], (const char *)target + rows[i].offset, out);
        buf_append_str(out, set[i] ? "\n" : " # default\n");
        before = rows[i].name;
    }
}
