// SPDX-License-Identifier: Apache-2.0
// Between run_file.c, which holds the tree against the table of keys, and run_file_values.c, which
// makes tunnels of it.
#ifndef WEIR_CLI_RUN_FILE_INTERNAL_H
#define WEIR_CLI_RUN_FILE_INTERNAL_H

#include "cli/run/run_file.h"

enum run_type {
    RUN_VERSION,
    RUN_MAP,
    RUN_LIST,
    RUN_TEXT,
    RUN_SECRET,
    RUN_CHOICE,
    RUN_SWITCH,
    RUN_TEXTS,   // a list of texts
    RUN_LABELS,  // a map of texts
    RUN_CONTEXT, // a name, or a map as below contexts
    RUN_UNSUPPORTED,
};

struct run_reader {
    struct run_file *file;
    const struct conf_source *variables;
    struct conf_problems *problems;
    const char *source;
};

// The text of a scalar with its variables; NULL: not there, or reported already.
const char *run_text(struct run_reader *reader, const struct yml_node *node);
// A word out of "true|false", which may come from a variable, too.
bool run_switch(const char *text, enum weir_tunnel_switch *ret_value);
// True: all texts of the file's tunnels and contexts are set.
bool run_file_make(struct run_reader *reader);

#endif
