// SPDX-License-Identifier: Apache-2.0
// Shared by token.c and token_mint.c, and nobody else.
#ifndef WEIR_ENGINE_TOKEN_INTERNAL_H
#define WEIR_ENGINE_TOKEN_INTERNAL_H

#include "auth/auth_key.h"
#include "engine/control/token.h"

// The key of a configured secret of any length but 0.
enum weir_result token_make_key(struct slice secret, struct auth_key *ret_key) WEIR_MUST_CHECK;
// False: there is no such permission.
bool token_permission_known(struct slice name);

#endif
