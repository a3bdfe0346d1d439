// SPDX-License-Identifier: Apache-2.0
// The gzip coding of answers (RFC 9110 sections 8.4.1.3 and 12.5.3, RFC 1952).
#ifndef WEIR_HTTP_GZIP_H
#define WEIR_HTTP_GZIP_H

#include "base/buf.h"

// What an Accept-Encoding says of gzip; an empty one says no.
bool gzip_is_accepted(struct slice accept_encoding);
// Appends plain as a gzip file, quickly rather than small. WEIR_FULL, WEIR_MEMORY: out is as it
// was.
enum weir_result gzip_pack(struct slice plain, struct buf *out) WEIR_MUST_CHECK;

#endif
