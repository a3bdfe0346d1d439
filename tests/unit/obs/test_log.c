// SPDX-License-Identifier: Apache-2.0
// What a line looks like, and the ring.
#include "obs/log.h"

#include "log_world.h"

#include "base/mem.h"

// A slice for a static initialiser.
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define DUMP_MAX ((size_t)1 << 22)

typedef void build_fn(struct log_line *line, const void *row);

// Logs one line and returns it as it was written, newline included. The caller frees it.
static char *write_one(build_fn *build, const void *row)
{
    int fd = world_open();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    struct log_line line;
    log_begin(&line, LOG_CLIENT_CONNECTED);
    build(&line, row);
    log_end(&line);
    log_stop();
    return world_take(fd);
}

static json_t *parse_one(char *text)
{
    char *rest = text;
    json_t *entry = world_next(&rest);
    assert_non_null(entry);
    assert_null(world_next(&rest));
    free(text);
    return entry;
}

// ---- A line

static void build_all_types(struct log_line *line, const void *row)
{
    (void)row;
    log_str(line, "workspaceId", SLICE("w1"));
    log_text(line, "ip", "192.0.2.1");
    log_text(line, "nothing", NULL);
    log_u64(line, "count", UINT64_MAX);
    log_bool(line, "yes", true);
    log_bool(line, "no", false);
}

static void test_shape(void **state)
{
    (void)state;
    char *text = write_one(build_all_types, NULL);
    unsigned year, month, day, hour, minute, second, ms;
    int at = 0;
    assert_int_equal(sscanf(text, "{\"ts\":\"%4u-%2u-%2uT%2u:%2u:%2u.%3uZ\"%n", &year, &month, &day,
                         &hour, &minute, &second, &ms, &at),
        7);
    assert_int_equal(at, 7 + 24 + 1);
    assert_string_equal(text + at,
        ",\"level\":\"info\",\"event\":\"client_connected\",\"details\":{\"workspaceId\":\"w1\","
        "\"ip\":\"192.0.2.1\",\"nothing\":\"\",\"count\":18446744073709551615,\"yes\":true,"
        "\"no\":false}}\n");
    free(text);
}

static void build_nothing(struct log_line *line, const void *row)
{
    (void)line;
    (void)row;
}

static void test_no_details(void **state)
{
    (void)state;
    json_t *entry = parse_one(write_one(build_nothing, NULL));
    assert_int_equal(json_object_size(json_object_get(entry, "details")), 0);
    json_decref(entry);
}

static void build_value(struct log_line *line, const void *row)
{
    log_str(line, "reason", *(const struct slice *)row);
}

static void test_escapes(void **state)
{
    (void)state;
    static const struct {
        struct slice value;
        const char *written;
    } rows[] = {
        {TEXT("plain ascii ~"), "plain ascii ~"},
        {TEXT("a\"b\\c"), "a\\\"b\\\\c"},
        {TEXT("\"}}\n{\"ts\":\""), "\\\"}}\\u000a{\\\"ts\\\":\\\""},
        {TEXT("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\\u007f"},
        {TEXT("\x1b[2J"), "\\u001b[2J"},
        {TEXT("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), "\\u0080\\u009b\\u009f\xc2\xa0"},
        {TEXT("\xc3\x9b\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\x9b\xe2\x82\xac\xf0\x9f\x98\x80"},
        {TEXT("\x9b|\xff|\xc0\xaf|\xe2\x82|\xed\xa0\x80"),
            "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|"
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *text = write_one(build_value, &rows[i].value);
        char wanted[256];
        snprintf(wanted, sizeof wanted, "\"details\":{\"reason\":\"%s\"}}\n", rows[i].written);
        assert_true(slice_ends_with(slice_str(text), slice_str(wanted)));
        json_decref(parse_one(text));
    }
}

static void test_every_byte(void **state)
{
    (void)state;
    char bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)i;
    }
    struct slice value = slice_of(bytes, sizeof bytes);
    json_decref(parse_one(write_one(build_value, &value)));
}

// ---- Redaction

struct redacted_row {
    const char *key;
    bool redacted;
};

static void build_redacted(struct log_line *line, const void *data)
{
    const struct redacted_row *row = data;
    log_text(line, row->key, "hunter2");
}

static void build_redacted_number(struct log_line *line, const void *data)
{
    const struct redacted_row *row = data;
    log_u64(line, row->key, 1234567);
}

static void test_redaction(void **state)
{
    (void)state;
    static const struct redacted_row rows[] = {
        {"authorization", true},
        {"proxyAuthorization", true},
        {"credential", true},
        {"CREDENTIALS", true},
        {"relayToken", true},
        {"secret", true},
        {"pairingSecret", true},
        {"Password", true},
        {"api-key", true},
        {"api_key", true},
        {"apiKey", true},
        {"private-key-path", true},
        {"private_key", true},
        {"privateKey", true},
        {"busSignature", true},
        {"payload", true},
        {"body", true},
        {"contentType", true},
        {"maxFrameBytes", true},
        {"message", true},
        {"workspaceId", false},
        {"runtimeTargetId", false},
        {"reason", false},
        {"ip", false},
        {"key", false},
        {"public-key", false},
        {"toke", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        json_t *entry = parse_one(write_one(build_redacted, &rows[i]));
        assert_string_equal(json_string_value(world_detail(entry, rows[i].key)),
            rows[i].redacted ? "[redacted]" : "hunter2");
        json_decref(entry);
        entry = parse_one(write_one(build_redacted_number, &rows[i]));
        json_t *value = world_detail(entry, rows[i].key);
        assert_int_equal(json_is_string(value), rows[i].redacted);
        assert_int_equal(json_integer_value(value), rows[i].redacted ? 0 : 1234567);
        json_decref(entry);
    }
}

// ---- Long lines

static void build_long(struct log_line *line, const void *row)
{
    log_str(line, "first", *(const struct slice *)row);
    log_text(line, "second", "kept");
}

// At every length around the limit a line is whole JSON, and a detail is there as a whole or not.
static void test_long_lines(void **state)
{
    (void)state;
    static char value[4096];
    static const char bytes[] = {'x', '"', '\x01', '\xff'};
    bool seen_whole = false;
    bool seen_cut = false;
    for (size_t kind = 0; kind < sizeof bytes; kind++) {
        memset(value, bytes[kind], sizeof value);
        for (size_t len = 1; len < sizeof value; len += len < 250 ? 53 : len < 2100 ? 7 : 997) {
            struct slice first = slice_of(value, len);
            char *text = write_one(build_long, &first);
            assert_true(strlen(text) <= sizeof((struct log_line *)NULL)->text);
            json_t *entry = parse_one(text);
            json_t *kept = world_detail(entry, "first");
            bool cut = json_is_true(world_detail(entry, "truncated"));
            assert_true(cut || kept != NULL);
            if (kept != NULL && (bytes[kind] == 'x' || bytes[kind] == '"')) {
                assert_int_equal(json_string_length(kept), len);
            }
            if (kept == NULL) {
                assert_string_equal(json_string_value(world_detail(entry, "second")), "kept");
            }
            seen_whole = seen_whole || !cut;
            seen_cut = seen_cut || (cut && kept == NULL);
            json_decref(entry);
        }
    }
    assert_true(seen_whole && seen_cut);
}

// ---- The ring

static void log_number(uint64_t number)
{
    struct log_line line;
    log_begin(&line, number % 2 == 0 ? LOG_CONFIG_WARNING : LOG_CLIENT_CONNECTED);
    log_u64(&line, "number", number);
    log_end(&line);
}

static json_t *dump(bool brief)
{
    struct buf out = BUF_INIT(DUMP_MAX);
    buf_append_byte(&out, '[');
    assert_int_equal(log_dump(&out, brief), WEIR_OK);
    buf_append_byte(&out, ']');
    char *text = buf_text(&out);
    assert_non_null(text);
    json_t *entries = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(entries);
    buf_reset(&out);
    return entries;
}

static void expect_numbers(uint64_t first, uint64_t count)
{
    json_t *entries = dump(false);
    assert_int_equal(json_array_size(entries), count);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(world_number(json_array_get(entries, i), "number"), first + i);
    }
    json_decref(entries);
}

static void test_ring(void **state)
{
    (void)state;
    static const struct {
        size_t ring_size;
        uint64_t logged;
    } rows[] = {{1, 1}, {1, 5}, {7, 0}, {7, 6}, {7, 7}, {7, 8}, {32, 100}, {33, 100}, {200, 100}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int fd = world_open();
        assert_int_equal(log_start(rows[i].ring_size, fd), WEIR_OK);
        for (uint64_t number = 0; number < rows[i].logged; number++) {
            log_number(number);
        }
        uint64_t kept = rows[i].logged < rows[i].ring_size ? rows[i].logged : rows[i].ring_size;
        expect_numbers(rows[i].logged - kept, kept);
        struct log_summary summary;
        log_summarise(&summary);
        assert_int_equal(summary.total, kept);
        assert_int_equal(summary.capacity, rows[i].ring_size);
        assert_int_equal(summary.counts[LOG_INFO] + summary.counts[LOG_WARN], kept);
        assert_true(summary.counts[LOG_INFO] == kept / 2 || summary.counts[LOG_WARN] == kept / 2);
        assert_int_equal(summary.oldest_wall_ms == 0, kept == 0);
        assert_true(summary.oldest_wall_ms <= summary.newest_wall_ms);
        log_stop();
        expect_numbers(0, 0);
        close(fd);
    }
}

static void test_brief_dump(void **state)
{
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    log_number(0);
    log_number(1);
    json_t *entries = dump(true);
    assert_int_equal(json_array_size(entries), 2);
    json_t *second = json_array_get(entries, 1);
    assert_int_equal(json_object_size(second), 3);
    assert_int_equal(json_string_length(json_object_get(second, "ts")), 24);
    assert_string_equal(json_string_value(json_object_get(second, "level")), "info");
    assert_string_equal(world_event(second), "client_connected");
    json_decref(entries);
    log_stop();
    close(fd);
}

static void test_dump_into_a_small_buffer(void **state)
{
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    log_number(0);
    log_number(1);
    struct buf out = BUF_INIT(150);
    assert_int_equal(log_dump(&out, false), WEIR_FULL);
    assert_true(out.failed);
    buf_reset(&out);
    log_stop();
    close(fd);
}

// ---- Start, stop and memory

static void test_not_running(void **state)
{
    (void)state;
    uint64_t counted = log_counted(LOG_ERROR);
    uint64_t lost = log_lost();
    struct log_line line;
    log_begin(&line, LOG_UPGRADE_ERROR);
    log_str(&line, "reason", SLICE("x"));
    log_end(&line);
    log_stop();
    assert_int_equal(log_counted(LOG_ERROR), counted + 1);
    assert_int_equal(log_lost(), lost);
    assert_int_equal(log_start(0, 1), WEIR_INVALID);
}

static void test_start_twice(void **state)
{
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    assert_int_equal(log_start(10, fd), WEIR_IN_USE);
    log_stop();
    log_stop();
    close(fd);
}

static void test_levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_INFO), "info");
    assert_string_equal(log_level_name(LOG_WARN), "warn");
    assert_string_equal(log_level_name(LOG_ERROR), "error");
}

// Lines below the level are counted, and nothing else.
static void test_least_level(void **state)
{
    static const enum log_event events[] = {LOG_RELAY_STARTED, LOG_CONFIG_WARNING};
    (void)state;
    for (enum log_level least = LOG_INFO; least <= LOG_ERROR; least++) {
        int fd = world_open();
        assert_int_equal(log_start(10, fd), WEIR_OK);
        uint64_t before = log_counted(LOG_INFO);
        uint64_t suppressed = log_suppressed();
        log_set_level(least);
        for (size_t i = 0; i < COUNT_OF(events); i++) {
            struct log_line line;
            log_begin(&line, events[i]);
            log_end(&line);
        }
        log_stop();
        log_set_level(LOG_INFO);
        assert_int_equal(log_counted(LOG_INFO), before + 1);
        assert_int_equal(log_suppressed(), suppressed);
        char *text = world_take(fd);
        assert_int_equal(strstr(text, "relay_started") != NULL, least == LOG_INFO);
        assert_int_equal(strstr(text, "config_warning") != NULL, least <= LOG_WARN);
        free(text);
    }
}

// What is not written is there for /logs all the same.
static void test_kept_and_not_written(void **state)
{
    struct buf out = BUF_INIT(4096);
    (void)state;
    int fd = world_open();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    log_write_from(LOG_WARN);
    struct log_line line;
    log_begin(&line, LOG_RELAY_STARTED);
    log_end(&line);
    log_begin(&line, LOG_CONFIG_WARNING);
    log_end(&line);
    assert_int_equal(log_dump(&out, true), WEIR_OK);
    assert_non_null(strstr(buf_text(&out), "relay_started"));
    assert_non_null(strstr(buf_text(&out), "config_warning"));
    buf_reset(&out);
    log_stop();
    log_write_from(LOG_INFO);
    char *text = world_take(fd);
    assert_null(strstr(text, "relay_started"));
    assert_non_null(strstr(text, "config_warning"));
    free(text);
}

// A line that finds no memory is lost; the next one is not. (Only where faults are compiled in.)
static void test_no_memory(void **state)
{
    (void)state;
    int fd = world_open();
    mem_fail_at(1);
    assert_int_equal(log_start(10, fd), WEIR_FAULTS ? WEIR_MEMORY : WEIR_OK);
    mem_fail_at(0);
    log_stop();
    assert_int_equal(log_start(10, fd), WEIR_OK);
    uint64_t lost = log_lost();
    mem_fail_at(1);
    log_number(0);
    mem_fail_at(0);
    log_number(1);
    assert_int_equal(log_lost() - lost, WEIR_FAULTS);
    expect_numbers(WEIR_FAULTS, 2 - WEIR_FAULTS);
    log_stop();
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_no_details),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_redaction),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_brief_dump),
        cmocka_unit_test(test_dump_into_a_small_buffer),
        cmocka_unit_test(test_not_running),
        cmocka_unit_test(test_start_twice),
        cmocka_unit_test(test_levels_have_names),
        cmocka_unit_test(test_least_level),
        cmocka_unit_test(test_kept_and_not_written),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
