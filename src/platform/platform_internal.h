// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the embedded platform; nobody else includes it.
#ifndef WEIR_PLATFORM_PLATFORM_INTERNAL_H
#define WEIR_PLATFORM_PLATFORM_INTERNAL_H

#include "auth/auth_key.h"
#include "platform/platform.h"

#define PLATFORM_SECRET_LEN_MAX 256
#define PLATFORM_ID_LEN_MAX 128 // spec section 4.3

struct platform {
    struct auth_key key; // RS256
    char internal_key[PLATFORM_SECRET_LEN_MAX + 1];
    char admin_token[PLATFORM_SECRET_LEN_MAX + 1];
};

// 1-128 of [A-Za-z0-9._:-] (spec section 4.3).
bool platform_id_valid(struct slice id);
// "workspace-daemon", "client" or "worker".
bool platform_role_valid(struct slice role);
// Appends {"ok":false,"<member>":"<code>"}.
enum weir_result platform_refuse(const char *member, const char *code, struct buf *out);

#endif
