// SPDX-License-Identifier: Apache-2.0
#include "redis/fault.h"

#include <hiredis/hiredis.h>

#include "base/slice.h"

static const struct {
    const char *word;
    const char *label;
    const char *text;
} rows[REDIS_FAULT_COUNT] = {
#define REDIS_FAULT(symbol, word, label, text) [REDIS_FAULT_##symbol] = {word, label, text},
#include "redis/faults.def"
#undef REDIS_FAULT
};

enum redis_fault redis_fault_of(const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return REDIS_FAULT_NONE;
    }
    struct slice text = slice_of(reply->str, (size_t)reply->len);
    struct slice word = text;
    if (!slice_split(&text, ' ', &word)) {
        return REDIS_FAULT_OTHER;
    }
    for (unsigned i = 0; i < REDIS_FAULT_COUNT; i++) {
        if (rows[i].word[0] != '\0' && slice_eq(word, slice_str(rows[i].word))) {
            return (enum redis_fault)i;
        }
    }
    // Before Redis 6 a wrong password was a plain ERR.
    return slice_starts_with(text, SLICE("invalid password")) ? REDIS_FAULT_WRONGPASS
                                                              : REDIS_FAULT_OTHER;
}

enum redis_fault redis_fault_of_result(enum weir_result result)
{
    static const struct {
        enum weir_result result;
        enum redis_fault fault;
    } faults[] = {
        {WEIR_CLOSED, REDIS_FAULT_CLOSED},
        {WEIR_RESET, REDIS_FAULT_CLOSED},
        {WEIR_TIMEOUT, REDIS_FAULT_TIMEOUT},
        {WEIR_NOT_FOUND, REDIS_FAULT_NAME},
        {WEIR_CRYPTO, REDIS_FAULT_TLS},
        {WEIR_PROTOCOL, REDIS_FAULT_TLS},
        {WEIR_MEMORY, REDIS_FAULT_MEMORY},
        {WEIR_TOO_LARGE, REDIS_FAULT_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (faults[i].result == result) {
            return faults[i].fault;
        }
    }
    return REDIS_FAULT_UNREACHABLE;
}

const char *redis_fault_label(enum redis_fault fault)
{
    return rows[fault].label;
}

const char *redis_fault_text(enum redis_fault fault)
{
    return rows[fault].text;
}
