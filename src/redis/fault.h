// SPDX-License-Identifier: Apache-2.0
// What is wrong with a Redis, for programs and for people: rows of faults.def.
#ifndef WEIR_REDIS_FAULT_H
#define WEIR_REDIS_FAULT_H

#include "base/result.h"

enum redis_fault {
#define REDIS_FAULT(symbol, word, label, text) REDIS_FAULT_##symbol,
#include "redis/faults.def"
#undef REDIS_FAULT
    REDIS_FAULT_COUNT,
};

struct redisReply;

// REDIS_FAULT_NONE when the reply is no error.
enum redis_fault redis_fault_of(const struct redisReply *reply);
// Of a connection, a read or a write that failed.
enum redis_fault redis_fault_of_result(enum weir_result result);
const char *redis_fault_label(enum redis_fault fault);
// English: what happened, what to do.
const char *redis_fault_text(enum redis_fault fault);

#endif
