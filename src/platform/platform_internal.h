// SPDX-License-Identifier: Apache-2.0
// What the platform's files share.
#ifndef WEIR_PLATFORM_PLATFORM_INTERNAL_H
#define WEIR_PLATFORM_PLATFORM_INTERNAL_H

#include "auth/auth_key.h"
#include "platform/platform.h"

struct platform {
    struct auth_key signing; // RS256
    char *internal_key;      // owned
    char *admin_token;       // owned
};

// 1-128 of [A-Za-z0-9._:-] (spec section 4.3): a workspace, a runtime target.
bool platform_is_id(struct slice text);
bool platform_is_role(struct slice text);

// Appends {"ok":false,"reason":"…"}.
enum weir_result platform_write_refusal(struct buf *out, const char *reason) WEIR_MUST_CHECK;

#endif
