// SPDX-License-Identifier: Apache-2.0
// The embedded platform: the control plane a relay needs, small. It holds the key that signs relay
// tokens and answers the admission call with the interface a hosted platform has, so that the relay
// does not know which of the two it talks to.
//
// The interface is requests in, answers out (platform_handle): method, path, the two credentials
// and a body give a status and a JSON body, or a question to the store (platform/ask.h), which
// platform/service.h carries there. Whoever carries requests - the listener of `weir up`, that of
// `weir platform` - adds nothing. What grows here grows as further rows of the route table in
// platform_routes.c.
//
//   route                                                   credential          spec
//   GET  /.well-known/jwks.json, /jwks.json                 none                4.6
//   POST /api/runtime/internal/relay/validate               internal key        4.4
//   POST /api/runtime/internal/relay/presence/upsert        internal key        8
//   POST /api/runtime/internal/relay/presence/resolve       internal key        8
//   POST /api/runtime/internal/relay/bus/publish            internal key        8
//   POST /api/runtime/internal/relay/bus/pull               internal key        8
//   POST /api/runtime/relay-token                           admin, credential   4.5
//   POST /api/runtime/workspaces/{workspace}/daemon-key     admin, credential   4.5
//   POST /api/workspaces/{workspace}/relay-token            admin token         4.5
//   POST …/workspaces/{workspace}/managed-executors/{executor}/relay-token
//                                                           admin, credential   4.5
//
// After platform_open only platform_take_keys changes the object, on the thread that uses it.
// Nothing calls back.
#ifndef WEIR_PLATFORM_PLATFORM_H
#define WEIR_PLATFORM_PLATFORM_H

#include <stddef.h>
#include <stdint.h>
#include <openssl/types.h>

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

#define PLATFORM_AUDIENCE "viewport-relay"
#define PLATFORM_ISSUER "viewport-server"
#define PLATFORM_BODY_LEN_MAX 65536   // of a request
#define PLATFORM_ANSWER_LEN_MAX 65536 // room an answer may need
#define PLATFORM_FRAME_BYTES_DEFAULT 1048576
#define PLATFORM_TTL_S_DEFAULT 3600
#define PLATFORM_TTL_S_MAX (30 * 86400)
#define PLATFORM_CHANNELS_MAX 64 // spec section 4.4, sessionChannels

struct platform;
struct platform_ask; // platform/ask.h

struct platform_options {
    OSSL_LIB_CTX *libctx;     // borrowed; NULL: the default one
    const char *internal_key; // NULL or "": the file internal-key, made when missing
    const char *admin_token;  // NULL or "": the file admin-token, made when missing
    bool no_key;              // keys come from a store: see platform_take_keys
    size_t frame_bytes_max;   // of a payload; 0: PLATFORM_FRAME_BYTES_DEFAULT
};

// Loads what is under state_dir, and makes the directory (0700) and what is missing in it, each
// file 0600: signing.pem (RSA 2048, RS256: the daemon's key reader takes nothing else; the first
// start spends a part of a second on it), internal-key and admin-token (64 hexadecimal digits and
// a newline). options may be NULL. NULL on failure, and *ret_result says why: WEIR_MALFORMED for a
// file that holds something else, or what sys/ and libcrypto said. The caller owns the result.
struct platform *platform_open(const char *state_dir, const struct platform_options *options,
    enum weir_result *ret_result) WEIR_MUST_CHECK;
void platform_free(struct platform *platform);

// Borrow the platform; NUL-terminated.
const char *platform_internal_key(const struct platform *platform);
const char *platform_admin_token(const struct platform *platform);

// Empty members are left out of the token (but see the defaults).
struct relay_token_request {
    struct slice role;              // "workspace-daemon", "client" or "worker"
    struct slice workspace_id;      // required; 1-128 of [A-Za-z0-9._:-]
    struct slice runtime_target_id; // same characters
    struct slice scope;             // of a client: "runtime" (default), "pairing", "session-events"
    struct slice client_id;         // of a client: default a random one
    struct slice install_id;
    struct slice machine_id;
    struct slice user_id;
    const struct slice *session_channels; // each "agent-session:" and more
    size_t session_channel_count;
    struct slice e2ee_profile;        // "noise-ik" or "noise-ikpsk2"
    struct slice daemon_public_key;   // of a client
    struct slice managed_executor_id; // of a worker
    uint64_t ttl_s;                   // 0: PLATFORM_TTL_S_DEFAULT
    int64_t daemon_issue_generation;  // negative: none
};

// Appends a token to out. WEIR_INVALID: a member breaks a rule above or a length of section 4.4, or
// all of them together make a token of more than the 4096 characters a relay takes (section 4.3).
// WEIR_NOT_FOUND: there are no keys yet.
enum weir_result platform_mint_relay_token(const struct platform *platform,
    const struct relay_token_request *request, struct buf *out) WEIR_MUST_CHECK;

// Appends a credential of a workspace, or of one target in it: what a daemon or a worker shows to
// get tokens. WEIR_INVALID: no ids, or a life of 0 or more than PLATFORM_CREDENTIAL_TTL_S_MAX.
#define PLATFORM_CREDENTIAL_TTL_S_DEFAULT (365 * UINT64_C(86400))
#define PLATFORM_CREDENTIAL_TTL_S_MAX (3650 * UINT64_C(86400))
enum weir_result platform_make_credential(const struct platform *platform, struct slice workspace,
    struct slice target, uint64_t ttl_s, struct buf *out) WEIR_MUST_CHECK;

// ---- Signing keys. There is one of the state directory's until others are taken over.

struct platform_key_row {
    struct slice id;
    struct slice pem;
    uint64_t created_ms;
    uint64_t signs_from_ms;
};

// Replaces the keys by these, in the order of signs_from_ms. A row that is no key is left out, and
// the result says why; without a single one nothing is changed.
enum weir_result platform_take_keys(
    struct platform *platform, const struct platform_key_row *rows, size_t count) WEIR_MUST_CHECK;
bool platform_has_keys(const struct platform *platform);
// Appends the PEM of the first key, private: the store's first one.
enum weir_result platform_write_first_key(
    const struct platform *platform, struct buf *out) WEIR_MUST_CHECK;

struct platform_key_state {
    const char *id; // borrows the platform
    uint64_t created_ms;
    uint64_t signs_from_ms;
    const char *state; // "published" (will sign), "signs", "kept" (tokens may live), "old"
};
// How many states were filled.
size_t platform_describe_keys(
    const struct platform *platform, struct platform_key_state *states, size_t max);

// Appends {"keys":[…]}: those that sign, will sign, or whose tokens may still live.
enum weir_result platform_jwks(const struct platform *platform, struct buf *out) WEIR_MUST_CHECK;

// The admission call of section 4.4: request_body is
// {"relayToken","role","workspaceId","runtimeTargetId"?}; appends {"ok":true,"claims":{…}} or
// {"ok":false,"reason":"…"} to out.
//
//   200              admitted
//   400              BAD_REQUEST
//   401              INVALID_TOKEN, UNKNOWN_KEY, INVALID_SIGNATURE, TOKEN_EXPIRED,
//                    TOKEN_NOT_YET_VALID, ISSUER_MISMATCH, AUDIENCE_MISMATCH
//   403              ROLE_MISMATCH, WORKSPACE_MISMATCH, RUNTIME_TARGET_MISMATCH
//   503              KEYS_NOT_LOADED
//
// Anything but WEIR_OK is our own trouble (memory, crypto): answer 500.
enum weir_result platform_validate(const struct platform *platform, struct slice request_body,
    struct buf *out, unsigned *ret_status) WEIR_MUST_CHECK;

struct platform_request {
    struct slice method;
    struct slice path;          // without query
    struct slice authorization; // header values; empty when not there
    struct slice internal_key;  // x-relay-internal-key
    struct slice body;
};

// One request. Either *ret_ask is a question to the store (its kind is not ASK_NONE, and the caller
// ends it with platform_ask_fini), or it has been answered: a JSON body (application/json) is
// appended to out and the status set: 404 NOT_FOUND for a path nobody has, 405 METHOD_NOT_ALLOWED,
// 401 UNAUTHORIZED for a wrong credential (compared in constant time), 413 BODY_TOO_LARGE, 400
// BAD_REQUEST. Not WEIR_OK: as in platform_validate.
enum weir_result platform_handle(const struct platform *platform,
    const struct platform_request *request, struct buf *out, unsigned *ret_status,
    struct platform_ask *ret_ask) WEIR_MUST_CHECK;
// How long the body of a request may be, before it is there: only who shows the right credential
// may send more than PLATFORM_BODY_LEN_MAX, and platform_body_max at most.
size_t platform_body_limit(const struct platform *platform, const struct platform_request *request);
size_t platform_body_max(const struct platform *platform);
// The header value carries the admin token.
bool platform_is_admin(const struct platform *platform, struct slice authorization);

#endif
