// SPDX-License-Identifier: Apache-2.0
// Which engine, as whom, and how to trust it: command line > variables > selected context (spec
// engine, section 11.2). Whatever talks to an engine resolves a profile first.
//
// A command takes the options below by beginning its option enum with PROFILE_OPTION_COUNT and its
// table with PROFILE_OPTION_ROWS:
//
//   enum { OPTION_NAME = PROFILE_OPTION_COUNT, ..., OPTION_COUNT };
//   static const struct option_row options[] = {
//       PROFILE_OPTION_ROWS,
//       [OPTION_NAME] = {"--name", "TEXT", "..."},
//       ...
//   };
//   ...
//   if (!profile_of_options(command, values, PROFILE_WANTS_ALL, &profile)) {
//       return EXIT_CONFIG;
//   }
#ifndef WEIR_CLI_PROFILE_H
#define WEIR_CLI_PROFILE_H

#include <stdint.h>

#include "cli/command.h"
#include "conf/conf.h"

#define PROFILE_GROUP "engine, token and trust"
#define PROFILE_LOG_GROUP "standard error"
#define PROFILE_PORT 443 // where an engine is that names none

enum profile_option {
    PROFILE_CONFIG,
    PROFILE_CONTEXT,
    PROFILE_ENGINE,
    PROFILE_TOKEN,
    PROFILE_CA_FILE,
    PROFILE_SERVER_NAME,
    PROFILE_INSECURE,
    PROFILE_TRANSPORT,
    PROFILE_API_URL,
    PROFILE_REGION,
    PROFILE_VERBOSE,
    PROFILE_LOG_LEVEL,
    PROFILE_LOG_FORMAT,
    PROFILE_OPTION_COUNT
};

#define PROFILE_OPTION_ROWS                                                                        \
    [PROFILE_CONFIG] = {"--config", "FILE", "contexts; ~/.rstream/config.yaml (RSTREAM_CONFIG)",   \
        .group = PROFILE_GROUP, .flags = OPTION_PATH},                                             \
    [PROFILE_CONTEXT] = {"--context", "NAME", "one of them (RSTREAM_CONTEXT)",                     \
        .group = PROFILE_GROUP},                                                                   \
    [PROFILE_ENGINE] = {"--engine", "HOST[:PORT]", "another engine (RSTREAM_ENGINE)",              \
        .group = PROFILE_GROUP},                                                                   \
    [PROFILE_TOKEN] = {"--token", "JWT", "another token (RSTREAM_AUTHENTICATION_TOKEN)",           \
        .group = PROFILE_GROUP, .flags = OPTION_SECRET},                                           \
    [PROFILE_CA_FILE] = {"--engine-tls-ca-file", "FILE",                                           \
        "trust these authorities for the engine (WEIR_ENGINE_CA_FILE)", .alias = "--ca",           \
        .group = PROFILE_GROUP, .flags = OPTION_PATH},                                             \
    [PROFILE_SERVER_NAME] = {"--engine-tls-server-name", "HOST",                                   \
        "what its certificate names, instead of HOST (WEIR_ENGINE_SERVER_NAME)",                   \
        .group = PROFILE_GROUP},                                                                   \
    [PROFILE_INSECURE] = {"--engine-tls-insecure-skip-verify", NULL,                               \
        "trust whoever answers: for trials only", .group = PROFILE_GROUP,                          \
        .flags = OPTION_NEGATABLE},                                                                \
    [PROFILE_TRANSPORT] = {"--tunnel-transport", "MODE",                                           \
        "auto is tls; quic is none of ours (RSTREAM_TUNNEL_TRANSPORT)", .group = PROFILE_GROUP,    \
        .choices = "auto|tls|quic"},                                                               \
    [PROFILE_API_URL] = {"--api-url", "URL", "of a hosted control plane: not used",                \
        .group = PROFILE_GROUP},                                                                   \
    [PROFILE_REGION] = {"--region", "NAME", "of a hosted control plane: not used",                 \
        .group = PROFILE_GROUP},                                                                   \
    [PROFILE_VERBOSE] = {"--verbose", NULL, "tell more on standard error", .alias = "-v",          \
        .group = PROFILE_LOG_GROUP},                                                               \
    [PROFILE_LOG_LEVEL] = {"--log-level", "LEVEL", "what is told there; info", .alias = "-l",      \
        .choices = "debug|info|warn|error|none", .group = PROFILE_LOG_GROUP},                      \
    [PROFILE_LOG_FORMAT] = {"--log-format", "FORM", "words, or JSON lines; auto is text",          \
        .alias = "-f", .choices = "auto|json|json-pretty|text|text-pretty",                        \
        .group = PROFILE_LOG_GROUP}

// What is given instead of variables and the selected context; NULL: nothing.
struct profile_ask {
    const char *config;
    const char *context;
    const char *engine;
    const char *token;
    const char *ca_file;
    const char *server_name;
    const char *insecure;  // "1", "0"
    const char *transport; // "auto", "tls", "quic"
    const char *api_url;
    const char *region;
};

enum profile_wants {
    PROFILE_WANTS_NOTHING = 0,
    PROFILE_WANTS_ENGINE = 1,
    PROFILE_WANTS_TOKEN = 2,
    PROFILE_WANTS_ALL = 3,
};

// How far the resolving came: the stage that failed, or PROFILE_RESOLVED.
enum profile_stage {
    PROFILE_STAGE_CONFIG,
    PROFILE_STAGE_CONTEXT,
    PROFILE_STAGE_ENGINE,
    PROFILE_STAGE_TOKEN,
    PROFILE_STAGE_MISSING, // everything is in order, and something is not there
    PROFILE_RESOLVED,
};

// All text is owned.
struct profile {
    enum profile_stage stage;
    bool config_there;
    char *config_path; // of the file, which may not be there; NULL: no place for one
    char *context;     // NULL: none is selected
    char *engine;      // "host" or "host:port" as written; NULL: none
    char *host;        // a name in lower case, or an address without brackets
    char *token;       // a secret; NULL: none
    char *ca_file;     // PEM; NULL: the system's authorities
    char *server_name; // what the certificate must name and SNI says: host, unless set otherwise
    uint16_t port;
    bool insecure_skip_verify;
    const char *engine_from; // "--engine", "RSTREAM_ENGINE", "the context"; NULL: none
    const char *token_from;
};

// False: problems->errors says why. The profile wants profile_fini in every case, and holds as much
// as could be found out. wants: enum profile_wants; what is wanted and not there is a mistake.
bool profile_resolve(const struct profile_ask *ask, unsigned wants,
    const struct conf_source *variables, uint64_t wall_ms, struct profile *ret_profile,
    struct conf_problems *problems);
// What the options of a command ask for.
struct profile_ask profile_ask_of(const char *const *values);
// The same for the options of a command, with the process's environment; says on standard error
// what is wrong, and then there is nothing to be freed. Also sets how `say` tells things (say.h).
bool profile_of_options(const struct command *command, const char *const *values, unsigned wants,
    struct profile *ret_profile);
void profile_fini(struct profile *profile);

// False after an error line: it could not be sent, or it is a JWT that has expired. from: whose it
// is, for the line, which never holds it.
bool profile_check_token(
    const char *token, const char *from, uint64_t wall_ms, struct conf_problems *problems);

// "host[:port]" without scheme, path and user. host: a name in lower case, or an address without
// brackets. False: problem says in English what is wrong.
#define PROFILE_HOST_SIZE 256
bool profile_parse_engine(
    const char *text, char host[PROFILE_HOST_SIZE], uint16_t *ret_port, const char **ret_problem);

#endif
