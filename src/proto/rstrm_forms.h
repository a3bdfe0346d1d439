// SPDX-License-Identifier: Apache-2.0
// How weir's structs and those of the protobuf library correspond. Private to src/proto.
#ifndef WEIR_PROTO_RSTRM_FORMS_H
#define WEIR_PROTO_RSTRM_FORMS_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rstrm.h"

enum rstrm_field_type {
    RSTRM_FIELD_STRING,  // string                    struct slice; absent only in a oneof
    RSTRM_FIELD_TEXT,    // google StringValue        struct slice
    RSTRM_FIELD_SWITCH,  // google BoolValue          enum rstrm_switch
    RSTRM_FIELD_PORT,    // google UInt32Value        has_port, port of rstrm_tunnel_properties
    RSTRM_FIELD_32,      // uint32, int32, enum       uint32_t, int32_t
    RSTRM_FIELD_64,      // uint64, int64             uint64_t, int64_t
    RSTRM_FIELD_LIST,    // repeated string           struct rstrm_list
    RSTRM_FIELD_LABELS,  // map<string, string>       struct rstrm_labels
    RSTRM_FIELD_ADDRESS, // IpAddress                 const struct ip *
    RSTRM_FIELD_FORM,    // a message                 const struct <ours> *
};

struct rstrm_form;

struct rstrm_field {
    uint32_t number;
    enum rstrm_field_type type;
    size_t offset;                 // in our struct
    const struct rstrm_form *form; // of RSTRM_FIELD_FORM
};

struct rstrm_form {
    const ProtobufCMessageDescriptor *type;
    size_t size; // of our struct
    const struct rstrm_field *fields;
    size_t field_count;
};

// The form of a member of the envelope; NULL for a kind that is none.
const struct rstrm_form *rstrm_form_of(enum rstrm_kind kind);
const ProtobufCMessageDescriptor *rstrm_envelope(void);

// What the protobuf library does not ask of its input: see rstrm_decode.
enum weir_result rstrm_check(
    struct slice payload, const ProtobufCMessageDescriptor *type) WEIR_MUST_CHECK;

#endif
