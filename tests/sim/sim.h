// SPDX-License-Identifier: Apache-2.0
// A world of one seed: clock, chance, wires, an engine without doors (sim.c), TLS (shell.c,
// inside.c), and those who talk to it (peers.c, agents.c, talk.c, web.c, web_h2.c).
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "engine/edge/arrival.h"
#include "engine/engine.h"
#include "engine/upstream/proxied.h"

// ---- Chance. Everything that is not the engine's to decide comes from the seed.

uint64_t sim_random(void);
uint64_t sim_below(uint64_t end);
bool sim_chance(unsigned percent);

// ---- The engine.

enum sim_ending {
    SIM_LEAVES, // every peer ends what it has
    SIM_DRAINS,
    SIM_STOPS, // in the middle of it all
    SIM_ENDING_COUNT,
};

void sim_begin(uint64_t seed);
// Ends the workers' shards, whatever is under way.
void sim_stop(void);
// Balances the books, and ends the rest.
void sim_end(void);
// Every way in which a stream, a channel or the opening of one may end was met in some world.
void sim_check_variety(void);
uint64_t sim_seed(void);
// Nobody breaks anything in such a world, and everything must arrive.
bool sim_calm(void);
// Wires have TLS.
bool sim_encrypted(void);
uint64_t sim_now(void);
void sim_pass(uint64_t ns);
// One turn of each worker's loop, in any order.
void sim_turn(void);
struct engine_shard *sim_any_shard(void);
// Of tokens.
struct slice sim_secret(void);
// Tokens of the old one are worthless.
void sim_change_secret(void);
// Nothing waits for a stream, and no last words are under way.
bool sim_is_settled(void);
bool sim_has_streams(void);
bool sim_has_channels(void);
void sim_drain(void);
bool sim_is_drained(void);
// Prints the seed and ends the program when ok is false.
void sim_check(bool ok, const char *what);

// ---- Wires: two ends, the peer's and the engine's. Both take bytes in pieces of any size.

struct wire {
    int fd;        // the peer's end; -1: closed
    int engine_fd; // -1: closed
    SSL *ssl;      // the peer's; NULL: no TLS
    SSL *inner;    // a service's own, inside of it; NULL: none
    bool leaves;   // as soon as what it has said is on its way
    bool reset_by_engine;
    bool reset_by_peer;
    size_t engine_wrote;
};

enum wire_news { WIRE_BYTES, WIRE_NOTHING, WIRE_END, WIRE_RESET };

// Gives the engine its end: with TLS in some worlds, or without in any.
void wire_open(struct wire *wire, struct arrival *ret_arrival);
void wire_open_plain(struct wire *wire, struct arrival *ret_arrival);
// How many bytes were taken; 0 also when the engine has closed it.
size_t wire_send(struct wire *wire, const void *bytes, size_t len);
enum wire_news wire_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len);
// Of what TLS makes of it.
enum wire_news wire_receive_plain(struct wire *wire, void *bytes, size_t size, size_t *ret_len);
void wire_finish(struct wire *wire);
void wire_close(struct wire *wire, bool reset);

// ---- shell.c: TLS of wires.

// False when a fault of the world came between; the wire is of no use then.
bool shell_open(struct wire *wire, SSL **ret_engine_ssl);
size_t shell_send(struct wire *wire, const void *bytes, size_t len);
enum wire_news shell_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len);
void shell_finish(struct wire *wire);
// True when nothing is left to be sent.
bool shell_flush(struct wire *wire);
// A context with a certificate, for who is the server.
SSL_CTX *shell_new_server(void);
// At the end of all worlds.
void shells_end(void);

// ---- inside.c: TLS of services inside of that.

// From here on the wire carries it; first is what of it was received already.
void inside_begin(struct wire *wire, bool h2, struct slice first);
size_t inside_send(struct wire *wire, const void *bytes, size_t len);
enum wire_news inside_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len);
void inside_finish(struct wire *wire);
// At the end of all worlds.
void inside_end(void);

// ---- Peers.

void peers_begin(void);
// Whoever's time has come makes a step, in any order. False when nobody has anything left to do.
bool peers_step(void);
// From here on the engine may end channels.
void peers_expect_the_end(void);
// Agents say goodbye, each in its way.
void peers_leave(void);
// What every peer has seen, one against the other.
void peers_check(void);
void peers_end(void);

#endif
