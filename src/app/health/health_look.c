// SPDX-License-Identifier: Apache-2.0
#include "app/health/health_look.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "app/health/health_answer.h"
#include "base/number.h"
#include "cli/print.h"

#define DOCUMENT_MAX (64 * 1024 * 1024)
#define TABLE_BYTES_MAX (64 * 1024 * 1024)
#define PATH_MAX_BYTES 6000
#define PROBLEM_SIZE 1024
#define SPAN_S_MAX 31622400 // a year

// ---- Asking

bool look_begin(struct look *look, const struct command *command, int argc, char **argv)
{
    *look = (struct look){.command = command, .words = argv};
    buf_init(&look->path, PATH_MAX_BYTES);
    if (!command_parse(command, argc, argv, look->values, &look->count, &look->exit_code)) {
        return false;
    }
    look->json = look->values[LOOK_JSON_OUTPUT] != NULL || look->values[LOOK_JSON] != NULL;
    (void)health_server_find(look->values[LOOK_SERVER], look->values[LOOK_TOKEN], &look->server);
    return true;
}

int look_misunderstood(const struct look *look)
{
    command_complain(
        look->command, "usage: %s %s; see --help", look->command->name, look->command->usage);
    return EXIT_USAGE;
}

int look_complain(const struct look *look, int exit_code, const char *problem)
{
    return health_complain(&(struct health_ask){.json = look->json}, exit_code, problem);
}

static void put_encoded(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (isalnum(byte) || strchr("-._~", byte) != NULL) {
            buf_append_byte(out, *text);
        } else {
            buf_printf(out, "%%%02X", byte);
        }
    }
}

void look_put_part(struct look *look, const char *text)
{
    buf_append_byte(&look->path, '/');
    put_encoded(&look->path, text);
}

void look_put_query(struct look *look, const char *name, const char *value)
{
    bool first = slice_find(buf_slice(&look->path), '?') < 0;
    if (value != NULL) {
        buf_printf(&look->path, "%s%s=", first ? "?" : "&", name);
        put_encoded(&look->path, value);
    }
}

// NULL after saying why, with the exit code set.
json_t *look_ask(struct look *look, const char *method, struct slice body)
{
    struct buf document = BUF_INIT(DOCUMENT_MAX);
    char problem[PROBLEM_SIZE];
    const char *path = buf_text(&look->path);
    if (path == NULL || look->path.failed) {
        look->exit_code = look_complain(look, EXIT_USAGE, "a name is too long");
        return NULL;
    }
    enum health_fetched fetched = health_fetch(&look->server,
        &(struct health_question){.method = method, .path = path, .body = body}, &document, problem,
        sizeof problem);
    json_t *root = NULL;
    if (fetched == FETCHED) {
        root = json_loadb(buf_slice(&document).at, document.len, 0, NULL);
        look->exit_code = root != NULL ? EXIT_FINE
                                       : look_complain(look, EXIT_UNAVAILABLE,
                                             "what answers there is no health monitor");
    } else {
        look->exit_code = look_complain(look,
            fetched == FETCH_MISTAKEN  ? EXIT_FAILED
            : fetched == FETCH_REFUSED ? EXIT_REFUSED
                                       : EXIT_UNAVAILABLE,
            problem);
    }
    buf_reset(&document);
    return root;
}

json_t *look_get(struct look *look)
{
    return look_ask(look, "GET", SLICE_EMPTY);
}

// Ends the run: prints the answer, as JSON or by the table. root may be NULL.
int look_finish(struct look *look, json_t *root,
    void (*fill)(struct table *table, const json_t *root), const char *const *titles,
    size_t columns)
{
    if (root != NULL && look->json) {
        look->exit_code = print_json(root, false) ? EXIT_FINE : EXIT_OUTPUT;
    } else if (root != NULL) {
        struct table table;
        struct buf out = BUF_INIT(TABLE_BYTES_MAX);
        table_init(&table, titles, columns);
        fill(&table, root);
        bool written = table_write(&table, &out) == WEIR_OK && print_buf(&out);
        look->exit_code = written ? EXIT_FINE : EXIT_OUTPUT;
        table_fini(&table);
        buf_reset(&out);
    }
    json_decref(root);
    buf_reset(&look->path);
    return look->exit_code;
}

// ---- Cells

const char *look_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

void look_add_text(struct table *table, const json_t *object, const char *key)
{
    table_add_str(table, look_text(object, key));
}

void look_add_number(
    struct table *table, const json_t *object, const char *key, int digits, const char *unit)
{
    const json_t *value = json_object_get(object, key);
    char text[48] = "";
    if (json_is_number(value)) {
        snprintf(text, sizeof text, "%.*f%s", digits, json_number_value(value), unit);
    }
    table_add_str(table, text);
}

// Seconds as a person says them.
void look_add_span(struct table *table, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double seconds = json_number_value(value);
    char text[48] = "";
    if (json_is_number(value)) {
        bool days = seconds >= 172800;
        bool hours = seconds >= 7200;
        bool minutes = seconds >= 120;
        snprintf(text, sizeof text, "%.1f %s",
            seconds / (days         ? 86400
                          : hours   ? 3600
                          : minutes ? 60
                                    : 1),
            days      ? "d"
            : hours   ? "h"
            : minutes ? "min"
                      : "s");
    }
    table_add_str(table, text);
}

// "90", "30s", "30m", "1h", "7d". False after saying what is allowed.
bool look_read_span(const struct look *look, const char *name, const char *text, uint64_t *ret_s)
{
    static const char units[] = "smhd";
    static const uint64_t seconds[] = {1, 60, 3600, 86400};
    struct slice number = slice_str(text);
    uint64_t unit = 1;
    const char *found =
        number.len == 0 ? NULL : memchr(units, number.at[number.len - 1], sizeof units - 1);
    if (found != NULL) {
        unit = seconds[found - units];
        number.len--;
    }
    if (number_parse_u64(number, SPAN_S_MAX / unit, ret_s) == WEIR_OK && *ret_s > 0) {
        *ret_s *= unit;
        return true;
    }
    command_complain(look->command,
        "%s \"%s\" is not usable; allowed: seconds, or a number with s, m, h or d", name, text);
    return false;
}
