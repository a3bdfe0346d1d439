// SPDX-License-Identifier: Apache-2.0
#include "agent/fault.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

// Texts of refusals that another attempt may overcome (spec section 5.6).
static const char *const conflicts[] = {
    "Hostname is already in use.",
    "TCP port is already in use.",
    "Registered WebTTY server is already online.",
};

void fault_set(struct fault *fault, enum weir_agent_error error, const char *format, ...)
{
    va_list args;
    *fault = (struct fault){.error = error};
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    utf8_make_plain(fault->text);
}

static bool may_pass(const struct rstrm_error *error)
{
    for (size_t i = 0; i < sizeof conflicts / sizeof *conflicts; i++) {
        if (slice_eq(error->message, slice_str(conflicts[i]))) {
            return true;
        }
    }
    switch (error->code) {
    case RSTRM_CODE_UNSPECIFIED:
    case RSTRM_CODE_SERVICE_UNAVAILABLE:
    case RSTRM_CODE_CAPACITY_EXHAUSTED:
    case RSTRM_CODE_INTERNAL:
        return true;
    default:
        return false;
    }
}

void fault_of_engine(struct fault *fault, const char *act, const struct rstrm_error *error)
{
    struct slice message = error->message.len > 0 ? error->message : SLICE("no reason given");
    fault_set(fault, WEIR_AGENT_ERROR_ENGINE, "the engine refuses %s: %.*s (error %d)", act,
        SLICE_ARG(message), (int)error->code);
    fault->engine_code = error->code;
    fault->final = !may_pass(error);
}

const struct weir_agent_problem *fault_problem(
    const struct fault *fault, struct weir_agent_problem *problem)
{
    if (fault == NULL || fault->error == WEIR_AGENT_ERROR_NONE) {
        return NULL;
    }
    *problem =
        (struct weir_agent_problem){fault->error, fault->engine_code, fault->final, fault->text};
    return problem;
}
