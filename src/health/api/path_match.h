// SPDX-License-Identifier: Apache-2.0
// Paths of requests against patterns like "/api/services/{name}/health" and "/badge/{name}.svg". Pure.
#ifndef WEIR_HEALTH_PATH_MATCH_H
#define WEIR_HEALTH_PATH_MATCH_H

#include <stdbool.h>

#include "base/slice.h"

#define PATH_PARTS_MAX 2 // a pattern has at most so many names
#define PATH_PART_SIZE 512

// What stood for each name in braces, percent-decoded.
struct path_parts {
    char text[PATH_PARTS_MAX][PATH_PART_SIZE];
};

// False: the path is another one, or a part of it is empty, too long, or holds a NUL. What parts
// hold then means nothing.
bool path_matches(const char *pattern, struct slice path, struct path_parts *ret_parts);

#endif
