// SPDX-License-Identifier: Apache-2.0
// "Did you mean ...?" for a word that is not known.
#ifndef WEIR_CONF_NEAREST_H
#define WEIR_CONF_NEAREST_H

#include <stddef.h>

#include "base/slice.h"

// The known word that differs least from word, if it differs by few enough letters (dropped, added,
// changed or two neighbours swapped; case does not count) to be meant; else NULL. The first wins
// among equals.
const char *conf_nearest(struct slice word, const char *const *known, size_t count);

#endif
