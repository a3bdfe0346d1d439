// SPDX-License-Identifier: Apache-2.0
// The answers the edge gives itself (spec section 6.8): a small page, as HTML or as text by what
// Accept prefers, and for "not found" and "unavailable" the operator's own files when there are
// any.
#ifndef WEIR_ENGINE_PAGE_H
#define WEIR_ENGINE_PAGE_H

#include "base/buf.h"
#include "engine/edge/exchange.h"

struct engine_config;

#define PAGE_FILE_BYTES_MAX (256u * 1024)

// A row of edge_errors.def.
struct page_error {
    unsigned status;
    const char *label;
    const char *text;
};
const struct page_error *page_error(enum edge_error error);

// The operator's files; each worker keeps its own. Zeroed: none.
struct pages {
    struct buf not_found;   // for 404
    struct buf unavailable; // for 502, 503 and 504
};

// Reads the files that the configuration names. On failure nothing is changed and *ret_path says
// which one; its own memory is the configuration's.
enum weir_result pages_load(
    struct pages *pages, const struct engine_config *config, const char **ret_path) WEIR_MUST_CHECK;
// Safe on a zeroed struct, and to repeat.
void pages_fini(struct pages *pages);

// True when an Accept value prefers HTML to plain text.
bool page_prefers_html(struct slice accept);
// Answers with the page of the error through the front; the exchange has no head so far, and has
// ended when this returns.
void page_send(struct exchange *exchange, enum edge_error error);

#endif
