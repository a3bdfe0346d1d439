// SPDX-License-Identifier: Apache-2.0
#include "cli/forward/target.h"

#include <string.h>

#include "base/number.h"

#define UNIX_PREFIX "unix:"

bool target_parse(const char *text, struct target *ret_target)
{
    size_t prefix = strlen(UNIX_PREFIX);
    *ret_target = (struct target){.is_path = strncmp(text, UNIX_PREFIX, prefix) == 0};
    if (ret_target->is_path) {
        return text[prefix] != '\0' &&
               slice_to_text(slice_str(text + prefix), ret_target->host, TARGET_HOST_SIZE);
    }
    const char *colon = strrchr(text, ':');
    struct slice host = colon == NULL ? SLICE("localhost") : slice_of(text, (size_t)(colon - text));
    uint64_t port = 0;
    if (host.len > 1 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    bool good =
        host.len > 0 && slice_to_text(host, ret_target->host, TARGET_HOST_SIZE) &&
        number_parse_u64(slice_str(colon == NULL ? text : colon + 1), 65535, &port) == WEIR_OK &&
        port > 0;
    ret_target->port = (uint16_t)port;
    return good;
}

struct reach *target_reach(
    struct worker *worker, const struct target *target, const struct reach_options *options)
{
    struct reach_options whole = *options;
    whole.unix_path = target->is_path ? target->host : NULL;
    whole.host = target->is_path ? NULL : target->host;
    whole.port = target->port;
    return reach_start(worker, &whole);
}
