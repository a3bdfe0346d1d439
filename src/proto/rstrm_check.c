// SPDX-License-Identifier: Apache-2.0
// A walk over the wire form before the protobuf library sees it. The library copies strings to
// NUL-terminated ones, so "a\0b" would silently become "a"; it does not look at UTF-8, and it skips
// what it does not know without a word. Here everything is judged, by the library's own
// descriptors.
//
// Groups (wire types 3 and 4) were never part of proto3. A known field of another wire type is
// refused, though protobuf would call it unknown: nobody honest sends one.
#include <string.h>

#include "base/utf8.h"
#include "proto/rstrm_forms.h"

#define DEPTH_MAX 8
#define VARINT_BYTES_MAX 10
#define TAG_BYTES_MAX 5
#define FIELD_NUMBER_MAX ((1u << 29) - 1)

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool take_varint(struct slice *bytes, size_t size_max, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes->len && i < size_max; i++) {
        uint8_t byte = (uint8_t)bytes->at[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *bytes = slice_skip(*bytes, i + 1);
            *ret_value = value;
            return i + 1 < VARINT_BYTES_MAX || byte <= 1;
        }
    }
    return false;
}

static bool take_bytes(struct slice *bytes, uint64_t len, struct slice *ret_taken)
{
    if (len > bytes->len) {
        return false;
    }
    *ret_taken = slice_of(bytes->at, (size_t)len);
    *bytes = slice_skip(*bytes, (size_t)len);
    return true;
}

static bool take_value(struct slice *bytes, unsigned wire, struct slice *ret_content)
{
    uint64_t number = 0;
    switch (wire) {
    case WIRE_VARINT:
        return take_varint(bytes, VARINT_BYTES_MAX, &number);
    case WIRE_64:
        return take_bytes(bytes, 8, ret_content);
    case WIRE_32:
        return take_bytes(bytes, 4, ret_content);
    case WIRE_BYTES:
        // A length needs no more than a tag does: a frame is 65535 bytes.
        return take_varint(bytes, TAG_BYTES_MAX, &number) && take_bytes(bytes, number, ret_content);
    default:
        return false;
    }
}

static unsigned expected_wire(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_FIXED32:
        return WIRE_32;
    default:
        return WIRE_VARINT;
    }
}

static enum weir_result check(
    struct slice bytes, const ProtobufCMessageDescriptor *type, unsigned depth)
{
    while (bytes.len > 0) {
        uint64_t tag;
        if (!take_varint(&bytes, TAG_BYTES_MAX, &tag) || tag >> 3 == 0 ||
            tag >> 3 > FIELD_NUMBER_MAX) {
            return WEIR_MALFORMED;
        }
        unsigned wire = (unsigned)tag & 7;
        struct slice content = SLICE_EMPTY;
        if (!take_value(&bytes, wire, &content)) {
            return WEIR_MALFORMED;
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (field == NULL) {
            continue;
        }
        if (wire != expected_wire(field)) {
            return WEIR_MALFORMED;
        }
        if (field->type == PROTOBUF_C_TYPE_STRING &&
            (slice_find(content, '\0') >= 0 || !utf8_valid(content))) {
            return WEIR_MALFORMED;
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == DEPTH_MAX || check(content, field->descriptor, depth + 1) != WEIR_OK)) {
            return WEIR_MALFORMED;
        }
    }
    return WEIR_OK;
}

enum weir_result rstrm_check(struct slice payload, const ProtobufCMessageDescriptor *type)
{
    return check(payload, type, 1);
}
