// SPDX-License-Identifier: Apache-2.0
// The relay's configuration: environment variables and nothing else (spec section 2). config.def
// has a row for each; the fields below are the rows' fields and what follows from them.
#ifndef WEIR_RELAY_CONFIG_H
#define WEIR_RELAY_CONFIG_H

#include "conf/conf.h"

// In the order of the rows' choices.
enum relay_mode_choice { MODE_AUTO, MODE_DEV, MODE_STAGING, MODE_PROD };
enum rate_limit_action { RATE_LIMIT_CLOSE, RATE_LIMIT_THROTTLE };
enum backplane_mode { BACKPLANE_AUTO, BACKPLANE_SINGLE, BACKPLANE_SERVER, BACKPLANE_REDIS };
enum redirect_style { REDIRECT_FRAME, REDIRECT_HTTP, REDIRECT_AUTO };
enum relay_compat { COMPAT_DOCS, COMPAT_REFERENCE };
enum config_switch { SWITCH_AUTO, SWITCH_OFF, SWITCH_ON };
enum tls_termination { TLS_TERMINATION_SELF, TLS_TERMINATION_PLATFORM };
enum server_auth_mode { SERVER_AUTH_MTLS, SERVER_AUTH_SHARED_SECRET };

enum security_mode { SECURITY_MODE_DEV, SECURITY_MODE_STAGING, SECURITY_MODE_PROD };

// Strings are owned. relay_id, public_ws_base_url, tls_cert_path and tls_key_path are never NULL
// after a load without errors; backplane_mode is not BACKPLANE_AUTO.
struct relay_config {
#define KEY(field, type, ...) CONF_FIELD_##type field;
#include "relay/config.def"
#undef KEY
    // What follows from the rows; strings are owned.
    enum security_mode security_mode;
    bool tls_enabled;
    bool server_tls_verify;
    bool has_admin_token;
    unsigned char admin_token_sha256[32]; // the token itself is wiped
    char *platform_origin;                // scheme and authority
    char *admission_url;
    bool relay_id_derived; // from host and port, as the next one
    bool public_url_derived;
};

// Reads everything, follows the rules of sections 2.3 and 2.4, and collects all problems; with an
// error among them the configuration must not be used. It is to be freed in any case, also after
// WEIR_MEMORY, the only other result. random makes the default id.
// own_platform: it runs in this process, so that it is on this machine is no mistake, and says
// nothing about who may reach the relay.
enum weir_result relay_config_load(const struct conf_source *source, const uint8_t random[6],
    bool own_platform, struct relay_config *ret_config, struct conf_problems *problems) WEIR_MUST_CHECK;
// The port the kernel chose when listen_port was 0: goes into the names that hold it. WEIR_MEMORY.
enum weir_result relay_config_use_port(
    struct relay_config *config, uint16_t port) WEIR_MUST_CHECK;
// The rows, for a file that says the same as the variables.
const struct conf_row *relay_config_rows(size_t *ret_count);
// In mode redis: the URL that counts.
const char *relay_config_redis_url(const struct relay_config *config);
void relay_config_free(struct relay_config *config);
// Appends the manual of all variables, Markdown: docs/reference/relay-configuration.md.
void relay_config_manual(struct buf *out);
const char *security_mode_name(enum security_mode mode);
const char *backplane_mode_name(enum backplane_mode mode);

#endif
