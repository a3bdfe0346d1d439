// SPDX-License-Identifier: Apache-2.0
// What `weir init` is about to make, and what its files share.
#ifndef WEIR_APP_INIT_PLAN_H
#define WEIR_APP_INIT_PLAN_H

#include "app/up/init_answers.h"
#include "conf/conf.h"
#include "sys/users.h"

#define INIT_SECRET_SIZE 64
#define INIT_PATH_SIZE (INIT_TEXT_SIZE + 32)
#define INIT_USER_SIZE 256
#define INIT_USER "weir" // whom the Debian package makes
#define INIT_METRICS_PORT 9464
#define INIT_TOKENS "health-tokens"

struct init_plan {
    struct init_answers answers;
    char dir[INIT_TEXT_SIZE];  // absolute
    char file[INIT_PATH_SIZE]; // weir.yml in it
    char state[INIT_PATH_SIZE];
    struct conf_listen relay;
    struct conf_listen engine;
    struct conf_listen health;
    char user[INIT_USER_SIZE]; // who runs it, and owns the files
    struct sys_identity identity;
    bool gives; // root makes the files, for somebody else
    char jwt_secret[INIT_SECRET_SIZE];
    unsigned made; // bits by the rows of init_files.c
    bool dir_made;
    bool state_made;
};

// Of a part: the address that is for all of a machine's.
bool init_listens_everywhere(const struct conf_listen *listen);
bool init_listens_on_loopback(const struct conf_listen *listen);
// The monitor wants a token of everybody who is not on this machine.
bool init_wants_tokens(const struct init_plan *plan);

// Makes all files, or none: what was made before a failure is deleted again, and what was there is
// left alone. Each is named on standard output; false after saying on standard error what failed.
bool init_files_write(struct init_plan *plan);
// Deletes what init_files_write has made.
void init_files_undo(const struct init_plan *plan);

// The systemd unit.
void init_unit_append(const struct init_plan *plan, struct buf *out);

// Says on standard output where names lead, whether the certificate is for them, and whether ports
// are free.
void init_look_around(const struct init_plan *plan);

#endif
