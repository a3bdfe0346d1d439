// SPDX-License-Identifier: Apache-2.0
// The ring of signing keys. A key signs from its time on until the next one's, and is published
// before and after:
//
//   created ──► published, does not sign ──► signs ──► published, tokens of it may live ──►
//   forgotten
//                                   signs_from    next key's signs_from            + the longest
//                                   life
#include "platform/platform.h"

#include "base/mem.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define SKEW_MS 60000

const struct auth_key *platform_signing_key(const struct platform *platform, uint64_t now_ms)
{
    const struct auth_key *key = NULL;
    for (size_t i = 0; i < platform->key_count; i++) {
        if (i == 0 || platform->keys[i].signs_from_ms <= now_ms) {
            key = &platform->keys[i].key;
        }
    }
    return key;
}

bool platform_key_is_published(const struct platform *platform, size_t index, uint64_t now_ms)
{
    return index + 1 >= platform->key_count || now_ms < platform->keys[index + 1].signs_from_ms +
                                                            PLATFORM_TTL_S_MAX * UINT64_C(1000) +
                                                            SKEW_MS;
}

const struct auth_key *platform_find_key(
    const struct platform *platform, struct slice id, uint64_t now_ms)
{
    for (size_t i = 0; i < platform->key_count; i++) {
        if (slice_eq(id, slice_str(platform->keys[i].key.id)) &&
            platform_key_is_published(platform, i, now_ms)) {
            return &platform->keys[i].key;
        }
    }
    return NULL;
}

void platform_free_keys(struct platform *platform)
{
    for (size_t i = 0; i < platform->key_count; i++) {
        auth_key_fini(&platform->keys[i].key);
    }
    mem_free(platform->keys);
    platform->keys = NULL;
    platform->key_count = 0;
}

bool platform_has_keys(const struct platform *platform)
{
    return platform->key_count > 0;
}

// ---- Taking them over

// Keys stay in memory as they are while their rows stay: loading one takes a signature.
static enum weir_result take_key(struct platform *old, const struct platform_key_row *row,
    OSSL_LIB_CTX *libctx, struct platform_key *ret_key)
{
    ret_key->created_ms = row->created_ms;
    ret_key->signs_from_ms = row->signs_from_ms;
    for (size_t i = 0; i < old->key_count; i++) {
        if (slice_eq(row->id, slice_str(old->keys[i].key.id))) {
            ret_key->key = old->keys[i].key;
            old->keys[i].key = (struct auth_key){0};
            return WEIR_OK;
        }
    }
    enum weir_result result = platform_key_load(row->pem, libctx, &ret_key->key);
    if (result == WEIR_OK && !slice_eq(row->id, slice_str(ret_key->key.id))) {
        auth_key_fini(&ret_key->key);
        result = WEIR_MALFORMED;
    }
    return result;
}

enum weir_result platform_take_keys(
    struct platform *platform, const struct platform_key_row *rows, size_t count)
{
    struct platform next = {.keys = mem_zalloc((count + 1) * sizeof *next.keys)};
    enum weir_result first_problem = next.keys == NULL ? WEIR_MEMORY : WEIR_OK;
    for (size_t i = 0; i < count && next.keys != NULL; i++) {
        struct platform_key *key = &next.keys[next.key_count];
        enum weir_result result = take_key(platform, &rows[i], platform->libctx, key);
        if (result == WEIR_OK) {
            next.key_count++;
        } else if (first_problem == WEIR_OK) {
            first_problem = result;
        }
    }
    if (next.key_count == 0) {
        mem_free(next.keys);
        return first_problem;
    }
    platform_free_keys(platform);
    platform->keys = next.keys;
    platform->key_count = next.key_count;
    return first_problem;
}

// ---- What is said of them

enum weir_result platform_jwks(const struct platform *platform, struct buf *out)
{
    struct json_writer writer;
    uint64_t now_ms = sys_wall_ms();
    enum weir_result result = WEIR_OK;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "keys");
    for (size_t i = 0; i < platform->key_count && result == WEIR_OK; i++) {
        if (platform_key_is_published(platform, i, now_ms)) {
            result = auth_key_write_jwk(&platform->keys[i].key, &writer);
        }
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    return result == WEIR_OK && out->failed ? WEIR_MEMORY : result;
}

enum weir_result platform_write_first_key(const struct platform *platform, struct buf *out)
{
    return auth_key_write_pem(&platform->keys[0].key, out);
}

size_t platform_describe_keys(
    const struct platform *platform, struct platform_key_state *states, size_t max)
{
    uint64_t now_ms = sys_wall_ms();
    const struct auth_key *signing = platform_signing_key(platform, now_ms);
    size_t count = platform->key_count < max ? platform->key_count : max;
    for (size_t i = 0; i < count; i++) {
        const struct platform_key *key = &platform->keys[i];
        states[i] = (struct platform_key_state){
            .id = key->key.id,
            .created_ms = key->created_ms,
            .signs_from_ms = key->signs_from_ms,
            .state = &key->key == signing                             ? "signs"
                     : key->signs_from_ms > now_ms                    ? "published"
                     : platform_key_is_published(platform, i, now_ms) ? "kept"
                                                                      : "old",
        };
    }
    return count;
}
