// SPDX-License-Identifier: Apache-2.0
#include "relay/config.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/mem.h"
#include "relay/config_internal.h"

static const struct conf_row rows[ROW_COUNT] = {
#define KEY(field, type, name, other, fallback, min, max, choices, group, meaning)                 \
    {name, other, fallback, choices, group, meaning, offsetof(struct relay_config, field), min,    \
        max, CONF_##type, 0},
#include "relay/config.def"
#undef KEY
};

static bool follows_reference(const struct conf_source *source)
{
    struct slice compat = slice_str(source->get(source->arg, rows[ROW_compat].name));
    return slice_eq_nocase(slice_trim(compat), SLICE("reference"));
}

// The reference relay knows the other names only, so there they win (spec section 2.4).
static enum weir_result read_rows(struct config_loading *loading)
{
    struct conf_row used[ROW_COUNT];
    bool reference = follows_reference(loading->source);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        used[i] = rows[i];
        if (reference && rows[i].other != NULL) {
            used[i].name = rows[i].other;
            used[i].other = rows[i].name;
        }
    }
    return conf_read(
        used, ROW_COUNT, loading->source, loading->config, loading->set, loading->problems);
}

static void digest_admin_token(struct relay_config *config)
{
    if (config->admin_token == NULL) {
        return;
    }
    size_t len = strlen(config->admin_token);
    SHA256((const unsigned char *)config->admin_token, len, config->admin_token_sha256);
    OPENSSL_cleanse(config->admin_token, len);
    mem_free(config->admin_token);
    config->admin_token = NULL;
    config->has_admin_token = true;
}

enum weir_result relay_config_load(const struct conf_source *source, const uint8_t random[6],
    bool own_platform, struct relay_config *ret_config, struct conf_problems *problems)
{
    struct config_loading loading = {
        .config = ret_config,
        .source = source,
        .problems = problems,
        .random = random,
        .own_platform = own_platform};
    *ret_config = (struct relay_config){0};
    enum weir_result result = read_rows(&loading);
    if (result != WEIR_OK) {
        return result;
    }
    config_rules_apply(&loading);
    digest_admin_token(ret_config);
    return loading.out_of_memory || conf_problems_lost(problems) ? WEIR_MEMORY : WEIR_OK;
}

void relay_config_free(struct relay_config *config)
{
    conf_release(rows, ROW_COUNT, config);
    mem_free(config->platform_origin);
    mem_free(config->admission_url);
    *config = (struct relay_config){0};
}

const struct conf_row *relay_config_rows(size_t *ret_count)
{
    *ret_count = ROW_COUNT;
    return rows;
}

void relay_config_manual(struct buf *out)
{
    buf_append_str(out,
        "# Configuration of the relay\n"
        "\n"
        "Environment variables, read once at the start; the files they name are read again when\n"
        "they change. This page is the output of `weir config reference relay`.\n"
        "\n"
        "- Blanks around a value do not count, and an empty variable counts as not set.\n"
        "- Where a variable has another name, the first column wins (with "
        "`RELAY_COMPAT=reference`\n"
        "  the other name does); when both are set and differ, the start logs a warning.\n"
        "- Booleans and words are read in any case. Integers may be written `1000`, `1e3`, "
        "`1000.0`\n"
        "  or `0x3e8`; names ending in `_MS` are milliseconds, in `_BYTES` bytes.\n"
        "- A value that is not allowed ends the start with code 1, after all mistakes were "
        "reported,\n"
        "  a line each. (The reference relay takes the default for an integer it cannot read, and\n"
        "  for 0; here that is a mistake.)\n"
        "- Secrets are never shown. A variable without a default here that has one all the same "
        "says\n"
        "  so in its meaning.\n");
    conf_manual(rows, ROW_COUNT, out);
}

const char *security_mode_name(enum security_mode mode)
{
    static const char *const names[] = {"dev", "staging", "prod"};
    return names[mode];
}

const char *backplane_mode_name(enum backplane_mode mode)
{
    static const char *const names[] = {"auto", "single", "server", "redis"};
    return names[mode];
}
