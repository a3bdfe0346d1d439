// SPDX-License-Identifier: Apache-2.0
// Input: a file. What must hold: a refusal says where; what was read keeps the limits and every
// node is found under its key.
#include <stdint.h>

#include "conf/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct yml_limits limits = {
    .bytes_max = 4096, .nodes_max = 500, .aliases_max = 50, .depth_max = 12};

static size_t check(const struct yml_node *node, unsigned depth)
{
    char path[YML_PATH_SIZE];
    size_t nodes = 1;
    size_t position = 0;
    yml_path(node, path);
    weir_assert(node->at.line > 0 && node->at.column > 0);
    weir_assert(node->kind == YML_SCALAR || depth <= limits.depth_max);
    weir_assert(node->text.at[node->text.len] == '\0' && node->key.at[node->key.len] == '\0');
    yml_for_each (child, node) {
        weir_assert(child->parent == node && child->position == position++);
        weir_assert(node->kind != YML_MAPPING || yml_get(node, child->key) == child);
        nodes += check(child, depth + 1);
    }
    weir_assert(node->count == position);
    return nodes;
}

static void read_scalars(const struct yml_node *node)
{
    struct slice text;
    bool flag;
    int64_t whole;
    double number;
    uint64_t ns;
    // A whole number is a number; null is nothing else.
    weir_assert(yml_int(node, &whole) != WEIR_OK || yml_float(node, &number) == WEIR_OK ||
                slice_starts_with(node->text, SLICE("0")));
    weir_assert(!yml_is_null(node) ||
                (yml_text(node, &text) != WEIR_OK && yml_bool(node, &flag) != WEIR_OK &&
                    yml_duration(node, &ns) != WEIR_OK));
    yml_for_each (child, node) {
        read_scalars(child);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yml_document document;
    struct conf_problems problems;
    conf_problems_init(&problems);
    enum weir_result result =
        yml_parse(slice_of((const char *)data, size), "f", &limits, &document, &problems);
    weir_assert((result == WEIR_OK) == (problems.errors.len == 0));
    if (document.root != NULL) {
        weir_assert(check(document.root, 1) <= limits.nodes_max);
        read_scalars(document.root);
    }
    yml_close(&document);
    conf_problems_fini(&problems);
    return 0;
}
