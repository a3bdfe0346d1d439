// SPDX-License-Identifier: Apache-2.0
// How many connections there are, in all and of one address (limits.connections and
// limits.connections_per_address). Shared by the workers: locked once when a connection comes and
// once when it goes, never on the data path. An IPv6 address is its /64.
//
// A seat is kept by the TLS session of its connection, whoever owns that, and goes with it. Agents
// that have shown a token or a secret no longer count for their address: many of their connections
// come from one.
#ifndef WEIR_ENGINE_CENSUS_H
#define WEIR_ENGINE_CENSUS_H

#include <openssl/ssl.h>

#include "base/ip.h"
#include "base/result.h"
#include "base/siphash.h"

struct census;
struct census_seat;

enum census_outcome {
    CENSUS_SEATED,
    CENSUS_FULL,    // too many in all
    CENSUS_ADDRESS, // too many of this address
    CENSUS_MEMORY,
};

struct census_limits {
    size_t total;
    size_t each;
};

struct census *census_new(const struct siphash_key *seed) WEIR_MUST_CHECK;
// When all seats are free again. NULL is fine.
void census_free(struct census *census);

enum census_outcome census_enter(struct census *census, const struct ip *address,
    const struct census_limits *limits, struct census_seat **ret_seat) WEIR_MUST_CHECK;
// NULL is fine.
void census_leave(struct census_seat *seat);
// The session keeps the seat from now on. On failure it is still the caller's.
enum weir_result census_attach(SSL *ssl, struct census_seat *seat) WEIR_MUST_CHECK;
// The session's connection counts in all, but not for its address any more. Fine twice.
void census_vouch(SSL *ssl);

#endif
