// SPDX-License-Identifier: Apache-2.0
#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/plain.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define TEXT_SIZE 2048
#define LINE_BYTES_MAX 16384

static const char *const level_names[] = {[SAY_DEBUG] = "debug",
    [SAY_INFO] = "info",
    [SAY_WARN] = "warn",
    [SAY_ERROR] = "error",
    [SAY_NONE] = "none"};

static enum say_level least = SAY_INFO;
static bool as_json;

void say_set(const char *level, const char *format, bool verbose)
{
    least = verbose ? SAY_DEBUG : SAY_INFO;
    for (unsigned i = 0; level != NULL && i <= SAY_NONE; i++) {
        if (strcmp(level_names[i], level) == 0) {
            least = (enum say_level)i;
        }
    }
    as_json = format != NULL && strncmp(format, "json", 4) == 0;
}

bool say_is_verbose(void)
{
    return least == SAY_DEBUG;
}

static void write_json(
    struct buf *line, const struct command *command, enum say_level level, struct slice text)
{
    struct json_writer writer;
    char now[TIME_ISO_SIZE];
    time_to_iso(sys_wall_ms(), now);
    json_writer_init(&writer, line);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "time", now);
    jsonw_text(&writer, "level", level_names[level]);
    jsonw_text(&writer, "command", command->name);
    jsonw_string(&writer, "message", text);
    jsonw_object_end(&writer);
}

void say(const struct command *command, enum say_level level, const char *format, ...)
{
    char text[TEXT_SIZE];
    struct buf plain = BUF_INIT(TEXT_SIZE);
    struct buf line = BUF_INIT(LINE_BYTES_MAX);
    va_list args;
    if (level < least || level >= SAY_NONE) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    plain_append(&plain, slice_str(text)); // without memory the line is lost
    if (as_json) {
        write_json(&line, command, level, buf_slice(&plain));
    } else {
        buf_printf(&line, "%s %s: ", command_program(), command->name);
        buf_append_slice(&line, buf_slice(&plain));
    }
    buf_append_byte(&line, '\n');
    const char *whole = line.failed ? NULL : buf_text(&line);
    fputs(whole == NULL ? "" : whole, stderr);
    buf_reset(&plain);
    buf_reset(&line);
}
