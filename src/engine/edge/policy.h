// SPDX-License-Identifier: Apache-2.0
// Whether a visitor may use a tunnel over the connection that he has (spec sections 5.8 and 6.2).
#ifndef WEIR_ENGINE_POLICY_H
#define WEIR_ENGINE_POLICY_H

#include "engine/edge/exchange.h"

// EDGE_ERROR_COUNT: he may.
enum edge_error policy_check(
    const struct tunnel *tunnel, const struct visitor *visitor, const struct request_head *head);

#endif
