// SPDX-License-Identifier: Apache-2.0
// Names to addresses for a worker, and names to users. Each lookup has a thread of its own for as long as it lasts, so
// that a silent name server delays nobody else, not even the end of the process; in a pool two such
// names would block all others. Those who ask for one name at once share one lookup; answers
// are kept for 30 s.
#ifndef WEIR_LOOP_RESOLVER_H
#define WEIR_LOOP_RESOLVER_H

#include "base/ip.h"
#include "loop/worker.h"

struct resolve;
// result: as sys_resolve; WEIR_FULL: too many names at once. ips: valid during the call.
typedef void resolve_fn(void *arg, enum weir_result result, const struct ip *ips, size_t count);

// Never calls back synchronously. The caller sets the deadline, by resolve_cancel. NULL when memory
// ran out: no callback comes.
struct resolve *resolve_start(
    struct worker *worker, const char *name, resolve_fn *done, void *arg) WEIR_MUST_CHECK;
// The same for a user of this machine, without addresses: whether sys_user_recall knows it now. An
// answer counts as long as that of a name. result: as sys_user_learn.
struct resolve *resolve_user_start(
    struct worker *worker, const char *name, resolve_fn *done, void *arg) WEIR_MUST_CHECK;
// No callback comes. Not to be used after the callback.
void resolve_cancel(struct resolve *resolve);
// Ends the worker's resolver, if it has one; lookups under way are left to themselves.
void resolver_fini(struct worker *worker);

#endif
