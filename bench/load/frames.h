// SPDX-License-Identifier: Apache-2.0
// The messages a real daemon and a real client exchange through a relay, with random content of
// the right shape: the relay checks shape and routes by ids, and cannot look inside.
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stddef.h>

enum { FRAMES_KEX_MAX = 1024, FRAMES_ENVELOPE_MIN = 256 };

// Key exchange of pair `pair`, version 3, profile noise-ik. Each returns the text's length; `out`
// has FRAMES_KEX_MAX bytes.
size_t frames_kex_init(char *out, unsigned pair);
size_t frames_kex_response(char *out, unsigned pair);

// An e2ee envelope of exactly `size` bytes (>= FRAMES_ENVELOPE_MIN) for the session of `pair`.
void frames_envelope(char *out, size_t size, unsigned pair, unsigned seq);

#endif
