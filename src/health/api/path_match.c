// SPDX-License-Identifier: Apache-2.0
#include "health/api/path_match.h"

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

static bool decode_part(struct slice part, char text[PATH_PART_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; i < part.len; i++) {
        char byte = part.at[i];
        bool escape = byte == '%' && i + 2 < part.len;
        if (escape && hex_value(part.at[i + 1]) >= 0 && hex_value(part.at[i + 2]) >= 0) {
            byte = (char)(hex_value(part.at[i + 1]) * 16 + hex_value(part.at[i + 2]));
            i += 2;
        }
        if (len + 1 >= PATH_PART_SIZE || byte == '\0') {
            return false;
        }
        text[len++] = byte;
    }
    text[len] = '\0';
    return len > 0;
}

bool path_matches(const char *pattern, struct slice path, struct path_parts *ret_parts)
{
    struct slice wanted = slice_str(pattern);
    struct slice wanted_part;
    struct slice part;
    size_t count = 0;
    for (size_t i = 0; i < PATH_PARTS_MAX; i++) {
        ret_parts->text[i][0] = '\0';
    }
    while (slice_split(&wanted, '/', &wanted_part)) {
        if (!slice_split(&path, '/', &part)) {
            return false;
        }
        ptrdiff_t brace = slice_find(wanted_part, '}');
        if (brace > 0) {
            struct slice suffix = slice_skip(wanted_part, (size_t)brace + 1);
            if (count == PATH_PARTS_MAX || !slice_ends_with(part, suffix)) {
                return false;
            }
            part.len -= suffix.len;
            if (!decode_part(part, ret_parts->text[count++])) {
                return false;
            }
        } else if (!slice_eq(part, wanted_part)) {
            return false;
        }
    }
    return path.at == NULL;
}
