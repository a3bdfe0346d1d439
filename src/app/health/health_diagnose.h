// SPDX-License-Identifier: Apache-2.0
// What `weir health diagnose` found: the check of a service, phase by phase, and those of what it
// depends on (spec section 6).
#ifndef WEIR_APP_HEALTH_DIAGNOSE_H
#define WEIR_APP_HEALTH_DIAGNOSE_H

#include "app/health/health_answer.h"
#include "health/monitor.h"

// The service that was asked for and what it depends on, of a monitor whose round has ended; as
// text or JSON, with a line end. It must be there.
void health_diagnose_write(const struct health_ask *ask, struct monitor *monitor, struct buf *out);

#endif
