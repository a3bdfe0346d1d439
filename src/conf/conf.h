// SPDX-License-Identifier: Apache-2.0
// Configuration as tables. A key is a row: how it is called, what it may hold, where it goes, and
// what the manual says about it. Reading, checking, the manual and the tests all come from the row.
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
};

struct conf_networks {
    struct ip_network *items; // owned
    size_t count;
};

struct conf_words {
    char **items; // owned
    size_t count;
};

struct conf_row {
    const char *name;
    const char *other;    // an older name that is read when `name` is not set; NULL: none
    const char *fallback; // default as text; NULL: not set
    const char *choices;  // "a|b|c": words of a CHOICE, schemes of a URL
    const char *group;    // heading in the manual
    const char *meaning;
    size_t offset; // of the field
    uint64_t min;
    uint64_t max;
    enum conf_type type;
};

// The longest value of any type that is one text.
#define CONF_TEXT_LEN_MAX 4095

// Where values come from. get returns NULL for what is not set; text of blanks counts as not set.
struct conf_source {
    const char *(*get)(void *arg, const char *name);
    bool (*file_exists)(void *arg, const char *path);
    void *arg;
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
// Frees what the fields own and clears these fields.
void conf_release(const struct conf_row *rows, size_t count, void *target);
// Appends the manual: Markdown, one table a group, in the order of the rows. Values with "|" in
// them would break it.
void conf_manual(const struct conf_row *rows, size_t count, struct buf *out);

// The real environment and file system.
extern const struct conf_source conf_environment;

#endif
