// SPDX-License-Identifier: Apache-2.0
#include "ws.h"

#include <string.h>

#include "util.h"

static size_t head_size(size_t len)
{
    size_t extended = len < 126 ? 0 : len <= 0xffff ? 2 : 8;
    return 2 + extended + 4;
}

size_t ws_frame_size(size_t len)
{
    return head_size(len) + len;
}

size_t ws_frame_write(uint8_t *out, unsigned opcode, const void *payload, size_t len)
{
    size_t head = head_size(len);
    unsigned extended = (unsigned)head - 6;
    out[0] = (uint8_t)(0x80u | opcode);
    out[1] = (uint8_t)(0x80u | (extended == 0 ? len : extended == 2 ? 126 : 127));
    for (unsigned i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (extended - 1 - i)));
    uint8_t *mask = out + 2 + extended;
    uint32_t bits = (uint32_t)util_random();
    memcpy(mask, &bits, sizeof bits);
    const uint8_t *from = payload;
    for (size_t i = 0; i < len; i++)
        out[head + i] = from[i] ^ mask[i & 3];
    return head + len;
}

static unsigned head_needed(const struct ws_reader *r)
{
    if (r->head_len < 2)
        return 2;
    unsigned code = r->head[1] & 0x7f;
    unsigned mask = (r->head[1] & 0x80) != 0 ? 4 : 0;
    return 2 + (code == 126 ? 2u : code == 127 ? 8u : 0u) + mask;
}

static void head_finish(struct ws_reader *r)
{
    unsigned code = r->head[1] & 0x7f;
    unsigned extended = code == 126 ? 2 : code == 127 ? 8 : 0;
    r->fin = (r->head[0] & 0x80) != 0;
    r->opcode = r->head[0] & 0x0f;
    r->masked = (r->head[1] & 0x80) != 0;
    r->len = extended == 0 ? code : 0;
    for (unsigned i = 0; i < extended; i++)
        r->len = r->len << 8 | r->head[2 + i];
    if (r->masked)
        memcpy(r->mask, r->head + 2 + extended, sizeof r->mask);
    r->seen = 0;
    r->head_len = 0;
    r->in_payload = true;
}

bool ws_read(struct ws_reader *r, const uint8_t **data, size_t *len, struct ws_piece *ret_piece)
{
    while (!r->in_payload) {
        unsigned needed = head_needed(r);
        if (r->head_len >= 2 && r->head_len == needed) {
            head_finish(r);
            break;
        }
        if (*len == 0)
            return false;
        r->head[r->head_len++] = **data;
        (*data)++;
        (*len)--;
    }
    if (*len == 0 && r->seen < r->len)
        return false;
    uint64_t left = r->len - r->seen;
    size_t take = left < *len ? (size_t)left : *len;
    *ret_piece = (struct ws_piece){*data, take, r->seen, take == left};
    r->seen += take;
    r->in_payload = take != left;
    *data += take;
    *len -= take;
    return true;
}

void ws_unmask(const struct ws_reader *r, const struct ws_piece *piece, uint8_t *out)
{
    if (!r->masked) {
        memcpy(out, piece->data, piece->len);
        return;
    }
    for (size_t i = 0; i < piece->len; i++)
        out[i] = piece->data[i] ^ r->mask[(piece->offset + i) & 3];
}
