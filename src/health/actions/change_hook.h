// SPDX-License-Identifier: Apache-2.0
// The on_change hook (spec section 9): a command of the operator's, or an URL, that is told when
// the state of a service is another one. Off unless given. On the monitor's worker.
//
// A change is told at once; the next one of the same service not before the quiet time is over, and
// only if its state is then another than what was told: a service that flaps is told once in the
// quiet time, and what was told last is true in the end.
#ifndef WEIR_HEALTH_CHANGE_HOOK_H
#define WEIR_HEALTH_CHANGE_HOOK_H

#include "health/monitor.h"

#define HOOK_CALLS_MAX 4 // at once; further services wait for their turn

struct hook_call;

struct change_hook {
    struct worker *worker; // NULL: not started
    const char *what;      // borrowed; a command for sh, or http://…, https://…
    uint64_t quiet_ns;
    struct list due;   // targets by hook_node that are to be told
    struct list quiet; // targets that were told, in the order in which their quiet time ends
    struct timer look; // when the first of them does
    struct hook_call *calls[HOOK_CALLS_MAX]; // owned, under way; NULL: none
    uint64_t told;
    uint64_t failed;
};

void change_hook_start(
    struct change_hook *hook, struct worker *worker, const char *what, uint64_t quiet_ns);
// The state of a target, who checks it, or its maintenance may be another. Fine when the hook was
// not started.
void change_hook_look(struct change_hook *hook, struct target *target);
// Ends what is under way; nothing more is told. While the targets are there. Fine when it was not
// started, and twice.
void change_hook_stop(struct change_hook *hook);

#endif
