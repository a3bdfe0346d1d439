// SPDX-License-Identifier: Apache-2.0
// The agent's configuration file, ~/.rstream/config.yaml (spec engine, section 11.3): contexts,
// each an engine with a token and how to reach it. Read strictly: what is not known is refused with
// its line and column. A file that holds a secret and that others can read is refused, too.
#ifndef WEIR_CLI_CONFIG_H
#define WEIR_CLI_CONFIG_H

#include <stdbool.h>

#include "base/result.h"
#include "conf/conf.h"
#include "conf/yaml.h"

#define CONFIG_PATH_SIZE 4096
#define CONFIG_CONTEXTS_MAX 1024

// All text borrows the config; NULL: not set.
struct config_context {
    const struct yml_node *node;
    const char *name;
    const char *api_url;
    const char *engine;
    const char *token;    // a secret
    const char *keychain; // where the token is instead, which is nowhere for us
    bool mtls;
    const char *ca_file;
    const char *server_name;
    bool insecure;
    const struct yml_node *unsupported; // the first setting that is none for us; NULL: none
};

struct config {
    struct yml_document document;
    const char *default_context;     // NULL: none
    struct config_context *contexts; // owned
    size_t count;
    bool there; // the file exists
};

// Where the file is: option, RSTREAM_CONFIG, or under HOME. WEIR_NOT_FOUND: there is no HOME;
// WEIR_TOO_LARGE.
enum weir_result config_path(
    const char *option, const struct conf_source *variables, char path[CONFIG_PATH_SIZE]);
// WEIR_OK also for a file that is not there: it is empty then. Otherwise problems->errors says what
// is wrong. The config wants config_fini in every case, and borrows path.
enum weir_result config_load(
    const char *path, struct config *ret_config, struct conf_problems *problems) WEIR_MUST_CHECK;
// The same without a look at the file's mode.
enum weir_result config_parse(struct slice text, const char *path, struct config *ret_config,
    struct conf_problems *problems) WEIR_MUST_CHECK;
void config_fini(struct config *config);
// How many contexts have this name (with different apiUrls, one name may be there again); the first
// goes to *ret_context.
size_t config_find(
    const struct config *config, const char *name, const struct config_context **ret_context);

#endif
