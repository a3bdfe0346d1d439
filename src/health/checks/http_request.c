// SPDX-License-Identifier: Apache-2.0
#include "health/checks/http_request.h"

#include <stdio.h>

#define STATUS_TEXT_SIZE 64

static const struct {
    const char *name;
    const char *line;
} ours[] = {
    {"User-Agent:", "User-Agent: portoser-health/" WEIR_VERSION}, {"Accept:", "Accept: */*"},
    {"Connection:", "Connection: close"},
    {"Content-Type:", "Content-Type:"}, // libcurl would call every body a form
};

// Names are followed by ':', or by ';' when there is no value.
bool http_request_has(const struct check_spec *spec, const char *name)
{
    struct slice wanted = slice_of(name, strlen(name) - 1);
    for (const char *const *at = spec->headers; at != NULL && *at != NULL; at++) {
        struct slice line = slice_str(*at);
        if (slice_starts_with_nocase(line, wanted) && line.len > wanted.len &&
            (line.at[wanted.len] == ':' || line.at[wanted.len] == ';')) {
            return true;
        }
    }
    return false;
}

void http_request_lines(const struct check_spec *spec, const char *lines[HTTP_REQUEST_LINES_MAX])
{
    size_t count = 0;
    for (const char *const *at = spec->headers; at != NULL && *at != NULL; at++) {
        lines[count++] = *at;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (!http_request_has(spec, ours[i].name)) {
            lines[count++] = ours[i].line;
        }
    }
    lines[count] = NULL;
}

// "200", "200-399", "200 or 204"; cut where it is long.
static void describe(const struct status_set *set, char text[STATUS_TEXT_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < set->count && len < STATUS_TEXT_SIZE - 20; i++) {
        const struct status_range *range = &set->ranges[i];
        len += (size_t)snprintf(
            text + len, STATUS_TEXT_SIZE - len, "%s%u", i == 0 ? "" : " or ", range->from);
        if (range->to != range->from) {
            len += (size_t)snprintf(text + len, STATUS_TEXT_SIZE - len, "-%u", range->to);
        }
    }
}

bool http_request_judge(struct check *check, unsigned status)
{
    const struct check_spec *spec = check->spec;
    check->record.code = (int)status;
    if (status_set_holds(&spec->expected_status, status)) {
        return true;
    }
    char expected[STATUS_TEXT_SIZE] = "";
    describe(&spec->expected_status, expected);
    check_end(check, OUTCOME_STATUS, "HTTP %u, expected %s", status, expected);
    return false;
}
