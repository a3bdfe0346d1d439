// SPDX-License-Identifier: Apache-2.0
#include "health/registry/check_spec.h"

const char *check_type_name(enum check_type type)
{
    static const char *const names[CHECK_TYPE_COUNT] = {
        [CHECK_NONE] = "none",
        [CHECK_HTTP] = "http",
        [CHECK_TCP] = "tcp",
        [CHECK_PROCESS] = "process",
        [CHECK_EXEC] = "exec",
    };
    return names[type];
}

bool status_set_holds(const struct status_set *set, unsigned status)
{
    for (size_t i = 0; i < set->count; i++) {
        if (status >= set->ranges[i].from && status <= set->ranges[i].to) {
            return true;
        }
    }
    return false;
}
