// SPDX-License-Identifier: Apache-2.0
// A section of a YAML file as a source of variables: with the prefix "RELAY_" the key listen_port
// says what RELAY_LISTEN_PORT says, and server_url what SERVER_URL says. The rows are those of the
// variables; what a source above holds wins. Lists may be YAML lists.
#ifndef WEIR_CONF_CONF_SECTION_H
#define WEIR_CONF_CONF_SECTION_H

#include "conf/conf.h"
#include "conf/yaml.h"

struct conf_section_value;

struct conf_section {
    struct conf_source source;              // to read from; its arg is this section
    const struct conf_source *above;        // borrowed
    const struct yml_document *document;    // borrowed
    const struct conf_section_value *values; // in the arena
    struct arena arena;
};

// Takes the values of node, a mapping (NULL, or a null: nothing is set there). What no row names,
// and what is no value, is reported. The section must stay where it is while it is read from, and
// wants conf_section_close in every case. WEIR_MEMORY is the only result but WEIR_OK.
enum weir_result conf_section_open(struct conf_section *section,
    const struct yml_document *document, const struct yml_node *node, const char *prefix,
    const struct conf_row *rows, size_t count, const struct conf_source *above,
    struct conf_problems *problems) WEIR_MUST_CHECK;
void conf_section_close(struct conf_section *section);
// Whether the section itself, and not the source above it, says something about the variable.
bool conf_section_holds(const struct conf_section *section, const char *variable);

#endif
