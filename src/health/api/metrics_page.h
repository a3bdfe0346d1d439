// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_HEALTH_METRICS_PAGE_H
#define WEIR_HEALTH_METRICS_PAGE_H

#include "base/buf.h"

// The families of /metrics as Markdown.
void metrics_page_manual(struct buf *out);

#endif
