// SPDX-License-Identifier: Apache-2.0
// How a lease comes and goes. A question asks the Redis, in one script: keep alive, or take if it
// is free, what is wanted; give back what is mine and not wanted; tell who has what, and who is
// there.
//
// 1. A lease is counted from the moment the question was asked, and for nine tenths of its time:
// the
//    Redis counts the whole of it from later on, so that here it ends first. Clocks are never
//    compared, only durations.
// 2. "Is Redis gone?" is counted in looks, not in time: a process that was stopped has looked once
//    when it wakes, and asks before it believes that it is alone.
// 3. Everybody computes the same division of what is free from the same answer; who is meant to
// take
//    a share and does not, loses it to the next after FREE_LOOKS_MAX looks.
// 4. A share moves from the most loaded to the least loaded, and only when both are nearer to each
//    other afterwards, so that nothing moves back; then its giver waits until everybody has told
//    what they hold by now.
// 5. A Redis that began to remember less than a lease ago may have forgotten leases: until then
// only
//    what is held right now can be taken (SHARE_HOLD), and who is alone stays so.
//
// Rejected: consistent hashing by monitor (uneven with few monitors, and needs leases all the
// same); one leader that deals out shares (a second thing to elect).
#include "health/cluster/shares.h"

#include <stdio.h>
#include <string.h>

#define LOOKS_PER_TTL 4
#define LOOKS_ALONE 3
#define LOOKS_JOINING 5
#define FREE_LOOKS_MAX 3
#define PATIENCE_LOOKS 4

const char *shares_mode_name(enum shares_mode mode)
{
    static const char *const names[] = {
        [SHARES_JOINING] = "joining", [SHARES_SHARED] = "shared", [SHARES_ALONE] = "alone"};
    return names[mode];
}

void shares_init(struct shares *shares, const char *name, uint64_t ttl_ns)
{
    *shares = (struct shares){.ttl_ns = ttl_ns};
    snprintf(shares->name, sizeof shares->name, "%s", name);
}

void shares_set(
    struct shares *shares, const uint64_t digests[SHARE_COUNT], const unsigned weights[SHARE_COUNT])
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (shares->all[i].digest != digests[i]) {
            shares->outdated = shares->asking;
            shares->all[i] = (struct share){.digest = digests[i], .weight = weights[i]};
        }
    }
}

uint64_t shares_period_ns(const struct shares *shares)
{
    return shares->ttl_ns / LOOKS_PER_TTL;
}

// ---- Who should have what

static bool is_me(const struct shares *shares, const char *name)
{
    return strcmp(name, shares->name) == 0;
}

static struct shares_monitor *find_monitor(struct shares *shares, const char *name)
{
    for (size_t i = 0; i < shares->monitor_count; i++) {
        if (strcmp(shares->monitors[i].name, name) == 0) {
            return &shares->monitors[i];
        }
    }
    return NULL;
}

unsigned shares_load(const struct shares *shares)
{
    unsigned load = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        load += shares->all[i].mine ? shares->all[i].weight : 0;
    }
    return load;
}

// Of those who could check the share: who has least to do. NULL: nobody that is known.
static struct shares_monitor *idlest(struct shares *shares, unsigned share)
{
    struct shares_monitor *best = NULL;
    for (size_t i = 0; i < shares->monitor_count; i++) {
        struct shares_monitor *one = &shares->monitors[i];
        bool can = !one->leaving && one->digests[share] == shares->all[share].digest;
        if (can && (best == NULL || one->load < best->load ||
                       (one->load == best->load && strcmp(one->name, best->name) < 0))) {
            best = one;
        }
    }
    return best;
}

static void want_free(struct shares *shares)
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        struct share *share = &shares->all[i];
        if (share->digest == 0 || share->owner[0] != '\0' || share->wanted) {
            continue;
        }
        struct shares_monitor *best = idlest(shares, i);
        if (best != NULL) {
            best->load += share->weight;
            share->wanted = is_me(shares, best->name) || share->free_looks > FREE_LOOKS_MAX;
        }
    }
}

// If two gave at once, the third would have too much and give back.
static bool is_busiest(const struct shares *shares, const struct shares_monitor *me)
{
    for (size_t i = 0; i < shares->monitor_count; i++) {
        const struct shares_monitor *one = &shares->monitors[i];
        if (one->load > me->load || (one->load == me->load && strcmp(one->name, me->name) < 0)) {
            return false;
        }
    }
    return true;
}

static void give_surplus(struct shares *shares)
{
    struct shares_monitor *me = find_monitor(shares, shares->name);
    if (shares->patience > 0) {
        shares->patience--;
        return;
    }
    if (me == NULL || !is_busiest(shares, me)) {
        return;
    }
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        struct share *share = &shares->all[i];
        struct shares_monitor *other = share->mine ? idlest(shares, i) : NULL;
        if (other != NULL && other != me &&
            other->load + share->weight + share->weight <= me->load) {
            share->wanted = false;
            me->load -= share->weight;
            other->load += share->weight;
            shares->patience = PATIENCE_LOOKS;
        }
    }
}

static void choose(struct shares *shares)
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        struct share *share = &shares->all[i];
        share->wanted = !shares->leaving && share->digest != 0 && share->mine;
    }
    if (shares->leaving) {
        return;
    }
    struct shares_monitor *me = find_monitor(shares, shares->name);
    if (me != NULL) {
        me->load = shares_load(shares); // what it told the others is a look older
    }
    want_free(shares);
    give_surplus(shares);
}

// ---- Looks and answers

static void count_miss(struct shares *shares)
{
    unsigned most = shares->mode == SHARES_JOINING ? LOOKS_JOINING : LOOKS_ALONE;
    shares->misses = shares->heard ? 0 : shares->misses + 1;
    shares->heard = false;
    if (shares->misses >= most) {
        shares->mode = SHARES_ALONE;
    }
}

bool shares_look(struct shares *shares, uint64_t now_ns)
{
    count_miss(shares);
    if (shares->asking) {
        return false;
    }
    shares->asking = true;
    shares->outdated = false;
    shares->asked_ns = now_ns;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        struct share *share = &shares->all[i];
        bool held = now_ns < share->held_until_ns;
        share->act = !share->wanted ? SHARE_GIVE : held ? SHARE_HOLD : SHARE_TAKE;
        if (!share->wanted) {
            share->held_until_ns = 0; // another may have it before the answer is here
        }
    }
    return true;
}

void shares_failed(struct shares *shares)
{
    shares->asking = false;
}

// The newest answer about one share.
static void take_owner(struct shares *shares, struct share *share, const char *owner)
{
    bool was_mine = share->mine;
    bool was_others = share->before[0] != '\0' && !is_me(shares, share->before);
    share->mine = share->digest != 0 && is_me(shares, owner);
    share->held_until_ns =
        share->mine ? shares->asked_ns + shares->ttl_ns - shares->ttl_ns / 10 : 0;
    share->free_looks = owner[0] == '\0' ? share->free_looks + 1 : 0;
    shares->losses += was_mine && share->wanted && !share->mine;
    const struct shares_monitor *last = find_monitor(shares, share->before);
    shares->takeovers += share->mine && !was_mine && was_others && last == NULL;
    snprintf(share->owner, sizeof share->owner, "%s", owner);
    if (last != NULL && last->leaving) {
        share->before[0] = '\0'; // it gave the share back, also when that is forgotten
    }
    if (owner[0] != '\0') {
        snprintf(share->before, sizeof share->before, "%s", owner);
    }
}

void shares_answer(struct shares *shares, const struct shares_view *view)
{
    if (!shares->asking) {
        return;
    }
    shares->asking = false;
    shares->heard = true;
    shares->misses = 0;
    if (shares->outdated) {
        return;
    }
    if (shares->mode != SHARES_ALONE || !view->young) {
        shares->mode = SHARES_SHARED;
    }
    memcpy(shares->monitors, view->monitors, sizeof shares->monitors);
    shares->monitor_count = view->monitor_count;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        take_owner(shares, &shares->all[i], view->owners[i]);
    }
    choose(shares);
}

void shares_leave(struct shares *shares)
{
    shares->leaving = true;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        shares->all[i].wanted = false;
        shares->all[i].held_until_ns = 0;
    }
}

// ---- What is known

bool shares_hold(const struct shares *shares, unsigned share, uint64_t now_ns)
{
    if (shares->leaving) {
        return false;
    }
    return shares->mode == SHARES_ALONE || now_ns < shares->all[share].held_until_ns;
}

unsigned shares_count_held(const struct shares *shares, uint64_t now_ns)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        count += shares->all[i].digest != 0 && shares_hold(shares, i, now_ns);
    }
    return count;
}

unsigned shares_count_used(const struct shares *shares)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        count += shares->all[i].digest != 0;
    }
    return count;
}

unsigned shares_count_differing(const struct shares *shares)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        bool differs = false;
        for (size_t k = 0; k < shares->monitor_count; k++) {
            const struct shares_monitor *other = &shares->monitors[k];
            differs |= !other->leaving && other->digests[i] != shares->all[i].digest;
        }
        count += differs;
    }
    return count;
}
