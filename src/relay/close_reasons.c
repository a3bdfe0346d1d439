// SPDX-License-Identifier: Apache-2.0
#include "relay/close_reasons.h"

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    const struct close_reason close_##symbol = {label, text, english, code, CLOSE_BY_##who};
#include "relay/close_reasons.def"
#undef CLOSE_REASON
