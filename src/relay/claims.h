// SPDX-License-Identifier: Apache-2.0
// What the platform says about a token's bearer (spec section 4.4), read tolerantly: a claim we do
// not know is ignored and reported, a claim of the wrong type refuses the answer.
#ifndef WEIR_RELAY_CLAIMS_H
#define WEIR_RELAY_CLAIMS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "relay/frame.h"

enum role { ROLE_DAEMON, ROLE_CLIENT, ROLE_WORKER, ROLE_COUNT };
enum scope { SCOPE_NONE, SCOPE_RUNTIME, SCOPE_PAIRING, SCOPE_SESSION_EVENTS };

// "workspace-daemon", "client", "worker".
const char *role_name(enum role role);
bool role_parse(struct slice text, enum role *ret_role);

#define CLAIMS_CHANNELS_MAX 64

struct claims {
    // Trimmed; NULL when absent or blank. Owned.
    char *workspace_id;
    char *runtime_target_id;
    char *client_id;
    char *machine_id;
    char *install_id;
    char *user_id;
    char *managed_executor_id;
    char *session_channels[CLAIMS_CHANNELS_MAX];
    size_t session_channel_count;
    enum scope scope;
    enum frame_profile profile;
    bool has_role;
    enum role role;
    bool has_generation;
    int64_t generation;
    bool has_expiry;
    int64_t expiry_s; // seconds since 1970
    bool no_memory;   // while they were read
    char unknown[64]; // the first claim we do not know, "" when there is none
};

enum admission_verdict {
    ADMISSION_OK,
    ADMISSION_DENIED,         // ok was not true, or the status not 2xx
    ADMISSION_INVALID_JSON,
    ADMISSION_INVALID_CLAIMS,
    ADMISSION_NO_MEMORY, // the answer may be fine, we could not read it
};

// Reads an answer of the platform. reason (a buffer of size bytes) gets the platform's reason or
// ours, as the log wants it.
enum admission_verdict claims_read(struct slice answer, unsigned status, struct claims *ret_claims,
    char *reason, size_t size);
// Frees what is in it; all zero is fine.
void claims_fini(struct claims *claims);

#endif
