// SPDX-License-Identifier: Apache-2.0
// Optimal string alignment: edits of one letter and swaps of two neighbours, counted row by row.
#include "conf/nearest.h"

#include <ctype.h>

#define WORD_LEN_MAX 64 // longer words are no keys of ours

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned distance(struct slice a, struct slice b)
{
    unsigned rows[3][WORD_LEN_MAX + 1];
    for (unsigned column = 0; column <= b.len; column++) {
        rows[0][column] = column;
    }
    for (unsigned row = 1; row <= a.len; row++) {
        unsigned *now = rows[row % 3];
        const unsigned *above = rows[(row + 2) % 3];
        const unsigned *two_above = rows[(row + 1) % 3];
        now[0] = row;
        for (unsigned column = 1; column <= b.len; column++) {
            bool same = same_letter(a.at[row - 1], b.at[column - 1]);
            now[column] =
                smaller(above[column - 1] + !same, smaller(above[column], now[column - 1]) + 1);
            if (row > 1 && column > 1 && same_letter(a.at[row - 1], b.at[column - 2]) &&
                same_letter(a.at[row - 2], b.at[column - 1])) {
                now[column] = smaller(now[column], two_above[column - 2] + 1);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

const char *conf_nearest(struct slice word, const char *const *known, size_t count)
{
    const char *nearest = NULL;
    if (word.len == 0 || word.len > WORD_LEN_MAX) {
        return NULL;
    }
    // One letter of a short word, a third of a long one: more is another word.
    unsigned best = (unsigned)(word.len < 6 ? 1 : word.len / 3) + 1;
    for (size_t i = 0; i < count; i++) {
        struct slice other = slice_str(known[i]);
        unsigned edits = other.len > WORD_LEN_MAX ? best : distance(word, other);
        if (edits < best) {
            best = edits;
            nearest = known[i];
        }
    }
    return nearest;
}
