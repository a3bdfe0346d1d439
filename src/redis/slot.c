// SPDX-License-Identifier: Apache-2.0
#include "redis/slot.h"

// CRC-16/XMODEM: polynomial 0x1021, from 0, not reflected. Keys are short: four bits a step.
static uint16_t crc16(struct slice bytes)
{
    static const uint16_t table[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6,
        0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    uint32_t crc = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        uint32_t byte = (unsigned char)bytes.at[i];
        crc = ((crc << 4) ^ table[((crc >> 12) ^ (byte >> 4)) & 0xf]) & 0xffff;
        crc = ((crc << 4) ^ table[((crc >> 12) ^ byte) & 0xf]) & 0xffff;
    }
    return (uint16_t)crc;
}

uint16_t redis_slot(struct slice key)
{
    ptrdiff_t open = slice_find(key, '{');
    if (open >= 0) {
        struct slice inner = slice_skip(key, (size_t)open + 1);
        ptrdiff_t shut = slice_find(inner, '}');
        if (shut > 0) {
            key = slice_of(inner.at, (size_t)shut);
        }
    }
    return (uint16_t)(crc16(key) % REDIS_SLOT_COUNT);
}
