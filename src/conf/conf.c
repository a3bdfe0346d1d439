// SPDX-License-Identifier: Apache-2.0
#include "conf/conf.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sys/file.h"

// ---- Problems

void conf_problems_init(struct conf_problems *problems)
{
    buf_init(&problems->errors, CONF_PROBLEMS_BYTES_MAX);
    buf_init(&problems->warnings, CONF_PROBLEMS_BYTES_MAX);
}

void conf_problems_fini(struct conf_problems *problems)
{
    buf_reset(&problems->errors);
    buf_reset(&problems->warnings);
}

// One line; control characters of a value become '?', so that it stays one.
static void add_line(struct buf *out, const char *format, va_list args)
{
    char line[1024];
    int len = vsnprintf(line, sizeof line - 1, format, args);
    for (char *at = line; *at != '\0'; at++) {
        *at = (char)((unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at);
    }
    if (len >= 0) {
        buf_append_str(out, line);
        buf_append_byte(out, '\n');
    }
}

void conf_error(struct conf_problems *problems, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(&problems->errors, format, args);
    va_end(args);
}

void conf_warning(struct conf_problems *problems, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(&problems->warnings, format, args);
    va_end(args);
}

// ---- Values

struct reading {
    const struct conf_row *row;
    const struct conf_source *source;
    struct conf_problems *problems;
    const char *name; // under which the value was found
    struct slice value;
    void *field;
};

static enum weir_result set_text(char **field, struct slice text)
{
    *field = mem_copy(text.at, text.len);
    return *field == NULL ? WEIR_MEMORY : WEIR_OK;
}

static void refuse(const struct reading *reading, const char *allowed)
{
    if (reading->row->type == CONF_SECRET) {
        conf_error(reading->problems, "%s: the value is not usable; allowed: %s", reading->name,
            allowed);
        return;
    }
    conf_error(reading->problems, "%s: \"%.*s\" is not usable; allowed: %s", reading->name,
        SLICE_ARG(reading->value), allowed);
}

// What JavaScript's Number() takes for a non-negative integer: digits, 0x…, 1e3, 1.0.
static bool parse_int(struct slice value, uint64_t *ret_number)
{
    char text[64];
    char *end;
    if (value.len == 0 || !slice_to_text(value, text, sizeof text) ||
        strspn(text, "0123456789abcdefABCDEFxX.+") != value.len) {
        return false;
    }
    double number = strtod(text, &end);
    if (*end != '\0' || number < 0 || number > 9007199254740991.0 || floor(number) != number) {
        return false;
    }
    *ret_number = (uint64_t)number;
    return true;
}

static enum weir_result read_int(const struct reading *reading)
{
    const struct conf_row *row = reading->row;
    uint64_t number;
    char allowed[96];
    if (!parse_int(reading->value, &number) || number < row->min || number > row->max) {
        snprintf(allowed, sizeof allowed, "a whole number from %llu to %llu",
            (unsigned long long)row->min, (unsigned long long)row->max);
        refuse(reading, allowed);
        return WEIR_OK;
    }
    *(uint64_t *)reading->field = number;
    return WEIR_OK;
}

static enum weir_result read_bool(const struct reading *reading)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_eq_nocase(reading->value, slice_str(words[i]))) {
            *(bool *)reading->field = i % 2 == 1;
            return WEIR_OK;
        }
    }
    refuse(reading, "0, 1, false, true, no, yes, off or on");
    return WEIR_OK;
}

static enum weir_result read_choice(const struct reading *reading)
{
    struct slice rest = slice_str(reading->row->choices);
    struct slice word;
    for (unsigned i = 0; slice_split(&rest, '|', &word); i++) {
        if (slice_eq_nocase(reading->value, word)) {
            *(unsigned *)reading->field = i;
            return WEIR_OK;
        }
    }
    refuse(reading, reading->row->choices);
    return WEIR_OK;
}

static bool has_scheme(struct slice url, const char *schemes)
{
    struct slice rest = slice_str(schemes);
    struct slice scheme;
    while (slice_split(&rest, '|', &scheme)) {
        struct slice behind = slice_skip(url, scheme.len);
        if (slice_starts_with_nocase(url, scheme) && slice_starts_with(behind, SLICE("://")) &&
            behind.len > 3 && behind.at[3] != '/') {
            return true;
        }
    }
    return false;
}

static enum weir_result read_url(const struct reading *reading)
{
    char allowed[128];
    bool plain = true;
    for (size_t i = 0; i < reading->value.len; i++) {
        plain = plain && (unsigned char)reading->value.at[i] > ' ' && reading->value.at[i] != 0x7f;
    }
    if (!plain || !has_scheme(reading->value, reading->row->choices)) {
        snprintf(allowed, sizeof allowed, "a URL with a host and the scheme %s",
            reading->row->choices);
        refuse(reading, allowed);
        return WEIR_OK;
    }
    return set_text(reading->field, reading->value);
}

static enum weir_result read_path(const struct reading *reading)
{
    const char *home = reading->source->get(reading->source->arg, "HOME");
    if (!slice_starts_with(reading->value, SLICE("~/")) || home == NULL) {
        return set_text(reading->field, reading->value);
    }
    char path[4096];
    struct slice rest = slice_skip(reading->value, 1);
    int len = snprintf(path, sizeof path, "%s%.*s", home, SLICE_ARG(rest));
    if (len < 0 || (size_t)len >= sizeof path) {
        refuse(reading, "a path of at most 4095 bytes");
        return WEIR_OK;
    }
    return set_text(reading->field, slice_of(path, (size_t)len));
}

static size_t count_words(struct slice value)
{
    size_t count = 0;
    struct slice word;
    while (slice_split(&value, ',', &word)) {
        count += slice_trim(word).len > 0;
    }
    return count;
}

static enum weir_result read_networks(const struct reading *reading)
{
    struct conf_networks *networks = reading->field;
    struct slice rest = reading->value;
    struct slice word;
    networks->items = mem_zalloc((count_words(rest) + 1) * sizeof *networks->items);
    if (networks->items == NULL) {
        return WEIR_MEMORY;
    }
    while (slice_split(&rest, ',', &word)) {
        word = slice_trim(word);
        if (word.len == 0) {
            continue;
        }
        if (ip_network_parse(word, &networks->items[networks->count]) == WEIR_OK) {
            networks->count++;
        } else {
            conf_error(reading->problems,
                "%s: \"%.*s\" is not usable; allowed: IP addresses and networks (10.0.0.0/8, "
                "2001:db8::/32), comma-separated",
                reading->name, SLICE_ARG(word));
        }
    }
    return WEIR_OK;
}

static enum weir_result read_words(const struct reading *reading)
{
    struct conf_words *words = reading->field;
    struct slice rest = reading->value;
    struct slice word;
    words->items = mem_zalloc((count_words(rest) + 1) * sizeof *words->items);
    if (words->items == NULL) {
        return WEIR_MEMORY;
    }
    while (slice_split(&rest, ',', &word)) {
        word = slice_trim(word);
        if (word.len == 0) {
            continue;
        }
        char *copy = mem_copy(word.at, word.len);
        if (copy == NULL) {
            return WEIR_MEMORY;
        }
        for (char *at = copy; *at != '\0'; at++) {
            *at = (char)tolower((unsigned char)*at);
        }
        words->items[words->count++] = copy;
    }
    return WEIR_OK;
}

static enum weir_result read_text(const struct reading *reading)
{
    return set_text(reading->field, reading->value);
}

static enum weir_result (*const readers[])(const struct reading *reading) = {
    [CONF_TEXT] = read_text,
    [CONF_URL] = read_url,
    [CONF_PATH] = read_path,
    [CONF_SECRET] = read_text,
    [CONF_INT] = read_int,
    [CONF_BOOL] = read_bool,
    [CONF_CHOICE] = read_choice,
    [CONF_NETWORKS] = read_networks,
    [CONF_WORDS] = read_words,
};

// ---- Rows

// A value of blanks only counts as not set.
static struct slice lookup(const struct conf_source *source, const char *name)
{
    return name == NULL ? SLICE_EMPTY : slice_trim(slice_str(source->get(source->arg, name)));
}

static void warn_of_two(const struct conf_row *row, struct slice value, struct slice other,
    struct conf_problems *problems)
{
    if (value.len > 0 && other.len > 0 && !slice_eq(value, other)) {
        conf_warning(problems, "%s and %s are both set and differ; %s is used", row->name,
            row->other, row->name);
    }
}

static enum weir_result read_row(const struct conf_row *row, const struct conf_source *source,
    void *target, bool *ret_set, struct conf_problems *problems)
{
    struct slice value = lookup(source, row->name);
    struct slice other = lookup(source, row->other);
    struct reading reading = {row, source, problems, row->name, value,
        (char *)target + row->offset};
    warn_of_two(row, value, other, problems);
    *ret_set = value.len > 0 || other.len > 0;
    if (value.len == 0 && other.len > 0) {
        reading.name = row->other;
        reading.value = other;
    } else if (value.len == 0) {
        if (row->fallback == NULL) {
            return WEIR_OK;
        }
        reading.value = slice_str(row->fallback);
    }
    return readers[row->type](&reading);
}

enum weir_result conf_read(const struct conf_row *rows, size_t count,
    const struct conf_source *source, void *target, bool *set, struct conf_problems *problems)
{
    for (size_t i = 0; i < count; i++) {
        enum weir_result result = read_row(&rows[i], source, target, &set[i], problems);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static void release_words(struct conf_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        mem_free(words->items[i]);
    }
    mem_free(words->items);
    *words = (struct conf_words){0};
}

void conf_release(const struct conf_row *rows, size_t count, void *target)
{
    for (size_t i = 0; i < count; i++) {
        void *field = (char *)target + rows[i].offset;
        switch (rows[i].type) {
        case CONF_TEXT:
        case CONF_URL:
        case CONF_PATH:
        case CONF_SECRET:
            mem_free(*(char **)field);
            *(char **)field = NULL;
            break;
        case CONF_NETWORKS:
            mem_free(((struct conf_networks *)field)->items);
            *(struct conf_networks *)field = (struct conf_networks){0};
            break;
        case CONF_WORDS:
            release_words(field);
            break;
        case CONF_INT:
        case CONF_BOOL:
        case CONF_CHOICE:
            break;
        }
    }
}

// ---- The manual

static void write_allowed(const struct conf_row *row, struct buf *out)
{
    struct slice rest = slice_str(row->choices);
    struct slice word;
    switch (row->type) {
    case CONF_INT:
        buf_printf(out, "%llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
        return;
    case CONF_BOOL:
        buf_append_str(out, "0, 1, false, true, no, yes, off, on");
        return;
    case CONF_CHOICE:
    case CONF_URL:
        for (bool first = true; slice_split(&rest, '|', &word); first = false) {
            buf_printf(out, "%s`%.*s%s`", first ? "" : ", ", SLICE_ARG(word),
                row->type == CONF_URL ? "://…" : "");
        }
        return;
    case CONF_NETWORKS:
        buf_append_str(out, "addresses and networks, comma-separated");
        return;
    case CONF_WORDS:
        buf_append_str(out, "comma-separated");
        return;
    case CONF_PATH:
        buf_append_str(out, "a path; `~/` is the home directory");
        return;
    case CONF_TEXT:
    case CONF_SECRET:
        buf_append_str(out, row->type == CONF_SECRET ? "secret text" : "text");
        return;
    }
}

void conf_manual(const struct conf_row *rows, size_t count, struct buf *out)
{
    const char *group = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct conf_row *row = &rows[i];
        if (group == NULL || strcmp(group, row->group) != 0) {
            group = row->group;
            buf_printf(out, "\n## %s\n\n| variable | default | allowed | meaning |\n"
                            "|---|---|---|---|\n", group);
        }
        buf_printf(out, "| `%s`", row->name);
        if (row->other != NULL) {
            buf_printf(out, "<br>also `%s`", row->other);
        }
        buf_printf(out, " | %s%s%s | ", row->fallback == NULL ? "" : "`",
            row->fallback == NULL ? "not set" : row->fallback, row->fallback == NULL ? "" : "`");
        write_allowed(row, out);
        buf_printf(out, " | %s |\n", row->meaning);
    }
}

// ---- The real environment

static const char *get_environment(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

static bool real_file_exists(void *arg, const char *path)
{
    (void)arg;
    return sys_file_exists(path);
}

const struct conf_source conf_environment = {get_environment, real_file_exists, NULL};
