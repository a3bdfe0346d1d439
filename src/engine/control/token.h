// SPDX-License-Identifier: Apache-2.0
// Tokens of agents, dialers and users of the Engine API (spec section 7): a JWT signed with the
// engine's secret by HS256, and what its bearer may do. Nothing of it is said on the wire but yes
// or no; the reason is for the log.
//
// What is absent does not restrict: a token with only "exp", or nothing, has all rights. What is
// there and not understood refuses (fail closed).
#ifndef WEIR_ENGINE_TOKEN_H
#define WEIR_ENGINE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "engine/control/scope.h"

struct tunnel;

#define TOKEN_LEEWAY_S 30
#define TOKEN_IDENTITY_SIZE 65

enum token_permission {
    TOKEN_READ = 1,   // tunnels.resources.read-only
    TOKEN_CREATE = 2, // tunnels.tunnels.create-delete
    TOKEN_DIAL = 4,   // tunnels.streams.create-delete
};

struct token;

// ---- Minting, for operators (spec section 7.2).

struct token_request {
    struct slice subject;     // "sub"; empty: none
    struct slice permissions; // names of spec section 7.4, comma-separated; at NULL: all rights
    struct slice resources;   // "resources" as JSON; empty: not restricted
    uint64_t ttl_s;           // 0: it never ends
};

// Appends the token. WEIR_INVALID: a permission that there is none of; WEIR_MALFORMED: resources
// that are not JSON, so that token_read would refuse the token.
enum weir_result token_mint(const struct token_request *request, struct slice secret,
    uint64_t now_ms, struct buf *out) WEIR_MUST_CHECK;

// ---- Reading.

// The token that text is, or NULL with the reason in English (static storage). now_ms is wall
// clock. secret is the configured one, of any length but 0; it is borrowed for
// token_signed_with, and lives as long as the token.
struct token *token_read(struct slice text, struct slice secret, uint64_t now_ms,
    const char **ret_reason) WEIR_MUST_CHECK;
// NULL is fine.
void token_free(struct token *token);

// Wall clock milliseconds from which on it is refused (the leeway is in it); TIME_NEVER without.
uint64_t token_expires_ms(const struct token *token);
// False once the configured secret is another one: the token is not good any more.
bool token_signed_with(const struct token *token, struct slice secret);
// Whose it is, as hexadecimal text: of the subject ("sub"), else of the token itself. Two tokens
// with the same identity may replace one another's tunnels (spec section 5.6).
const char *token_identity(const struct token *token);
// "userId", or empty; borrows the token.
struct slice token_user_id(const struct token *token);

bool token_permits(const struct token *token, enum token_permission permission);
// The scopes of "resources" (spec section 7.5). The tunnel need not be registered.
bool token_reaches(
    const struct token *token, enum scope_action action, const struct tunnel *tunnel);
// Clients are listed by who may list every tunnel: they have nothing a scope could tell apart.
bool token_lists_clients(const struct token *token);
// What a visitor of a token_auth tunnel needs for a path without query (spec section 5.8): the
// permission to dial, or a connect scope of its own; and no connect scope that excludes it.
bool token_opens_path(const struct token *token, const struct tunnel *tunnel, struct slice path);

#endif
