// SPDX-License-Identifier: Apache-2.0
#include "health/api/tokens.h"

#include <stdio.h>

#include "base/mem.h"
#include "sys/file.h"

#define FILE_LEN_MAX (1024 * 1024)
#define TOKENS_MAX 4096
#define TOKEN_LEN_MIN 16

static bool read_role(struct slice text, enum role *ret_role)
{
    static const char *const names[] = {
        [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator", [ROLE_ADMIN] = "admin"};
    for (unsigned role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
        if (slice_eq(text, slice_str(names[role]))) {
            *ret_role = role;
            return true;
        }
    }
    return false;
}

static bool read_line(struct slice line, struct token *ret_token)
{
    struct slice rest = line;
    struct slice word;
    struct slice last = SLICE_EMPTY;
    ret_token->text = SLICE_EMPTY;
    while (slice_split(&rest, ' ', &word)) {
        word = slice_trim(word);
        if (word.len == 0) {
            continue;
        }
        if (ret_token->text.len == 0) {
            ret_token->text = word;
        } else if (last.len == 0) {
            last = word;
        } else {
            return false;
        }
    }
    return ret_token->text.len >= TOKEN_LEN_MIN && read_role(last, &ret_token->role);
}

static enum weir_result read_lines(struct token_list *list, char *problem, size_t size)
{
    struct slice rest = buf_slice(&list->text);
    struct slice line;
    unsigned number = 0;
    while (slice_split(&rest, '\n', &line)) {
        line = slice_trim(line);
        number++;
        if (line.len == 0 || line.at[0] == '#') {
            continue;
        }
        // The line holds a secret: it is named, not shown.
        if (list->count == TOKENS_MAX || !read_line(line, &list->tokens[list->count])) {
            snprintf(problem, size,
                "line %u is not usable; allowed: a token of at least %d bytes and viewer, operator "
                "or admin",
                number, TOKEN_LEN_MIN);
            return WEIR_MALFORMED;
        }
        list->count++;
    }
    return WEIR_OK;
}

enum weir_result token_list_load(
    struct token_list *list, const char *path, char *problem, size_t size)
{
    struct token_list loaded = {.tokens = mem_zalloc(TOKENS_MAX * sizeof *loaded.tokens)};
    buf_init(&loaded.text, FILE_LEN_MAX);
    enum weir_result result =
        loaded.tokens == NULL ? WEIR_MEMORY : sys_file_read_plain(path, FILE_LEN_MAX, &loaded.text);
    if (result != WEIR_OK) {
        snprintf(problem, size, "cannot be read: %s", weir_result_text(result));
    } else {
        result = read_lines(&loaded, problem, size);
    }
    if (result != WEIR_OK) {
        token_list_fini(&loaded);
        return result;
    }
    token_list_fini(list);
    *list = loaded;
    return WEIR_OK;
}

void token_list_fini(struct token_list *list)
{
    buf_reset(&list->text);
    mem_free(list->tokens);
    *list = (struct token_list){0};
}

enum role token_list_role(const struct token_list *list, struct slice token)
{
    enum role role = ROLE_NOBODY;
    for (size_t i = 0; i < list->count; i++) {
        if (slice_eq_secret(list->tokens[i].text, token)) {
            role = list->tokens[i].role;
        }
    }
    return role;
}
