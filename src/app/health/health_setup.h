// SPDX-License-Identifier: Apache-2.0
// What every form of `weir health` begins with: the environment with its .env file, the registry's
// path, the registry, and a directory for ssh.
#ifndef WEIR_APP_HEALTH_SETUP_H
#define WEIR_APP_HEALTH_SETUP_H

#include "health/registry/registry.h"
#include "health/registry/registry_find.h"

struct health_setup {
    struct dotenv dotenv;
    struct registry_options options;
    char path[REGISTRY_PATH_SIZE];
    const char *why; // who named the path
    char ssh_dir[64];
};

// Finds the path. option: of --registry, or NULL. Returns an exit code; what is wrong goes to
// problem. The setup wants health_setup_close in every case.
int health_setup_open(struct health_setup *setup, const char *option, char *problem, size_t size);
// Reads the registry; waits a moment for one that is being written. NULL without memory.
struct registry *health_setup_read(struct health_setup *setup);
// The directory for struct check_room; NULL: there is none to be trusted.
const char *health_setup_ssh_dir(struct health_setup *setup);
// Where the monitor of this user has its Unix socket. False: there is no place for one.
bool health_setup_socket(char *path, size_t size);
void health_setup_close(struct health_setup *setup);

#endif
