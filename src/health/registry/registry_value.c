// SPDX-License-Identifier: Apache-2.0
// The values of a check, each by its kind. A reader function notes the mistake itself, with the
// value's place, and leaves the field alone then.
#include <pwd.h>
#include <stdio.h>

#include "base/number.h"
#include "base/time.h"
#include "conf/url.h"
#include "health/checks/body_regex.h"
#include "health/registry/registry_internal.h"

#define TEXT_LEN_MAX 65536
#define WORDS_MAX 1024
#define INTERVAL_MIN_NS (100 * NS_PER_MS)
#define INTERVAL_MAX_NS (UINT64_C(30) * 86400 * NS_PER_S)

const struct check_key check_keys[] = {
#define CHECK_KEY(name, kind, field, applies, fallback, meaning)                                   \
    {name, fallback, meaning, offsetof(struct check_spec, field), applies, VALUE_##kind},
#include "health/registry/check_keys.def"
#undef CHECK_KEY
};
const size_t check_key_count = sizeof check_keys / sizeof check_keys[0];

// ---- Text

// What stands between the braces of "${...}"; appends its value.
static bool expand_one(
    struct reader *reader, const struct yml_node *node, struct slice inside, struct buf *out)
{
    ptrdiff_t colon = slice_find(inside, ':');
    struct slice name = colon < 0 ? inside : slice_of(inside.at, (size_t)colon);
    struct slice rest = colon < 0 ? SLICE_EMPTY : slice_skip(inside, (size_t)colon);
    char text[256];
    if (name.len == 0 || (rest.len > 0 && !slice_starts_with(rest, SLICE(":-"))) ||
        !slice_to_text(name, text, sizeof text)) {
        reader_error(reader, node,
            "\"${%.*s}\" is not understood; allowed: ${NAME}, "
            "${NAME:-default}, and $$ for a dollar sign",
            SLICE_ARG(inside));
        return false;
    }
    const char *value = reader_environment(reader, text);
    if (value == NULL && rest.len == 0) {
        reader_error(
            reader, node, "the variable %s is not set, and ${%s} has no default", text, text);
        return false;
    }
    return value != NULL ? buf_append_str(out, value) == WEIR_OK
                         : buf_append_slice(out, slice_skip(rest, 2)) == WEIR_OK;
}

static bool expand(
    struct reader *reader, const struct yml_node *node, struct slice text, struct buf *out)
{
    while (text.len > 0) {
        ptrdiff_t dollar = slice_find(text, '$');
        size_t plain = dollar < 0 ? text.len : (size_t)dollar;
        (void)buf_append(out, text.at, plain); // out->failed is looked at in the end
        text = slice_skip(text, plain);
        if (slice_starts_with(text, SLICE("$$"))) {
            (void)buf_append_byte(out, '$');
            text = slice_skip(text, 2);
        } else if (slice_starts_with(text, SLICE("${"))) {
            ptrdiff_t end = slice_find(text, '}');
            if (end < 0) {
                reader_error(reader, node, "a ${ has no }; $$ stands for a dollar sign");
                return false;
            }
            if (!expand_one(reader, node, slice_of(text.at + 2, (size_t)end - 2), out)) {
                return false;
            }
            text = slice_skip(text, (size_t)end + 1);
        } else if (text.len > 0) {
            (void)buf_append_byte(out, '$');
            text = slice_skip(text, 1);
        }
    }
    return true;
}

bool value_text(struct reader *reader, const struct yml_node *node, const char **ret_text)
{
    struct slice text;
    if (yml_text(node, &text) != WEIR_OK) {
        reader_error(reader, node, "must be text, but there is %s", yml_kind_text(node));
        return false;
    }
    if (slice_find(text, '\0') >= 0) {
        reader_error(reader, node, "must not hold a NUL byte");
        return false;
    }
    struct buf out = BUF_INIT(TEXT_LEN_MAX);
    bool ok = expand(reader, node, text, &out);
    if (ok && out.failed) {
        reader_error(reader, node, "is longer than %d bytes", TEXT_LEN_MAX);
        ok = false;
    }
    const char *copy = ok ? reader_copy(reader, buf_slice(&out)) : NULL;
    buf_reset(&out);
    if (copy != NULL) {
        *ret_text = copy;
    }
    return copy != NULL;
}

const char *value_plain(struct reader *reader, const struct yml_node *node)
{
    struct slice text;
    if (yml_text(node, &text) != WEIR_OK || text.len == 0 || slice_find(text, '\0') >= 0) {
        return NULL;
    }
    return reader_copy(reader, text);
}

static bool value_needed_text(
    struct reader *reader, const struct yml_node *node, const char **ret_text)
{
    const char *text;
    if (!value_text(reader, node, &text)) {
        return false;
    }
    if (text[0] == '\0') {
        reader_error(reader, node, "must not be empty");
        return false;
    }
    *ret_text = text;
    return true;
}

const char *value_path(struct reader *reader, const char *text, const char *directory)
{
    if (text[0] == '/') {
        return text;
    }
    if (text[0] != '~') {
        return reader_format(reader, "%s/%s", directory, text);
    }
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text + 1) : (size_t)(slash - text - 1);
    const char *home = NULL;
    if (len == 0) {
        home = reader_environment(reader, "HOME");
    } else {
        char name[64];
        struct passwd *user =
            slice_to_text(slice_of(text + 1, len), name, sizeof name) ? getpwnam(name) : NULL;
        home = user == NULL ? NULL : user->pw_dir;
    }
    return home == NULL ? text : reader_format(reader, "%s%s", home, slash == NULL ? "" : slash);
}

// ---- Numbers

bool value_bool(struct reader *reader, const struct yml_node *node, bool *ret_value)
{
    if (yml_bool(node, ret_value) != WEIR_OK) {
        reader_error(reader, node, "must be true or false, but there is %s", yml_kind_text(node));
        return false;
    }
    return true;
}

static bool value_whole(struct reader *reader, const struct yml_node *node, int64_t min,
    int64_t max, int64_t *ret_value)
{
    if (yml_int(node, ret_value) != WEIR_OK || *ret_value < min || *ret_value > max) {
        reader_error(
            reader, node, "must be a whole number, %lld-%lld", (long long)min, (long long)max);
        return false;
    }
    return true;
}

bool value_port(struct reader *reader, const struct yml_node *node, uint16_t *ret_port)
{
    int64_t port;
    struct slice text;
    // Registries quote ports, too.
    uint64_t quoted;
    if (yml_text(node, &text) == WEIR_OK && number_parse_u64(text, 65535, &quoted) == WEIR_OK &&
        quoted > 0) {
        *ret_port = (uint16_t)quoted;
        return true;
    }
    if (!value_whole(reader, node, 1, 65535, &port)) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

// "8081:80" or "10.0.0.1:8081:80/tcp": the part before the last colon, of that the last part.
bool value_ports(struct reader *reader, const struct yml_node *node, uint16_t *ret_port)
{
    const struct yml_node *first = yml_is(node, YML_SEQUENCE) ? node->first : node;
    struct slice text;
    if (first == NULL || yml_text(first, &text) != WEIR_OK || slice_find(text, ':') < 0) {
        return first == NULL || value_port(reader, first, ret_port);
    }
    struct slice host_part = SLICE_EMPTY;
    struct slice part;
    struct slice last = SLICE_EMPTY;
    while (slice_split(&text, ':', &part)) {
        host_part = last;
        last = part;
    }
    uint64_t port;
    if (number_parse_u64(host_part, 65535, &port) != WEIR_OK || port == 0) {
        reader_error(reader, first, "must be a port, HOST:CONTAINER or IP:HOST:CONTAINER");
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool value_duration(
    struct reader *reader, const struct yml_node *node, uint64_t min_ns, uint64_t *ret_ns)
{
    uint64_t ns;
    if (yml_duration(node, &ns) != WEIR_OK || ns > INTERVAL_MAX_NS || ns < min_ns) {
        reader_error(reader, node, "must be seconds or a duration such as 500ms, 5s or 1m, %s-30d",
            min_ns == 0                 ? "0"
            : min_ns == INTERVAL_MIN_NS ? "100ms"
                                        : "1ms");
        return false;
    }
    *ret_ns = ns;
    return true;
}

// ---- Lists and maps

const char *const *value_words(
    struct reader *reader, const struct yml_node *node, size_t *ret_count)
{
    size_t count = yml_is(node, YML_SCALAR) ? 1 : node == NULL ? 0 : node->count;
    *ret_count = 0;
    if (count == 0 || yml_is_null(node)) {
        return NULL;
    }
    const char **words = reader_alloc(reader, (count + 1) * sizeof *words);
    if (words == NULL) {
        return NULL;
    }
    if (yml_is(node, YML_SCALAR)) {
        words[0] = value_plain(reader, node);
        *ret_count = words[0] != NULL;
        return words;
    }
    yml_for_each (child, node) {
        const char *word = yml_is(node, YML_MAPPING) ? reader_copy(reader, child->key)
                                                     : value_plain(reader, child);
        if (word != NULL) {
            words[(*ret_count)++] = word;
        }
    }
    return words;
}

// The name is a token (RFC 9110 section 5.6.2), the value has one line and no NUL.
static bool is_header(struct slice name, struct slice value)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.at[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= '0' && byte <= '9');
        if (!letter && (byte == '\0' || strchr("!#$%&'*+-.^_`|~", byte) == NULL)) {
            return false;
        }
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.at[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return name.len > 0;
}

static bool value_pairs(struct reader *reader, const struct yml_node *node, const char *between,
    const char *const **ret_pairs)
{
    if (!yml_is(node, YML_MAPPING) || node->count > WORDS_MAX) {
        reader_error(reader, node, "must be a map of at most %d names to text", WORDS_MAX);
        return false;
    }
    const char **pairs = reader_alloc(reader, (node->count + 1) * sizeof *pairs);
    size_t count = 0;
    bool ok = pairs != NULL;
    yml_for_each (child, node) {
        const char *value;
        bool header = between[0] == ':';
        if (!ok || !value_text(reader, child, &value)) {
            return false;
        }
        bool good = header ? is_header(child->key, slice_str(value))
                           : child->key.len > 0 && strpbrk(child->key.at, "=") == NULL;
        if (!good) {
            reader_error(reader, child, "is not the name of a %s with a value on one line",
                header ? "header" : "variable");
            return false;
        }
        // libcurl wants "name;" for a header without a value.
        pairs[count] = header && value[0] == '\0'
                           ? reader_format(reader, "%s;", child->key.at)
                           : reader_format(reader, "%s%s%s", child->key.at, between, value);
        ok = pairs[count++] != NULL;
    }
    *ret_pairs = pairs;
    return ok;
}

static bool value_command(
    struct reader *reader, const struct yml_node *node, const char *const **ret_command)
{
    bool list = yml_is(node, YML_SEQUENCE);
    size_t count = list ? node->count : 3;
    if (list && (count == 0 || count > WORDS_MAX)) {
        reader_error(reader, node, "must not be empty, nor longer than %d arguments", WORDS_MAX);
        return false;
    }
    const char **words = reader_alloc(reader, (count + 1) * sizeof *words);
    if (words == NULL) {
        return false;
    }
    if (!list) {
        words[0] = "/bin/sh";
        words[1] = "-c";
        *ret_command = words;
        return value_needed_text(reader, node, &words[2]);
    }
    yml_for_each (child, node) {
        if (!value_text(reader, child, &words[child->position])) {
            return false;
        }
    }
    if (words[0][0] == '\0') {
        reader_error(reader, node->first, "must not be empty");
        return false;
    }
    *ret_command = words;
    return true;
}

// 200, "200-299", "2xx".
static bool read_range(
    struct reader *reader, const struct yml_node *node, struct status_range *ret_range)
{
    struct slice text;
    uint64_t from = 0;
    uint64_t to = 0;
    if (yml_text(node, &text) == WEIR_OK) {
        ptrdiff_t dash = slice_find(text, '-');
        bool class = text.len == 3 && slice_eq_nocase(slice_skip(text, 1), SLICE("xx"));
        if (class && text.at[0] >= '1' && text.at[0] <= '5') {
            from = (uint64_t)(text.at[0] - '0') * 100;
            to = from + 99;
        } else if (dash > 0 &&
                   number_parse_u64(slice_of(text.at, (size_t)dash), 599, &from) == WEIR_OK &&
                   number_parse_u64(slice_skip(text, (size_t)dash + 1), 599, &to) == WEIR_OK) {
            from = from <= to ? from : 0;
        } else if (number_parse_u64(text, 599, &from) == WEIR_OK) {
            to = from;
        } else {
            from = 0;
        }
    }
    if (from < 100) {
        reader_error(reader, node,
            "must be a status 100-599, a range such as \"200-299\" or a class such as \"2xx\"");
        return false;
    }
    *ret_range = (struct status_range){(unsigned)from, (unsigned)to};
    return true;
}

static bool value_status(
    struct reader *reader, const struct yml_node *node, struct status_set *ret_set)
{
    bool list = yml_is(node, YML_SEQUENCE);
    size_t count = list ? node->count : 1;
    if (count == 0 || count > WORDS_MAX) {
        reader_error(reader, node, "must hold 1-%d entries", WORDS_MAX);
        return false;
    }
    struct status_range *ranges = reader_alloc(reader, count * sizeof *ranges);
    if (ranges == NULL) {
        return false;
    }
    if (!list && !read_range(reader, node, ranges)) {
        return false;
    }
    yml_for_each (child, list ? node : NULL) {
        if (!read_range(reader, child, &ranges[child->position])) {
            return false;
        }
    }
    *ret_set = (struct status_set){ranges, count};
    return true;
}

// ---- Text that must mean something

static bool value_url(struct reader *reader, const struct yml_node *node, const char **ret_url)
{
    const char *text;
    struct conf_url url;
    if (!value_text(reader, node, &text)) {
        return false;
    }
    if (conf_url_parse(slice_str(text), &url) != WEIR_OK) {
        reader_error(reader, node, "\"%s\" is no absolute URL with a host", text);
        return false;
    }
    if (!slice_eq_nocase(url.scheme, SLICE("http")) &&
        !slice_eq_nocase(url.scheme, SLICE("https"))) {
        reader_error(reader, node, "\"%s\" is neither http nor https", text);
        return false;
    }
    *ret_url = text;
    return true;
}

static bool value_method(
    struct reader *reader, const struct yml_node *node, const char **ret_method)
{
    const char *text;
    if (!value_text(reader, node, &text)) {
        return false;
    }
    size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_");
    if (len == 0 || len > 32 || text[len] != '\0') {
        reader_error(reader, node, "\"%s\" is no request method", text);
        return false;
    }
    *ret_method = text;
    return true;
}

static bool value_regex(struct reader *reader, const struct yml_node *node, const char **ret_text)
{
    const char *text;
    char reason[128];
    if (!value_text(reader, node, &text)) {
        return false;
    }
    if (!body_regex_usable(text, reason, sizeof reason)) {
        reader_error(reader, node, "\"%s\" is no extended regular expression: %s", text, reason);
        return false;
    }
    *ret_text = text;
    return true;
}

static bool value_type(
    struct reader *reader, const struct yml_node *node, enum check_type *ret_type)
{
    struct slice text;
    if (yml_text(node, &text) == WEIR_OK) {
        for (unsigned type = CHECK_NONE; type < CHECK_TYPE_COUNT; type++) {
            if (slice_eq_nocase(text, slice_str(check_type_name(type)))) {
                *ret_type = type;
                return true;
            }
        }
        reader_error(reader, node, "\"%.*s\" is no type; allowed: http, tcp, process, exec, none",
            SLICE_ARG(text));
        return false;
    }
    reader_error(reader, node, "must be http, tcp, process, exec or none, but there is %s",
        yml_kind_text(node));
    return false;
}

static bool value_place(
    struct reader *reader, const struct yml_node *node, enum check_place *ret_place)
{
    struct slice text;
    if (yml_text(node, &text) == WEIR_OK) {
        bool monitor = slice_eq(text, SLICE("monitor"));
        if (monitor || slice_eq(text, SLICE("machine"))) {
            *ret_place = monitor ? RUN_ON_MONITOR : RUN_ON_MACHINE;
            return true;
        }
    }
    reader_error(reader, node, "must be machine or monitor");
    return false;
}

static bool value_file(struct reader *reader, const struct check_key *key,
    const struct yml_node *node, const char **ret_path)
{
    const char *text;
    if (!value_needed_text(reader, node, &text)) {
        return false;
    }
    const char *pids = reader_environment(reader, "PIDS_DIR");
    bool pid_file = strcmp(key->name, "pid_file") == 0 && pids != NULL;
    // A "~" of a check that may run elsewhere is replaced when it is known where: finish_place.
    bool later = text[0] == '~' && strcmp(key->name, "ca_cert") != 0;
    *ret_path = later ? text : value_path(reader, text, pid_file ? pids : reader->directory);
    return *ret_path != NULL;
}

bool value_read(struct reader *reader, const struct check_key *key, const struct yml_node *node,
    struct check_spec *spec)
{
    void *field = (char *)spec + key->offset;
    int64_t number;
    switch (key->kind) {
    case VALUE_TYPE:
        return value_type(reader, node, field);
    case VALUE_BOOL:
        return value_bool(reader, node, field);
    case VALUE_DURATION:
        return value_duration(reader, node, INTERVAL_MIN_NS, field);
    case VALUE_TIMEOUT:
        return value_duration(reader, node, NS_PER_MS, field);
    case VALUE_SPAN:
        return value_duration(reader, node, 0, field);
    case VALUE_COUNT:
        if (!value_whole(reader, node, 1, 1000000, &number)) {
            return false;
        }
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case VALUE_MILLISECONDS:
        if (!value_whole(reader, node, 1, 86400000, &number)) {
            return false;
        }
        *(uint64_t *)field = time_from_ms((uint64_t)number);
        return true;
    case VALUE_EXIT:
        if (!value_whole(reader, node, 0, 255, &number)) {
            return false;
        }
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case VALUE_PLACE:
        return value_place(reader, node, field);
    case VALUE_URL:
        return value_url(reader, node, field);
    case VALUE_STATUS:
        return value_status(reader, node, field);
    case VALUE_METHOD:
        return value_method(reader, node, field);
    case VALUE_PAIRS_HEADER:
        return value_pairs(reader, node, ": ", field);
    case VALUE_PAIRS_ENV:
        return value_pairs(reader, node, "=", field);
    case VALUE_TEXT:
        return value_needed_text(reader, node, field);
    case VALUE_PATH:
        return value_file(reader, key, node, field);
    case VALUE_REGEX:
        return value_regex(reader, node, field);
    case VALUE_PORT:
        return value_port(reader, node, field);
    case VALUE_COMMAND:
        return value_command(reader, node, field);
    }
    return false;
}
