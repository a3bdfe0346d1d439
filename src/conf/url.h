// SPDX-License-Identifier: Apache-2.0
// The parts of an absolute URL with a host (RFC 3986 section 3), as far as configuration needs
// them.
#ifndef WEIR_CONF_URL_H
#define WEIR_CONF_URL_H

#include "base/result.h"
#include "base/slice.h"

// All slices borrow the URL.
struct conf_url {
    struct slice scheme;   // as written
    struct slice userinfo; // before '@', without it
    struct slice host;     // as written; an IPv6 address keeps its brackets
    struct slice port;     // digits, empty when there are none
    struct slice rest;     // path, query and fragment
    bool has_userinfo;
};

// WEIR_MALFORMED: no scheme, no host, a port above 65535, blanks or control characters, or brackets
// around what is no IPv6 address.
enum weir_result conf_url_parse(struct slice url, struct conf_url *ret_url) WEIR_MUST_CHECK;

#endif
