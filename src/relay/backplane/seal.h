// SPDX-License-Identifier: Apache-2.0
// What makes a message of the bus believable (spec sections 8.1 and 8.2): an HMAC over its members,
// a clock that is not far off, and that it was not seen before. One seal a worker: a workspace's
// messages are all signed and checked on its own worker.
#ifndef WEIR_RELAY_BACKPLANE_SEAL_H
#define WEIR_RELAY_BACKPLANE_SEAL_H

#include <openssl/types.h>

#include "base/siphash.h"
#include "relay/backplane/message.h"

#define BUS_SIGNATURE_SIZE 44 // base64url of 32 bytes, and a NUL

struct bus_seal;

struct bus_seal_options {
    const char *key;       // NULL: messages are neither signed nor checked
    uint64_t max_skew_ms;
    uint64_t track_max;    // (source, workspace, target) remembered; of signatures four times that,
                           // but 100,000 at least
};

// NULL without memory, or when the library has no HMAC.
struct bus_seal *bus_seal_new(OSSL_LIB_CTX *libctx, const struct siphash_key *seed,
    const struct bus_seal_options *options) WEIR_MUST_CHECK;
void bus_seal_free(struct bus_seal *seal);

// Sets issued_at_ms, which never goes back, and the signature, which is text (BUS_SIGNATURE_SIZE
// bytes). Without a key only the time. WEIR_CRYPTO.
enum weir_result bus_seal_sign(struct bus_seal *seal, uint64_t wall_ms,
    struct bus_message *message, char *text) WEIR_MUST_CHECK;

enum bus_seal_verdict { BUS_SEAL_GOOD, BUS_SEAL_INVALID, BUS_SEAL_STALE, BUS_SEAL_REPLAYED };
// A message that is good is remembered. Without a key every message is.
enum bus_seal_verdict bus_seal_check(struct bus_seal *seal, uint64_t wall_ms,
    const struct bus_message *message) WEIR_MUST_CHECK;

#endif
