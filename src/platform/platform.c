// SPDX-License-Identifier: Apache-2.0
// The state directory: one key and two secrets, each made when it is missing and then only read.
// What is there but wrong is never replaced: a lost signing key ends every token out there, and
// that is the operator's decision.
//
// A signing key is tried out when it is loaded (sign, then check), so that a public key, or a pair
// that does not belong together, ends the start and not the first connection.
#include "platform/platform.h"

#include <stdio.h>
#include <openssl/crypto.h>

#include "base/mem.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/entropy.h"
#include "sys/file.h"

#define PATH_SIZE 4096
#define KEY_FILE_LEN_MAX 65536
#define SECRET_LEN 32
#define SECRET_TEXT_LEN (2 * (size_t)SECRET_LEN) // in hexadecimal
#define SECRET_FILE_LEN_MAX 256

static enum weir_result path_of(const char *state_dir, const char *name, char path[PATH_SIZE])
{
    int len = snprintf(path, PATH_SIZE, "%s/%s", state_dir, name);
    return len > 0 && len < PATH_SIZE ? WEIR_OK : WEIR_TOO_LARGE;
}

// Wipes before it gives back: what was in it is a secret.
static void forget(struct buf *buf)
{
    if (buf->at != NULL) {
        OPENSSL_cleanse(buf->at, buf->size);
    }
    buf_reset(buf);
}

// ---- The signing key ----------------------------------------------------------------------------

static enum weir_result make_key(const char *path, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    struct buf pem = BUF_INIT(KEY_FILE_LEN_MAX);
    enum weir_result result = auth_key_generate(AUTH_RS256, libctx, ret_key);
    if (result == WEIR_OK) {
        result = auth_key_write_pem(ret_key, &pem);
    }
    if (result == WEIR_OK) {
        result = sys_file_create_private(path, buf_slice(&pem));
    }
    forget(&pem);
    return result;
}

static enum weir_result try_key(const struct auth_key *key)
{
    uint8_t signature[AUTH_SIGNATURE_LEN_MAX];
    size_t len = 0;
    const struct slice text = SLICE("weir");
    if (key->alg != AUTH_RS256 || auth_key_sign(key, text, signature, &len) != WEIR_OK) {
        return WEIR_MALFORMED;
    }
    enum weir_result result = auth_key_verify(key, text, slice_of((const char *)signature, len));
    return result == WEIR_REFUSED ? WEIR_MALFORMED : result;
}

enum weir_result platform_key_load(struct slice pem, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    enum weir_result result = auth_key_from_pem(pem, libctx, ret_key);
    if (result == WEIR_OK) {
        result = try_key(ret_key);
        if (result != WEIR_OK) {
            auth_key_fini(ret_key);
        }
    }
    return result;
}

static enum weir_result load_key(
    const char *state_dir, OSSL_LIB_CTX *libctx, struct auth_key *ret_key)
{
    char path[PATH_SIZE];
    enum weir_result result = path_of(state_dir, "signing.pem", path);
    if (result != WEIR_OK) {
        return result;
    }
    struct buf pem = BUF_INIT(KEY_FILE_LEN_MAX);
    result = sys_file_read(path, KEY_FILE_LEN_MAX, &pem);
    if (result == WEIR_NOT_FOUND) {
        result = make_key(path, libctx, ret_key);
        if (result == WEIR_IN_USE) { // another process was faster: that key counts
            auth_key_fini(ret_key);
            result = sys_file_read(path, KEY_FILE_LEN_MAX, &pem);
        } else {
            return result;
        }
    }
    if (result == WEIR_OK) {
        result = platform_key_load(buf_slice(&pem), libctx, ret_key);
    }
    forget(&pem);
    return result;
}

// ---- The secrets --------------------------------------------------------------------------------

static bool is_secret(struct slice text)
{
    if (text.len != SECRET_TEXT_LEN) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("0123456789abcdefABCDEF", text.at[i]) == NULL || text.at[i] == '\0') {
            return false;
        }
    }
    return true;
}

static enum weir_result make_secret(const char *path, struct buf *out)
{
    uint8_t bytes[SECRET_LEN];
    enum weir_result result = sys_entropy(bytes, sizeof bytes);
    for (size_t i = 0; result == WEIR_OK && i < sizeof bytes; i++) {
        result = buf_printf(out, "%02x", bytes[i]);
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    if (result == WEIR_OK) {
        result = buf_append_byte(out, '\n');
    }
    return result == WEIR_OK ? sys_file_create_private(path, buf_slice(out)) : result;
}

// The secret given, or that of the file. The caller owns *ret_secret.
static enum weir_result load_secret(
    const char *state_dir, const char *name, const char *given, char **ret_secret)
{
    char path[PATH_SIZE];
    struct buf text = BUF_INIT(SECRET_FILE_LEN_MAX);
    struct slice secret = slice_str(given);
    enum weir_result result = path_of(state_dir, name, path);
    if (result == WEIR_OK && secret.len == 0) {
        result = sys_file_read(path, SECRET_FILE_LEN_MAX, &text);
        if (result == WEIR_NOT_FOUND) {
            result = make_secret(path, &text);
            if (result == WEIR_IN_USE) { // another process was faster
                forget(&text);
                result = sys_file_read(path, SECRET_FILE_LEN_MAX, &text);
            }
        }
        secret = slice_trim(buf_slice(&text));
        if (result == WEIR_TOO_LARGE || (result == WEIR_OK && !is_secret(secret))) {
            result = WEIR_MALFORMED;
        }
    }
    if (result == WEIR_OK) {
        *ret_secret = mem_copy(secret.at, secret.len);
        result = *ret_secret == NULL ? WEIR_MEMORY : WEIR_OK;
    }
    forget(&text);
    return result;
}

// ---- The object ---------------------------------------------------------------------------------

static enum weir_result load_first_key(struct platform *platform, const char *state_dir)
{
    platform->keys = mem_zalloc(sizeof *platform->keys);
    if (platform->keys == NULL) {
        return WEIR_MEMORY;
    }
    enum weir_result result = load_key(state_dir, platform->libctx, &platform->keys[0].key);
    platform->key_count = 1; // what has failed is empty
    return result;
}

static enum weir_result load(
    struct platform *platform, const char *state_dir, const struct platform_options *options)
{
    platform->libctx = options->libctx;
    platform->frame_bytes_max =
        options->frame_bytes_max == 0 ? PLATFORM_FRAME_BYTES_DEFAULT : options->frame_bytes_max;
    enum weir_result result = sys_dir_make(state_dir);
    if (result == WEIR_OK && !options->no_key) {
        result = load_first_key(platform, state_dir);
    }
    if (result == WEIR_OK) {
        result =
            load_secret(state_dir, "internal-key", options->internal_key, &platform->internal_key);
    }
    if (result == WEIR_OK) {
        result =
            load_secret(state_dir, "admin-token", options->admin_token, &platform->admin_token);
    }
    return result;
}

struct platform *platform_open(
    const char *state_dir, const struct platform_options *options, enum weir_result *ret_result)
{
    static const struct platform_options defaults;
    struct platform *platform = mem_zalloc(sizeof *platform);
    *ret_result = platform == NULL
                      ? WEIR_MEMORY
                      : load(platform, state_dir, options == NULL ? &defaults : options);
    if (*ret_result != WEIR_OK) {
        platform_free(platform);
        return NULL;
    }
    return platform;
}

static void free_secret(char *secret)
{
    if (secret != NULL) {
        OPENSSL_cleanse(secret, strlen(secret));
    }
    mem_free(secret);
}

void platform_free(struct platform *platform)
{
    if (platform == NULL) {
        return;
    }
    platform_free_keys(platform);
    free_secret(platform->internal_key);
    free_secret(platform->admin_token);
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

// ---- Small answers ------------------------------------------------------------------------------

enum weir_result platform_write_refusal(struct buf *out, const char *reason)
{
    return platform_write_mistake(out, reason, "");
}

enum weir_result platform_write_mistake(struct buf *out, const char *reason, const char *error)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", false);
    jsonw_text(&writer, "reason", reason);
    if (error[0] != '\0') {
        jsonw_text(&writer, "error", error);
    }
    jsonw_object_end(&writer);
    // The bound of an answer is above all we write, so a full buffer is want of memory as well.
    return out->failed ? WEIR_MEMORY : WEIR_OK;
}
