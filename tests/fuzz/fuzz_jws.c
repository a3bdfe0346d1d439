// SPDX-License-Identifier: Apache-2.0
// Any token, against a set that holds the keys of the corpus: reading never fails badly, what is
// read is within the token, and only the very tokens those keys signed pass.
#include <stdint.h>

#include "auth/jwks.h"
#include "auth/jws.h"
#include "auth/jwt_precheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// RFC 7515 appendix A.3, and an RSA key of another program.
static const char set_text[] =
    "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"e\",\"crv\":\"P-256\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"RSA\",\"kid\":\"k1\",\"e\":\"AQAB\",\"n\":\""
    "ihblfsX5x0MLZzj8uFNQ0mACSvf6JGNkg25aDdPjmD16HH_QHK-"
    "QuMRje2cQbxTq1vr2CVcIPlzvIe_MdQ18ki-VN3toAj8eZwQmXy2SAgL4BzTs25bk24bsyqsZUXii5-"
    "SBOrm93ZQXaea9mpwKYMpbdqAHsXOvvBl8tv4cTh5RPzJOEremGOP855Z2OGN8m_93jnrXRFJbM6haJHdI0k"
    "uPibwNr2mUHp0HVvQDhZq-AagwN6xMUdRLkx2larl02S9f3uIF8fTUrqEsaay_pGrRLp1ewRYyguAp5L6kOm"
    "MXNCkiVr9ei8YIkfWuxkosMhp0ZyyEYWHdg8aGsLhFhw"
    "\"}]}";

static void check(struct slice token, const struct jwks *jwks)
{
    struct jws jws;
    int64_t seconds = 0;
    if (jws_parse(token, &jws) != WEIR_OK) {
        weir_assert(jws.header == NULL && jws.claims == NULL);
        return;
    }
    weir_assert(token.len <= JWS_TOKEN_LEN_MAX && jws.signature_len <= AUTH_SIGNATURE_LEN_MAX);
    weir_assert(jws.signing_input.at == token.at && jws.signing_input.len < token.len);
    weir_assert(json_is_object(jws.header) && json_is_object(jws.claims));
    weir_assert(!jws_claim_time(&jws, "exp", &seconds) || seconds <= (int64_t)1 << 53);
    jws_claim_text(&jws, "iss");
    jws_has_audience(&jws, SLICE("viewport-relay"));
    const struct auth_key *curve = jwks_find(jwks, SLICE("e"), AUTH_ES256, NULL);
    weir_assert(jws_verify(&jws, curve) != WEIR_OK || jws.alg == AUTH_ES256);
    jws_fini(&jws);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwks *jwks;
    if (jwks == NULL) {
        weir_assert(jwks_parse(SLICE(set_text), NULL, &jwks) == WEIR_OK && jwks_count(jwks) == 2);
    }
    struct slice token = slice_of((const char *)data, size);
    check(token, jwks);
    // A token that passes is signed, so it has the header of somebody who has the key.
    if (jwt_precheck(token, jwks, 0) == PRECHECK_PASS) {
        struct jws jws;
        weir_assert(jws_parse(token, &jws) == WEIR_OK && jws.alg == AUTH_RS256);
        weir_assert(slice_eq(jws.key_id, SLICE("k1")));
        jws_fini(&jws);
    }
    // The same bytes as a key set.
    struct jwks *other = NULL;
    if (jwks_parse(token, NULL, &other) == WEIR_OK) {
        weir_assert(jwks_count(other) <= JWKS_KEYS_MAX);
        jwks_free(other);
    }
    return 0;
}
