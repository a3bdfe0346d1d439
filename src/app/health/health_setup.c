// SPDX-License-Identifier: Apache-2.0
#include "app/health/health_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "app/command.h"
#include "health/checks/check.h"
#include "sys/file.h"
#include "sys/privileges.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_MS 20

int health_setup_open(struct health_setup *setup, const char *option, char *problem, size_t size)
{
    *setup = (struct health_setup){0};
    if (dotenv_open(&setup->dotenv) != WEIR_OK) {
        snprintf(problem, size, "out of memory");
        return EXIT_FAILED;
    }
    setup->options.environment = &setup->dotenv.source;
    enum weir_result result =
        registry_find(option, &setup->dotenv.source, setup->path, &setup->why);
    if (result == WEIR_NOT_FOUND) {
        snprintf(problem, size,
            "there is no registry.yml: not here, not in ~/.portoser, not in /etc/portoser; name "
            "one with --registry PATH or CADDY_REGISTRY_PATH");
        return EXIT_NO_INPUT;
    }
    if (result != WEIR_OK || !sys_file_exists(setup->path)) {
        snprintf(
            problem, size, "registry %s does not exist (named by %s)", setup->path, setup->why);
        return EXIT_NO_INPUT;
    }
    return EXIT_FINE;
}

struct registry *health_setup_read(struct health_setup *setup)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    struct registry *registry = NULL;
    enum weir_result result = WEIR_AGAIN;
    for (int i = 0; i < LOCK_TRIES && result == WEIR_AGAIN; i++) {
        if (i > 0) {
            nanosleep(&pause, NULL);
        }
        result = registry_load(setup->path, &setup->options, &registry);
    }
    if (result != WEIR_OK) {
        registry_unref(registry);
        return NULL;
    }
    return registry;
}

const char *health_setup_ssh_dir(struct health_setup *setup)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int len = -1;
    if (runtime != NULL && runtime[0] == '/') {
        len = snprintf(setup->ssh_dir, sizeof setup->ssh_dir, "%s/weir-ssh", runtime);
    }
    if (len < 0 || len > CHECK_SSH_DIR_MAX) {
        len = snprintf(
            setup->ssh_dir, sizeof setup->ssh_dir, "/tmp/weir-ssh-%u", sys_user_id());
    }
    bool usable = len <= CHECK_SSH_DIR_MAX && sys_dir_private(setup->ssh_dir) == WEIR_OK;
    return usable ? setup->ssh_dir : NULL;
}

bool health_setup_socket(char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int len = runtime == NULL || runtime[0] != '/'
                  ? -1
                  : snprintf(path, size, "%s/portoser.sock", runtime);
    return len > 0 && (size_t)len < size;
}

void health_setup_close(struct health_setup *setup)
{
    dotenv_close(&setup->dotenv);
}
