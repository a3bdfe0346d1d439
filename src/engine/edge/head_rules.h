// SPDX-License-Identifier: Apache-2.0
// Which fields of a head travel from one side of the edge to the other, and which the edge adds
// (spec section 6.3; the rows are in head_rules.def). Names are compared in any case, and with '_'
// for '-': many services make variables of names, where the two are one. No allocation, no I/O.
#ifndef WEIR_ENGINE_HEAD_RULES_H
#define WEIR_ENGINE_HEAD_RULES_H

#include "base/result.h"
#include "proto/http1.h"

// Words that Connection may name, over all its fields: more is nobody's honest request.
#define HEAD_RULES_NAMED_MAX 32
// How many fields head_rules_request adds at most.
#define HEAD_RULES_ADDED_MAX 8

// What the edge says of a request. Empty values are not said.
struct head_facts {
    struct slice peer;       // X-Real-IP
    struct slice peers;      // X-Forwarded-For
    struct slice host;       // X-Forwarded-Host, as received
    struct slice port;       // X-Forwarded-Port
    struct slice forwarded;  // Forwarded
    struct slice request_id; // X-Request-Id, when the request has none
};

// Fills out (room for out_max fields) with what travels; everything borrows from fields and facts.
// WEIR_TOO_LARGE: too many fields, or Connection names too many.
enum weir_result head_rules_request(const struct http1_header *fields, size_t count,
    const struct head_facts *facts, struct http1_header *out, size_t out_max,
    size_t *ret_count) WEIR_MUST_CHECK;
enum weir_result head_rules_answer(const struct http1_header *fields, size_t count,
    struct http1_header *out, size_t out_max, size_t *ret_count) WEIR_MUST_CHECK;

// What of trailers travels: nothing that a head would not let pass, nor what is too late behind a
// body (RFC 9110 section 6.5.1). Fills out, which has room for count; returns how many.
size_t head_rules_trailers(
    const struct http1_header *fields, size_t count, bool request, struct http1_header *out);

// The first field of that name, or the empty slice.
struct slice head_rules_value(const struct http1_header *fields, size_t count, struct slice name);

#endif
