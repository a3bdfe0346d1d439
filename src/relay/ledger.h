// SPDX-License-Identifier: Apache-2.0
// The admission ledger: connection caps and upgrade rates by address. The one structure that all
// workers share; it is locked once when a connection is admitted and once when it ends, never on
// the data path (spec sections 4.2, 7.7; 14, 12).
#ifndef WEIR_RELAY_LEDGER_H
#define WEIR_RELAY_LEDGER_H

#include <stdint.h>

#include "base/ip.h"
#include "base/result.h"
#include "base/siphash.h"

struct ledger;

struct ledger_limits {
    uint64_t total_max;        // daemons and clients
    uint64_t per_address_max;  // all roles
    uint64_t rate_per_minute;  // upgrade requests of one address
    uint64_t addresses_max;    // remembered at once; idle ones are forgotten, oldest first
};

enum ledger_verdict {
    LEDGER_ADMITTED,
    LEDGER_RATE_LIMITED,
    LEDGER_FULL,
    LEDGER_ADDRESS_FULL,
    LEDGER_NO_MEMORY,
};

struct ledger *ledger_new(const struct ledger_limits *limits, const struct siphash_key *seed)
    WEIR_MUST_CHECK;
void ledger_free(struct ledger *ledger);

// Counts an upgrade request of ip and, when admitted, reserves a slot for it that ledger_leave
// gives back. Any thread.
enum ledger_verdict ledger_enter(struct ledger *ledger, const struct ip *ip, uint64_t now_ns)
    WEIR_MUST_CHECK;
// Workers do not count against the total (spec section 2.2): gives that half of the slot back.
void ledger_exempt(struct ledger *ledger);
// exempt says whether ledger_exempt was called for this slot.
void ledger_leave(struct ledger *ledger, const struct ip *ip, bool exempt);

#endif
