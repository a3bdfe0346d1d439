// SPDX-License-Identifier: Apache-2.0
// What `weir up --demo` keeps in <state directory>/demo. Certificate and secret of its engine are
// made once. A weir.yml with all parts, a registry.yml that checks them, and an agent.yml by which
// agents find the engine (--config) are written at every start, because they name ports.
#ifndef WEIR_APP_DEMO_FILES_H
#define WEIR_APP_DEMO_FILES_H

#include <stdint.h>

#include "platform/certificate.h"

#define DEMO_LABEL "hello"    // of the published service
#define DEMO_HOST "localhost" // of the engine
#define DEMO_PATH_SIZE 4200

struct demo_files {
    char state_dir[DEMO_PATH_SIZE]; // absolute, as all paths here
    char dir[DEMO_PATH_SIZE + 8];
    char weir_yml[DEMO_PATH_SIZE + 32];
    char registry[DEMO_PATH_SIZE + 32];
    char agent_yml[DEMO_PATH_SIZE + 32];
    struct certificate_paths certificate; // for localhost and *.t.localhost
    char agent_token[512];
};

// state_dir: of --state-dir, or NULL. Says on standard error what is wrong and returns the exit
// code. files is zeroed before.
int demo_files_make(struct demo_files *files, const char *state_dir);

// Where the parts are that the registry checks.
struct demo_places {
    bool relay_tls;
    const char *relay_certificate;
    unsigned relay_port;
    unsigned engine_port;
    unsigned platform_port;
    unsigned service_port;
    uint64_t moody_period_s; // see demo_files_fail_s
    uint64_t started_s;      // since 1970
};

// How long the check that fails on purpose does so, of a period of so many seconds.
uint64_t demo_files_fail_s(uint64_t period_s);
// Both files name them.
enum weir_result demo_files_write_places(
    const struct demo_files *files, const struct demo_places *places) WEIR_MUST_CHECK;

#endif
