// SPDX-License-Identifier: Apache-2.0
// One YAML file as a tree of nodes that know where they stand, so that every mistake in it can be
// named as "file:line:column: path: what is wrong". Read over libyaml's events; YAML 1.1 in form,
// the core schema of YAML 1.2 (section 10.3.2) in meaning.
//
// Bounded: bytes, depth, nodes and aliases. An alias stands for a copy of what it names, and the
// copies count as nodes, so that a small file cannot stand for a large tree. Merge keys ("<<") are
// resolved: what the map itself says wins, then earlier maps of a list. Refused: two documents,
// a key twice, keys that are no scalars, tags beyond the core ones, anything but UTF-8.
#ifndef WEIR_CONF_YAML_H
#define WEIR_CONF_YAML_H

#include <stdint.h>

#include "base/arena.h"
#include "base/result.h"
#include "base/slice.h"
#include "conf/conf.h"

enum yml_kind {
    YML_SCALAR,
    YML_SEQUENCE,
    YML_MAPPING,
};

// Both count from 1; columns count characters. Lines of 0: nowhere.
struct yml_place {
    unsigned line;
    unsigned column;
};

// Valid until yml_close. All text is NUL-terminated too (and may hold NUL bytes: "\0" in quotes).
struct yml_node {
    struct yml_node *parent; // NULL: the root
    struct yml_node *first;  // of the children, in the order of the file; NULL: none
    struct yml_node *next;   // sibling
    struct yml_node **index; // the children of a mapping, ordered by key
    size_t count;            // of the children
    size_t position;         // among its siblings, from 0
    struct slice key;        // in a mapping
    struct slice text;       // of a scalar, without quotes
    struct yml_place key_at;
    struct yml_place at; // of the value; of a copy, the place of the original
    enum yml_kind kind;
    bool plain;  // a scalar without quotes and not tagged !!str: "true" and true differ
    bool merged; // came into its mapping by a merge key
};

struct yml_limits {
    size_t bytes_max;
    size_t nodes_max;   // keys and values, and the copies behind aliases
    size_t aliases_max; // uses of anchors
    unsigned depth_max; // mappings and sequences inside one another; the root is depth 1
};
// 16 MiB, 250,000 nodes, 20,000 aliases, 64 deep: a registry of a few thousand services.
extern const struct yml_limits yml_limits_default;

struct yml_document {
    const struct yml_node *root; // NULL: the file holds nothing, or its syntax is broken
    const char *file;            // owned; the name for messages
    struct arena arena;
};

// Parses text; `file` is the name for messages. Nothing of text is kept.
// WEIR_MALFORMED: something was refused, and problems->errors says what. Broken syntax and limits
// end the reading there, and the tree is empty; after any other mistake the reading goes on and
// the tree holds the rest, so that the caller may check it and report more. WEIR_MEMORY.
// The document wants yml_close in every case.
enum weir_result yml_parse(struct slice text, const char *file, const struct yml_limits *limits,
    struct yml_document *ret_document, struct conf_problems *problems) WEIR_MUST_CHECK;
// The same for a file, which is read whole. One that cannot be read is a problem, too, and
// WEIR_NOT_FOUND, WEIR_PERMISSION or WEIR_IO.
enum weir_result yml_load(const char *path, const struct yml_limits *limits,
    struct yml_document *ret_document, struct conf_problems *problems) WEIR_MUST_CHECK;
// Frees the tree. Fine for a zeroed document, and twice.
void yml_close(struct yml_document *document);

// ---- Looking. All of these take NULL for a node that is not there.

// The child of a mapping, or NULL: also for what is no mapping, so that lookups may be chained.
const struct yml_node *yml_get(const struct yml_node *node, struct slice key);
// Follows keys joined by dots ("tls.listen_addr").
const struct yml_node *yml_find(const struct yml_node *node, struct slice path);
static inline const struct yml_node *yml_first(const struct yml_node *node)
{
    return node == NULL ? NULL : node->first;
}
#define yml_for_each(child, node)                                                                  \
    for (const struct yml_node *child = yml_first(node); child != NULL; child = child->next)
static inline bool yml_is(const struct yml_node *node, enum yml_kind kind)
{
    return node != NULL && node->kind == kind;
}

// ---- Meaning. They report nothing: the caller knows what is allowed. WEIR_MALFORMED: not of that
// type (or not there); WEIR_TOO_LARGE: does not fit.

// Not there, or a plain scalar that is empty, "~" or "null".
bool yml_is_null(const struct yml_node *node);
// Any scalar that is not null, as written: 22 and "22" are the same text.
enum weir_result yml_text(const struct yml_node *node, struct slice *ret_text) WEIR_MUST_CHECK;
// A plain true or false, and what YAML 1.1 also took for them: yes, no, on, off; in any case.
enum weir_result yml_bool(const struct yml_node *node, bool *ret_value) WEIR_MUST_CHECK;
// A plain whole number: -7, 0o17, 0x1f. Leading zeros do not make it octal.
enum weir_result yml_int(const struct yml_node *node, int64_t *ret_value) WEIR_MUST_CHECK;
// A plain finite number: 1, -0.5, 1e3.
enum weir_result yml_float(const struct yml_node *node, double *ret_value) WEIR_MUST_CHECK;
// Seconds as a number that is not negative (5, 0.25), or numbers with units, in quotes or not:
// 500ms, 5s, 1m, 1h30m, 720h, 7d; at most 100 years. Nanoseconds.
enum weir_result yml_duration(const struct yml_node *node, uint64_t *ret_ns) WEIR_MUST_CHECK;
// The same for text from elsewhere.
enum weir_result yml_duration_text(struct slice text, uint64_t *ret_ns) WEIR_MUST_CHECK;

// ---- Messages

// What stands there, for "found ...": "a map", "a list", "null", "text", "a number", "true or
// false".
const char *yml_kind_text(const struct yml_node *node);
// "services.web.ports[1]", NUL-terminated, cut at the front when it does not fit; keys that hold
// more than letters, digits, '_' and '-' stand in quotes. "" for the root.
#define YML_PATH_SIZE 256
void yml_path(const struct yml_node *node, char text[YML_PATH_SIZE]);
// "file:line:column: path: message" to the errors or the warnings; "file: message" for a node that
// is NULL. The place is that of the value, or with _key_ that of the key (the value's, where there
// is no key).
void yml_error(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...) WEIR_PRINTF(4, 5);
void yml_key_error(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...) WEIR_PRINTF(4, 5);
void yml_warning(const struct yml_document *document, const struct yml_node *node,
    struct conf_problems *problems, const char *format, ...) WEIR_PRINTF(4, 5);

#endif
