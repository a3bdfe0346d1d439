// SPDX-License-Identifier: Apache-2.0
// One question to a running monitor, asked on the command line, and its answer as a table or as
// JSON (spec section 6.2).
#ifndef WEIR_APP_HEALTH_LOOK_H
#define WEIR_APP_HEALTH_LOOK_H

#include <jansson.h>
#include <stdint.h>

#include "app/command.h"
#include "app/health/health_fetch.h"
#include "cli/table.h"

// Options that every such command has.
enum {
    LOOK_SERVER,
    LOOK_TOKEN,
    LOOK_JSON_OUTPUT,
    LOOK_JSON,
    LOOK_OWN, // the first of a command's own
};
#define LOOK_OPTIONS_MAX 12

#define LOOK_OPTIONS                                                                               \
    [LOOK_SERVER] = {"--server", "URL", "the monitor; that of this machine (PORTOSER_URL)"},       \
    [LOOK_TOKEN] = {"--token", "TOKEN", "for the monitor (PORTOSER_TOKEN)",                        \
        .flags = OPTION_SECRET},                                                                   \
    [LOOK_JSON_OUTPUT] = {"--json-output", NULL, "as JSON"},                                       \
    [LOOK_JSON] = {"--json", NULL, "the same"}

// One run of one of these commands.
struct look {
    const struct command *command;
    const char *values[LOOK_OPTIONS_MAX];
    int count;
    char **words;
    struct health_server server;
    bool json;
    struct buf path; // of the question
    int exit_code;
};

// ---- Asking

// Reads the command line. False: look->exit_code says how it ended.
bool look_begin(struct look *look, const struct command *command, int argc, char **argv);
// Says how the command is to be used; returns EXIT_USAGE.
int look_misunderstood(const struct look *look);
// Says what is wrong, as JSON where that is wanted; returns exit_code.
int look_complain(const struct look *look, int exit_code, const char *problem);
// Append to the question's path: "/text", "?name=value". A value that is NULL is left out.
void look_put_part(struct look *look, const char *text);
void look_put_query(struct look *look, const char *name, const char *value);
// The answer, the caller's; NULL after saying why, with look->exit_code set.
json_t *look_ask(struct look *look, const char *method, struct slice body);
json_t *look_get(struct look *look);
// Ends the run: takes the answer (or NULL) and prints it, as JSON or as the table that `fill` makes
// of it. Returns the exit code.
int look_finish(struct look *look, json_t *root,
    void (*fill)(struct table *table, const json_t *root), const char *const *titles,
    size_t columns);

// ---- Values

// "" when it is no text.
const char *look_text(const json_t *object, const char *key);
void look_add_text(struct table *table, const json_t *object, const char *key);
void look_add_number(
    struct table *table, const json_t *object, const char *key, int digits, const char *unit);
// Seconds as a person says them.
void look_add_span(struct table *table, const json_t *object, const char *key);
// "90", "30s", "30m", "1h", "7d". False after saying what is allowed.
bool look_read_span(const struct look *look, const char *name, const char *text, uint64_t *ret_s);

#endif
