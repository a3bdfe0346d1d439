// SPDX-License-Identifier: Apache-2.0
// weir.yml: one file for all parts of a process. A section that is there is a part that runs.
//
//   state_dir: /var/lib/weir      keys, tokens, history (WEIR_STATE_DIR)
//   workers: 2                    threads that carry connections (WEIR_WORKERS)
//   platform:                     a platform; the relay finds it by itself. Without keys it is
//                                 embedded, with some it is what `weir platform -c FILE` is
//   relay:                        listen_port: 7781 is RELAY_LISTEN_PORT, and so on
//   engine:                       all that an engine.yml may hold
//   health:                       registry: registry.yml is --registry of `weir health serve`, and so on
#ifndef WEIR_APP_UP_FILE_H
#define WEIR_APP_UP_FILE_H

#include "app/parts/health_part.h"
#include "conf/conf_section.h"

enum up_section { UP_PLATFORM, UP_RELAY, UP_ENGINE, UP_HEALTH, UP_SECTION_COUNT };

// What the sections of a process say for themselves; the rows are in up_file.c.
struct up_globals {
    char *state_dir; // NULL: not set
    uint64_t workers; // 0: not set
};

struct up_health {
    char *registry;
    char *socket;
    char *tokens;
    char *state_dir;
    char *import_dir;
    char *ui_dir;
    char *heartbeat_url;
    char *on_change;
    uint64_t on_change_quiet;
    char *deploy_command;
    uint64_t deploy_timeout;
    struct conf_listen listen;
    struct conf_words allow_hosts;
    unsigned public_read;
    uint64_t jitter;
    uint64_t metrics_interval;
    uint64_t ssh_metrics_interval;
    bool ssh_metrics;
    bool implicit_checks;
    bool legacy_compose_health;
    bool compat_rollup;
};

struct up_file {
    const char *path; // borrowed
    struct yml_document document;
    struct up_globals globals;
    bool has[UP_SECTION_COUNT];
    bool platform_has_keys;
    struct conf_section relay; // borrowed as the source of the relay's variables
    struct up_health health;
    struct health_part_options health_options; // points into what is above and below
    char *health_hosts;                        // owned
    char health_listen[128];
};

// Reads the file and reports every mistake of it that is not the relay's, the engine's or the
// platform's: these read their sections themselves. WEIR_MEMORY is the only result but WEIR_OK; up_file_close in
// every case.
enum weir_result up_file_open(
    struct up_file *file, const char *path, struct conf_problems *problems) WEIR_MUST_CHECK;
void up_file_close(struct up_file *file);
// Appends the manual of the keys that no other page has, Markdown.
void up_file_manual(struct buf *out);

#endif
