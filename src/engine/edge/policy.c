// SPDX-License-Identifier: Apache-2.0
// In this order: is the connection of the right kind, does the visitor come from the right place,
// does he show the right token. What a stranger learns is never more than the first that fails.
#include "engine/edge/policy.h"

#include "engine/config/config.h"
#include "engine/control/token.h"
#include "engine/edge/head_rules.h"
#include "engine/shard.h"
#include "sys/clock.h"

#define PASSED EDGE_ERROR_COUNT
#define TOKEN_LEN_MAX 8192

// Ciphers and versions were settled for the name in the SNI; another name may want others.
static bool connection_fits(const struct tunnel *tunnel, const struct visitor *visitor)
{
    if (tunnel->protocol != TUNNEL_HTTP || visitor->tls_version < tunnel->tls_version_min) {
        return false;
    }
    return tunnel->tls_ciphers == NULL || visitor->tls_version > TLS1_2_VERSION ||
           slice_eq(slice_str(visitor->sni), slice_str(tunnel->hostname));
}

// The token of the header or the query; both at once, or none, is no proof.
static bool find_token(
    const struct request_head *head, char query_token[TOKEN_LEN_MAX], struct slice *ret_token)
{
    struct slice bearer = SLICE("bearer ");
    struct slice path;
    struct slice query;
    size_t len = 0;
    struct slice field = head_rules_value(head->fields, head->field_count, SLICE("authorization"));
    bool in_header = slice_starts_with_nocase(field, bearer);
    bool in_query = http1_split_target(head->target, &path, &query) == WEIR_OK &&
                    http1_query_value(
                        query, SLICE("rstream.token"), query_token, TOKEN_LEN_MAX, &len) == WEIR_OK;
    if (in_header == in_query) {
        return false;
    }
    *ret_token = in_header ? slice_trim(slice_skip(field, bearer.len)) : slice_of(query_token, len);
    return ret_token->len > 0;
}

static enum edge_error check_token(
    const struct tunnel *tunnel, const struct visitor *visitor, const struct request_head *head)
{
    char query_token[TOKEN_LEN_MAX];
    struct slice text;
    const char *reason;
    if (!find_token(head, query_token, &text)) {
        return EDGE_UNAUTHORIZED;
    }
    struct slice secret = slice_str(visitor->shard->engine->config->jwt_secret);
    struct token *token = token_read(text, secret, sys_wall_ms(), &reason);
    if (token == NULL) {
        return EDGE_UNAUTHORIZED;
    }
    ptrdiff_t mark = slice_find(head->target, '?');
    struct slice path = mark < 0 ? head->target : slice_of(head->target.at, (size_t)mark);
    bool opens = token_opens_path(token, tunnel, path);
    token_free(token);
    return opens ? PASSED : EDGE_FORBIDDEN;
}

enum edge_error policy_check(
    const struct tunnel *tunnel, const struct visitor *visitor, const struct request_head *head)
{
    if (!connection_fits(tunnel, visitor)) {
        return EDGE_MISDIRECTED;
    }
    if (tunnel->trusted_ips.count > 0 &&
        !ip_in_any(tunnel->trusted_ips.items, tunnel->trusted_ips.count, &visitor->peer.ip)) {
        return EDGE_FORBIDDEN;
    }
    return tunnel->token_auth ? check_token(tunnel, visitor, head) : PASSED;
}
