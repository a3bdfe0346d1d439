// SPDX-License-Identifier: Apache-2.0
// Where a Redis is, and what it is asked for first: what a URL says.
//
//   redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]
//   redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST…/NAME[/DATABASE]
//   redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST…
//
// With `rediss` for `redis` each of them is TLS. User, password and name may be %-encoded.
#ifndef WEIR_REDIS_PLACE_H
#define WEIR_REDIS_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/slice.h"

#define REDIS_TEXT_SIZE 256
#define REDIS_SEEDS_MAX 16
#define REDIS_DATABASE_MAX 1024

enum redis_kind { REDIS_SINGLE, REDIS_SENTINEL, REDIS_CLUSTER };

struct redis_address {
    char host[REDIS_TEXT_SIZE]; // a name, or an IP address without brackets
    uint16_t port;
};

struct redis_place {
    enum redis_kind kind;
    bool tls;
    struct redis_address seeds[REDIS_SEEDS_MAX]; // the Redis, the sentinels, or some cluster nodes
    unsigned seed_count;
    char user[REDIS_TEXT_SIZE];     // "": none
    char password[REDIS_TEXT_SIZE]; // "": none
    char name[REDIS_TEXT_SIZE];     // of the master that sentinels watch
    unsigned database;
    // Not of the URL; borrowed, NULL unless set after.
    const char *sentinel_user;
    const char *sentinel_password;
    const char *ca_path;     // NULL: the system's store
    const char *server_name; // what certificates are checked for; NULL: the host connected to
};

// WEIR_MALFORMED: problem (size bytes) says in English what is wrong, without any part of the URL
// that may be secret.
enum weir_result redis_place_parse(
    struct slice url, struct redis_place *ret_place, char *problem, size_t size) WEIR_MUST_CHECK;

#endif
