// SPDX-License-Identifier: Apache-2.0
// What both ways of making an HTTP check share: the header lines, and the verdict on a status.
#ifndef WEIR_HEALTH_CHECKS_HTTP_REQUEST_H
#define WEIR_HEALTH_CHECKS_HTTP_REQUEST_H

#include "health/checks/check_internal.h"

#define HTTP_REQUEST_LINES_MAX 1100 // of a spec (1024), and ours

// The spec's lines, and ours where it has none of that name; NULL behind the last. As libcurl wants
// them: "name: value", "name;" for an empty value, "name:" for a header not to be sent.
void http_request_lines(const struct check_spec *spec, const char *lines[HTTP_REQUEST_LINES_MAX]);
// The spec has a header of that name ("host:").
bool http_request_has(const struct check_spec *spec, const char *name);

// Takes the status into the record. False: it is not the expected one, and the check has ended.
bool http_request_judge(struct check *check, unsigned status);

#endif
