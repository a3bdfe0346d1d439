// SPDX-License-Identifier: Apache-2.0
#include "app/state_dir.h"

#include <stdio.h>
#include <stdlib.h>

bool state_dir_find(const char *option, char *path, size_t size)
{
    const char *chosen = option != NULL ? option : getenv("WEIR_STATE_DIR");
    const char *state_home = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int len = -1;
    if (chosen != NULL && chosen[0] != '\0') {
        len = snprintf(path, size, "%s", chosen);
    } else if (state_home != NULL && state_home[0] == '/') {
        len = snprintf(path, size, "%s/weir", state_home);
    } else if (home != NULL && home[0] == '/') {
        len = snprintf(path, size, "%s/.local/state/weir", home);
    }
    if (len < 0 || (size_t)len >= size) {
        fputs("weir: no state directory: set WEIR_STATE_DIR or pass --state-dir\n", stderr);
        return false;
    }
    return true;
}
