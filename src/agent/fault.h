// SPDX-License-Identifier: Apache-2.0
// What went wrong, kept: a struct weir_agent_problem with its text.
#ifndef WEIR_AGENT_FAULT_H
#define WEIR_AGENT_FAULT_H

#include <weir/agent.h>

#include "base/result.h"
#include "proto/rstrm.h"

struct fault {
    enum weir_agent_error error; // WEIR_AGENT_ERROR_NONE: nothing
    int engine_code;
    bool final;
    char text[256];
};

// The text is made one plain line, whatever the arguments hold.
void fault_set(struct fault *fault, enum weir_agent_error error, const char *format, ...)
    WEIR_PRINTF(3, 4);
// An error the engine sent; final unless another attempt may fare better (spec section 4.4). act is
// what we asked for: "the tunnel", "the control channel".
void fault_of_engine(struct fault *fault, const char *act, const struct rstrm_error *error);
// For a callback; borrows the fault. NULL for no fault.
const struct weir_agent_problem *fault_problem(
    const struct fault *fault, struct weir_agent_problem *problem);

#endif
