// SPDX-License-Identifier: Apache-2.0
// What `weir init` wants to know: from options, or asked on the terminal.
#ifndef WEIR_APP_INIT_ANSWERS_H
#define WEIR_APP_INIT_ANSWERS_H

#include <stdbool.h>

#include "base/result.h"

#define INIT_TEXT_SIZE 1024
#define INIT_REGISTRY "registry.yml"

struct init_answers {
    bool relay;
    bool engine;
    bool health;
    char host[INIT_TEXT_SIZE]; // of relay and engine; "" with neither
    bool self_signed;
    char cert_file[INIT_TEXT_SIZE];
    char key_file[INIT_TEXT_SIZE];
    char registry[INIT_TEXT_SIZE]; // of health; "": one is to be made
};

// Of the command line; NULL: not given.
struct init_options {
    const char *parts;
    const char *host;
    const char *cert_file;
    const char *key_file;
    const char *self_signed;
    const char *registry;
    const char *relay_listen;
    const char *engine_listen;
    const char *health_listen;
};

// Asks for what no option says, where standard input is a terminal. Returns an exit code after
// saying what is missing, wrong, or said of a part that is not wanted.
int init_answers_read(const struct init_options *options, struct init_answers *ret_answers);

#endif
