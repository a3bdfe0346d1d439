// SPDX-License-Identifier: Apache-2.0
// The agent protocol's codec against bytes that another implementation made: Google's Python
// library, from the same rstrm.proto, one row a message and answer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "proto/rstrm.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct golden_row {
    int kind;
    const char *name;
    const char *hex;
} golden_rows[] = {
    {1, "open control channel",
        "0a4d0a460a070a056167656e7412090a076368616e6e656c1a090a0776657273696f6e22002a"
        "060a046172636832070a05746f6b656e3a120a1070726f746f636f6c5f76657273696f6e1203"
        "088827"},
    {2, "channel is open",
        "12560a540a016312470a070a056167656e7412090a076368616e6e656c1a090a077665727369"
        "6f6e22060a04706c616e2a0a0a0870726f766964657232080a06726567696f6e3a080a067570"
        "646174651a0608e807109875"},
    {2, "channel refused", "120b120908e80712040a026e6f"},
    {2, "channel answer without either", "1200"},
    {3, "close control channel", "1a00"},
    {4, "channel is closed", "2200"},
    {5, "open tunnel, all properties",
        "2afc010a02723112f5010a040a02494412080880e2cfaa0610051a060a044e414d4522060a04"
        "545950452a00320a0a0850524f544f434f4c3a060a016b120176420567656f69704200420167"
        "4a0b747275737465645f6970734a004a017452060a04484f53545a0a0a08544c535f4d4f4445"
        "6209746c735f616c706e7362006201746a110a0f544c535f4d494e5f56455253494f4e720b74"
        "6c735f6369706865727372007201747a0208018201110a0f4d544c535f4341434552545f5045"
        "4d8a010e0a0c485454505f56455253494f4e9201009a01020801a20100aa01020801b2010a0a"
        "08484f53544e414d45ba010408f0a204c20100ca01020801d20100"},
    {5, "open tunnel, present and default", "2a0d0a02723112071a002a00ba0100"},
    {5, "open tunnel, nothing", "2a00"},
    {6, "tunnel is open", "320b0a02723112050a030a0174"},
    {6, "tunnel refused",
        "32280a0272311a2208d00f121d0a1b486f73746e616d6520697320616c726561647920696e20"
        "7573652e"},
    {7, "close tunnel", "3a030a0174"},
    {8, "tunnel is closed", "42030a0174"},
    {9, "proxy connection, IPv4",
        "4a3c0a01741201731a2d0a2b7878787878787878787878787878787878787878787878787878"
        "787878787878787878787878787878787822050d010200c0"},
    {9, "proxy connection, IPv6",
        "4a490a01741201731a2d0a2b7878787878787878787878787878787878787878787878787878"
        "78787878787878787878787878787878782212121020010db8000000000000000000000001"},
    {9, "proxy connection, endpoint",
        "4a430a01741201731a2d0a2b7878787878787878787878787878787878787878787878787878"
        "787878787878787878787878787878787822050d010200c02a050a03653a31"},
    {10, "stream accepted", "52030a0173"},
    {10, "stream refused, unknown code", "52080a0173120308e121"},
    {11, "proxy request", "5a0e0a0532030a01781201731a020801"},
    {12, "proxy answer", "6200"},
    {12, "proxy refused", "620b0a0908a01f12040a02c3a4"},
    {13, "dial",
        "6a510a460a070a056167656e7412090a076368616e6e656c1a090a0776657273696f6e22002a"
        "060a046172636832070a05746f6b656e3a120a1070726f746f636f6c5f76657273696f6e1201"
        "6e1a0022020801"},
    {14, "dialled", "72030a0173"},
    {14, "dialled, empty id", "72020a00"},
    {14, "dial refused", "7205120308b817"},
    {15, "heartbeat", "7a0e08ffffffffffffffffff0110ac02"},
    {15, "empty heartbeat", "7a00"},
    {16, "server message", "8201070a0568656c6c6f"},
    {17, "datagram channel closed", "8a01080a0173120308a846"},
};

static struct slice unhex(const char *hex, char *bytes, size_t size)
{
    size_t len = strlen(hex) / 2;
    assert_true(len <= size);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    return slice_of(bytes, len);
}

static const struct golden_row *golden(const char *name)
{
    for (size_t i = 0; i < COUNT(golden_rows); i++) {
        if (strcmp(golden_rows[i].name, name) == 0) {
            return &golden_rows[i];
        }
    }
    fail_msg("no row %s", name);
    return NULL;
}

// Decodes from a block of exactly the payload's size, which is gone before anybody looks: what was
// decoded must not lie in it.
static enum weir_result decode(
    struct slice payload, struct arena *arena, struct rstrm_message *message)
{
    char *copy = malloc(payload.len > 0 ? payload.len : 1);
    assert_non_null(copy);
    memcpy(copy, payload.at, payload.len);
    enum weir_result result = rstrm_decode(slice_of(copy, payload.len), arena, message);
    memset(copy, 0xdb, payload.len);
    free(copy);
    return result;
}

static void decode_row(const char *name, struct arena *arena, struct rstrm_message *message)
{
    char bytes[1024];
    arena_init(arena, RSTRM_ARENA_BYTES_MAX);
    struct slice payload = unhex(golden(name)->hex, bytes, sizeof bytes);
    assert_int_equal(decode(payload, arena, message), WEIR_OK);
}

static void assert_text(struct slice text, const char *expected)
{
    if (expected == NULL) {
        assert_null(text.at);
        return;
    }
    assert_non_null(text.at);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.at, expected, text.len);
}

static void assert_frame(const struct buf *out, struct slice payload)
{
    struct slice found;
    assert_int_equal(rstrm_next_frame(buf_slice(out), &found), WEIR_OK);
    assert_int_equal(out->len, RSTRM_LENGTH_SIZE + payload.len);
    assert_int_equal(found.len, payload.len);
    assert_memory_equal(found.at, payload.at, payload.len);
}

// ---- Golden bytes -------------------------------------------------------------------------------

static void every_message_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(golden_rows); i++) {
        print_message("%s\n", golden_rows[i].name);
        char bytes[1024];
        struct slice payload = unhex(golden_rows[i].hex, bytes, sizeof bytes);
        struct arena arena;
        struct rstrm_message message;
        decode_row(golden_rows[i].name, &arena, &message);
        assert_int_equal(message.kind, golden_rows[i].kind);
        struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
        assert_int_equal(rstrm_encode(&out, &message), WEIR_OK);
        assert_frame(&out, payload);
        buf_reset(&out);
        arena_reset(&arena);
    }
}

static void properties_read_as_sent(void **state)
{
    (void)state;
    struct arena arena;
    struct rstrm_message message;
    decode_row("open tunnel, all properties", &arena, &message);
    assert_text(message.open_tunnel_req.request_id, "r1");
    const struct rstrm_tunnel_properties *tunnel = message.open_tunnel_req.tunnel_properties;
    assert_text(tunnel->id, "ID");
    assert_int_equal(tunnel->creation_date->seconds, 1700000000);
    assert_int_equal(tunnel->creation_date->nanos, 5);
    assert_text(tunnel->tls_min_version, "TLS_MIN_VERSION");
    assert_text(tunnel->http_version, "HTTP_VERSION");
    assert_text(tunnel->hostname, "HOSTNAME");
    assert_text(tunnel->host, "HOST");
    assert_int_equal(tunnel->publish, RSTRM_FALSE);
    assert_int_equal(tunnel->mtls_auth, RSTRM_TRUE);
    assert_int_equal(tunnel->allow_cross_region_routing, RSTRM_FALSE);
    assert_true(tunnel->has_port);
    assert_int_equal(tunnel->port, 70000);
    assert_int_equal(tunnel->labels.count, 1);
    assert_text(tunnel->labels.at[0].key, "k");
    assert_text(tunnel->labels.at[0].value, "v");
    assert_int_equal(tunnel->tls_alpns.count, 3);
    assert_text(tunnel->tls_alpns.at[0], "tls_alpns");
    assert_text(tunnel->tls_alpns.at[1], "");
    assert_text(tunnel->tls_ciphers.at[2], "t");
    arena_reset(&arena);
}

static void absent_is_not_default(void **state)
{
    (void)state;
    struct arena arena;
    struct rstrm_message message;
    decode_row("open tunnel, present and default", &arena, &message);
    const struct rstrm_tunnel_properties *tunnel = message.open_tunnel_req.tunnel_properties;
    assert_text(tunnel->name, "");
    assert_text(tunnel->hostname, NULL);
    assert_int_equal(tunnel->publish, RSTRM_FALSE);
    assert_int_equal(tunnel->upstream_tls, RSTRM_ABSENT);
    assert_true(tunnel->has_port);
    assert_int_equal(tunnel->port, 0);
    assert_null(tunnel->creation_date);
    arena_reset(&arena);

    decode_row("open tunnel, nothing", &arena, &message);
    assert_null(message.open_tunnel_req.tunnel_properties);
    assert_text(message.open_tunnel_req.request_id, "");
    arena_reset(&arena);

    decode_row("dialled, empty id", &arena, &message);
    assert_text(message.stream_rsp.stream_id, "");
    arena_reset(&arena);

    decode_row("dial refused", &arena, &message);
    assert_text(message.stream_rsp.stream_id, NULL);
    assert_int_equal(message.stream_rsp.error->code, RSTRM_CODE_TUNNEL_NOT_FOUND);
    assert_text(message.stream_rsp.error->message, NULL);
    arena_reset(&arena);
}

static void addresses_read_as_sent(void **state)
{
    (void)state;
    static const struct {
        const char *row;
        const char *address;
    } rows[] = {
        {"proxy connection, IPv4", "192.0.2.1"},
        {"proxy connection, IPv6", "2001:db8::1"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena arena;
        struct rstrm_message message;
        decode_row(rows[i].row, &arena, &message);
        char text[IP_TEXT_SIZE];
        ip_to_text(message.proxy_conn_req.source_ip, text);
        assert_string_equal(text, rows[i].address);
        arena_reset(&arena);
    }
}

static void encodes_what_a_caller_wrote(void **state)
{
    (void)state;
    struct ip source = ip_from_v4((const uint8_t[]){192, 0, 2, 1});
    struct rstrm_error error = {RSTRM_CODE_INVALID_REQUEST, SLICE("Hostname is already in use.")};
    const struct {
        const char *row;
        struct rstrm_message message;
    } rows[] = {
        {"proxy connection, IPv4",
            {RSTRM_PROXY_CONN_REQ,
                .proxy_conn_req = {SLICE("t"), SLICE("s"),
                    SLICE("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &source, {0}}}},
        {"tunnel refused", {RSTRM_OPEN_TUNNEL_RSP, .open_tunnel_rsp = {SLICE("r1"), NULL, &error}}},
        {"close control channel", {RSTRM_CLOSE_CONTROL_CHANNEL_REQ, .heartbeat = {0}}},
        {"channel is closed", {RSTRM_CLOSE_CONTROL_CHANNEL_RSP, .heartbeat = {0}}},
        {"heartbeat", {RSTRM_HEARTBEAT, .heartbeat = {UINT64_MAX, 300}}},
        {"empty heartbeat", {RSTRM_HEARTBEAT, .heartbeat = {0}}},
        {"dialled", {RSTRM_STREAM_RSP, .stream_rsp = {SLICE("s"), NULL}}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s\n", rows[i].row);
        char bytes[1024];
        struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
        assert_int_equal(rstrm_encode(&out, &rows[i].message), WEIR_OK);
        assert_frame(&out, unhex(golden(rows[i].row)->hex, bytes, sizeof bytes));
        buf_reset(&out);
    }
}

static void refuses_what_it_cannot_encode(void **state)
{
    (void)state;
    static char text[RSTRM_PAYLOAD_MAX];
    memset(text, 'x', sizeof text);
    struct rstrm_message message = {.kind = RSTRM_SERVER_MESSAGE};
    struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
    // Tags of two bytes and one, and two lengths of three, go in front of the text.
    message.server_message.message = slice_of(text, RSTRM_PAYLOAD_MAX - 9);
    assert_int_equal(rstrm_encode(&out, &message), WEIR_OK);
    assert_int_equal(out.len, RSTRM_FRAME_MAX);
    assert_int_equal(rstrm_encode(&out, &message), WEIR_FULL);
    assert_int_equal(out.len, RSTRM_FRAME_MAX);
    buf_reset(&out);
    message.server_message.message.len++;
    assert_int_equal(rstrm_encode(&out, &message), WEIR_TOO_LARGE);
    message.server_message.message = SLICE("a\0b");
    assert_int_equal(rstrm_encode(&out, &message), WEIR_INVALID);
    assert_int_equal(out.len, 0);
}

// ---- Frames -------------------------------------------------------------------------------------

static void frames_end_where_they_say(void **state)
{
    (void)state;
    char bytes[] = "\0\0\0\3abc\0\0\0\0";
    struct slice payload;
    for (size_t cut = 0; cut < 7; cut++) {
        assert_int_equal(rstrm_next_frame(slice_of(bytes, cut), &payload), WEIR_AGAIN);
    }
    for (size_t len = 7; len < sizeof bytes; len++) {
        assert_int_equal(rstrm_next_frame(slice_of(bytes, len), &payload), WEIR_OK);
        assert_text(payload, "abc");
    }
    assert_int_equal(rstrm_next_frame(slice_of(bytes + 7, 4), &payload), WEIR_OK);
    assert_int_equal(payload.len, 0);
    assert_int_equal(rstrm_next_frame(slice_of("\0\0\xff\xff", 4), &payload), WEIR_AGAIN);
    assert_int_equal(rstrm_next_frame(slice_of("\0\1\0\0", 4), &payload), WEIR_TOO_LARGE);
    assert_int_equal(rstrm_next_frame(slice_of("\xff\xff\xff\xff", 4), &payload), WEIR_TOO_LARGE);
}

// ---- What others may send -----------------------------------------------------------------------

static const struct odd_row {
    const char *rule;
    const char *hex;
    enum weir_result result;
    int kind;
} odd_rows[] = {
    {"an empty message", "", WEIR_OK, RSTRM_NONE},
    {"an unknown member", "92010568656c6c6f", WEIR_OK, RSTRM_NONE},
    {"an unknown member and a known one",
        "920100"
        "7a00",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"unknown fields of each wire type",
        "7a13"
        "f80101"
        "f1010000000000000000"
        "fd0100000000",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"two members: the last wins",
        "7a00"
        "3a030a0174",
        WEIR_OK, RSTRM_CLOSE_TUNNEL_REQ},
    {"two members, the other way round",
        "3a030a0174"
        "7a00",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"a member twice: the last wins",
        "7a020805"
        "7a021007",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"fields out of order", "7a0410070805", WEIR_OK, RSTRM_HEARTBEAT},
    {"a varint longer than it need be",
        "7a0308"
        "8500",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"a length longer than it need be",
        "7a8200"
        "0805",
        WEIR_OK, RSTRM_HEARTBEAT},
    {"an error code above all", "62060a0408ffff03", WEIR_OK, RSTRM_PROXY_RSP},
    {"a negative error code", "620d0a0b08ffffffffffffffffff01", WEIR_OK, RSTRM_PROXY_RSP},
    {"no address in an address", "4a022200", WEIR_OK, RSTRM_PROXY_CONN_REQ},
    {"a cut tag", "fa", WEIR_MALFORMED, 0},
    {"a tag without a value", "7a", WEIR_MALFORMED, 0},
    {"a length past the end",
        "7a03"
        "0805",
        WEIR_MALFORMED, 0},
    {"a length of 2^32",
        "7a8080808010"
        "00",
        WEIR_MALFORMED, 0},
    {"a length of 2^64-1", "7affffffffffffffffff01", WEIR_MALFORMED, 0},
    {"a varint of eleven bytes",
        "7a0c08"
        "8080808080808080808001",
        WEIR_MALFORMED, 0},
    {"a varint of 65 bits",
        "7a0b08"
        "ffffffffffffffffff02",
        WEIR_MALFORMED, 0},
    {"a cut varint",
        "7a0208"
        "80",
        WEIR_MALFORMED, 0},
    {"field number 0", "0200", WEIR_MALFORMED, 0},
    {"field number 0 inside", "7a020000", WEIR_MALFORMED, 0},
    {"a field number of 2^29",
        "8080808010"
        "00",
        WEIR_MALFORMED, 0},
    {"a tag of six bytes",
        "fa8080808000"
        "00",
        WEIR_MALFORMED, 0},
    {"a group", "7b7c", WEIR_MALFORMED, 0},
    {"an unknown group", "93019401", WEIR_MALFORMED, 0},
    {"the end of a group", "7c", WEIR_MALFORMED, 0},
    {"wire type 6", "7e00", WEIR_MALFORMED, 0},
    {"wire type 7", "7f00", WEIR_MALFORMED, 0},
    {"a member that is a number", "7805", WEIR_MALFORMED, 0},
    {"a number that is a message", "7a020a00", WEIR_MALFORMED, 0},
    {"a wrapper that is a string", "2a0512031a0161", WEIR_MALFORMED, 0},
    {"a 64-bit value for a 32-bit one",
        "4a0b2209"
        "090000000000000000",
        WEIR_MALFORMED, 0},
    {"a cut 32-bit value", "4a0622040d000000", WEIR_MALFORMED, 0},
    {"a cut unknown 64-bit value", "f90100000000000000", WEIR_MALFORMED, 0},
    {"a NUL in a string", "3a050a03610062", WEIR_MALFORMED, 0},
    {"a NUL in a wrapped string", "2a0b12091a070a0561006263", WEIR_MALFORMED, 0},
    {"half a character", "3a030a01c3", WEIR_MALFORMED, 0},
    {"a surrogate", "3a050a03eda080", WEIR_MALFORMED, 0},
    {"a label that is not UTF-8", "2a0712053a030a01ff", WEIR_MALFORMED, 0},
    {"an IPv6 address of 4 bytes", "4a082206120401020304", WEIR_MALFORMED, 0},
    {"an IPv6 address of none", "4a0422021200", WEIR_MALFORMED, 0},
};

static void odd_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_rows); i++) {
        print_message("%s\n", odd_rows[i].rule);
        char bytes[256];
        struct slice payload = unhex(odd_rows[i].hex, bytes, sizeof bytes);
        struct arena arena;
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        struct rstrm_message message;
        assert_int_equal(decode(payload, &arena, &message), odd_rows[i].result);
        if (odd_rows[i].result == WEIR_OK) {
            assert_int_equal(message.kind, odd_rows[i].kind);
        }
        arena_reset(&arena);
    }
}

static void decode_hex(const char *hex, struct arena *arena, struct rstrm_message *message)
{
    char bytes[256];
    arena_init(arena, RSTRM_ARENA_BYTES_MAX);
    assert_int_equal(decode(unhex(hex, bytes, sizeof bytes), arena, message), WEIR_OK);
}

static void values_of_odd_messages(void **state)
{
    (void)state;
    struct arena arena;
    struct rstrm_message message;
    decode_hex("7a020805"
               "7a021007",
        &arena, &message);
    assert_int_equal(message.heartbeat.sequence, 0);
    assert_int_equal(message.heartbeat.acknowledgement, 7);
    arena_reset(&arena);

    // Outside a oneof, a message that comes twice is merged.
    decode_hex("5a0e"
               "0a050a030a0161"
               "0a0532030a0162",
        &arena, &message);
    assert_text(message.proxy_req.client_details->agent, "a");
    assert_text(message.proxy_req.client_details->token, "b");
    arena_reset(&arena);

    decode_hex("7a0410070805", &arena, &message);
    assert_int_equal(message.heartbeat.sequence, 5);
    arena_reset(&arena);

    decode_hex("620d0a0b08ffffffffffffffffff01", &arena, &message);
    assert_int_equal(message.proxy_rsp.error->code, -1);
    arena_reset(&arena);

    decode_hex("4a022200", &arena, &message);
    assert_null(message.proxy_conn_req.source_ip);
    arena_reset(&arena);

    // An error and then an id: the id is what counts. The other way round, the error.
    decode_hex("72071202087f0a0173", &arena, &message);
    assert_text(message.stream_rsp.stream_id, "s");
    assert_null(message.stream_rsp.error);
    arena_reset(&arena);
    decode_hex("72070a01731202087f", &arena, &message);
    assert_text(message.stream_rsp.stream_id, NULL);
    assert_int_equal(message.stream_rsp.error->code, 127);
    arena_reset(&arena);

    // {"a": "1", "b": "2", "a": "3"}, and a label with neither key nor value.
    decode_hex("2a1c121a"
               "3a060a0161120131"
               "3a060a0162120132"
               "3a060a0161120133"
               "3a00",
        &arena, &message);
    const struct rstrm_labels *labels = &message.open_tunnel_req.tunnel_properties->labels;
    assert_int_equal(labels->count, 3);
    assert_text(labels->at[0].key, "a");
    assert_text(labels->at[0].value, "3");
    assert_text(labels->at[1].key, "b");
    assert_text(labels->at[2].key, "");
    assert_text(labels->at[2].value, "");
    arena_reset(&arena);
}

// Cut anywhere, a message is malformed or another message, never a crash or a read past its end.
static void every_prefix(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(golden_rows); i++) {
        char bytes[1024];
        struct slice payload = unhex(golden_rows[i].hex, bytes, sizeof bytes);
        for (size_t cut = 1; cut < payload.len; cut++) {
            struct arena arena;
            arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
            struct rstrm_message message;
            assert_int_equal(decode(slice_of(payload.at, cut), &arena, &message), WEIR_MALFORMED);
            arena_reset(&arena);
        }
    }
}

// ---- Bounds -------------------------------------------------------------------------------------

// OpenTunnelReq { tunnel_properties { <piece> x count } }, with lengths of three bytes.
static struct slice many(char *bytes, const char *piece, size_t piece_len, size_t count)
{
    size_t len = piece_len * count;
    size_t outer = len + 4;
    const char head[] = {0x2a, (char)(outer | 0x80), (char)(outer >> 7 | 0x80), (char)(outer >> 14),
        0x12, (char)(len | 0x80), (char)(len >> 7 | 0x80), (char)(len >> 14)};
    memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        memcpy(bytes + sizeof head + i * piece_len, piece, piece_len);
    }
    assert_true(sizeof head + len <= RSTRM_PAYLOAD_MAX);
    return slice_of(bytes, sizeof head + len);
}

static void a_frame_asks_for_no_more_than_the_arena(void **state)
{
    (void)state;
    static char bytes[RSTRM_PAYLOAD_MAX];
    static const struct {
        const char *name;
        const char *piece;
        size_t len;
        size_t count;
        enum weir_result result;
    } rows[] = {
        {"unknown fields", "\xd8\x03\x01", 3, 21000, WEIR_TOO_LARGE},
        {"empty labels", ":\0", 2, 32000, WEIR_TOO_LARGE},
        {"empty list elements", "B\0", 2, 32000, WEIR_TOO_LARGE},
        {"the most list elements", "B\1x", 3, RSTRM_ITEMS_MAX, WEIR_OK},
        {"one list element more", "B\1x", 3, RSTRM_ITEMS_MAX + 1, WEIR_TOO_LARGE},
        {"the most labels", ":\6\n\1a\22\1b", 8, RSTRM_ITEMS_MAX, WEIR_OK},
        {"one label more", ":\6\n\1a\22\1b", 8, RSTRM_ITEMS_MAX + 1, WEIR_TOO_LARGE},
        {"a name many times", "\x1a\3\n\1x", 5, 13000, WEIR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s\n", rows[i].name);
        struct slice payload = many(bytes, rows[i].piece, rows[i].len, rows[i].count);
        struct arena arena;
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        struct rstrm_message message;
        assert_int_equal(rstrm_decode(payload, &arena, &message), rows[i].result);
        assert_true(arena.bytes <= RSTRM_ARENA_BYTES_MAX);
        arena_reset(&arena);
    }
}

static void the_longest_honest_frame_fits(void **state)
{
    (void)state;
    static char pem[60000];
    memset(pem, 'x', sizeof pem);
    struct rstrm_label labels[64];
    char keys[64][8];
    for (size_t i = 0; i < 64; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        labels[i] = (struct rstrm_label){slice_str(keys[i]), SLICE("value")};
    }
    struct rstrm_tunnel_properties tunnel = {
        .mtls_cacert_pem = slice_of(pem, sizeof pem), .labels = {labels, 64}};
    struct rstrm_message message = {
        .kind = RSTRM_OPEN_TUNNEL_REQ, .open_tunnel_req = {SLICE("r"), &tunnel}};
    struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
    assert_int_equal(rstrm_encode(&out, &message), WEIR_OK);
    struct slice payload;
    assert_int_equal(rstrm_next_frame(buf_slice(&out), &payload), WEIR_OK);
    struct arena arena;
    arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
    assert_int_equal(rstrm_decode(payload, &arena, &message), WEIR_OK);
    assert_int_equal(message.open_tunnel_req.tunnel_properties->labels.count, 64);
    assert_int_equal(message.open_tunnel_req.tunnel_properties->mtls_cacert_pem.len, sizeof pem);
    arena_reset(&arena);
    buf_reset(&out);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    char bytes[1024];
    struct slice payload = unhex(golden("open tunnel, all properties")->hex, bytes, sizeof bytes);
    for (unsigned long nth = 1;; nth++) {
        struct arena arena;
        arena_init(&arena, RSTRM_ARENA_BYTES_MAX);
        struct buf out = BUF_INIT(RSTRM_FRAME_MAX);
        struct rstrm_message message;
        mem_fail_at(nth);
        enum weir_result result = rstrm_decode(payload, &arena, &message);
        if (result == WEIR_OK) {
            result = rstrm_encode(&out, &message);
        }
        bool reached = mem_count() >= nth;
        mem_fail_at(0);
        assert_int_equal(result, reached ? WEIR_MEMORY : WEIR_OK);
        assert_true(reached ? out.len == 0 : out.len > 0);
        buf_reset(&out);
        arena_reset(&arena);
        if (!reached) {
            assert_true(nth > 3);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back),
        cmocka_unit_test(properties_read_as_sent),
        cmocka_unit_test(absent_is_not_default),
        cmocka_unit_test(addresses_read_as_sent),
        cmocka_unit_test(encodes_what_a_caller_wrote),
        cmocka_unit_test(refuses_what_it_cannot_encode),
        cmocka_unit_test(frames_end_where_they_say),
        cmocka_unit_test(odd_messages),
        cmocka_unit_test(values_of_odd_messages),
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(a_frame_asks_for_no_more_than_the_arena),
        cmocka_unit_test(the_longest_honest_frame_fits),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
