// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <string.h>

// Messages are written backwards, the innermost field last, so that every length is known when it
// is written.
struct writer {
    uint8_t room[4096];
    size_t at; // of the first byte written
};

static void begin(struct writer *writer)
{
    writer->at = sizeof writer->room;
}

static size_t mark(const struct writer *writer)
{
    return writer->at;
}

static void put(struct writer *writer, const void *bytes, size_t len)
{
    writer->at -= len;
    memcpy(writer->room + writer->at, bytes, len);
}

static void put_varint(struct writer *writer, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;
    do {
        bytes[len] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        len++;
        value >>= 7;
    } while (value > 0);
    put(writer, bytes, len);
}

// Makes everything since `since` the body of a field.
static void wrap(struct writer *writer, unsigned number, size_t since)
{
    put_varint(writer, since - writer->at);
    put_varint(writer, number << 3 | 2);
}

static void put_bytes(struct writer *writer, unsigned number, const void *bytes, size_t len)
{
    size_t since = mark(writer);
    put(writer, bytes, len);
    wrap(writer, number, since);
}

// A string in its wrapper message.
static void put_wrapped(struct writer *writer, unsigned number, const void *bytes, size_t len)
{
    size_t since = mark(writer);
    put_bytes(writer, 1, bytes, len);
    wrap(writer, number, since);
}

static void put_wrapped_text(struct writer *writer, unsigned number, const char *text)
{
    put_wrapped(writer, number, text, strlen(text));
}

static void put_wrapped_true(struct writer *writer, unsigned number)
{
    size_t since = mark(writer);
    put_varint(writer, 1);
    put_varint(writer, 1 << 3);
    wrap(writer, number, since);
}

static void put_details(struct writer *writer, unsigned number, const void *token, size_t len)
{
    size_t since = mark(writer);
    put_wrapped_text(writer, 7, "1.4.5");
    put_wrapped(writer, 6, token, len);
    put_wrapped_text(writer, 1, "weir-bench-agent");
    wrap(writer, number, since);
}

static size_t finish(struct writer *writer, unsigned member, size_t since, uint8_t *out)
{
    wrap(writer, member, since);
    size_t len = sizeof writer->room - writer->at;
    out[0] = (uint8_t)(len >> 24);
    out[1] = (uint8_t)(len >> 16);
    out[2] = (uint8_t)(len >> 8);
    out[3] = (uint8_t)len;
    memcpy(out + 4, writer->room + writer->at, len);
    return len + 4;
}

size_t wire_open_channel(uint8_t *out, const char *token)
{
    struct writer writer;
    begin(&writer);
    put_details(&writer, 1, token, strlen(token));
    return finish(&writer, WIRE_OPEN_CHANNEL_REQ, sizeof writer.room, out);
}

size_t wire_open_tunnel(uint8_t *out, const char *protocol, const char *host, bool passthrough)
{
    struct writer writer;
    begin(&writer);
    put_wrapped_text(&writer, 22, host);
    if (passthrough)
        put_wrapped_text(&writer, 11, "passthrough");
    put_wrapped_text(&writer, 6, protocol);
    put_wrapped_true(&writer, 5);
    put_wrapped_text(&writer, 4, "bytestream");
    wrap(&writer, 2, sizeof writer.room);
    put_bytes(&writer, 1, "bench", 5);
    return finish(&writer, WIRE_OPEN_TUNNEL_REQ, sizeof writer.room, out);
}

size_t wire_proxy(uint8_t *out, struct wire_text stream_id, struct wire_text secret)
{
    struct writer writer;
    begin(&writer);
    put_wrapped_true(&writer, 3);
    put_bytes(&writer, 2, stream_id.at, stream_id.len);
    put_details(&writer, 1, secret.at, secret.len);
    return finish(&writer, WIRE_PROXY_REQ, sizeof writer.room, out);
}

size_t wire_proxy_conn_answer(uint8_t *out, struct wire_text stream_id)
{
    struct writer writer;
    begin(&writer);
    put_bytes(&writer, 1, stream_id.at, stream_id.len);
    return finish(&writer, WIRE_PROXY_CONN_RSP, sizeof writer.room, out);
}

static bool take_varint(struct wire_text *message, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && message->len > 0; shift += 7) {
        uint8_t byte = *message->at;
        message->at++;
        message->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct wire_text *message, uint64_t len)
{
    if (len > message->len)
        return false;
    message->at += len;
    message->len -= (size_t)len;
    return true;
}

struct wire_text wire_field(struct wire_text message, unsigned number)
{
    struct wire_text nothing = {NULL, 0};
    uint64_t tag;
    uint64_t value;
    while (take_varint(&message, &tag)) {
        unsigned type = (unsigned)(tag & 7);
        if (type == 2) {
            struct wire_text body;
            if (!take_varint(&message, &value))
                return nothing;
            body = (struct wire_text){message.at, (size_t)value};
            if (!skip(&message, value))
                return nothing;
            if (tag >> 3 == number)
                return body;
        } else if (type == 0 ? !take_varint(&message, &value)
                             : !skip(&message, type == 5 ? 4 : 8)) {
            return nothing;
        }
    }
    return nothing;
}
