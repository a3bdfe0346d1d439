// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *text;
    enum weir_result_class class;
} results[] = {
#define RESULT(symbol, text, class) [WEIR_##symbol] = {text, WEIR_CLASS_##class},
#include "base/result.def"
#undef RESULT
};

const char *weir_result_text(enum weir_result result)
{
    return results[result].text;
}

enum weir_result_class weir_result_class(enum weir_result result)
{
    return results[result].class;
}

void weir_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "weir: broken invariant: %s (%s:%d)\n", condition, file, line);
    abort();
}
