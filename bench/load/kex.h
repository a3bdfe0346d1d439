// SPDX-License-Identifier: Apache-2.0
// One key exchange per pair, so that the relay knows which client owns which session.
#ifndef BENCH_KEX_H
#define BENCH_KEX_H

#include "fleet.h"

// For a fleet of one daemon and one client a cell: every client sends an init, its daemon answers,
// and the answer comes back. Returns when the last one has.
void kex_run(struct fleet *f);

#endif
