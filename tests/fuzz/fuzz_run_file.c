// SPDX-License-Identifier: Apache-2.0
// Files of tunnels: what is accepted is complete, what is refused says why.
#include <stdint.h>
#include <string.h>

#include "cli/run/run_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "A") == 0 ? "1" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct conf_source variables = {.get = get};
    struct run_file file;
    struct conf_problems problems;
    conf_problems_init(&problems);
    const struct run_text text = {slice_of((const char *)data, size), "f", RUN_SOURCE_APPLY};
    bool good = run_file_parse(&text, &variables, &file, &problems);
    weir_assert(good == (problems.errors.len == 0));
    for (size_t i = 0; good && i < file.tunnel_count; i++) {
        const struct run_tunnel *tunnel = &file.tunnels[i];
        weir_assert(tunnel->name != NULL && tunnel->forward != NULL && tunnel->signature.len > 0);
        weir_assert(run_file_find(&file, tunnel->name) == tunnel);
        weir_assert(tunnel->options.label_count >= 2);
    }
    conf_problems_fini(&problems);
    run_file_close(&file);
    return 0;
}
