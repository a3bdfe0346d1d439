// SPDX-License-Identifier: Apache-2.0
// Filters as they are typed, "name=web,publish=true,labels.env=prod", to the JSON of the engine's
// API (spec engine, section 8.4).
#ifndef WEIR_CLI_FILTER_TEXT_H
#define WEIR_CLI_FILTER_TEXT_H

#include <jansson.h>

#include "base/result.h"

enum filter_subject { FILTER_TUNNELS, FILTER_CLIENTS };

// The conditions go into object; a label whose value is empty or "*" need only be there. "\," and
// "\\" stand for a comma and a backslash of a value. WEIR_MALFORMED: problem (size bytes) says what
// is wrong and what is allowed. WEIR_MEMORY.
enum weir_result filter_text_read(const char *text, enum filter_subject subject, json_t *object,
    char *problem, size_t size) WEIR_MUST_CHECK;

#endif
