// SPDX-License-Identifier: Apache-2.0
// What the command lines around the platform share: its configuration, its state directory, and a
// look at its store from a command that ends.
#ifndef WEIR_APP_PLATFORM_SETUP_H
#define WEIR_APP_PLATFORM_SETUP_H

#include "platform/config.h"
#include "platform/platform.h"
#include "platform/store.h"

#define PLATFORM_PATH_SIZE 4096

struct platform_setup {
    const char *who; // "weir token", for what is printed
    struct platform_config config;
    struct conf_problems problems;
    char state_dir[PLATFORM_PATH_SIZE];
    char store_path[PLATFORM_PATH_SIZE + 16]; // of the SQLite file
    struct platform *platform;                // owned
};

struct platform_setup_options {
    const char *who;
    const char *file;      // NULL: WEIR_PLATFORM_CONFIG, or variables alone
    const char *state_dir; // NULL: as configured
    const char *listen;    // "ADDR:PORT" instead of what is configured; or NULL
    bool embedded;         // defaults alone, as `weir up` wants it
};

// setup is zeroed before. Says on standard error what is wrong and returns the exit code. The keys
// are those of the state directory, or with a database none yet.
int platform_setup_open(struct platform_setup *setup, const struct platform_setup_options *options);
void platform_setup_close(struct platform_setup *setup);

// Runs the call (or NULL) against the store, then takes the store's signing keys over, if it has
// any; with a database it must have. Without a store file there is nothing to do. Returns the exit
// code, after saying what is wrong.
int platform_setup_sync(struct platform_setup *setup, struct store_call *call);

int platform_setup_check(const char *file);
int platform_setup_print(const char *file);

#endif
