// SPDX-License-Identifier: Apache-2.0
// Tunnels and contexts out of a tree whose keys and types are known to be right, or reported. What
// concerns more than one key is checked here.
#include <stdio.h>

#include "base/number.h"
#include "cli/run/run_file_internal.h"
#include "conf/nearest.h"

#define SIGNATURE_MAX (256 * 1024)
#define NAME_LEN_MAX 128
#define LABEL_MANAGED "rstream.managed-by"
#define LABEL_SOURCE "rstream.source"

static void *take(struct run_reader *reader, size_t count, size_t size)
{
    return arena_alloc(&reader->file->arena, (count == 0 ? 1 : count) * size);
}

// Reported by the walk of the table already: silently here.
static const char *text_at(struct run_reader *reader, const struct yml_node *node, const char *path)
{
    const struct yml_node *found = yml_find(node, slice_str(path));
    struct slice text;
    const char *result = NULL;
    char name[RUN_VARIABLE_SIZE];
    if (yml_text(found, &text) != WEIR_OK ||
        run_expand(text, reader->variables, &reader->file->arena, &result, name) != WEIR_OK ||
        result[0] == '\0') {
        return NULL;
    }
    return result;
}

static enum weir_tunnel_switch switch_at(
    struct run_reader *reader, const struct yml_node *node, const char *path)
{
    const char *text = text_at(reader, node, path);
    enum weir_tunnel_switch value;
    return text != NULL && run_switch(text, &value) ? value : WEIR_TUNNEL_UNSET;
}

static const char *const *texts_at(
    struct run_reader *reader, const struct yml_node *node, const char *path, size_t *ret_count)
{
    const struct yml_node *list = yml_find(node, slice_str(path));
    size_t count = yml_is(list, YML_SEQUENCE) ? list->count : 0;
    const char **texts = take(reader, count, sizeof *texts);
    *ret_count = 0;
    if (texts == NULL) {
        return NULL;
    }
    yml_for_each (child, list) {
        struct slice text;
        char name[RUN_VARIABLE_SIZE];
        if (yml_text(child, &text) == WEIR_OK &&
            run_expand(text, reader->variables, &reader->file->arena, &texts[*ret_count], name) ==
                WEIR_OK) {
            (*ret_count)++;
        }
    }
    return texts;
}

// ---- Contexts

static void make_context(
    struct run_reader *reader, const struct yml_node *node, struct run_context *context)
{
    const struct yml_document *document = &reader->file->document;
    *context = (struct run_context){
        .node = node,
        .name = node->key.len == 0 ? NULL : node->key.at,
        .external = text_at(reader, node, "name"),
        .engine = text_at(reader, node, "engine"),
        .token = text_at(reader, node, "token"),
        .transport = text_at(reader, node, "transport.mode"),
        .ca_file = text_at(reader, node, "transport.tls.caFile"),
        .server_name = text_at(reader, node, "transport.tls.serverName"),
        .insecure = switch_at(reader, node, "transport.tls.insecureSkipVerify"),
    };
    bool external = switch_at(reader, node, "external") == WEIR_TUNNEL_YES;
    if (external && context->external == NULL) {
        context->external = context->name;
    } else if (!external && context->external != NULL) {
        yml_key_error(document, yml_get(node, SLICE("name")), reader->problems,
            "names a context of the agent's configuration file, which wants external: true");
    }
    if (external && (context->engine != NULL || context->token != NULL)) {
        yml_error(document, node, reader->problems,
            "an external context has its engine and its token elsewhere: leave them out");
    } else if (!external && context->engine == NULL) {
        yml_error(document, node, reader->problems,
            "engine is missing; allowed: host or host:port, or external: true");
    }
}

static void make_contexts(struct run_reader *reader)
{
    const struct yml_node *contexts = yml_get(reader->file->document.root, SLICE("contexts"));
    size_t count = yml_is(contexts, YML_MAPPING) ? contexts->count : 0;
    reader->file->contexts = take(reader, count, sizeof *reader->file->contexts);
    if (reader->file->contexts == NULL) {
        return;
    }
    yml_for_each (child, contexts) {
        if (yml_is(child, YML_MAPPING)) {
            make_context(reader, child, &reader->file->contexts[reader->file->context_count++]);
        }
    }
}

// A name that the file does not know is one of the agent's configuration file.
static const struct run_context *find_context(
    struct run_reader *reader, const struct yml_node *node)
{
    if (yml_is_null(node) || yml_is(node, YML_SEQUENCE)) {
        return NULL;
    }
    struct run_context *made = take(reader, 1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    if (yml_is(node, YML_MAPPING)) {
        make_context(reader, node, made);
        made->name = NULL;
        return made;
    }
    const char *name = text_at(reader, node->parent, "context");
    for (size_t i = 0; name != NULL && i < reader->file->context_count; i++) {
        if (strcmp(reader->file->contexts[i].name, name) == 0) {
            return &reader->file->contexts[i];
        }
    }
    *made = (struct run_context){.node = node, .external = name};
    return made;
}

// ---- Tunnels

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= NAME_LEN_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static bool is_target(const char *forward)
{
    if (strncmp(forward, "unix:", 5) == 0) {
        return forward[5] == '/' && forward[6] != '\0';
    }
    const char *colon = strrchr(forward, ':');
    uint64_t port;
    return colon != forward &&
           number_parse_u64(slice_str(colon == NULL ? forward : colon + 1), 65535, &port) ==
               WEIR_OK &&
           port > 0;
}

static void read_labels(
    struct run_reader *reader, const struct yml_node *node, struct weir_tunnel_options *options)
{
    const struct yml_node *map = yml_get(node, SLICE("labels"));
    size_t count = yml_is(map, YML_MAPPING) ? map->count : 0;
    struct weir_tunnel_label *labels = take(reader, count + 2, sizeof *labels);
    if (labels == NULL) {
        return;
    }
    if (count + 2 > RUN_LABELS_MAX) {
        yml_error(&reader->file->document, map, reader->problems, "%zu labels; at most %d", count,
            RUN_LABELS_MAX - 2);
    }
    labels[options->label_count++] = (struct weir_tunnel_label){LABEL_MANAGED, "run"};
    labels[options->label_count++] = (struct weir_tunnel_label){LABEL_SOURCE, reader->source};
    yml_for_each (child, map) {
        struct slice text = SLICE_EMPTY;
        const char *value = "";
        char name[RUN_VARIABLE_SIZE];
        if (strcmp(child->key.at, LABEL_MANAGED) == 0 || strcmp(child->key.at, LABEL_SOURCE) == 0) {
            yml_key_error(&reader->file->document, child, reader->problems,
                "is set by run itself; leave it out");
        } else if (yml_is_null(child) || (yml_text(child, &text) == WEIR_OK &&
                                             run_expand(text, reader->variables,
                                                 &reader->file->arena, &value, name) == WEIR_OK)) {
            labels[options->label_count++] = (struct weir_tunnel_label){child->key.at, value};
        }
    }
    options->labels = labels;
}

static void read_options(
    struct run_reader *reader, const struct yml_node *node, struct run_tunnel *tunnel)
{
    struct weir_tunnel_options *options = &tunnel->options;
    *options = (struct weir_tunnel_options){
        .size = sizeof *options,
        .name = tunnel->name,
        .forward = tunnel->forward,
        .type = text_at(reader, node, "type"),
        .protocol = text_at(reader, node, "protocol"),
        .publish = switch_at(reader, node, "publish"),
        .hostname = text_at(reader, node, "host"),
        .upstream_tls = switch_at(reader, node, "upstreamTLS"),
        .datagram_guaranteed_delivery = switch_at(reader, node, "datagramGuaranteedDelivery"),
        .http_version = text_at(reader, node, "http.version"),
        .token_auth = switch_at(reader, node, "http.auth.token"),
        .rstream_auth = switch_at(reader, node, "http.auth.rstream"),
        .challenge_mode = switch_at(reader, node, "http.gate.challenge"),
        .tls_mode = text_at(reader, node, "tls.mode"),
        .tls_min_version = text_at(reader, node, "tls.minVersion"),
        .mtls_auth = switch_at(reader, node, "tls.mtls"),
    };
    options->trusted_ips = texts_at(reader, node, "trustedIPs", &options->trusted_ip_count);
    options->geoip = texts_at(reader, node, "geoip", &options->geoip_count);
    options->tls_alpns = texts_at(reader, node, "tls.alpns", &options->tls_alpn_count);
    enum weir_tunnel_switch http_tls = switch_at(reader, node, "http.upstreamTLS");
    if (http_tls != WEIR_TUNNEL_UNSET && options->upstream_tls != WEIR_TUNNEL_UNSET &&
        http_tls != options->upstream_tls) {
        yml_error(&reader->file->document, yml_find(node, SLICE("http.upstreamTLS")),
            reader->problems, "says something else than upstreamTLS; leave one out");
    }
    options->upstream_tls = http_tls == WEIR_TUNNEL_UNSET ? options->upstream_tls : http_tls;
    read_labels(reader, node, options);
}

static void check_together(
    struct run_reader *reader, const struct yml_node *node, const struct run_tunnel *tunnel)
{
    const struct yml_document *document = &reader->file->document;
    bool private = tunnel->options.publish == WEIR_TUNNEL_NO;
    const char *protocol = tunnel->options.protocol == NULL ? "http" : tunnel->options.protocol;
    const struct yml_node *http = yml_get(node, SLICE("http"));
    const struct yml_node *tls = yml_get(node, SLICE("tls"));
    const struct yml_node *host = yml_get(node, SLICE("host"));
    if (http != NULL && (private || strcmp(protocol, "http") != 0)) {
        yml_key_error(
            document, http, reader->problems, "is for published tunnels of protocol http");
    }
    if (tls != NULL && (private || strcmp(protocol, "tls") != 0)) {
        yml_key_error(document, tls, reader->problems, "is for published tunnels of protocol tls");
    }
    if (host != NULL && private) {
        yml_key_error(document, host, reader->problems, "a private tunnel has no host name");
    }
}

static void make_tunnel(
    struct run_reader *reader, const struct yml_node *node, struct run_tunnel *tunnel)
{
    const struct yml_document *document = &reader->file->document;
    const struct yml_node *name = yml_get(node, SLICE("name"));
    const struct yml_node *forward = yml_get(node, SLICE("forward"));
    const struct yml_node *properties = yml_get(node, SLICE("tunnel"));
    *tunnel = (struct run_tunnel){
        .node = node,
        .forward = text_at(reader, node, "forward"),
        .context = find_context(reader, yml_get(node, SLICE("context"))),
    };
    const char *said = text_at(reader, node, "name");
    if (yml_is_null(name)) {
        yml_error(document, node, reader->problems, "name is missing");
    } else if (said != NULL && !is_name(said)) {
        yml_error(document, name, reader->problems,
            "\"%s\" is not usable; allowed: 1 to %d of letters, digits, '.', '_', '-'", said,
            NAME_LEN_MAX);
    } else if (said != NULL && run_file_find(reader->file, said) != NULL) {
        yml_error(document, name, reader->problems, "\"%s\" is the name of another tunnel", said);
    }
    tunnel->name = said;
    if (yml_is_null(forward)) {
        yml_error(document, node, reader->problems,
            "forward is missing; allowed: PORT, HOST:PORT or unix:/PATH");
    } else if (tunnel->forward != NULL && !is_target(tunnel->forward)) {
        yml_error(document, forward, reader->problems,
            "\"%s\" is no place; allowed: PORT, HOST:PORT or unix:/PATH", tunnel->forward);
    }
    read_options(reader, properties, tunnel);
    check_together(reader, properties, tunnel);
}

// ---- Signatures

static void sign_text(struct buf *out, const char *text)
{
    buf_printf(out, "%zu:%s;", text == NULL ? 0 : strlen(text) + 1, text == NULL ? "" : text);
}

static void sign_texts(struct buf *out, const char *const *texts, size_t count)
{
    buf_printf(out, "%zu[", count);
    for (size_t i = 0; i < count; i++) {
        sign_text(out, texts[i]);
    }
}

static void sign_context(struct buf *out, const struct run_context *context)
{
    static const struct run_context none;
    context = context == NULL ? &none : context;
    const char *const texts[] = {context->external, context->engine, context->token,
        context->transport, context->ca_file, context->server_name};
    sign_texts(out, texts, sizeof texts / sizeof texts[0]);
    buf_printf(out, "%d;", context->insecure);
}

static bool sign(struct run_reader *reader, struct run_tunnel *tunnel)
{
    const struct weir_tunnel_options *options = &tunnel->options;
    struct buf out = BUF_INIT(SIGNATURE_MAX);
    const char *const texts[] = {tunnel->forward, options->type, options->protocol,
        options->hostname, options->http_version, options->tls_mode, options->tls_min_version};
    const enum weir_tunnel_switch switches[] = {options->publish, options->upstream_tls,
        options->datagram_guaranteed_delivery, options->token_auth, options->rstream_auth,
        options->challenge_mode, options->mtls_auth};
    sign_context(&out, tunnel->context);
    sign_texts(&out, texts, sizeof texts / sizeof texts[0]);
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        buf_printf(&out, "%d;", switches[i]);
    }
    sign_texts(&out, options->trusted_ips, options->trusted_ip_count);
    sign_texts(&out, options->geoip, options->geoip_count);
    sign_texts(&out, options->tls_alpns, options->tls_alpn_count);
    for (size_t i = 0; i < options->label_count; i++) {
        sign_text(&out, options->labels[i].key);
        sign_text(&out, options->labels[i].value);
    }
    char *copy = out.failed ? NULL : arena_copy(&reader->file->arena, buf_slice(&out));
    tunnel->signature = copy == NULL ? SLICE_EMPTY : slice_of(copy, out.len);
    buf_reset(&out);
    return copy != NULL;
}

// ---- The whole

bool run_file_make(struct run_reader *reader)
{
    struct run_file *file = reader->file;
    const struct yml_node *list = yml_get(file->document.root, SLICE("tunnels"));
    size_t count = yml_is(list, YML_SEQUENCE) ? list->count : 0;
    bool fits = true;
    if (yml_is(file->document.root, YML_MAPPING) &&
        yml_is_null(yml_get(file->document.root, SLICE("version")))) {
        yml_error(&file->document, NULL, reader->problems, "version is missing; it is version: 1");
    }
    if (yml_is_null(list) || (yml_is(list, YML_SEQUENCE) && count == 0)) {
        yml_error(&file->document, list, reader->problems, "there is no tunnel");
    }
    if (count > RUN_TUNNELS_MAX) {
        yml_error(&file->document, list, reader->problems, "%zu tunnels; at most %d", count,
            RUN_TUNNELS_MAX);
        return false;
    }
    make_contexts(reader);
    file->tunnels = take(reader, count, sizeof *file->tunnels);
    if (file->contexts == NULL || file->tunnels == NULL) {
        return false;
    }
    yml_for_each (child, list) {
        if (yml_is(child, YML_MAPPING)) {
            struct run_tunnel *tunnel = &file->tunnels[file->tunnel_count];
            make_tunnel(reader, child, tunnel);
            file->tunnel_count++;
            fits = sign(reader, tunnel) && fits;
        }
    }
    return fits;
}
