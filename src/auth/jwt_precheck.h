// SPDX-License-Identifier: Apache-2.0
// The look at a relay token before the platform is asked (spec section 4.6). It refuses only what
// is surely bad, so that junk does not reach the platform; admission stays the authority.
//
//   token                                              outcome
//   not a JWT of three readable parts, or above 8 KiB    UNVERIFIED (it may be an opaque token)
//   "exp" more than 60 s ago, whatever the algorithm     EXPIRED (true or forged: bad either way)
//   algorithm is not RS256, or no "kid"                  UNVERIFIED
//   no key set                                           UNVERIFIED
//   RS256, no RSA key of that kid in the set             UNKNOWN_KID
//   RS256, a key of that kid fits                        PASS
//   RS256, every key of that kid refuses                 BAD_SIGNATURE
//   the check itself failed (memory)                     UNVERIFIED
//
// "exp" comes before the signature: it costs nothing, and an expired token asks for no refetch. A
// missing or unreadable "exp" is the platform's affair.
#ifndef WEIR_AUTH_JWT_PRECHECK_H
#define WEIR_AUTH_JWT_PRECHECK_H

#include <stdint.h>

#include "auth/jwks.h"
#include "base/slice.h"

#define PRECHECK_EXPIRY_GRACE_S 60

enum precheck {
    PRECHECK_PASS,          // go on: signed by a known key
    PRECHECK_UNVERIFIED,    // go on: nothing could be checked (count and log)
    PRECHECK_UNKNOWN_KID,   // refetch the set if that is due, ask again; else go on
    PRECHECK_EXPIRED,       // refuse: jwt_expired
    PRECHECK_BAD_SIGNATURE, // refuse: jwt_signature
};

// jwks is NULL when no set could be had. now_ms is wall clock, milliseconds since 1970.
enum precheck jwt_precheck(struct slice token, const struct jwks *jwks, uint64_t now_ms);

#endif
