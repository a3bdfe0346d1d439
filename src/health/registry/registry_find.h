// SPDX-License-Identifier: Apache-2.0
// Which registry.yml is meant (spec section 1.1), and the .env file that may say so.
#ifndef WEIR_HEALTH_REGISTRY_FIND_H
#define WEIR_HEALTH_REGISTRY_FIND_H

#include "base/arena.h"
#include "conf/conf.h"

// The environment with what a .env file of the working directory adds: KEY=VALUE lines, `export `,
// # comments, quotes; nothing that is set already. PORTOSER_SKIP_ENV disables the file.
struct dotenv {
    struct conf_source source; // give this on
    struct arena arena;
    const char **lines; // "KEY\0VALUE"
    size_t line_count;
};
// A .env that is not there or not readable adds nothing. WEIR_MEMORY is the only other result.
enum weir_result dotenv_open(struct dotenv *dotenv) WEIR_MUST_CHECK;
void dotenv_close(struct dotenv *dotenv);

#define REGISTRY_PATH_SIZE 4096
// option: of --registry, or NULL. ret_why gets who named the path ("--registry",
// "CADDY_REGISTRY_PATH", "./registry.yml"). WEIR_NOT_FOUND: none was named and none is there;
// one that was named is returned whether it is there or not.
enum weir_result registry_find(const char *option, const struct conf_source *environment,
    char path[REGISTRY_PATH_SIZE], const char **ret_why) WEIR_MUST_CHECK;

#endif
