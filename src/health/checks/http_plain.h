// SPDX-License-Identifier: Apache-2.0
// The short way to make an HTTP check, for the plain case that most are: no TLS, GET or HEAD, no
// body either way, no redirects. Everything else is http.c's, over libcurl.
#ifndef WEIR_HEALTH_CHECKS_HTTP_PLAIN_H
#define WEIR_HEALTH_CHECKS_HTTP_PLAIN_H

#include "health/registry/check_spec.h"

bool http_plain_suits(const struct check_spec *spec);

#endif
