// SPDX-License-Identifier: Apache-2.0
#include "engine/control/client.h"

#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "proto/json_write.h"

#define FACT_LEN_MAX 255
#define JSON_BYTES_MAX 16384 // nine texts, each byte of them six at most

// What an agent says of itself, and what it is called in the API.
static const struct fact {
    const char *name;
    size_t from; // in struct rstrm_client_details
    size_t to;   // in struct client
} facts[] = {
#define FACT(member)                                                                               \
    {                                                                                              \
#member, offsetof(struct rstrm_client_details, member), offsetof(struct client, member)    \
    }
    FACT(agent),
    FACT(channel),
    FACT(version),
    FACT(os),
    FACT(arch),
    FACT(protocol_version),
#undef FACT
};
#define FACT_COUNT (sizeof facts / sizeof facts[0])

static struct slice fact_of(const struct rstrm_client_details *details, const struct fact *fact)
{
    struct slice text = SLICE_EMPTY;
    if (details != NULL) {
        memcpy(&text, (const char *)details + fact->from, sizeof text);
    }
    if (text.at == NULL) {
        return SLICE_EMPTY;
    }
    text.len = text.len > FACT_LEN_MAX ? FACT_LEN_MAX : text.len;
    return text;
}

static struct slice put(char **at, struct slice text)
{
    struct slice copy = slice_of(*at, text.len);
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static bool make_json(struct client *client)
{
    struct buf text = BUF_INIT(JSON_BYTES_MAX);
    client_write_json(client, true, &text);
    if (!text.failed) {
        char *copy = mem_copy(buf_slice(&text).at, text.len);
        client->json = copy == NULL ? SLICE_EMPTY : slice_of(copy, text.len);
    }
    buf_reset(&text);
    return client->json.len > 0;
}

struct client *client_new(const struct rstrm_client_details *details, const struct token *token)
{
    size_t room = token_user_id(token).len;
    for (size_t i = 0; i < FACT_COUNT; i++) {
        room += fact_of(details, &facts[i]).len;
    }
    struct client *client = mem_zalloc(sizeof *client + room);
    if (client == NULL) {
        return NULL;
    }
    char *at = (char *)(client + 1);
    atomic_init(&client->refs, 1);
    list_init(&client->node);
    client->json = SLICE_EMPTY;
    snprintf(client->identity, sizeof client->identity, "%s", token_identity(token));
    client->user_id = put(&at, token_user_id(token));
    for (size_t i = 0; i < FACT_COUNT; i++) {
        struct slice fact = put(&at, fact_of(details, &facts[i]));
        memcpy((char *)client + facts[i].to, &fact, sizeof fact);
    }
    if (tunnel_random_id(client->id) != WEIR_OK || !make_json(client)) {
        client_unref(client);
        return NULL;
    }
    return client;
}

struct client *client_ref(struct client *client)
{
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void client_unref(struct client *client)
{
    if (client == NULL || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (client->json.len > 0) {
        mem_free((char *)client->json.at);
    }
    mem_free(client);
}

void client_write_json(const struct client *client, bool online, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "id", client->id);
    jsonw_text(&writer, "status", online ? "online" : "offline");
    if (client->user_id.len > 0) {
        jsonw_string(&writer, "user_id", client->user_id);
    }
    for (size_t i = 0; i < FACT_COUNT; i++) {
        struct slice fact;
        memcpy(&fact, (const char *)client + facts[i].to, sizeof fact);
        if (fact.len > 0) {
            jsonw_string(&writer, facts[i].name, fact);
        }
    }
    jsonw_object_end(&writer);
}
