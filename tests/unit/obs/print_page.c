// SPDX-License-Identifier: Apache-2.0
// Prints a page of /metrics for a foreign parser to judge: print_page prometheus|openmetrics.
#include <stdio.h>
#include <string.h>

#include "obs/metrics.h"

#define PAGE_MAX ((size_t)1 << 20)

int main(int argc, char **argv)
{
    if (argc != 2) {
        return 64;
    }
    enum exposition exposition =
        strcmp(argv[1], "openmetrics") == 0 ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
    struct metrics_shard *shard = metrics_shards_new(1);
    if (shard == NULL) {
        return 69;
    }
    metrics_add(shard, METRIC_CONNECTIONS, 3);
    metrics_add(shard, METRIC_BYTES_CLIENT_TO_DAEMON, INT64_C(1) << 53);
    metrics_failure(shard, FAILURE_ABORTED);
    metrics_observe(shard, HISTOGRAM_FRAME_SIZE_BYTES, 512);
    metrics_observe(shard, HISTOGRAM_FRAME_SIZE_BYTES, 4e6);
    metrics_observe(shard, HISTOGRAM_JWT_VALIDATE_DURATION_SECONDS, .1 + .2);
    struct buf page = BUF_INIT(PAGE_MAX);
    metrics_write(shard, 1, exposition, &page);
    metrics_family(FAMILY_FRAMES_IN, exposition, &page);
    metrics_sample(FAMILY_FRAMES_IN, SLICE("w:1"), 1, &page);
    metrics_sample(FAMILY_FRAMES_IN, SLICE("quote \" backslash \\ newline \n end"), 2, &page);
    prometheus_end(&page, exposition);
    fwrite(page.at + page.start, 1, page.len, stdout);
    bool failed = page.failed;
    buf_reset(&page);
    metrics_shards_free(shard);
    return failed ? 69 : 0;
}
