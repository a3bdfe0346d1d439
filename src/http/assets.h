// SPDX-License-Identifier: Apache-2.0
// The files of the page, which are in the binary (web/, built by web/build.sh).
#ifndef WEIR_HTTP_ASSETS_H
#define WEIR_HTTP_ASSETS_H

#include <stdbool.h>

#include "base/slice.h"

struct http_asset {
    const char *content_type;
    struct slice plain;  // static storage, as the next one
    struct slice packed; // the same as gzip packs it
};

// False: there is none of this name.
bool http_asset_find(struct slice name, struct http_asset *ret_asset);

#endif
