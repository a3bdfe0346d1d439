// SPDX-License-Identifier: Apache-2.0
// What the platform keeps under its state directory, and the keys it shows. A file that is there is
// never replaced, even when it cannot be used: whoever put it there decides.
#include "platform/platform.h"

#include <stdio.h>
#include <openssl/crypto.h>

#include "base/mem.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/entropy.h"
#include "sys/file.h"

#define PATH_SIZE 4096
#define FILE_LEN_MAX 16384
#define SECRET_BYTES 32

// ---- Secrets ------------------------------------------------------------------------------------

static bool take_secret(struct slice text, char secret[PLATFORM_SECRET_LEN_MAX + 1])
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] <= ' ' || text.at[i] > '~') {
            return false;
        }
    }
    return text.len > 0 && slice_to_text(text, secret, PLATFORM_SECRET_LEN_MAX + 1);
}

static enum weir_result make_secret(const char *path, char secret[PLATFORM_SECRET_LEN_MAX + 1])
{
    uint8_t bytes[SECRET_BYTES];
    char text[2 * SECRET_BYTES + 2];
    enum weir_result result = sys_entropy(bytes, sizeof bytes);
    if (result != WEIR_OK) {
        return result;
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    text[2 * SECRET_BYTES] = '\n';
    result = sys_file_write_private(path, slice_of(text, 2 * SECRET_BYTES + 1));
    if (result == WEIR_OK) {
        weir_assert(take_secret(slice_of(text, 2 * SECRET_BYTES), secret));
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    OPENSSL_cleanse(text, sizeof text);
    return result;
}

static enum weir_result read_secret(const char *path, char secret[PLATFORM_SECRET_LEN_MAX + 1])
{
    struct buf content = BUF_INIT(FILE_LEN_MAX);
    enum weir_result result = sys_file_read(path, FILE_LEN_MAX, &content);
    if (result == WEIR_OK && !take_secret(slice_trim(buf_slice(&content)), secret)) {
        result = WEIR_MALFORMED;
    }
    buf_reset(&content);
    return result;
}

static enum weir_result path_in(const char *state_dir, const char *name, char path[PATH_SIZE])
{
    int len = snprintf(path, PATH_SIZE, "%s/%s", state_dir, name);
    return len > 0 && len < PATH_SIZE ? WEIR_OK : WEIR_TOO_LARGE;
}

static enum weir_result open_secret(const char *state_dir, const char *name, const char *given,
    char secret[PLATFORM_SECRET_LEN_MAX + 1])
{
    char path[PATH_SIZE];
    if (given != NULL && given[0] != '\0') {
        return take_secret(slice_str(given), secret) ? WEIR_OK : WEIR_INVALID;
    }
    enum weir_result result = path_in(state_dir, name, path);
    if (result != WEIR_OK) {
        return result;
    }
    result = read_secret(path, secret);
    return result == WEIR_NOT_FOUND ? make_secret(path, secret) : result;
}

// ---- The signing key ----------------------------------------------------------------------------

static enum weir_result make_key(const char *path, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    enum weir_result result = auth_key_generate(AUTH_RS256, libctx, ret_key);
    if (result == WEIR_OK) {
        result = auth_key_write_pem(ret_key, &pem);
    }
    if (result == WEIR_OK) {
        result = sys_file_write_private(path, buf_slice(&pem));
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return result;
}

// A public key, or one of another kind, cannot sign what daemons read.
static enum weir_result check_key(const struct auth_key *key)
{
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
    size_t len;
    if (key->alg != AUTH_RS256 || auth_key_sign(key, SLICE("."), signature, &len) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    return WEIR_OK;
}

static enum weir_result open_key(
    const char *state_dir, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    char path[PATH_SIZE];
    struct buf pem = BUF_INIT(FILE_LEN_MAX);
    enum weir_result result = path_in(state_dir, "signing.pem", path);
    if (result != WEIR_OK) {
        return result;
    }
    result = sys_file_read(path, FILE_LEN_MAX, &pem);
    if (result == WEIR_NOT_FOUND) {
        return make_key(path, libctx, ret_key);
    }
    if (result == WEIR_OK) {
        result = auth_key_from_pem(buf_slice(&pem), libctx, ret_key);
    }
    if (result == WEIR_OK) {
        result = check_key(ret_key);
    }
    if (pem.at != NULL) {
        OPENSSL_cleanse(pem.at, pem.size);
    }
    buf_reset(&pem);
    return result;
}

// ---- The object ---------------------------------------------------------------------------------

static enum weir_result open_state(
    struct platform *platform, const char *state_dir, const struct platform_options *options)
{
    enum weir_result result = sys_dir_make(state_dir);
    if (result == WEIR_OK) {
        result =
            open_secret(state_dir, "internal-key", options->internal_key, platform->internal_key);
    }
    if (result == WEIR_OK) {
        result = open_secret(state_dir, "admin-token", options->admin_token, platform->admin_token);
    }
    return result == WEIR_OK ? open_key(state_dir, options->libctx, &platform->key) : result;
}

struct platform *platform_open(
    const char *state_dir, const struct platform_options *options, enum weir_result *ret_result)
{
    static const struct platform_options defaults = {0};
    struct platform *platform = mem_zalloc(sizeof *platform);
    if (platform == NULL) {
        *ret_result = WEIR_MEMORY;
        return NULL;
    }
    *ret_result = open_state(platform, state_dir, options == NULL ? &defaults : options);
    if (*ret_result != WEIR_OK) {
        platform_free(platform);
        return NULL;
    }
    return platform;
}

void platform_free(struct platform *platform)
{
    if (platform == NULL) {
        return;
    }
    auth_key_fini(&platform->key);
    OPENSSL_cleanse(platform, sizeof *platform);
    mem_free(platform);
}

const char *platform_internal_key(const struct platform *platform)
{
    return platform->internal_key;
}

const char *platform_admin_token(const struct platform *platform)
{
    return platform->admin_token;
}

enum weir_result platform_jwks(const struct platform *platform, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_array_begin(&writer, "keys");
    enum weir_result result = auth_key_write_jwk(&platform->key, &writer);
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    if (result != WEIR_OK) {
        return result;
    }
    return out->failed ? WEIR_FULL : WEIR_OK;
}

// ---- Shared by the routes -----------------------------------------------------------------------

bool platform_id_valid(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != ':' && c != '-') {
            return false;
        }
    }
    return id.len > 0 && id.len <= PLATFORM_ID_LEN_MAX;
}

bool platform_role_valid(struct slice role)
{
    return slice_eq(role, SLICE("workspace-daemon")) || slice_eq(role, SLICE("client")) ||
           slice_eq(role, SLICE("worker"));
}

enum weir_result platform_refuse(const char *member, const char *code, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", false);
    jsonw_text(&writer, member, code);
    jsonw_object_end(&writer);
    return out->failed ? WEIR_FULL : WEIR_OK;
}
