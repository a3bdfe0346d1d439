// SPDX-License-Identifier: Apache-2.0
// Lists of containers: whatever their labels say, what comes of them is a file without a mistake.
#include <stdint.h>
#include <string.h>

#include "cli/run/docker_labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "RSTREAM_ENGINE") == 0                 ? "edge.test"
           : strcmp(name, "RSTREAM_AUTHENTICATION_TOKEN") == 0 ? "t"
           : strcmp(name, "RSTREAM_CONFIG") == 0               ? "/nowhere"
                                                               : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct conf_source variables = {.get = get};
    const struct profile_ask ask = {0};
    const struct docker_rules rules = {.ask = &ask, .variables = &variables};
    struct buf out = BUF_INIT(DOCKER_TEXT_MAX);
    struct run_file file;
    struct conf_problems problems;
    size_t count = 0;
    conf_problems_init(&problems);
    bool good = docker_labels_read(
        slice_of((const char *)data, size), &rules, 0, &out, &problems, &count);
    conf_problems_fini(&problems);
    if (good && count > 0) {
        const struct run_text text = {buf_slice(&out), "labels", RUN_SOURCE_DOCKER};
        conf_problems_init(&problems);
        weir_assert(run_file_parse(&text, &variables, &file, &problems));
        weir_assert(file.tunnel_count == count);
        conf_problems_fini(&problems);
        run_file_close(&file);
    }
    buf_reset(&out);
    return 0;
}
