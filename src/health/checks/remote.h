// SPDX-License-Identifier: Apache-2.0
// What runs on a service's own machine: the ssh command that brings it there (spec section 1.6).
#ifndef WEIR_HEALTH_CHECKS_REMOTE_H
#define WEIR_HEALTH_CHECKS_REMOTE_H

#include "base/buf.h"
#include "health/registry/registry.h"

#define REMOTE_ARGS_MAX 24
#define REMOTE_TEXT_MAX (128 * 1024)

struct remote_command {
    const char *argv[REMOTE_ARGS_MAX]; // ended by NULL; borrows what follows, and the machine
    struct buf script;                 // owned
    char target[600];
    char port[8];
    char control_path[256];
};

// A service's check of type exec or process as a command for its machine. ssh_dir: see struct
// check_room. WEIR_TOO_LARGE: it is longer than a command line may be; WEIR_MEMORY. The command
// wants remote_command_fini in every case.
enum weir_result remote_command_make(struct remote_command *command, const struct service *service,
    const char *ssh_dir) WEIR_MUST_CHECK;
// The same for a POSIX script of ours, on any machine with an ssh_host.
enum weir_result remote_script_make(struct remote_command *command, const struct machine *machine,
    const char *script, const char *ssh_dir) WEIR_MUST_CHECK;
void remote_command_fini(struct remote_command *command);
// Appends a word so that a POSIX shell reads it back as it is.
void remote_quote(struct buf *out, const char *word);

#endif
