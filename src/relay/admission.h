// SPDX-License-Identifier: Apache-2.0
// The admission call (spec section 4.4): a POST to the platform turns a token into claims.
#ifndef WEIR_RELAY_ADMISSION_H
#define WEIR_RELAY_ADMISSION_H

#include "relay/claims.h"
#include "relay/shard.h"

struct admission_question {
    struct slice token;
    struct slice workspace;
    struct slice target; // empty: left out
    enum role role;
};

struct admission_result {
    bool admitted;
    struct claims *claims; // when admitted: the receiver's, to be ended by claims_fini
    enum handshake_failure failure;
    const char *reason; // for the log
    unsigned status;
};

struct admission;
typedef void admission_fn(void *arg, const struct admission_result *result);

// NULL when memory ran out: no callback comes. Never calls back synchronously.
struct admission *admission_start(struct shard *shard, const struct admission_question *question,
    admission_fn *done, void *arg) WEIR_MUST_CHECK;
// No callback comes. NULL is fine; not to be used after the callback.
void admission_cancel(struct admission *admission);

#endif
