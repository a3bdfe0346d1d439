// SPDX-License-Identifier: Apache-2.0
// Shared by conf.c and conf_file.c, and nobody else.
#ifndef WEIR_CONF_CONF_INTERNAL_H
#define WEIR_CONF_CONF_INTERNAL_H

#include "conf/conf.h"

// A row on its way into its field.
struct conf_reading {
    const struct conf_row *row;
    const struct conf_source *source; // for HOME
    struct conf_problems *problems;
    const char *name; // what a line about the value begins with
    struct slice value;
    void *field;
    bool given; // by the source; false: it is the default
};

// Reads the value if it is given; takes the default if it is not, or was refused. WEIR_MALFORMED:
// the field is untouched. WEIR_MEMORY.
enum weir_result conf_reading_run(struct conf_reading *reading) WEIR_MUST_CHECK;

// Whether values of the type may be YAML lists.
bool conf_takes_list(enum conf_type type);
// "a,b" of [a, b]. False: refused and reported.
struct yml_document;
struct yml_node;
bool conf_join_list(const struct yml_document *document, const struct yml_node *list,
    struct buf *out, struct conf_problems *problems);

#endif
