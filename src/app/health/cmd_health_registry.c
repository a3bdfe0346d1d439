// SPDX-License-Identifier: Apache-2.0
// weir health registry validate | show | path.
#include "app/health/cmd_health.h"

#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "app/health/health_answer.h"
#include "app/health/health_setup.h"
#include "proto/json_write.h"

#define OUTPUT_BYTES_MAX (64 * 1024 * 1024)

static void write_notes_json(const struct registry *registry, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "registry", registry->path);
    jsonw_bool(&writer, "valid", registry->note_counts[NOTE_ERROR] == 0);
    jsonw_u64(&writer, "services", registry->service_count);
    jsonw_u64(&writer, "machines", registry->machines_declared);
    jsonw_u64(&writer, "errors", registry->note_counts[NOTE_ERROR]);
    jsonw_u64(&writer, "warnings", registry->note_counts[NOTE_WARNING]);
    jsonw_array_begin(&writer, "notes");
    for (size_t i = 0; i < registry->note_count; i++) {
        const struct registry_note *note = registry->notes[i];
        jsonw_object_begin(&writer, NULL);
        jsonw_text(&writer, "level", note_level_name(note->level));
        jsonw_text(&writer, "file", note->file);
        jsonw_u64(&writer, "line", note->line);
        jsonw_text(&writer, "path", note->path);
        jsonw_text(&writer, "message", note->message);
        jsonw_object_end(&writer);
    }
    jsonw_array_end(&writer);
    jsonw_object_end(&writer);
    (void)buf_append_byte(out, '\n'); // out->failed is looked at in the end
}

static void write_notes(const struct registry *registry, struct buf *out)
{
    registry_print_notes(registry, NOTE_INFO, out);
    buf_printf(out, "%s: %zu services on %zu machines, %zu errors, %zu warnings\n", registry->path,
        registry->service_count, registry->machines_declared, registry->note_counts[NOTE_ERROR],
        registry->note_counts[NOTE_WARNING]);
}

int cmd_health_registry(const char *what, struct health_setup *setup, bool json)
{
    if (strcmp(what, "path") == 0) {
        struct buf path = BUF_INIT(OUTPUT_BYTES_MAX);
        buf_printf(&path, "%s\n", setup->path);
        return health_print(&path, EXIT_FINE);
    }
    struct registry *registry = health_setup_read(setup);
    if (registry == NULL) {
        return health_complain(&(struct health_ask){.json = json}, EXIT_FAILED,
            "the registry is locked, or memory ran out");
    }
    struct buf out = BUF_INIT(OUTPUT_BYTES_MAX);
    int exit_code = registry->note_counts[NOTE_ERROR] == 0 ? EXIT_FINE : EXIT_FAILED;
    if (strcmp(what, "show") == 0) {
        registry_show(registry, &out);
        exit_code = registry->broken ? EXIT_FAILED : EXIT_FINE;
    } else if (json) {
        write_notes_json(registry, &out);
    } else {
        write_notes(registry, &out);
    }
    registry_unref(registry);
    return health_print(&out, exit_code);
}
