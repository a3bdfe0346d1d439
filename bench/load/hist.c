// SPDX-License-Identifier: Apache-2.0
#include "hist.h"

#include <string.h>

enum { STEP_BITS = 6 };
_Static_assert(HIST_STEPS == 1 << STEP_BITS, "steps and bits agree");

// Values below HIST_STEPS have a bucket each; above, octave o holds [64 << (o-1), 64 << o).
static unsigned bucket_of(uint64_t value)
{
    if (value < HIST_STEPS)
        return (unsigned)value;
    unsigned shift = 63u - STEP_BITS - (unsigned)__builtin_clzll(value);
    unsigned octave = shift + 1;
    if (octave >= HIST_OCTAVES)
        return HIST_OCTAVES * HIST_STEPS - 1;
    return octave * HIST_STEPS + (unsigned)((value >> shift) - HIST_STEPS);
}

static uint64_t upper_bound_of(unsigned bucket)
{
    unsigned octave = bucket / HIST_STEPS;
    uint64_t step = bucket % HIST_STEPS;
    if (octave == 0)
        return step;
    return ((HIST_STEPS + step + 1) << (octave - 1)) - 1;
}

void hist_reset(struct hist *h)
{
    memset(h, 0, sizeof *h);
}

void hist_add(struct hist *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

uint64_t hist_quantile(const struct hist *h, double share)
{
    uint64_t rank = (uint64_t)(share * (double)h->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_OCTAVES * HIST_STEPS; i++) {
        seen += h->counts[i];
        if (seen > rank)
            return upper_bound_of(i) < h->max ? upper_bound_of(i) : h->max;
    }
    return h->max;
}
