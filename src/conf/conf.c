// SPDX-License-Identifier: Apache-2.0
// Reading a table: a reader a type, and the walk over the rows.
#include "conf/conf.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/number.h"
#include "base/utf8.h"
#include "conf/conf_internal.h"
#include "conf/url.h"

#define SHOWN_LEN_MAX 120 // of a value in a problem's line

// ---- Values

static enum weir_result set_text(char **field, struct slice text)
{
    *field = mem_copy(text.at, text.len);
    return *field == NULL ? WEIR_MEMORY : WEIR_OK;
}

static bool is_hidden(const struct conf_reading *reading)
{
    enum conf_type type = reading->row->type;
    return type == CONF_SECRET || type == CONF_SECRET_URL ||
           (type == CONF_URL && slice_find(reading->value, '@') >= 0);
}

// Reports and returns the result of a reader that refuses.
static enum weir_result refuse(
    const struct conf_reading *reading, struct slice value, const char *allowed)
{
    bool cut = value.len > SHOWN_LEN_MAX;
    if (is_hidden(reading)) {
        conf_error(reading->problems, "%s: the value (not shown) is not usable; allowed: %s",
            reading->name, allowed);
    } else {
        value.len = cut ? SHOWN_LEN_MAX : value.len;
        conf_error(reading->problems, "%s: \"%.*s%s\" is not usable; allowed: %s", reading->name,
            SLICE_ARG(value), cut ? "..." : "", allowed);
    }
    return WEIR_MALFORMED;
}

static bool is_line(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f) {
            return false;
        }
    }
    return text.len <= CONF_TEXT_LEN_MAX;
}

// ---- A reader a type. WEIR_MALFORMED: refused and reported, the field is untouched.

static enum weir_result read_text(const struct conf_reading *reading)
{
    if (!is_line(reading->value) || !utf8_valid(reading->value)) {
        return refuse(
            reading, reading->value, "UTF-8 without control characters, at most 4095 bytes");
    }
    return set_text(reading->field, reading->value);
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

static enum weir_result read_int(const struct conf_reading *reading)
{
    const struct conf_row *row = reading->row;
    uint64_t number;
    char allowed[96];
    if (!parse_int(reading->value, &number) || number < row->min || number > row->max) {
        snprintf(allowed, sizeof allowed, "a whole number from %llu to %llu",
            (unsigned long long)row->min, (unsigned long long)row->max);
        return refuse(reading, reading->value, allowed);
    }
    *(uint64_t *)reading->field = number;
    return WEIR_OK;
}

static enum weir_result read_bool(const struct conf_reading *reading)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_eq_nocase(reading->value, slice_str(words[i]))) {
            *(bool *)reading->field = i % 2 == 1;
            return WEIR_OK;
        }
    }
    return refuse(reading, reading->value, "0, 1, false, true, no, yes, off or on");
}

// "a, b, c" of "a|b|c".
static void write_choices(const char *choices, char *text, size_t size)
{
    size_t len = 0;
    for (; *choices != '\0' && len + 3 < size; choices++) {
        text[len++] = *choices == '|' ? ',' : *choices;
        if (*choices == '|') {
            text[len++] = ' ';
        }
    }
    text[len] = '\0';
}

static enum weir_result read_choice(const struct conf_reading *reading)
{
    struct slice rest = slice_str(reading->row->choices);
    struct slice word;
    for (unsigned i = 0; slice_split(&rest, '|', &word); i++) {
        if (slice_eq_nocase(reading->value, word)) {
            *(unsigned *)reading->field = i;
            return WEIR_OK;
        }
    }
    char allowed[96];
    write_choices(reading->row->choices, allowed, sizeof allowed);
    return refuse(reading, reading->value, allowed);
}

static bool is_one_of(struct slice word, const char *choices)
{
    struct slice rest = slice_str(choices);
    struct slice choice;
    while (slice_split(&rest, '|', &choice)) {
        if (slice_eq_nocase(word, choice)) {
            return true;
        }
    }
    return false;
}

static enum weir_result read_url(const struct conf_reading *reading)
{
    const struct conf_row *row = reading->row;
    struct conf_url url;
    char schemes[64];
    char allowed[192];
    if (!is_line(reading->value) || conf_url_parse(reading->value, &url) != WEIR_OK ||
        !is_one_of(url.scheme, row->choices) ||
        (url.has_userinfo && row->type != CONF_SECRET_URL)) {
        write_choices(row->choices, schemes, sizeof schemes);
        snprintf(allowed, sizeof allowed, "scheme://host[:port][/path] with a scheme of: %s%s",
            schemes, row->type == CONF_URL ? "; no user name or password in it" : "");
        return refuse(reading, reading->value, allowed);
    }
    return set_text(reading->field, reading->value);
}

static enum weir_result read_path(const struct conf_reading *reading)
{
    struct slice path = reading->value;
    struct slice home = SLICE_EMPTY;
    char text[CONF_TEXT_LEN_MAX + 1];
    if (slice_starts_with(path, SLICE("~/"))) {
        home = slice_str(reading->source->get(reading->source->arg, "HOME"));
        if (home.len == 0 && reading->given) {
            return refuse(reading, path, "a path without ~/ while HOME is not set");
        }
        path = slice_skip(path, home.len == 0 ? 0 : 1);
    }
    if (!is_line(path) || home.len + path.len > CONF_TEXT_LEN_MAX) {
        return refuse(
            reading, reading->value, "a path without control characters, at most 4095 bytes");
    }
    memcpy(text, home.at, home.len);
    memcpy(text + home.len, path.at, path.len);
    return set_text(reading->field, slice_of(text, home.len + path.len));
}

// The next word of a comma-separated list; blanks do not count.
static bool next_word(struct slice *rest, struct slice *ret_word)
{
    while (slice_split(rest, ',', ret_word)) {
        *ret_word = slice_trim(*ret_word);
        if (ret_word->len > 0) {
            return true;
        }
    }
    return false;
}

static size_t count_words(struct slice value)
{
    size_t count = 0;
    struct slice word;
    while (next_word(&value, &word)) {
        count++;
    }
    return count;
}

static enum weir_result read_networks(const struct conf_reading *reading)
{
    struct conf_networks networks = {0};
    struct slice rest = reading->value;
    struct slice word;
    enum weir_result result = WEIR_OK;
    networks.items = mem_zalloc((count_words(rest) + 1) * sizeof *networks.items);
    if (networks.items == NULL) {
        return WEIR_MEMORY;
    }
    while (next_word(&rest, &word)) {
        if (ip_network_parse(word, &networks.items[networks.count]) == WEIR_OK) {
            networks.count++;
        } else {
            result = refuse(reading, word,
                "IP addresses and networks like 10.0.0.0/8 or 2001:db8::/32, comma-separated");
        }
    }
    if (result != WEIR_OK) {
        mem_free(networks.items);
        return result;
    }
    *(struct conf_networks *)reading->field = networks;
    return WEIR_OK;
}

static bool add_word(struct conf_words *words, struct slice word)
{
    char *copy = mem_copy(word.at, word.len);
    for (size_t i = 0; copy != NULL && i < word.len; i++) {
        copy[i] = (char)tolower((unsigned char)copy[i]);
    }
    words->items[words->count] = copy;
    words->count += copy != NULL;
    return copy != NULL;
}

static enum weir_result read_words(const struct conf_reading *reading)
{
    struct conf_words *words = reading->field;
    struct slice rest = reading->value;
    struct slice word;
    if (!is_line(rest) || !utf8_valid(rest)) {
        return refuse(reading, rest, "words without control characters, comma-separated");
    }
    words->items = mem_zalloc((count_words(rest) + 1) * sizeof *words->items);
    if (words->items == NULL) {
        return WEIR_MEMORY;
    }
    while (next_word(&rest, &word)) {
        if (!add_word(words, word)) {
            return WEIR_MEMORY;
        }
    }
    return WEIR_OK;
}

// Splits "[::1]:80", "127.0.0.1:80", "localhost:80", ":80"; the brackets go.
static bool split_listen(struct slice text, struct slice *ret_host, struct slice *ret_port)
{
    struct ip ip;
    bool brackets = slice_starts_with(text, SLICE("["));
    ptrdiff_t end = slice_find(text, brackets ? ']' : ':');
    if (end < 0) {
        return false;
    }
    *ret_host = brackets ? slice_of(text.at + 1, (size_t)end - 1) : slice_of(text.at, (size_t)end);
    struct slice rest = slice_skip(text, (size_t)end + (brackets ? 1 : 0));
    bool is_ip = ip_parse(*ret_host, &ip) == WEIR_OK;
    *ret_port = slice_skip(rest, 1);
    return slice_starts_with(rest, SLICE(":")) &&
           (brackets
                   ? is_ip && slice_find(*ret_host, ':') >= 0
                   : is_ip || ret_host->len == 0 || slice_eq_nocase(*ret_host, SLICE("localhost")));
}

enum weir_result conf_listen_parse(
    struct slice text, uint64_t port_min, struct conf_listen *ret_listen)
{
    struct conf_listen listen;
    struct slice host;
    struct slice port;
    if (!split_listen(text, &host, &port) ||
        number_parse_u64(port, UINT16_MAX, &listen.port) != WEIR_OK || listen.port < port_min) {
        return WEIR_MALFORMED;
    }
    listen.host = mem_copy(host.at, host.len);
    if (listen.host == NULL) {
        return WEIR_MEMORY;
    }
    *ret_listen = listen;
    return WEIR_OK;
}

bool conf_listen_is_loopback(const struct conf_listen *listen)
{
    struct slice host = slice_str(listen->host);
    struct ip ip;
    return slice_eq_nocase(host, SLICE("localhost")) ||
           (ip_parse(host, &ip) == WEIR_OK && ip_is_loopback(&ip));
}

static enum weir_result read_listen(const struct conf_reading *reading)
{
    char allowed[128];
    enum weir_result result = conf_listen_parse(reading->value, reading->row->min, reading->field);
    if (result == WEIR_MALFORMED) {
        snprintf(allowed, sizeof allowed,
            "ADDRESS:PORT like 0.0.0.0:443, [::]:443 or localhost:443, the port from %llu to %llu",
            (unsigned long long)reading->row->min, (unsigned long long)reading->row->max);
        return refuse(reading, reading->value, allowed);
    }
    return result;
}

static enum weir_result read_ports(const struct conf_reading *reading)
{
    const struct conf_row *row = reading->row;
    struct slice last = reading->value;
    struct slice first;
    struct conf_ports ports;
    char allowed[96];
    if (!slice_split(&last, '-', &first)) {
        first = SLICE_EMPTY;
    }
    last = last.at == NULL ? first : last;
    if (number_parse_u64(first, row->max, &ports.first) != WEIR_OK ||
        number_parse_u64(last, row->max, &ports.last) != WEIR_OK || ports.first < row->min ||
        ports.last < ports.first) {
        snprintf(allowed, sizeof allowed, "FIRST-LAST, ports from %llu to %llu",
            (unsigned long long)row->min, (unsigned long long)row->max);
        return refuse(reading, reading->value, allowed);
    }
    *(struct conf_ports *)reading->field = ports;
    return WEIR_OK;
}

static enum weir_result (*const readers[])(const struct conf_reading *reading) = {
    [CONF_TEXT] = read_text,
    [CONF_URL] = read_url,
    [CONF_SECRET_URL] = read_url,
    [CONF_PATH] = read_path,
    [CONF_SECRET] = read_text,
    [CONF_INT] = read_int,
    [CONF_BOOL] = read_bool,
    [CONF_CHOICE] = read_choice,
    [CONF_NETWORKS] = read_networks,
    [CONF_WORDS] = read_words,
    [CONF_LISTEN] = read_listen,
    [CONF_PORTS] = read_ports,
};

enum weir_result conf_reading_run(struct conf_reading *reading)
{
    const struct conf_row *row = reading->row;
    enum weir_result result = reading->given ? readers[row->type](reading) : WEIR_MALFORMED;
    if (result == WEIR_MALFORMED && row->fallback != NULL) {
        reading->value = slice_str(row->fallback);
        reading->given = false;
        result = readers[row->type](reading);
    }
    return result;
}

// ---- Rows

void conf_source_label(
    const struct conf_source *source, const char *name, char text[CONF_LABEL_SIZE])
{
    if (source->label != NULL) {
        source->label(source->arg, name, text);
    } else {
        snprintf(text, CONF_LABEL_SIZE, "%s", name);
    }
}

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
    bool use_other = value.len == 0 && other.len > 0;
    char label[CONF_LABEL_SIZE];
    conf_source_label(source, use_other ? row->other : row->name, label);
    struct conf_reading reading = {
        .row = row,
        .source = source,
        .problems = problems,
        .name = label,
        .value = use_other ? other : value,
        .field = (char *)target + row->offset,
        .given = value.len > 0 || other.len > 0,
    };
    warn_of_two(row, value, other, problems);
    *ret_set = reading.given;
    enum weir_result result = conf_reading_run(&reading);
    return result == WEIR_MALFORMED ? WEIR_OK : result;
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
        case CONF_SECRET_URL:
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
        case CONF_LISTEN:
            mem_free(((struct conf_listen *)field)->host);
            *(struct conf_listen *)field = (struct conf_listen){0};
            break;
        case CONF_INT:
        case CONF_BOOL:
        case CONF_CHOICE:
        case CONF_PORTS:
            break;
        }
    }
}
