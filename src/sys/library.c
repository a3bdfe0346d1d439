// SPDX-License-Identifier: Apache-2.0
#include "sys/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "sys/fault.h"

enum weir_result sys_library_load(const struct sys_library *library, char *problem, size_t size)
{
    void *function;
    memcpy(&function, library->functions, sizeof function);
    if (function != NULL) {
        return WEIR_OK;
    }
    void *handle = sys_fault_now() ? NULL : dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        snprintf(problem, size, "%s cannot be loaded; install the Debian package %s", library->file,
            library->package);
        return WEIR_NOT_FOUND;
    }
    // The first one last: it says that all are there.
    for (size_t i = library->count; i-- > 0;) {
        function = dlsym(handle, library->names[i]);
        if (function == NULL) {
            snprintf(problem, size, "%s has no %s; install a newer Debian package %s",
                library->file, library->names[i], library->package);
            dlclose(handle);
            return WEIR_INVALID;
        }
        memcpy((char *)library->functions + i * sizeof function, &function, sizeof function);
    }
    return WEIR_OK;
}
