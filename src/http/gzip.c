// SPDX-License-Identifier: Apache-2.0
#include "http/gzip.h"

#include <stdint.h>
#include <zlib.h>

#include "base/mem.h"

#define LEVEL 1 // documents of names and numbers: the rest of the levels costs much for little
#define WINDOW_BITS_GZIP (15 + 16)
#define MEM_LEVEL 8

// "0", "0.", "0.000": the coding is refused. Anything else, a bad number included, is not.
static bool is_zero(struct slice weight)
{
    for (size_t i = 0; i < weight.len; i++) {
        if (weight.at[i] != '0' && weight.at[i] != '.') {
            return false;
        }
    }
    return weight.len > 0;
}

// One member of the list; the weight is "" when there is none.
static struct slice read_member(struct slice member, struct slice *ret_weight)
{
    struct slice coding = SLICE_EMPTY;
    struct slice parameter;
    *ret_weight = SLICE_EMPTY;
    if (!slice_split(&member, ';', &coding)) {
        return SLICE_EMPTY;
    }
    while (member.at != NULL && slice_split(&member, ';', &parameter)) {
        parameter = slice_trim(parameter);
        if (slice_starts_with_nocase(parameter, SLICE("q="))) {
            *ret_weight = slice_trim(slice_skip(parameter, 2));
        }
    }
    return slice_trim(coding);
}

bool gzip_is_accepted(struct slice accept_encoding)
{
    bool any = false; // what "*" says, for a list that does not name it
    struct slice member;
    struct slice weight;
    while (slice_split(&accept_encoding, ',', &member)) {
        struct slice coding = read_member(member, &weight);
        if (slice_eq_nocase(coding, SLICE("gzip")) || slice_eq_nocase(coding, SLICE("x-gzip"))) {
            return !is_zero(weight);
        }
        any = any || (slice_eq(coding, SLICE("*")) && !is_zero(weight));
    }
    return any;
}

static voidpf take(voidpf arg, uInt items, uInt size)
{
    (void)arg;
    return mem_zalloc((size_t)items * size);
}

static void give(voidpf arg, voidpf block)
{
    (void)arg;
    mem_free(block);
}

enum weir_result gzip_pack(struct slice plain, struct buf *out)
{
    z_stream stream = {.zalloc = take, .zfree = give};
    if (plain.len > UINT32_MAX / 2) {
        return WEIR_FULL;
    }
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW_BITS_GZIP, MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return WEIR_MEMORY;
    }
    size_t room = deflateBound(&stream, (uLong)plain.len);
    char *at = buf_reserve(out, room);
    if (at == NULL) {
        deflateEnd(&stream);
        return WEIR_MEMORY;
    }
    stream.next_in = (Bytef *)(uintptr_t)plain.at; // it is only read
    stream.avail_in = (uInt)plain.len;
    stream.next_out = (Bytef *)at;
    stream.avail_out = (uInt)room;
    bool whole = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    size_t len = room - stream.avail_out;
    deflateEnd(&stream);
    weir_assert(whole); // deflateBound says what it takes at the most
    buf_commit(out, len);
    return WEIR_OK;
}
