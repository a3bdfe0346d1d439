// SPDX-License-Identifier: Apache-2.0
// Where `weir up` keeps keys, tokens and certificate.
#ifndef WEIR_APP_STATE_DIR_H
#define WEIR_APP_STATE_DIR_H

#include <stdbool.h>
#include <stddef.h>

// option (--state-dir), else WEIR_STATE_DIR, else $XDG_STATE_HOME/weir, else ~/.local/state/weir.
// False after saying on standard error that none of them is there.
bool state_dir_find(const char *option, char *path, size_t size);

#endif
