// SPDX-License-Identifier: Apache-2.0
// Which of several monitors checks what. The services are cut into SHARE_COUNT shares; whoever
// holds the lease of a share checks its services, the others follow. This is the machine that
// decides what to ask a Redis for and what its answers mean; it sends nothing and reads no clock,
// so that a test can run a dozen of them against a clock of its own.
//
//                  answer                     LOOKS_ALONE looks without an answer
//   JOINING ─────────────────────► SHARED ───────────────────────────────────────► ALONE
//      │                             ▲                                               │
//      └── LOOKS_JOINING without ────┼──────────────── answer ───────────────────────┘
//          an answer ──► ALONE
#ifndef WEIR_HEALTH_SHARES_H
#define WEIR_HEALTH_SHARES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a question asks for a share.
enum share_act {
    SHARE_GIVE = '-', // not wanted: give it back if it is mine
    SHARE_TAKE =
        '=', // keep it, or take it if it is free and the Redis remembers for a lease's time
    SHARE_HOLD = '+', // held right now: keep it, or take it if it is free
};

#define SHARE_COUNT 64
#define SHARES_MONITORS_MAX 32
#define SHARES_NAME_SIZE 128

// JOINING checks nothing, SHARED what it holds, ALONE everything.
enum shares_mode { SHARES_JOINING, SHARES_SHARED, SHARES_ALONE };
const char *shares_mode_name(enum shares_mode mode);

struct share {
    uint64_t digest;               // of what is checked in it, and how; 0: nothing is
    unsigned weight;               // how many services that is
    char owner[SHARES_NAME_SIZE];  // as the last answer had it; "": nobody
    char before[SHARES_NAME_SIZE]; // who had it last and may be dead; "": nobody
    uint64_t held_until_ns;        // 0: not held
    unsigned free_looks;           // in how many answers in a row nobody had it
    char act;                      // of the question under way
    bool wanted;                   // by the next question
    bool mine;                     // the last answer gave it to this monitor
};

struct shares_monitor {
    char name[SHARES_NAME_SIZE];
    uint64_t digests[SHARE_COUNT];
    unsigned load; // services of the shares it holds, as it told last
    bool leaving;  // checks nothing any more
};

// What a Redis knows.
struct shares_view {
    char owners[SHARE_COUNT][SHARES_NAME_SIZE]; // of the leases that were asked about; "": free
    struct shares_monitor monitors[SHARES_MONITORS_MAX];
    size_t monitor_count;
    bool young; // it began to remember less than a lease ago
};

struct shares {
    char name[SHARES_NAME_SIZE]; // of this monitor; never that of another, nor of a run before
    uint64_t ttl_ns;
    enum shares_mode mode;
    struct share all[SHARE_COUNT];
    struct shares_monitor monitors[SHARES_MONITORS_MAX]; // alive, this one among them
    size_t monitor_count;
    uint64_t asked_ns; // when the question under way was asked
    unsigned patience; // answers to wait for before a share is given away
    unsigned misses;   // looks in a row that found no answer since the look before
    bool asking;
    bool outdated; // the question under way is about shares that are others by now
    bool heard;    // an answer came since the last look
    bool leaving;
    uint64_t takeovers; // shares that came here from a monitor that had gone
    uint64_t losses;    // shares that went to others, or ran out, while they were wanted
};

// name is cut to fit. ttl_ns: how long a lease holds; see shares_period_ns.
void shares_init(struct shares *shares, const char *name, uint64_t ttl_ns);
// What the registry makes of the shares. One that is now another is not held any more.
void shares_set(struct shares *shares, const uint64_t digests[SHARE_COUNT],
    const unsigned weights[SHARE_COUNT]);
// How often to look.
uint64_t shares_period_ns(const struct shares *shares);

// Once a period. True: the question is to be sent now, with each share's `act`; its answer is told
// by shares_answer, its failure by shares_failed. False: one is under way.
bool shares_look(struct shares *shares, uint64_t now_ns);
void shares_answer(struct shares *shares, const struct shares_view *view);
void shares_failed(struct shares *shares);
// Wants nothing from now on.
void shares_leave(struct shares *shares);

// Checks of the share may start, and results be written, right now.
bool shares_hold(const struct shares *shares, unsigned share, uint64_t now_ns);
// Services in the shares of the last answer that are this monitor's.
unsigned shares_load(const struct shares *shares);
// How many are held; how many hold services at all; how many are another thing to somebody else.
unsigned shares_count_held(const struct shares *shares, uint64_t now_ns);
unsigned shares_count_used(const struct shares *shares);
unsigned shares_count_differing(const struct shares *shares);

#endif
