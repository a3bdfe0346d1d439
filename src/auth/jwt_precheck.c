// SPDX-License-Identifier: Apache-2.0
#include "auth/jwt_precheck.h"

#include "auth/jws.h"

static bool is_expired(const struct jws *jws, uint64_t now_ms)
{
    int64_t expiry;
    return jws_claim_time(jws, "exp", &expiry) &&
           expiry + PRECHECK_EXPIRY_GRACE_S < (int64_t)(now_ms / 1000);
}

static enum precheck check_signature(const struct jws *jws, const struct jwks *jwks)
{
    const struct auth_key *key = jwks_find(jwks, jws->key_id, AUTH_RS256, NULL);
    if (key == NULL) {
        return PRECHECK_UNKNOWN_KID;
    }
    enum precheck verdict = PRECHECK_BAD_SIGNATURE;
    for (; key != NULL; key = jwks_find(jwks, jws->key_id, AUTH_RS256, key)) {
        enum weir_result result = jws_verify(jws, key);
        if (result == WEIR_OK) {
            return PRECHECK_PASS;
        }
        if (result != WEIR_REFUSED) {
            verdict = PRECHECK_UNVERIFIED;
        }
    }
    return verdict;
}

enum precheck jwt_precheck(struct slice token, const struct jwks *jwks, uint64_t now_ms)
{
    struct jws jws;
    enum precheck verdict = PRECHECK_UNVERIFIED;
    if (jws_parse(token, &jws) != WEIR_OK) {
        return verdict;
    }
    if (is_expired(&jws, now_ms)) {
        verdict = PRECHECK_EXPIRED;
    } else if (jws.alg == AUTH_RS256 && jws.key_id.len > 0 && jwks != NULL) {
        verdict = check_signature(&jws, jwks);
    }
    jws_fini(&jws);
    return verdict;
}
