// SPDX-License-Identifier: Apache-2.0
// Who may do what with the API (spec section 4.1): static bearer tokens out of a file, a line each:
// "TOKEN ROLE". Blank lines and lines with '#' in front count for nothing.
#ifndef WEIR_HEALTH_TOKENS_H
#define WEIR_HEALTH_TOKENS_H

#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"

// Each may do what those before it may.
enum role { ROLE_NOBODY, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

struct token {
    struct slice text; // in token_list.text
    enum role role;
};

struct token_list {
    struct buf text;      // owned
    struct token *tokens; // owned
    size_t count;
};

// Replaces the list by what the file says. On any failure the list is as it was, and problem says
// why: WEIR_MALFORMED, WEIR_MEMORY, or what reading the file gave.
enum weir_result token_list_load(
    struct token_list *list, const char *path, char *problem, size_t size) WEIR_MUST_CHECK;
void token_list_fini(struct token_list *list);
// ROLE_NOBODY for a token that is not in the list. Takes the same time for all of one length.
enum role token_list_role(const struct token_list *list, struct slice token);

#endif
