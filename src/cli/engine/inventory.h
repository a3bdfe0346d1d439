// SPDX-License-Identifier: Apache-2.0
// Tunnels and clients of an engine as a person sees them.
#ifndef WEIR_CLI_INVENTORY_H
#define WEIR_CLI_INVENTORY_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/engine/filter_text.h"

// A list of the same objects, the newest first (those without a date of creation by id); NULL
// without memory.
json_t *inventory_sort(const json_t *list) WEIR_MUST_CHECK;
// Appends a table of a list of objects with a head; at most rows_max lines of objects, and a line
// that says how many more there are.
enum weir_result inventory_write_table(enum filter_subject subject, const json_t *list,
    size_t rows_max, struct buf *out) WEIR_MUST_CHECK;
// Appends the members of one object, one a line.
enum weir_result inventory_write_object(const json_t *object, struct buf *out) WEIR_MUST_CHECK;

#endif
