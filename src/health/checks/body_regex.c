// SPDX-License-Identifier: Apache-2.0
// glibc copies what is repeated: a{2}{3} is compiled as six letters, and x+ as xx*. The copies are
// counted before it may make them. It looks for a match from every byte of a text, each time up to
// the end; behind "^.*" it looks once. An expression with a "^" of its own means something else
// there, and stays as it is.
#include "health/checks/body_regex.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

#define COPIES_MAX 10000
#define DEPTH_MAX 32

// Sizes after expansion. groups[depth] is the innermost open group, last what was read last in it.
struct measure {
    const char *at;
    size_t groups[DEPTH_MAX + 1];
    size_t last;
    unsigned depth;
    bool caret; // "^" stands somewhere
};

static void add(struct measure *measure, size_t size)
{
    measure->groups[measure->depth] += size;
    measure->last = size;
}

static void repeat(struct measure *measure, size_t times)
{
    size_t more = measure->last * (times - 1);
    measure->groups[measure->depth] += more;
    measure->last += more;
}

// Behind "[": "]" is an ordinary byte where it stands first, and [:classes:] have one of their own.
static void skip_bracket(struct measure *measure)
{
    const char *at = measure->at;
    at += *at == '^';
    at += *at == ']';
    while (*at != '\0' && *at != ']') {
        char kind = *at == '[' ? at[1] : '\0';
        at++;
        if (kind == ':' || kind == '.' || kind == '=') {
            at++;
            while (*at != '\0' && (at[0] != kind || at[1] != ']')) {
                at++;
            }
            at += *at == '\0' ? 0 : 2;
        }
    }
    measure->at = at + (*at == ']');
}

// Behind "{": "m", "m,", "m,n" or ",n", and "}".
static void read_bounds(struct measure *measure)
{
    size_t times = 0;
    for (; *measure->at != '\0' && *measure->at != '}'; measure->at++) {
        bool digit = *measure->at >= '0' && *measure->at <= '9';
        size_t value = digit ? times * 10 + (size_t)(*measure->at - '0') : 0;
        // The larger one comes last; "m," is m and one more.
        times = digit ? (value > COPIES_MAX ? COPIES_MAX : value)
                      : (measure->at[1] == '}' ? times + 1 : 0);
    }
    measure->at += *measure->at == '}';
    repeat(measure, times == 0 ? 1 : times);
}

static const char *step(struct measure *measure)
{
    size_t size;
    char byte = *measure->at++;
    switch (byte) {
    case '\\':
        if (*measure->at >= '1' && *measure->at <= '9') {
            return "back references are not allowed";
        }
        measure->at += *measure->at != '\0';
        add(measure, 1);
        break;
    case '[':
        skip_bracket(measure);
        add(measure, 1);
        break;
    case '(':
        if (measure->depth == DEPTH_MAX) {
            return "too many parentheses inside one another";
        }
        measure->groups[++measure->depth] = 1;
        break;
    case ')':
        if (measure->depth == 0) {
            return "unmatched )";
        }
        size = measure->groups[measure->depth--];
        add(measure, size);
        break;
    case '{':
        read_bounds(measure);
        break;
    case '+':
        repeat(measure, 2);
        break;
    default:
        measure->caret = measure->caret || byte == '^';
        if (byte != '*' && byte != '?') {
            add(measure, 1);
        }
        break;
    }
    return measure->groups[measure->depth] > COPIES_MAX
               ? "too long when repetitions are written out"
               : NULL;
}

bool body_regex_usable(const char *expression, char *text, size_t size)
{
    struct measure measure = {.at = expression};
    const char *problem = NULL;
    while (problem == NULL && *measure.at != '\0') {
        problem = step(&measure);
    }
    if (problem != NULL) {
        snprintf(text, size, "%s", problem);
        return false;
    }
    regex_t compiled;
    int code = regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        regerror(code, &compiled, text, size);
        return false;
    }
    regfree(&compiled);
    return true;
}

static bool has_caret(const char *expression)
{
    struct measure measure = {.at = expression};
    while (*measure.at != '\0' && step(&measure) == NULL) {
    }
    return measure.caret;
}

bool body_regex_matches(const char *expression, struct slice body)
{
    struct buf anchored = BUF_INIT(strlen(expression) + 8);
    regex_t compiled;
    bool found = false;
    buf_printf(&anchored, has_caret(expression) ? "%s" : "^.*(%s)", expression);
    const char *pattern = buf_text(&anchored);
    char *text = mem_copy(body.at, body.len);
    if (pattern != NULL && text != NULL &&
        regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) == 0) {
        found = regexec(&compiled, text, 0, NULL, 0) == 0;
        regfree(&compiled);
    }
    mem_free(text);
    buf_reset(&anchored);
    return found;
}
