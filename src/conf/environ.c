// SPDX-License-Identifier: Apache-2.0
// The real environment and file system.
#include <stdlib.h>

#include "conf/conf.h"
#include "sys/file.h"

static const char *get_environment(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

static bool real_file_exists(void *arg, const char *path)
{
    (void)arg;
    return sys_file_exists(path);
}

const struct conf_source conf_environment = {get_environment, real_file_exists, NULL, NULL};
