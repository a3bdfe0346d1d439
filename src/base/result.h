// SPDX-License-Identifier: Apache-2.0
// Outcomes of fallible calls. A function returns an enum weir_result, or a bool, or a pointer;
// meanings are never mixed in one int.
#ifndef WEIR_BASE_RESULT_H
#define WEIR_BASE_RESULT_H

#include <stdbool.h>

enum weir_result {
#define RESULT(symbol, text, class) WEIR_##symbol,
#include "base/result.def"
#undef RESULT
};

// Whose doing an outcome is: the caller's bug, the machine's, the peer's, or a limit of ours.
enum weir_result_class {
    WEIR_CLASS_NONE,
    WEIR_CLASS_RETRY,
    WEIR_CLASS_PEER,
    WEIR_CLASS_LIMIT,
    WEIR_CLASS_ENVIRONMENT,
    WEIR_CLASS_CALLER,
};

#define WEIR_MUST_CHECK __attribute__((warn_unused_result))
#define WEIR_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

// English for an outcome; never NULL, static storage.
const char *weir_result_text(enum weir_result result);
enum weir_result_class weir_result_class(enum weir_result result);

// Ends the process with file, line and condition on standard error. Stays on in a release: a
// broken invariant of ours must not go on. Never used on what a peer can send.
#define weir_assert(condition)                                                                     \
    ((condition) ? (void)0 : weir_assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void weir_assert_failed(const char *condition, const char *file, int line);

#endif
