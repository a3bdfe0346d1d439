// SPDX-License-Identifier: Apache-2.0
// The extended regular expressions of body_regex. Whoever writes one may mistype it, and whoever
// answers chooses what it is matched against: neither may take the monitor's time. So repetitions
// that would grow beyond measure and back references are refused, and a match takes one pass.
#ifndef WEIR_HEALTH_BODY_REGEX_H
#define WEIR_HEALTH_BODY_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

// True: it may be used. Else why not, in text.
bool body_regex_usable(const char *expression, char *text, size_t size);
// Somewhere in the body, up to its first zero byte. The expression must be usable. False without
// memory.
bool body_regex_matches(const char *expression, struct slice body);

#endif
