// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_RELAY_CLOSE_REASONS_H
#define WEIR_RELAY_CLOSE_REASONS_H

#include "stream/websocket.h"

#define CLOSE_REASON(symbol, label, code, text, who, english)                                      \
    extern const struct close_reason close_##symbol;
#include "relay/close_reasons.def"
#undef CLOSE_REASON

#endif
