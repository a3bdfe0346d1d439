// SPDX-License-Identifier: Apache-2.0
// Text that others send to the command line: what is shown steers nothing, and server-sent events
// are the same wherever they are cut.
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "cli/context/config.h"
#include "cli/engine/filter_text.h"
#include "cli/engine/sse.h"
#include "cli/engine/webhook.h"
#include "cli/plain.h"

#define TEXT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(struct slice text)
{
    struct buf out = BUF_INIT(TEXT_MAX);
    weir_assert(plain_append(&out, text) == WEIR_OK);
    struct slice plain = buf_slice(&out);
    weir_assert(utf8_valid(plain) && plain_width(plain) <= plain.len);
    for (size_t i = 0; i < plain.len; i++) {
        weir_assert((uint8_t)plain.at[i] >= ' ' && plain.at[i] != 0x7f);
    }
    buf_reset(&out);
}

static void read_events(struct slice text, size_t split, struct buf *out)
{
    struct sse_reader reader;
    struct slice parts[] = {slice_of(text.at, split), slice_skip(text, split)};
    enum weir_result result;
    sse_reader_init(&reader, TEXT_MAX);
    for (size_t i = 0; i < 2; i++) {
        struct slice event;
        while (sse_reader_next(&reader, &parts[i], &event, &result)) {
            buf_append_slice(out, event);
            buf_append_byte(out, '\n');
        }
        weir_assert(result == WEIR_OK && parts[i].len == 0);
    }
    sse_reader_fini(&reader);
}

static void check_events(struct slice text)
{
    struct buf whole = BUF_INIT(2 * TEXT_MAX);
    struct buf cut = BUF_INIT(2 * TEXT_MAX);
    read_events(text, 0, &whole);
    read_events(text, text.len / 2, &cut);
    weir_assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_reset(&whole);
    buf_reset(&cut);
}

static void check_words(const char *text)
{
    char problem[512] = "";
    char url[256];
    json_t *filter = json_object();
    enum weir_result result =
        filter_text_read(text, FILTER_TUNNELS, filter, problem, sizeof problem);
    weir_assert((result == WEIR_OK) == (problem[0] == '\0'));
    json_decref(filter);
    if (webhook_redirect("https://a.test/x", slice_str(text), url, sizeof url)) {
        weir_assert(slice_starts_with_nocase(slice_str(url), SLICE("https://a.test")));
    }
}

static void check_config(struct slice text)
{
    struct conf_problems problems;
    struct config config;
    conf_problems_init(&problems);
    enum weir_result result = config_parse(text, "f", &config, &problems);
    weir_assert((result == WEIR_OK) == (problems.errors.len == 0));
    config_fini(&config);
    conf_problems_fini(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char copy[TEXT_MAX];
    struct slice text = slice_of((const char *)data, size);
    if (size >= sizeof copy) {
        return 0;
    }
    check_plain(text);
    check_events(text);
    check_config(text);
    if (slice_to_text(text, copy, sizeof copy)) {
        check_words(copy);
    }
    return 0;
}
