// SPDX-License-Identifier: Apache-2.0
// A file of tunnels for `run` (spec engine, section 11.6), read strictly: every mistake is a line
// with its place, all of them at once. ${NAME} in a value stands for a variable of the environment,
// ${NAME:-text} has a default, $${ is a literal ${.
#ifndef WEIR_CLI_RUN_FILE_H
#define WEIR_CLI_RUN_FILE_H

#include <weir/agent.h>

#include "base/arena.h"
#include "cli/context/profile.h"
#include "conf/conf.h"
#include "conf/yaml.h"

#define RUN_TUNNELS_MAX 1000
#define RUN_LABELS_MAX 64
#define RUN_SOURCE_APPLY "apply"
#define RUN_SOURCE_DOCKER "docker"

// Which engine a tunnel is for. NULL texts: not said.
struct run_context {
    const char *name; // in the file; NULL: none, or written in the tunnel
    const struct yml_node *node;
    const char *external; // a context of the agent's configuration file
    const char *engine;
    const char *token; // a secret
    const char *transport;
    const char *ca_file;
    const char *server_name;
    enum weir_tunnel_switch insecure;
};

struct run_tunnel {
    const struct yml_node *node;
    const char *name;
    const char *forward;
    const struct run_context *context; // NULL: what command line, variables and defaults say
    struct weir_tunnel_options options;
    // Everything that makes a difference, as text: equal texts are the same tunnel. Holds a secret.
    struct slice signature;
};

// All text lives as long as the file.
struct run_file {
    struct yml_document document;
    struct arena arena;
    struct run_context *contexts;
    size_t context_count;
    struct run_tunnel *tunnels; // in the order of the file
    size_t tunnel_count;
};

// False: problems->errors says what is wrong. The file wants run_file_close in every case.
bool run_file_load(const char *path, const struct conf_source *variables, struct run_file *ret_file,
    struct conf_problems *problems);
struct run_text {
    struct slice text;
    const char *path;   // what it is called in errors
    const char *source; // the label rstream.source
};
bool run_file_parse(const struct run_text *text, const struct conf_source *variables,
    struct run_file *ret_file, struct conf_problems *problems);
// Fine for a zeroed file, and twice.
void run_file_close(struct run_file *file);

// NULL: there is none of that name.
const struct run_tunnel *run_file_find(const struct run_file *file, const char *name);

// Replaces ${NAME} in text. WEIR_NOT_FOUND: *ret_name, without a default, is not set.
// WEIR_MALFORMED: no name, or no end. WEIR_TOO_LARGE, WEIR_MEMORY.
#define RUN_TEXT_LEN_MAX 4096
#define RUN_VARIABLE_SIZE 128
enum weir_result run_expand(struct slice text, const struct conf_source *variables,
    struct arena *arena, const char **ret_text, char name[RUN_VARIABLE_SIZE]) WEIR_MUST_CHECK;

#endif
