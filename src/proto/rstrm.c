// SPDX-License-Identifier: Apache-2.0
// rstrm frames to structs and back. The protobuf library does the wire format; everything it
// allocates comes from an arena with a bound, and never leaves this file.
//
//   payload -> rstrm_check -> the library's structs -> ours        (both in the caller's arena)
//   ours    -> the library's structs -> payload behind its length  (in an arena of this call)
//
// 1. The table of forms (rstrm_forms.c) is the only place that knows fields; both directions walk
//    it.
// 2. Nothing is freed on the way: the library's free is a no-op, and the arena's bound is what
//    keeps a hostile frame (thousands of empty unknown fields) from asking for megabytes.
#include "proto/rstrm.h"

#include <google/protobuf/wrappers.pb-c.h>
#include <rstrm.pb-c.h>
#include <string.h>

#include "proto/rstrm_forms.h"

#define ENCODE_BYTES_MAX 262144 // 65535 bytes of text, copied, and the structs around it

enum weir_result rstrm_next_frame(struct slice bytes, struct slice *ret_payload)
{
    if (bytes.len < RSTRM_LENGTH_SIZE) {
        return WEIR_AGAIN;
    }
    const uint8_t *at = (const uint8_t *)bytes.at;
    uint32_t len = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    if (len > RSTRM_PAYLOAD_MAX) {
        return WEIR_TOO_LARGE;
    }
    if (bytes.len - RSTRM_LENGTH_SIZE < len) {
        return WEIR_AGAIN;
    }
    *ret_payload = slice_of(bytes.at + RSTRM_LENGTH_SIZE, len);
    return WEIR_OK;
}

// ---- Both directions ----------------------------------------------------------------------------

static void *alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void keep(void *arena, void *block)
{
    (void)arena;
    (void)block;
}

static enum weir_result why_null(const struct arena *arena)
{
    return arena->full ? WEIR_TOO_LARGE : WEIR_MEMORY;
}

// A field of the library's struct.
static const ProtobufCFieldDescriptor *field_of(
    const ProtobufCMessageDescriptor *type, uint32_t number)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
    weir_assert(field != NULL);
    return field;
}

static bool in_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

// ---- Decoding -----------------------------------------------------------------------------------

static enum weir_result read_form(struct arena *arena, const struct rstrm_form *form,
    const ProtobufCMessage *theirs, void *ours) WEIR_MUST_CHECK;

static enum weir_result read_list(
    struct arena *arena, char *const *items, size_t count, struct rstrm_list *ret_list)
{
    if (count == 0 || count > RSTRM_ITEMS_MAX) {
        return count == 0 ? WEIR_OK : WEIR_TOO_LARGE;
    }
    struct slice *slices = arena_alloc(arena, count * sizeof *slices);
    if (slices == NULL) {
        return why_null(arena);
    }
    for (size_t i = 0; i < count; i++) {
        slices[i] = slice_str(items[i]);
    }
    *ret_list = (struct rstrm_list){slices, count};
    return WEIR_OK;
}

static struct rstrm_label *find_label(
    struct rstrm_label *labels, size_t count, const struct rstrm_label *wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(labels[i].key, wanted->key)) {
            return &labels[i];
        }
    }
    return &labels[count];
}

static enum weir_result read_labels(struct arena *arena,
    Rstream__IoRstrm__Protobuf__TunnelProperties__LabelsEntry *const *entries, size_t count,
    struct rstrm_labels *ret_labels)
{
    if (count == 0 || count > RSTRM_ITEMS_MAX) {
        return count == 0 ? WEIR_OK : WEIR_TOO_LARGE;
    }
    struct rstrm_label *labels = arena_alloc(arena, count * sizeof *labels);
    if (labels == NULL) {
        return why_null(arena);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct rstrm_label label = {slice_str(entries[i]->key), slice_str(entries[i]->value)};
        struct rstrm_label *place = find_label(labels, kept, &label);
        kept += place == &labels[kept];
        *place = label;
    }
    *ret_labels = (struct rstrm_labels){labels, kept};
    return WEIR_OK;
}

static enum weir_result read_address(struct arena *arena,
    const Rstream__IoRstrm__Protobuf__IpAddress *address, const struct ip **ret_ip)
{
    if (address->address_case == RSTREAM__IO_RSTRM__PROTOBUF__IP_ADDRESS__ADDRESS__NOT_SET) {
        return WEIR_OK;
    }
    struct ip *ip = arena_alloc(arena, sizeof *ip);
    if (ip == NULL) {
        return why_null(arena);
    }
    *ret_ip = ip;
    if (address->address_case == RSTREAM__IO_RSTRM__PROTOBUF__IP_ADDRESS__ADDRESS_V4) {
        uint32_t v4 = address->v4;
        *ip = ip_from_v4((const uint8_t[4]){
            (uint8_t)(v4 >> 24), (uint8_t)(v4 >> 16), (uint8_t)(v4 >> 8), (uint8_t)v4});
        return WEIR_OK;
    }
    if (address->v6.len != sizeof ip->bytes) {
        return WEIR_MALFORMED;
    }
    *ip = ip_from_v6(address->v6.data);
    return WEIR_OK;
}

static enum weir_result read_sub(struct arena *arena, const struct rstrm_form *form,
    const ProtobufCMessage *theirs, void *pointer)
{
    void *ours = arena_alloc(arena, form->size);
    if (ours == NULL) {
        return why_null(arena);
    }
    memcpy(pointer, &ours, sizeof ours);
    return read_form(arena, form, theirs, ours);
}

// What a field that is a message points to.
static enum weir_result read_message(
    struct arena *arena, const struct rstrm_field *row, const ProtobufCMessage *theirs, void *ours)
{
    void *place = (char *)ours + row->offset;
    switch (row->type) {
    case RSTRM_FIELD_TEXT:
        *(struct slice *)place = slice_str(((const Google__Protobuf__StringValue *)theirs)->value);
        return WEIR_OK;
    case RSTRM_FIELD_SWITCH:
        *(enum rstrm_switch *)place =
            ((const Google__Protobuf__BoolValue *)theirs)->value ? RSTRM_TRUE : RSTRM_FALSE;
        return WEIR_OK;
    case RSTRM_FIELD_PORT:
        ((struct rstrm_tunnel_properties *)ours)->has_port = true;
        *(uint32_t *)place = ((const Google__Protobuf__UInt32Value *)theirs)->value;
        return WEIR_OK;
    case RSTRM_FIELD_ADDRESS:
        return read_address(arena, (const Rstream__IoRstrm__Protobuf__IpAddress *)theirs, place);
    case RSTRM_FIELD_FORM:
        return read_sub(arena, row->form, theirs, place);
    case RSTRM_FIELD_STRING:
    case RSTRM_FIELD_32:
    case RSTRM_FIELD_64:
    case RSTRM_FIELD_LIST:
    case RSTRM_FIELD_LABELS:
        break;
    }
    return WEIR_INVALID;
}

static enum weir_result read_field(
    struct arena *arena, const struct rstrm_field *row, const ProtobufCMessage *theirs, void *ours)
{
    const ProtobufCFieldDescriptor *field = field_of(theirs->descriptor, row->number);
    const char *from = (const char *)theirs + field->offset;
    const char *quantifier = (const char *)theirs + field->quantifier_offset;
    void *place = (char *)ours + row->offset;
    if (in_oneof(field) && *(const uint32_t *)(const void *)quantifier != row->number) {
        return WEIR_OK;
    }
    const void *value = from;
    switch (row->type) {
    case RSTRM_FIELD_STRING:
        *(struct slice *)place = slice_str(*(char *const *)value);
        return WEIR_OK;
    case RSTRM_FIELD_32:
        memcpy(place, value, sizeof(uint32_t));
        return WEIR_OK;
    case RSTRM_FIELD_64:
        memcpy(place, value, sizeof(uint64_t));
        return WEIR_OK;
    case RSTRM_FIELD_LIST:
        return read_list(
            arena, *(char **const *)value, *(const size_t *)(const void *)quantifier, place);
    case RSTRM_FIELD_LABELS:
        return read_labels(arena,
            *(Rstream__IoRstrm__Protobuf__TunnelProperties__LabelsEntry * *const *)value,
            *(const size_t *)(const void *)quantifier, place);
    case RSTRM_FIELD_TEXT:
    case RSTRM_FIELD_SWITCH:
    case RSTRM_FIELD_PORT:
    case RSTRM_FIELD_ADDRESS:
    case RSTRM_FIELD_FORM:
        break;
    }
    const ProtobufCMessage *message = *(const ProtobufCMessage *const *)value;
    return message == NULL ? WEIR_OK : read_message(arena, row, message, ours);
}

static enum weir_result read_form(
    struct arena *arena, const struct rstrm_form *form, const ProtobufCMessage *theirs, void *ours)
{
    for (size_t i = 0; i < form->field_count; i++) {
        enum weir_result result = read_field(arena, &form->fields[i], theirs, ours);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

enum weir_result rstrm_decode(
    struct slice payload, struct arena *arena, struct rstrm_message *ret_message)
{
    enum weir_result result = rstrm_check(payload, rstrm_envelope());
    if (result != WEIR_OK) {
        return result;
    }
    ProtobufCAllocator allocator = {alloc, keep, arena};
    arena->full = false;
    ProtobufCMessage *theirs = protobuf_c_message_unpack(
        rstrm_envelope(), &allocator, payload.len, (const uint8_t *)payload.at);
    if (theirs == NULL) {
        return why_null(arena);
    }
    const Rstream__IoRstrm__Protobuf__Message *envelope = (const void *)theirs;
    *ret_message = (struct rstrm_message){.kind = (enum rstrm_kind)envelope->message_case};
    const struct rstrm_form *form = rstrm_form_of(ret_message->kind);
    if (form == NULL) {
        return WEIR_OK;
    }
    // Any member of a union begins where the others do, in theirs as in ours.
    return read_form(arena, form, &envelope->heartbeat->base, &ret_message->heartbeat);
}

// ---- Encoding -----------------------------------------------------------------------------------

static enum weir_result write_form(struct arena *arena, const struct rstrm_form *form,
    const void *ours, ProtobufCMessage **ret_theirs) WEIR_MUST_CHECK;

static enum weir_result new_message(
    struct arena *arena, const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message)
{
    ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);
    if (message == NULL) {
        return why_null(arena);
    }
    protobuf_c_message_init(type, message);
    *ret_message = message;
    return WEIR_OK;
}

// The library's strings end at a NUL, so a text with one in it has no way to be sent.
static enum weir_result write_string(struct arena *arena, struct slice text, char **ret_string)
{
    if (slice_find(text, '\0') >= 0) {
        return WEIR_INVALID;
    }
    char *copy = arena_copy(arena, text);
    if (copy == NULL) {
        return why_null(arena);
    }
    *ret_string = copy;
    return WEIR_OK;
}

static enum weir_result write_list(
    struct arena *arena, const struct rstrm_list *list, char ***ret_items)
{
    char **items = arena_alloc(arena, list->count * sizeof *items);
    if (items == NULL) {
        return why_null(arena);
    }
    *ret_items = items;
    for (size_t i = 0; i < list->count; i++) {
        enum weir_result result = write_string(arena, list->at[i], &items[i]);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static enum weir_result write_label(struct arena *arena, const struct rstrm_label *label,
    const ProtobufCMessageDescriptor *type,
    Rstream__IoRstrm__Protobuf__TunnelProperties__LabelsEntry **ret_entry)
{
    ProtobufCMessage *message;
    enum weir_result result = new_message(arena, type, &message);
    if (result != WEIR_OK) {
        return result;
    }
    *ret_entry = (void *)message;
    result = write_string(arena, label->key, &(*ret_entry)->key);
    return result == WEIR_OK ? write_string(arena, label->value, &(*ret_entry)->value) : result;
}

static enum weir_result write_labels(struct arena *arena, const struct rstrm_labels *labels,
    const ProtobufCMessageDescriptor *type,
    Rstream__IoRstrm__Protobuf__TunnelProperties__LabelsEntry ***ret_entries)
{
    Rstream__IoRstrm__Protobuf__TunnelProperties__LabelsEntry **entries =
        arena_alloc(arena, labels->count * sizeof *entries);
    if (entries == NULL) {
        return why_null(arena);
    }
    *ret_entries = entries;
    for (size_t i = 0; i < labels->count; i++) {
        enum weir_result result = write_label(arena, &labels->at[i], type, &entries[i]);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static void write_address(const struct ip *ip, Rstream__IoRstrm__Protobuf__IpAddress *address)
{
    const uint8_t *bytes = ip->bytes;
    if (ip_is_v4(ip)) {
        address->address_case = RSTREAM__IO_RSTRM__PROTOBUF__IP_ADDRESS__ADDRESS_V4;
        address->v4 = (uint32_t)bytes[12] << 24 | (uint32_t)bytes[13] << 16 |
                      (uint32_t)bytes[14] << 8 | bytes[15];
        return;
    }
    address->address_case = RSTREAM__IO_RSTRM__PROTOBUF__IP_ADDRESS__ADDRESS_V6;
    // The library only reads what it encodes.
    address->v6 = (ProtobufCBinaryData){sizeof ip->bytes, (uint8_t *)(uintptr_t)bytes};
}

// Whether a field that is a message in theirs has something to say.
static bool message_present(const struct rstrm_field *row, const void *ours)
{
    const void *place = (const char *)ours + row->offset;
    switch (row->type) {
    case RSTRM_FIELD_TEXT:
        return ((const struct slice *)place)->at != NULL;
    case RSTRM_FIELD_SWITCH:
        return *(const enum rstrm_switch *)place != RSTRM_ABSENT;
    case RSTRM_FIELD_PORT:
        return ((const struct rstrm_tunnel_properties *)ours)->has_port;
    case RSTRM_FIELD_ADDRESS:
    case RSTRM_FIELD_FORM:
        return *(const void *const *)place != NULL;
    case RSTRM_FIELD_STRING:
    case RSTRM_FIELD_32:
    case RSTRM_FIELD_64:
    case RSTRM_FIELD_LIST:
    case RSTRM_FIELD_LABELS:
        break;
    }
    return false;
}

static enum weir_result write_message(struct arena *arena, const struct rstrm_field *row,
    const ProtobufCMessageDescriptor *type, const void *place, ProtobufCMessage **ret_message)
{
    if (row->type == RSTRM_FIELD_FORM) {
        return write_form(arena, row->form, *(const void *const *)place, ret_message);
    }
    enum weir_result result = new_message(arena, type, ret_message);
    if (result != WEIR_OK) {
        return result;
    }
    void *message = *ret_message;
    if (row->type == RSTRM_FIELD_TEXT) {
        return write_string(arena, *(const struct slice *)place,
            &((Google__Protobuf__StringValue *)message)->value);
    }
    if (row->type == RSTRM_FIELD_SWITCH) {
        ((Google__Protobuf__BoolValue *)message)->value =
            *(const enum rstrm_switch *)place == RSTRM_TRUE;
    } else if (row->type == RSTRM_FIELD_PORT) {
        ((Google__Protobuf__UInt32Value *)message)->value = *(const uint32_t *)place;
    } else {
        write_address(*(const struct ip *const *)place, message);
    }
    return WEIR_OK;
}

static enum weir_result write_field(
    struct arena *arena, const struct rstrm_field *row, const void *ours, ProtobufCMessage *theirs)
{
    const ProtobufCFieldDescriptor *field = field_of(theirs->descriptor, row->number);
    void *to = (char *)theirs + field->offset;
    void *quantifier = (char *)theirs + field->quantifier_offset;
    const void *place = (const char *)ours + row->offset;
    switch (row->type) {
    case RSTRM_FIELD_STRING: {
        const struct slice *text = place;
        if (text->at == NULL) {
            return WEIR_OK;
        }
        if (in_oneof(field)) {
            *(uint32_t *)quantifier = row->number;
        }
        return write_string(arena, *text, to);
    }
    case RSTRM_FIELD_32:
        memcpy(to, place, sizeof(uint32_t));
        return WEIR_OK;
    case RSTRM_FIELD_64:
        memcpy(to, place, sizeof(uint64_t));
        return WEIR_OK;
    case RSTRM_FIELD_LIST:
        *(size_t *)quantifier = ((const struct rstrm_list *)place)->count;
        return write_list(arena, place, to);
    case RSTRM_FIELD_LABELS:
        *(size_t *)quantifier = ((const struct rstrm_labels *)place)->count;
        return write_labels(arena, place, field->descriptor, to);
    case RSTRM_FIELD_TEXT:
    case RSTRM_FIELD_SWITCH:
    case RSTRM_FIELD_PORT:
    case RSTRM_FIELD_ADDRESS:
    case RSTRM_FIELD_FORM:
        break;
    }
    if (!message_present(row, ours)) {
        return WEIR_OK;
    }
    if (in_oneof(field)) {
        *(uint32_t *)quantifier = row->number;
    }
    return write_message(arena, row, field->descriptor, place, to);
}

static enum weir_result write_form(struct arena *arena, const struct rstrm_form *form,
    const void *ours, ProtobufCMessage **ret_theirs)
{
    ProtobufCMessage *theirs;
    enum weir_result result = new_message(arena, form->type, &theirs);
    if (result != WEIR_OK) {
        return result;
    }
    *ret_theirs = theirs;
    for (size_t i = 0; i < form->field_count; i++) {
        result = write_field(arena, &form->fields[i], ours, theirs);
        if (result != WEIR_OK) {
            return result;
        }
    }
    return WEIR_OK;
}

static enum weir_result append_frame(struct buf *out, const ProtobufCMessage *envelope)
{
    size_t len = protobuf_c_message_get_packed_size(envelope);
    if (len > RSTRM_PAYLOAD_MAX) {
        return WEIR_TOO_LARGE;
    }
    bool fits = len + RSTRM_LENGTH_SIZE <= out->len_max - out->len;
    char *at = buf_reserve(out, RSTRM_LENGTH_SIZE + len);
    if (at == NULL) {
        return fits ? WEIR_MEMORY : WEIR_FULL;
    }
    const uint8_t length[RSTRM_LENGTH_SIZE] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(at, length, sizeof length);
    protobuf_c_message_pack(envelope, (uint8_t *)at + RSTRM_LENGTH_SIZE);
    buf_commit(out, RSTRM_LENGTH_SIZE + len);
    return WEIR_OK;
}

enum weir_result rstrm_encode(struct buf *out, const struct rstrm_message *message)
{
    const struct rstrm_form *form = rstrm_form_of(message->kind);
    weir_assert(form != NULL);
    struct arena arena;
    arena_init(&arena, ENCODE_BYTES_MAX);
    Rstream__IoRstrm__Protobuf__Message envelope = RSTREAM__IO_RSTRM__PROTOBUF__MESSAGE__INIT;
    ProtobufCMessage *theirs;
    enum weir_result result = write_form(&arena, form, &message->heartbeat, &theirs);
    if (result == WEIR_OK) {
        envelope.message_case =
            (Rstream__IoRstrm__Protobuf__Message__MessageCase)(uint32_t)message->kind;
        envelope.heartbeat = (void *)theirs;
        result = append_frame(out, &envelope.base);
    }
    arena_reset(&arena);
    return result;
}
