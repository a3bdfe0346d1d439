// SPDX-License-Identifier: Apache-2.0
// Input: what a TLS client sends first. What must hold: a hello is complete to the byte, its end
// does not depend on what follows, and the same message cut into other records reads the same.
#include <stdint.h>

#include "proto/clienthello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct clienthello *hello)
{
    struct slice name = clienthello_server_name(hello);
    char again[HOSTNAME_SIZE];
    size_t len;
    weir_assert(name.len == strlen(hello->server_name));
    weir_assert(name.len == 0 || (hostname_normalize(name, again, &len) == WEIR_OK &&
                                     slice_eq(name, slice_of(again, len))));
    weir_assert(hello->version_max <= TLS_VERSION_1_3);
    weir_assert(hello->has_alpn == (hello->alpn_len > 0));
    size_t at = 0;
    struct slice protocol;
    while (clienthello_alpn_next(hello, &at, &protocol)) {
        weir_assert(protocol.len > 0 && clienthello_offers(hello, protocol));
    }
    weir_assert(at == hello->alpn_len);
}

// The payloads of the records, and back into records of at most step bytes.
static size_t cut_again(struct slice records, size_t step, char *out)
{
    static char message[CLIENTHELLO_BYTES_MAX];
    size_t message_len = 0;
    while (records.len > 0) {
        size_t len = (size_t)(uint8_t)records.at[3] << 8 | (uint8_t)records.at[4];
        memcpy(message + message_len, records.at + 5, len);
        message_len += len;
        records = slice_skip(records, 5 + len);
    }
    size_t out_len = 0;
    for (size_t at = 0; at < message_len; at += step) {
        size_t len = message_len - at < step ? message_len - at : step;
        const char head[] = {0x16, 3, 1, (char)(len >> 8), (char)len};
        memcpy(out + out_len, head, sizeof head);
        memcpy(out + out_len + sizeof head, message + at, len);
        out_len += sizeof head + len;
    }
    return out_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice whole = slice_of((const char *)data, size);
    struct clienthello hello;
    if (clienthello_parse(whole, &hello) != WEIR_OK) {
        return 0;
    }
    weir_assert(hello.len > 0 && hello.len <= size && hello.len <= CLIENTHELLO_BYTES_MAX);
    check(&hello);
    struct clienthello again;
    for (size_t cut = 0; cut < hello.len; cut++) {
        weir_assert(clienthello_parse(slice_of(whole.at, cut), &again) == WEIR_AGAIN);
    }
    static char records[CLIENTHELLO_BYTES_MAX * 6];
    size_t len = cut_again(slice_of(whole.at, hello.len), 1 + size % 97, records);
    if (len > CLIENTHELLO_BYTES_MAX) {
        return 0;
    }
    weir_assert(clienthello_parse(slice_of(records, len), &again) == WEIR_OK);
    weir_assert(again.len == len && again.version_max == hello.version_max);
    weir_assert(again.has_ech == hello.has_ech && again.alpn_len == hello.alpn_len);
    weir_assert(memcmp(again.alpn, hello.alpn, hello.alpn_len) == 0);
    weir_assert(strcmp(again.server_name, hello.server_name) == 0);
    return 0;
}
