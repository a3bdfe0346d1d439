// SPDX-License-Identifier: Apache-2.0
// The engine's configuration: a YAML file, and variables RSTREAM_ENGINE_<SECTION>__<FIELD> above it
// (spec section 2). config.def has a row for each key; the fields below are the rows' fields and
// what follows from them.
#ifndef WEIR_ENGINE_CONFIG_H
#define WEIR_ENGINE_CONFIG_H

#include "conf/conf.h"

// In the order of the rows' choices.
enum engine_log_level {
    ENGINE_LOG_DEBUG,
    ENGINE_LOG_INFO,
    ENGINE_LOG_WARN,
    ENGINE_LOG_ERROR,
};
enum engine_takeover {
    ENGINE_TAKEOVER_SAME_IDENTITY,
    ENGINE_TAKEOVER_NEVER,
};

// A further pair (extensions.certs): served to those whose server name its certificate has. Tunnels
// get no names by it: these stay under t.<host> (spec section 5.4).
struct engine_cert {
    char *cert_file;
    char *key_file;
};

// Strings are owned. After a load without errors: host is a lower-case name without trailing dot;
// host, cert_file, key_file, jwt_secret, metrics_path and the hosts of enabled listeners are set;
// metrics_path begins with '/'; the extension_ fields are off, and certs is empty, unless
// extensions.enabled.
struct engine_config {
#define KEY(field, type, ...) CONF_FIELD_##type field;
#include "engine/config/config.def"
#undef KEY
    struct engine_cert *certs; // owned
    size_t cert_count;
};

#define ENGINE_VARIABLE_PREFIX "RSTREAM_ENGINE_"
#define ENGINE_CERTS_MAX 256

struct engine_config_source {
    const char *path;    // of the file; NULL: variables alone
    const char *section; // of the file ("engine" of a weir.yml); NULL: all of it
    const struct conf_source *variables;
    char *const *environment; // "NAME=value", ended by NULL, searched for unknown keys; or NULL
};

// Reads the file and the variables, follows the rules of section 2.3, looks at the certificates,
// and collects all problems; with an error among them the configuration must not be used. It is to
// be freed in any case, also after WEIR_MEMORY, the only other result. set, when not NULL, has room
// for all rows and says which were given.
enum weir_result engine_config_load(const struct engine_config_source *source,
    struct engine_config *ret_config, bool *set, struct conf_problems *problems) WEIR_MUST_CHECK;
void engine_config_free(struct engine_config *config);
// The rows, for --help, the manual and tests.
const struct conf_row *engine_config_rows(size_t *ret_count);

// For a reload: appends the keys that differ, comma-separated, to live (they may be taken over) and
// to restart (they may not). False when nothing differs.
bool engine_config_diff(const struct engine_config *old, const struct engine_config *next,
    struct buf *live, struct buf *restart);
// Gives next what old has in the keys that want a restart. False without memory.
bool engine_config_keep(
    const struct engine_config *old, struct engine_config *next) WEIR_MUST_CHECK;

// Appends the manual of all keys, Markdown: docs/reference/engine-configuration.md.
void engine_config_manual(struct buf *out);
// Appends the effective values as YAML, secrets hidden.
void engine_config_print(const struct engine_config *config, const bool *set, struct buf *out);

#endif
