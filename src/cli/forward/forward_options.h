// SPDX-License-Identifier: Apache-2.0
// What the command line of `weir forward` may hold (spec engine, section 11.5), and what tunnels it
// asks for.
#ifndef WEIR_CLI_FORWARD_OPTIONS_H
#define WEIR_CLI_FORWARD_OPTIONS_H

#include <weir/agent.h>

#include "cli/context/profile.h"

#define FORWARD_ENTRIES_MAX 64

enum {
    OPTION_NAME = PROFILE_OPTION_COUNT,
    OPTION_HOST,
    OPTION_LABEL,
    OPTION_PUBLISH,
    OPTION_HTTP,
    OPTION_TLS,
    OPTION_TCP,
    OPTION_DTLS,
    OPTION_QUIC,
    OPTION_BYTESTREAM,
    OPTION_DATAGRAM,
    OPTION_TCP_PORT,
    OPTION_HTTP_VERSION,
    OPTION_UPSTREAM_TLS,
    OPTION_TLS_MODE,
    OPTION_TLS_ALPN,
    OPTION_TLS_MIN_VERSION,
    OPTION_TLS_CIPHERS,
    OPTION_MTLS,
    OPTION_GEOIP,
    OPTION_TRUSTED_IPS,
    OPTION_TOKEN_AUTH,
    OPTION_RSTREAM_AUTH,
    OPTION_CHALLENGE_MODE,
    OPTION_DATAGRAM_DELIVERY,
    OPTION_CROSS_REGION,
    OPTION_RETRY,
    OPTION_RETRY_INTERVAL,
    OPTION_SPARES,
    OPTION_OUTPUT,
    OPTION_JSON,
    OPTION_INSPECT,
    OPTION_INSPECT_SECRETS,
    OPTION_INSPECT_ANYWHERE,
    OPTION_COUNT
};

extern const struct option_row forward_options[];

// A command line that was read.
struct forward_line {
    const struct command *command;
    const char *const *values;
    const struct option_repeats *repeats;
};

// Borrows the command line.
struct forward_wishes {
    struct weir_tunnel_options options;
    struct weir_tunnel_label labels[FORWARD_ENTRIES_MAX];
    char keys[FORWARD_ENTRIES_MAX][160];
    const char *alpns[FORWARD_ENTRIES_MAX];
    const char *ciphers[FORWARD_ENTRIES_MAX];
    const char *geoip[FORWARD_ENTRIES_MAX];
    const char *trusted_ips[FORWARD_ENTRIES_MAX];
};

enum weir_tunnel_switch forward_switch(const char *value);
// Both say what is wrong.
bool forward_read_number(
    const struct forward_line *line, int option, uint64_t max, uint32_t *ret_number);
// --spare-connections as weir_agent_options has it.
bool forward_read_spares(const struct forward_line *line, int32_t *ret_count);
bool forward_read_wishes(const struct forward_line *line, struct forward_wishes *wishes);

#endif
