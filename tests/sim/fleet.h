// SPDX-License-Identifier: Apache-2.0
// A world of one seed with three relays on one platform: clock, chance and relays (fleet.c), the
// network and the platform (fleet_platform.c), daemons and clients (fleet_peers.c).
#ifndef WEIR_FLEET_H
#define WEIR_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "obs/metrics.h"
#include "relay/claims.h"

struct worker;

#define FLEET_RELAYS 3
#define FLEET_CELLS 3

// ---- Chance. Everything that is not the relays' to decide comes from the seed.

uint64_t fleet_random(void);
uint64_t fleet_below(uint64_t end);
bool fleet_chance(unsigned percent);

// ---- The relays

void fleet_begin(uint64_t seed);
// Ends all relays, balances the books, and looks for memory that was left.
void fleet_end(void);
// The network, the clocks and the processes do no harm in such a world, and everything must arrive.
bool fleet_is_calm(void);
uint64_t fleet_seed(void);
uint64_t fleet_now(void);
void fleet_pass(uint64_t ns);
// A turn of every worker of every relay, in any order.
void fleet_turn(void);
bool fleet_is_up(unsigned relay);
void fleet_start(unsigned relay);
// SIGTERM, SIGKILL. What a process has not told anybody is lost with it.
void fleet_drain(unsigned relay);
void fleet_kill(unsigned relay);
// The peer's end of a connection that was admitted. -1: the relay is not there.
int fleet_join(unsigned relay, enum role role, unsigned cell, const char *client, int64_t generation);
// Over all relays, those that have gone too.
int64_t fleet_total(enum metric metric);
// The relay that a worker belongs to. Its clock is the one that is read from here on.
unsigned fleet_enter(const struct worker *worker);
// Prints the seed and ends the program when ok is false.
void fleet_check(bool ok, const char *what);

// ---- The network and the platform

void platform_begin(void);
void platform_end(void);
// What is due arrives, is answered, or runs out of time.
void platform_step(void);
// Frames of the bus that answers brought to a relay since it was started.
uint64_t platform_handed(unsigned relay);
// The relay has ended, and so have its calls.
void platform_forget(unsigned relay);

// ---- Daemons and clients

void peers_begin(void);
void peers_end(void);
// Whoever's time has come makes a step, in any order.
void peers_step(void);
// Nobody begins anything any more.
void peers_rest(void);
// In a calm world: everything that was said was heard.
void peers_check(void);

#endif
