// SPDX-License-Identifier: Apache-2.0
// Configuration as tables. A key is a row: how it is called, what it may hold, where it goes, and
// what the manual says about it. Reading, checking, the manual and the tests all come from the row.
//
// Values come from variables alone (the relay), or from variables above a YAML file: a row is then
// named by its path, "tls.listen_addr", and its variable is PREFIX_TLS__LISTEN_ADDR.
//
// All mistakes are collected; each is one line that names the key, the value, what is allowed and,
// where it helps, what to do. Values of secrets are never shown.
#ifndef WEIR_CONF_CONF_H
#define WEIR_CONF_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ip.h"
#include "base/result.h"
#include "base/slice.h"

enum conf_type {
    CONF_TEXT,       // char *, trimmed; NULL when not set and without default
    CONF_URL,        // char *; absolute, scheme out of `choices`, without user information
    CONF_SECRET_URL, // char *; the same, but may hold a password; never shown
    CONF_PATH,       // char *; a leading "~/" is the home directory
    CONF_SECRET,     // char *; never shown
    CONF_INT,        // uint64_t in min..max; see conf_read
    CONF_BOOL,       // bool; 0 1 false true no yes off on, in any case
    CONF_CHOICE,     // unsigned: the index in `choices`, compared in any case
    CONF_NETWORKS,   // struct conf_networks; addresses and networks, comma-separated
    CONF_WORDS,      // struct conf_words; comma-separated, lower-cased
    CONF_LISTEN,     // struct conf_listen; HOST:PORT with a port in min..max
    CONF_PORTS,      // struct conf_ports; "20000-20100" or one port, in min..max
};

// What a row's field is declared as: CONF_FIELD_TEXT and so on, for tables that make structs.
#define CONF_FIELD_TEXT char *
#define CONF_FIELD_URL char *
#define CONF_FIELD_SECRET_URL char *
#define CONF_FIELD_PATH char *
#define CONF_FIELD_SECRET char *
#define CONF_FIELD_INT uint64_t
#define CONF_FIELD_BOOL bool
#define CONF_FIELD_CHOICE unsigned
#define CONF_FIELD_NETWORKS struct conf_networks
#define CONF_FIELD_WORDS struct conf_words
#define CONF_FIELD_LISTEN struct conf_listen
#define CONF_FIELD_PORTS struct conf_ports

struct conf_networks {
    struct ip_network *items; // owned
    size_t count;
};

struct conf_words {
    char **items; // owned
    size_t count;
};

struct conf_listen {
    char *host; // owned; an address without brackets, "localhost", or "" for all; NULL: not set
    uint64_t port;
};

struct conf_ports {
    uint64_t first; // 0: not set
    uint64_t last;
};

enum conf_flag {
    CONF_REQUIRED = 1, // of a file's row: it is a mistake not to set it, or to set it to ""
    CONF_LIVE = 2,     // a reload may change it; others want a restart
};

struct conf_row {
    const char *name;     // a variable, or with a file a path of keys
    const char *other;    // a variable that is read when `name` is not set; NULL: none
    const char *fallback; // default as text; NULL: not set
    const char *choices;  // "a|b|c": words of a CHOICE, schemes of a URL
    const char *group;    // heading in the manual
    const char *meaning;
    size_t offset; // of the field
    uint64_t min;
    uint64_t max;
    enum conf_type type;
    unsigned flags;
};

// The longest value of any type that is one text.
#define CONF_TEXT_LEN_MAX 4095

#define CONF_LABEL_SIZE 512
// Where values come from. get returns NULL for what is not set; text of blanks counts as not set.
struct conf_source {
    const char *(*get)(void *arg, const char *name);
    bool (*file_exists)(void *arg, const char *path);
    void *arg;
    // What a line about the value begins with; NULL: the name is enough.
    void (*label)(void *arg, const char *name, char text[CONF_LABEL_SIZE]);
};
void conf_source_label(
    const struct conf_source *source, const char *name, char text[CONF_LABEL_SIZE]);

struct yml_document;
struct yml_node;

// A YAML file with variables above it. A value that is null counts as not set; lists may be YAML
// lists; a variable that is "" sets a text to nothing.
struct conf_file {
    const struct yml_document *document;
    const struct yml_node *root; // where the rows' paths begin; NULL: nothing is set
    const char *prefix;          // of the variables, "RSTREAM_ENGINE_"; NULL: there are none
    const struct conf_source *variables;
    char *const *environment; // "NAME=value", ended by NULL, where unknown names are looked for
};

// Lines of English, each ended by LF; errors end the start, warnings do not. What does not fit is
// left out.
#define CONF_PROBLEMS_BYTES_MAX 65536
struct conf_problems {
    struct buf errors;
    struct buf warnings;
};
void conf_problems_init(struct conf_problems *problems);
void conf_problems_fini(struct conf_problems *problems);
// An error found no room, and none is there: it must end the start all the same.
bool conf_problems_lost(const struct conf_problems *problems);
// Appends a line; control characters become '?'.
void conf_error(struct conf_problems *problems, const char *format, ...) WEIR_PRINTF(2, 3);
void conf_warning(struct conf_problems *problems, const char *format, ...) WEIR_PRINTF(2, 3);

// Fills the fields of target, a zeroed struct, from the rows; set[i] says whether row i was given.
// Goes on after a mistake: it is reported, and the field gets its default, so that rules over
// several fields find something to work on. WEIR_MEMORY is the only result but WEIR_OK.
//
// Whole numbers may be written as JavaScript's Number() reads them: 1000, 1e3, 1000.0, 0x3e8.
enum weir_result conf_read(const struct conf_row *rows, size_t count,
    const struct conf_source *source, void *target, bool *set,
    struct conf_problems *problems) WEIR_MUST_CHECK;
// The same for rows of a file.
enum weir_result conf_read_file(const struct conf_row *rows, size_t count,
    const struct conf_file *file, void *target, bool *set,
    struct conf_problems *problems) WEIR_MUST_CHECK;
// Frees what the fields own and clears these fields.
void conf_release(const struct conf_row *rows, size_t count, void *target);
// What a line about the row begins with: the variable that sets it, "FILE:LINE:COLUMN: PATH", or
// where nothing does, "FILE: PATH".
void conf_label(
    const struct conf_file *file, const struct conf_row *row, char text[CONF_LABEL_SIZE]);
// Refuses what the file holds and no row names, and variables with the prefix and "__" that name no
// row; suggests what may be meant. extra: further paths, which may hold anything, ended by NULL (or
// NULL).
void conf_refuse_unknown(const struct conf_row *rows, size_t count, const char *const *extra,
    const struct conf_file *file, struct conf_problems *problems);
// "PREFIX_TLS__LISTEN_ADDR" of "tls.listen_addr".
#define CONF_VARIABLE_SIZE 128
void conf_variable(const char *prefix, const char *path, char text[CONF_VARIABLE_SIZE]);

// Tells what rows of CONF_PATH hold, where they are set.
void conf_each_path(const struct conf_row *rows, size_t count, const void *target,
    void (*found)(void *arg, const char *path), void *arg);
// Whether a field holds the same in both.
bool conf_same(const struct conf_row *row, const void *a, const void *b);
// Makes the fields of rows without CONF_LIVE in target what they are in old: what a reload may not
// change. False without memory; the target may be released as ever.
bool conf_keep(
    const struct conf_row *rows, size_t count, const void *old, void *target) WEIR_MUST_CHECK;
// Appends the manual: Markdown, one table a group, in the order of the rows. Values with "|" in
// them would break it.
void conf_manual(const struct conf_row *rows, size_t count, struct buf *out);
// The same for rows of a file, with their variables (prefix NULL: there are none) and whether a
// reload takes them.
void conf_manual_file(
    const struct conf_row *rows, size_t count, const char *prefix, struct buf *out);
// Appends the effective values of rows of a file as YAML that reads back to the same, each with
// where it comes from: set[i]. Secrets are hidden. Rows of one section must follow one another.
void conf_print(const struct conf_row *rows, size_t count, const void *target, const bool *set,
    struct buf *out);

// True for 127.0.0.0/8, ::1 and "localhost".
bool conf_listen_is_loopback(const struct conf_listen *listen);
// "HOST:PORT", with brackets around IPv6; also for the argument of --listen, with min 0.
enum weir_result conf_listen_parse(
    struct slice text, uint64_t port_min, struct conf_listen *ret_listen) WEIR_MUST_CHECK;

// The real environment and file system.
extern const struct conf_source conf_environment;

#endif
