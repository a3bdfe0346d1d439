// SPDX-License-Identifier: Apache-2.0
// The keys stand in one block behind their count, in the order of the set. A set is small (64), so
// looking one up walks it.
#include "auth/jwks.h"

#include <string.h>
#include <jansson.h>

#include "base/base64.h"
#include "base/mem.h"

#define NUMBER_LEN_MAX (AUTH_RSA_BITS_MAX / 8 + 1) // with a leading zero

struct jwks {
    size_t count;
    struct auth_key keys[];
};

static struct slice member_text(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_EMPTY;
}

// True when the member is not there, or says exactly this.
static bool says(const json_t *entry, const char *name, const char *text)
{
    return json_object_get(entry, name) == NULL ||
           slice_eq(member_text(entry, name), slice_str(text));
}

typedef enum weir_result make_fn(struct slice, struct slice, OSSL_LIB_CTX *, struct auth_key *);

static enum weir_result read_numbers(const json_t *entry, const char *const names[2], make_fn *make,
    OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    uint8_t bytes[2][NUMBER_LEN_MAX];
    struct slice numbers[2];
    for (int i = 0; i < 2; i++) {
        size_t len = 0;
        if (base64url_decode(member_text(entry, names[i]), bytes[i], sizeof bytes[i], &len) !=
            WEIR_OK) {
            return WEIR_MALFORMED;
        }
        numbers[i] = slice_of((const char *)bytes[i], len);
    }
    return make(numbers[0], numbers[1], libctx, ret_key);
}

// WEIR_MALFORMED: an entry to leave out.
static enum weir_result read_key(
    const json_t *entry, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    static const char *const rsa_names[] = {"n", "e"};
    static const char *const ec_names[] = {"x", "y"};
    struct slice type = member_text(entry, "kty");
    struct slice id = member_text(entry, "kid");
    enum weir_result result = WEIR_MALFORMED;
    if (id.len == 0 || id.len >= AUTH_KEY_ID_SIZE || !says(entry, "use", "sig")) {
        return WEIR_MALFORMED;
    }
    if (slice_eq(type, SLICE("RSA")) && says(entry, "alg", "RS256")) {
        result = read_numbers(entry, rsa_names, auth_key_from_rsa_numbers, libctx, ret_key);
    } else if (slice_eq(type, SLICE("EC")) && says(entry, "alg", "ES256") &&
               slice_eq(member_text(entry, "crv"), SLICE("P-256"))) {
        result = read_numbers(entry, ec_names, auth_key_from_p256_point, libctx, ret_key);
    }
    if (result == WEIR_OK) {
        weir_assert(auth_key_set_id(ret_key, id));
    }
    return result;
}

static enum weir_result read_set(
    const json_t *entries, OSSL_LIB_CTX *libctx, struct jwks **ret_jwks)
{
    size_t count = json_array_size(entries);
    if (count > JWKS_KEYS_MAX) {
        return WEIR_TOO_LARGE;
    }
    struct jwks *jwks = mem_zalloc(sizeof *jwks + count * sizeof jwks->keys[0]);
    if (jwks == NULL) {
        return WEIR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        enum weir_result result =
            read_key(json_array_get(entries, i), libctx, &jwks->keys[jwks->count]);
        if (result == WEIR_OK) {
            jwks->count++;
        } else if (result != WEIR_MALFORMED) {
            jwks_free(jwks);
            return result;
        }
    }
    *ret_jwks = jwks;
    return WEIR_OK;
}

enum weir_result jwks_parse(struct slice text, OSSL_LIB_CTX *libctx, struct jwks **ret_jwks)
{
    if (text.len > JWKS_TEXT_LEN_MAX) {
        return WEIR_TOO_LARGE;
    }
    json_error_t error;
    json_t *root = json_loadb(text.at, text.len, 0, &error);
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory) {
        return WEIR_MEMORY;
    }
    json_t *entries = json_object_get(root, "keys");
    enum weir_result result =
        json_is_array(entries) ? read_set(entries, libctx, ret_jwks) : WEIR_MALFORMED;
    json_decref(root);
    return result;
}

void jwks_free(struct jwks *jwks)
{
    if (jwks == NULL) {
        return;
    }
    for (size_t i = 0; i < jwks->count; i++) {
        auth_key_fini(&jwks->keys[i]);
    }
    mem_free(jwks);
}

size_t jwks_count(const struct jwks *jwks)
{
    return jwks->count;
}

const struct auth_key *jwks_find(
    const struct jwks *jwks, struct slice key_id, enum auth_alg alg, const struct auth_key *after)
{
    for (size_t i = after == NULL ? 0 : (size_t)(after - jwks->keys) + 1; i < jwks->count; i++) {
        const struct auth_key *key = &jwks->keys[i];
        if (key->alg == alg && slice_eq(slice_str(key->id), key_id)) {
            return key;
        }
    }
    return NULL;
}
