// SPDX-License-Identifier: Apache-2.0
// Shared by the files of the registry's reader, and seen by nobody else.
#ifndef WEIR_HEALTH_REGISTRY_INTERNAL_H
#define WEIR_HEALTH_REGISTRY_INTERNAL_H

#include "base/map.h"
#include "conf/yaml.h"
#include "health/registry/registry.h"

struct reader {
    struct registry *registry;
    const struct registry_options *options;
    const struct yml_document *document; // the file that is read right now
    const struct yml_node *defaults;     // of all checks, or NULL
    const char *directory;               // of the registry
    struct map machines;                 // by name
    struct map services;                 // by name
    struct service *service;             // whose node is read; NULL: none
    bool quiet;                          // notes are not taken
    bool out_of_memory;
};

// ---- Notes. node may be NULL: the file as a whole.

void reader_note(struct reader *reader, enum note_level level, const struct yml_node *node,
    const char *format, ...) WEIR_PRINTF(4, 5);
// Also becomes the service's problem.
#define reader_error(reader, node, ...) reader_note(reader, NOTE_ERROR, node, __VA_ARGS__)
#define reader_warning(reader, node, ...) reader_note(reader, NOTE_WARNING, node, __VA_ARGS__)
#define reader_info(reader, node, ...) reader_note(reader, NOTE_INFO, node, __VA_ARGS__)

// Lines that the YAML reader wrote become notes of this level.
void reader_take_problems(
    struct reader *reader, enum note_level level, const char *file, struct buf *lines);

// ---- Memory of the registry. NULL sets out_of_memory.

void *reader_alloc(struct reader *reader, size_t size);
char *reader_copy(struct reader *reader, struct slice text);
char *reader_format(struct reader *reader, const char *format, ...) WEIR_PRINTF(2, 3);
const char *reader_environment(struct reader *reader, const char *name);

// ---- Values (registry_value.c). False after a mistake, which is noted; nothing is set then.

// Text with ${NAME} and ${NAME:-default} replaced, $$ being a dollar sign.
bool value_text(struct reader *reader, const struct yml_node *node, const char **ret_text);
// Text as it stands; NULL when there is none.
const char *value_plain(struct reader *reader, const struct yml_node *node);
bool value_port(struct reader *reader, const struct yml_node *node, uint16_t *ret_port);
// The service's port out of `port` or the first of `ports`: 80, "8081:80", "ip:8081:80".
bool value_ports(struct reader *reader, const struct yml_node *node, uint16_t *ret_port);
bool value_bool(struct reader *reader, const struct yml_node *node, bool *ret_value);
// A list of text, or one text, or the keys of a map. NULL-terminated.
const char *const *value_words(
    struct reader *reader, const struct yml_node *node, size_t *ret_count);
// An absolute path: "~" and "~user" replaced, relative ones below directory.
const char *value_path(struct reader *reader, const char *text, const char *directory);
// Fills the field of one row of check_keys.def.
struct check_key;
bool value_read(struct reader *reader, const struct check_key *key, const struct yml_node *node,
    struct check_spec *spec);

// ---- Keys of a check

enum value_kind {
    VALUE_TYPE,
    VALUE_BOOL,
    VALUE_DURATION,
    VALUE_TIMEOUT,
    VALUE_SPAN,
    VALUE_COUNT,
    VALUE_MILLISECONDS,
    VALUE_PLACE,
    VALUE_URL,
    VALUE_STATUS,
    VALUE_METHOD,
    VALUE_PAIRS_HEADER,
    VALUE_TEXT,
    VALUE_PATH,
    VALUE_REGEX,
    VALUE_PORT,
    VALUE_COMMAND,
    VALUE_EXIT,
    VALUE_PAIRS_ENV,
};

struct check_key {
    const char *name;
    const char *fallback;
    const char *meaning;
    size_t offset;
    unsigned applies; // a bit a check type
    enum value_kind kind;
};

extern const struct check_key check_keys[];
extern const size_t check_key_count;

// ---- Machines and services by name; NULL: there is none.

struct machine *reader_machine(struct reader *reader, struct slice name);
struct service *reader_service(struct reader *reader, struct slice name);
// Warns of dependencies that do not exist or go in circles, and of ports that two services of a
// machine share (registry_graph.c).
void reader_check_graph(struct reader *reader, const struct yml_node *services);

// ---- The check of a service (registry_check.c, registry_side.c)

// Reads whichever form the service's node declares into service->check.
void reader_check(struct reader *reader, struct service *service, const struct yml_node *node);
// Notes the mistakes in `defaults`, once.
void reader_check_defaults(struct reader *reader);
// Form E: the health check in a service file or a compose file. False: none there.
bool reader_side_check(struct reader *reader, struct service *service, struct check_spec *spec);
// The port a side file names; 0: none.
uint16_t reader_side_port(struct reader *reader, const struct service *service);
// What the service checks, as text: equal for equal checks. Thresholds and times left out.
void registry_identity(const struct service *service, struct buf *out);

#endif
