// SPDX-License-Identifier: Apache-2.0
#include "engine/control/tunnel.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "proto/json_write.h"
#include "sys/entropy.h"

struct tunnel *tunnel_ref(struct tunnel *tunnel)
{
    atomic_fetch_add_explicit(&tunnel->refs, 1, memory_order_relaxed);
    return tunnel;
}

void tunnel_unref(struct tunnel *tunnel)
{
    // The last one must see what the others did before they let go.
    if (tunnel == NULL || atomic_fetch_sub_explicit(&tunnel->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    mem_free((char *)tunnel->json.at);
    mem_free(tunnel);
}

// ---- The object of spec section 8.5: what is not set is left out, and nothing is null.

static void write_text(struct json_writer *writer, const char *key, struct slice text)
{
    if (text.len > 0) {
        jsonw_string(writer, key, text);
    }
}

static void write_switch(struct json_writer *writer, const char *key, enum rstrm_switch value)
{
    if (value != RSTRM_ABSENT) {
        jsonw_bool(writer, key, value == RSTRM_TRUE);
    }
}

static void write_list(struct json_writer *writer, const char *key, const struct rstrm_list *list)
{
    if (list->count == 0) {
        return;
    }
    jsonw_array_begin(writer, key);
    for (size_t i = 0; i < list->count; i++) {
        jsonw_string(writer, NULL, list->at[i]);
    }
    jsonw_array_end(writer);
}

static void write_labels(struct json_writer *writer, const struct rstrm_labels *labels)
{
    if (labels->count == 0) {
        return;
    }
    jsonw_object_begin(writer, "labels");
    for (size_t i = 0; i < labels->count; i++) {
        jsonw_key(writer, labels->at[i].key);
        jsonw_string(writer, NULL, labels->at[i].value);
    }
    jsonw_object_end(writer);
}

void tunnel_write_json(const struct tunnel *tunnel, bool online, struct buf *out)
{
    const struct rstrm_tunnel_properties *properties = &tunnel->properties;
    struct json_writer writer;
    char created[TIME_ISO_SIZE];
    time_to_iso(tunnel->created_ms, created);
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_text(&writer, "id", tunnel->id);
    jsonw_text(&writer, "client_id", tunnel->client_id);
    jsonw_text(&writer, "status", online ? "online" : "offline");
    jsonw_text(&writer, "creation_date", created);
    write_text(&writer, "name", properties->name);
    write_text(&writer, "type", properties->type);
    write_switch(&writer, "publish", properties->publish);
    write_text(&writer, "protocol", properties->protocol);
    write_labels(&writer, &properties->labels);
    write_list(&writer, "trusted_ips", &properties->trusted_ips);
    write_text(&writer, "host", properties->host);
    write_text(&writer, "hostname", properties->hostname);
    if (properties->has_port) {
        jsonw_u64(&writer, "port", properties->port);
    }
    write_text(&writer, "tls_mode", properties->tls_mode);
    write_list(&writer, "tls_alpns", &properties->tls_alpns);
    write_text(&writer, "tls_min_version", properties->tls_min_version);
    write_list(&writer, "tls_ciphers", &properties->tls_ciphers);
    write_text(&writer, "http_version", properties->http_version);
    write_switch(&writer, "http_use_tls", properties->http_use_tls);
    write_switch(&writer, "upstream_tls", properties->upstream_tls);
    write_switch(&writer, "token_auth", properties->token_auth);
    write_text(&writer, "user_id", tunnel->user_id);
    jsonw_object_end(&writer);
}

// ---- Ids.

enum weir_result tunnel_random_id(char id[TUNNEL_ID_SIZE])
{
    unsigned char bytes[16];
    enum weir_result result = sys_entropy(bytes, sizeof bytes);
    if (result != WEIR_OK) {
        return result;
    }
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40); // version 4
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80); // the variant of RFC 4122
    char *at = id;
    for (size_t i = 0; i < sizeof bytes; i++) {
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
    }
    return WEIR_OK;
}
