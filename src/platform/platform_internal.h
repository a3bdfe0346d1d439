// SPDX-License-Identifier: Apache-2.0
// What the platform's files share.
#ifndef WEIR_PLATFORM_PLATFORM_INTERNAL_H
#define WEIR_PLATFORM_PLATFORM_INTERNAL_H

#include <openssl/types.h>

#include <jansson.h>

#include "auth/auth_key.h"
#include "platform/ask.h"
#include "platform/platform.h"

struct json_writer;

struct platform_key {
    struct auth_key key; // RS256
    uint64_t created_ms; // wall clock
    uint64_t signs_from_ms;
};

struct platform {
    struct platform_key *keys; // owned; in the order of signs_from_ms
    size_t key_count;
    OSSL_LIB_CTX *libctx; // borrowed
    size_t frame_bytes_max;
    char *internal_key; // owned
    char *admin_token;  // owned
};

// The key that signs now: the last one whose time has come. NULL: there is none.
const struct auth_key *platform_signing_key(const struct platform *platform, uint64_t now_ms);
// A key that is published now; NULL: there is none of that id.
const struct auth_key *platform_find_key(
    const struct platform *platform, struct slice id, uint64_t now_ms);
// It signs, has signed and its tokens may live, or will sign.
bool platform_key_is_published(const struct platform *platform, size_t index, uint64_t now_ms);
void platform_free_keys(struct platform *platform);
// Of a private key in PEM, tried out. WEIR_MALFORMED.
enum weir_result platform_key_load(
    struct slice pem, OSSL_LIB_CTX *libctx, struct auth_key *ret_key) WEIR_MUST_CHECK;

// 1-128 of [A-Za-z0-9._:-] (spec section 4.3): a workspace, a runtime target.
bool platform_is_id(struct slice text);
bool platform_is_role(struct slice text);

// What stands in a path at {workspace} and {executor}.
struct path_words {
    struct slice workspace;
    struct slice executor;
};
// Fill an ask whose body has been parsed. WEIR_MALFORMED.
enum weir_result platform_token_ask_read(enum token_shape shape, const struct path_words *words,
    struct platform_ask *ask) WEIR_MUST_CHECK;
enum weir_result platform_daemon_key_read(
    const struct path_words *words, struct platform_ask *ask) WEIR_MUST_CHECK;
// The "credential" of the body allows it.
bool platform_body_may(const struct platform *platform, const struct platform_ask *ask);
// Writes a tree as a member.
enum weir_result platform_write_json(
    struct json_writer *writer, const char *key, const json_t *tree) WEIR_MUST_CHECK;

// Appends {"ok":false,"reason":"…"}, with "error" as well unless it is "".
enum weir_result platform_write_refusal(struct buf *out, const char *reason) WEIR_MUST_CHECK;
enum weir_result platform_write_mistake(
    struct buf *out, const char *reason, const char *error) WEIR_MUST_CHECK;

#endif
