// SPDX-License-Identifier: Apache-2.0
// A daemon for each cell, and clients of it, on any relay. A client shakes hands, then says one thing
// after the other; the daemon says everything again. Invariants, in every world:
//
// 1. What a daemon hears of a client on one connection of each is what it said, in its order, and
//    nothing twice. So is what a client hears.
// 2. A client hears of its own session only.
//
// In a calm world everything that was said comes back.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "fleet.h"

#define CLIENTS 6
#define LIVES_MAX 256
#define IN_SIZE 16384
#define SAID_MAX 40
#define PATIENCE_NS (3 * NS_PER_S) // for a handshake
#define TEXT_SIZE 512
#define NAME_SIZE 64

struct person {
    enum role role;
    unsigned number;
    unsigned cell;
    unsigned life; // counts its connections
    int fd;        // -1: not connected
    uint64_t wake_ns;
    size_t in_len;
    char in[IN_SIZE];
    // A client's:
    char session[NAME_SIZE]; // "": not yet
    uint64_t asked_ns;
    unsigned handshakes;
    unsigned said;
    unsigned heard;
    // A daemon's: what was heard last, of each connection of a client.
    unsigned last[CLIENTS][LIVES_MAX];
};

static struct {
    struct person people[FLEET_CELLS + CLIENTS];
    size_t count;
    bool resting;
    int64_t generation;
} town;

// ---- Frames (RFC 6455 section 5.2)

static void leave(struct person *person)
{
    if (person->fd >= 0) {
        close(person->fd);
    }
    person->fd = -1;
    person->in_len = 0;
    person->session[0] = '\0';
}

static void send_frame(struct person *person, unsigned opcode, const char *bytes, size_t len)
{
    unsigned char frame[TEXT_SIZE + 8] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | len)};
    size_t at = 2;
    if (person->fd < 0) {
        return;
    }
    if (len > 125) {
        frame[1] = 0x80 | 126;
        frame[2] = (unsigned char)(len >> 8);
        frame[3] = (unsigned char)len;
        at = 4;
    }
    at += 4; // a mask of zeros
    fleet_check(at + len <= sizeof frame, "a frame that is too long");
    memcpy(frame + at, bytes, len);
    if (send(person->fd, frame, at + len, MSG_NOSIGNAL) != (ssize_t)(at + len)) {
        leave(person);
    }
}

static void say(struct person *person, const char *text)
{
    send_frame(person, 1, text, strlen(text));
}

// The value of a member; the relay passes on what it got, byte for byte. False: there is none.
static bool member(const char *text, const char *name, char *out, size_t size)
{
    char key[48];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(text, key);
    if (at == NULL) {
        return false;
    }
    at += strlen(key);
    size_t len = strcspn(at, "\"");
    fleet_check(len < size, "a member that is too long");
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static void say_e2ee(struct person *person, const char *session, const char *ciphertext)
{
    char text[TEXT_SIZE];
    int len = snprintf(text, sizeof text,
        "{\"type\":\"e2ee\",\"version\":2,\"profile\":\"noise-ik\",\"sessionId\":\"%s\",\"epoch\":1,"
        "\"seq\":1,\"iv\":\"AAAAAAAAAAAAAAAA\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"ciphertext\":"
        "\"%s\"}",
        session, ciphertext);
    fleet_check(len > 0 && (size_t)len < sizeof text, "words that are too long");
    say(person, text);
}

// ---- Clients

static void shake_hands(struct person *client)
{
    char text[TEXT_SIZE];
    client->asked_ns = fleet_now();
    snprintf(text, sizeof text,
        "{\"type\":\"relay_key_exchange_init\",\"version\":3,\"profile\":\"noise-ik\",\"requestId\":"
        "\"k%u.%u.%u\",\"clientEphemeralPublicKey\":\"AA\",\"encryptedClientStatic\":\"BB\"}",
        client->number, client->life, client->handshakes++);
    say(client, text);
}

static void client_speaks(struct person *client)
{
    char text[NAME_SIZE];
    if (client->session[0] == '\0') {
        if (client->asked_ns == 0 || fleet_now() - client->asked_ns > PATIENCE_NS) {
            fleet_check(!fleet_is_calm() || client->asked_ns == 0, "a handshake without an end");
            shake_hands(client);
        }
        return;
    }
    if (!town.resting && client->said < SAID_MAX) {
        snprintf(text, sizeof text, "c%u.%u.%u", client->number, client->life, ++client->said);
        say_e2ee(client, client->session, text);
    }
}

static void client_hears(struct person *client, const char *text)
{
    char value[NAME_SIZE];
    unsigned number;
    unsigned life;
    unsigned nth;
    if (strstr(text, "\"relay_key_exchange_response\"") != NULL) {
        fleet_check(member(text, "requestId", value, sizeof value) &&
                        sscanf(value, "k%u.%u.", &number, &life) == 2 &&
                        number == client->number && life == client->life,
            "an answer to somebody else");
        fleet_check(member(text, "sessionId", client->session, sizeof client->session),
            "an answer without a session");
    } else if (strstr(text, "\"e2ee\"") != NULL) {
        fleet_check(member(text, "ciphertext", value, sizeof value) &&
                        sscanf(value, "ec%u.%u.%u", &number, &life, &nth) == 3,
            "words that nobody said");
        fleet_check(number == client->number && life == client->life, "somebody else's words");
        fleet_check(nth > client->heard && nth <= client->said, "an echo twice, or out of order");
        fleet_check(!fleet_is_calm() || nth == client->heard + 1, "an echo is missing");
        client->heard = nth;
    } else {
        fleet_check(!fleet_is_calm() || strstr(text, "RELAY_REDIRECT") != NULL ||
                        strstr(text, "daemon_status") != NULL,
            "a client is told that something is wrong");
    }
}

// ---- Daemons

static void daemon_hears(struct person *daemon, const char *text)
{
    char value[NAME_SIZE];
    char session[NAME_SIZE];
    char answer[TEXT_SIZE];
    unsigned number;
    unsigned life;
    unsigned nth;
    if (strstr(text, "\"relay_key_exchange_init\"") != NULL) {
        fleet_check(member(text, "requestId", value, sizeof value), "a question without a name");
        int len = snprintf(answer, sizeof answer,
            "{\"type\":\"relay_key_exchange_response\",\"version\":3,\"profile\":\"noise-ik\","
            "\"requestId\":\"%s\",\"daemonPublicKey\":\"AA\",\"daemonEphemeralPublicKey\":\"BB\","
            "\"encryptedMetadata\":\"CC\",\"sessionId\":\"s%s\",\"epoch\":1,\"proof\":\"DD\"}",
            value, value);
        fleet_check(len > 0 && (size_t)len < sizeof answer, "an answer that is too long");
        say(daemon, answer);
    } else if (strstr(text, "\"e2ee\"") != NULL) {
        fleet_check(member(text, "ciphertext", value, sizeof value) &&
                        member(text, "sessionId", session, sizeof session) &&
                        sscanf(value, "c%u.%u.%u", &number, &life, &nth) == 3 &&
                        number < CLIENTS,
            "words that nobody said");
        fleet_check(number % FLEET_CELLS == daemon->cell, "words for another daemon");
        fleet_check(life < LIVES_MAX && nth > daemon->last[number][life],
            "words twice, or out of order");
        daemon->last[number][life] = nth;
        snprintf(answer, sizeof answer, "e%s", value);
        say_e2ee(daemon, session, answer);
    }
}

// ---- Reading

static void take_frame(struct person *person, unsigned opcode, const char *bytes, size_t len)
{
    char text[TEXT_SIZE * 2];
    if (opcode == 8) {
        fleet_check(!fleet_is_calm(), "a connection that is closed in a calm world");
        send_frame(person, 8, bytes, len < 2 ? len : 2);
        leave(person);
    } else if (opcode == 9) {
        send_frame(person, 10, bytes, len);
    } else if (opcode == 1) {
        fleet_check(len < sizeof text, "a frame that is too long");
        memcpy(text, bytes, len);
        text[len] = '\0';
        if (person->role == ROLE_CLIENT) {
            client_hears(person, text);
        } else {
            daemon_hears(person, text);
        }
    }
}

// The bytes of the frame at the head of in; 0: it is not complete.
static size_t frame_len(const struct person *person, size_t *ret_head)
{
    const unsigned char *in = (const unsigned char *)person->in;
    if (person->in_len < 2) {
        return 0;
    }
    size_t len = in[1] & 127;
    *ret_head = 2;
    if (len == 126) {
        if (person->in_len < 4) {
            return 0;
        }
        len = (size_t)in[2] << 8 | in[3];
        *ret_head = 4;
    }
    return person->in_len < *ret_head + len ? 0 : *ret_head + len;
}

static void take_frames(struct person *person)
{
    size_t head;
    size_t len;
    while (person->fd >= 0 && (len = frame_len(person, &head)) > 0) {
        char frame[TEXT_SIZE * 2];
        unsigned opcode = (unsigned char)person->in[0] & 15;
        fleet_check(len <= sizeof frame, "a frame that is too long");
        memcpy(frame, person->in, len);
        memmove(person->in, person->in + len, person->in_len - len);
        person->in_len -= len;
        take_frame(person, opcode, frame + head, len - head);
    }
}

static void hear(struct person *person)
{
    while (person->fd >= 0) {
        size_t room = IN_SIZE - person->in_len;
        size_t some = fleet_chance(80) ? room : 1 + (size_t)fleet_below(room);
        ssize_t got = recv(person->fd, person->in + person->in_len, some, 0);
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            fleet_check(!fleet_is_calm(), "a connection that ends in a calm world");
            leave(person);
            return;
        }
        person->in_len += (size_t)got;
        take_frames(person);
    }
}

// ---- Coming and going

static void join(struct person *person)
{
    char name[16];
    bool newer = person->role == ROLE_DAEMON && fleet_chance(50);
    unsigned relay = (unsigned)fleet_below(FLEET_RELAYS);
    if (!fleet_is_up(relay)) {
        return;
    }
    person->life++;
    person->asked_ns = 0;
    person->said = person->heard = 0;
    memset(person->last, 0, sizeof person->last);
    snprintf(name, sizeof name, "c_%u", person->number);
    person->fd = fleet_join(
        relay, person->role, person->cell, name, newer ? ++town.generation : -1);
}

static void act(struct person *person)
{
    if (person->fd < 0) {
        if (!town.resting) {
            join(person);
        }
    } else if (!fleet_is_calm() && !town.resting && fleet_chance(2)) {
        leave(person);
    } else if (person->role == ROLE_CLIENT) {
        client_speaks(person);
    }
}

void peers_step(void)
{
    struct pollfd ready[FLEET_CELLS + CLIENTS];
    size_t first = (size_t)fleet_below(town.count);
    for (size_t i = 0; i < town.count; i++) {
        ready[i] = (struct pollfd){.fd = town.people[i].fd, .events = POLLIN};
    }
    fleet_check(poll(ready, town.count, 0) >= 0, "no poll");
    for (size_t i = 0; i < town.count; i++) {
        size_t nth = (first + i) % town.count;
        struct person *person = &town.people[nth];
        if (ready[nth].revents != 0) {
            hear(person);
        }
        if (fleet_now() >= person->wake_ns) {
            person->wake_ns = fleet_now() + fleet_below(100 * NS_PER_MS);
            act(person);
        }
    }
}

void peers_begin(void)
{
    memset(&town, 0, sizeof town);
    town.count = FLEET_CELLS + CLIENTS;
    for (size_t i = 0; i < town.count; i++) {
        struct person *person = &town.people[i];
        bool client = i >= FLEET_CELLS;
        person->role = client ? ROLE_CLIENT : ROLE_DAEMON;
        person->number = (unsigned)(client ? i - FLEET_CELLS : i);
        person->cell = person->number % FLEET_CELLS;
        person->fd = -1;
        // A calm world's clients come when their daemons are known.
        person->wake_ns = fleet_now() + (client && fleet_is_calm() ? NS_PER_S : 0);
    }
}

void peers_rest(void)
{
    town.resting = true;
}

void peers_check(void)
{
    for (size_t i = FLEET_CELLS; fleet_is_calm() && i < town.count; i++) {
        const struct person *client = &town.people[i];
        fleet_check(client->fd >= 0 && client->said > 0, "a client that said nothing");
        fleet_check(client->heard == client->said, "words that did not come back");
    }
}

void peers_end(void)
{
    for (size_t i = 0; i < town.count; i++) {
        leave(&town.people[i]);
    }
}
