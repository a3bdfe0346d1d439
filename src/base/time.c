// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <stdio.h>
#include <time.h>

void time_to_iso(uint64_t wall_ms, char text[TIME_ISO_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL) {
        text[0] = '\0';
        return;
    }
    size_t len = strftime(text, TIME_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, TIME_ISO_SIZE - len, ".%03uZ", (unsigned)(wall_ms % 1000));
}
