// SPDX-License-Identifier: Apache-2.0
// Who may ask, and from which page (spec sections 4.1, 5.1).
//
// Where nobody needs a token, a browser on this machine is the way in for everybody's pages: a page
// may send what it likes to 127.0.0.1, and a name of its own that points there (DNS rebinding)
// would let it read the answers. So the Host must be ours, what changes something must come from
// our own page or from one that is named, and so must a socket.
#include <stdio.h>

#include "base/ip.h"
#include "health/api/api_internal.h"
#include "http/gzip.h"
#include "sys/host.h"

#define TOKEN_SIZE 4096

// ---- Names

static struct slice header_value(const struct http1_head *head, const char *name)
{
    const struct http1_header *header = http1_find(head, slice_str(name));
    return header == NULL ? SLICE_EMPTY : header->value;
}

// "name:8988" and "[::1]:8988" without the port and the brackets.
static struct slice host_of(struct slice authority)
{
    struct slice rest = authority;
    struct slice host;
    if (authority.len > 0 && authority.at[0] == '[') {
        ptrdiff_t end = slice_find(authority, ']');
        return end < 0 ? SLICE_EMPTY : slice_of(authority.at + 1, (size_t)end - 1);
    }
    return slice_split(&rest, ':', &host) ? host : SLICE_EMPTY;
}

static struct slice authority_of(struct slice origin)
{
    return slice_starts_with(origin, SLICE("https://"))  ? slice_skip(origin, 8)
           : slice_starts_with(origin, SLICE("http://")) ? slice_skip(origin, 7)
                                                         : SLICE_EMPTY;
}

static bool is_listed(const char *list, struct slice wanted)
{
    struct slice rest = slice_str(list);
    struct slice entry;
    while (rest.len > 0 && slice_split(&rest, ',', &entry)) {
        entry = slice_trim(entry);
        while (slice_ends_with(entry, SLICE("/"))) {
            entry.len--;
        }
        if (entry.len > 0 && slice_eq_nocase(entry, wanted)) {
            return true;
        }
    }
    return false;
}

static bool is_localhost(struct slice host)
{
    struct ip ip;
    return slice_eq_nocase(host, SLICE("localhost")) ||
           (host.len > 10 &&
               slice_eq_nocase(slice_skip(host, host.len - 10), SLICE(".localhost"))) ||
           (ip_parse(host, &ip) == WEIR_OK && ip_is_loopback(&ip));
}

static bool is_this_machine(struct slice host)
{
    char name[SYS_HOSTNAME_SIZE];
    sys_hostname(name);
    struct slice full = slice_str(name);
    struct slice rest = full;
    struct slice brief;
    return full.len > 0 && (slice_eq_nocase(host, full) ||
                               (slice_split(&rest, '.', &brief) && slice_eq_nocase(host, brief)));
}

// ---- Pages

bool api_host_fits(const struct http_request *http)
{
    const struct health *health = http_owner(http->conn);
    const struct http1_head *head = http->head;
    const struct health_options *options = &health->options;
    struct slice host = host_of(header_value(head, "host"));
    struct ip ip;
    if (http_is_local(http->conn) || !ip_is_loopback(&health->address.ip) ||
        (options->tokens_path != NULL && !options->public_read) ||
        http1_find(head, SLICE("host")) == NULL) {
        return true;
    }
    // A page that was loaded from an address is that address's.
    return is_localhost(host) || ip_parse(host, &ip) == WEIR_OK || is_this_machine(host) ||
           is_listed(options->allowed_hosts, host);
}

static bool is_named_origin(const struct health *health, struct slice origin)
{
    return is_listed(health->options.cors_origins, origin);
}

bool api_origin_fits(const struct http_request *http)
{
    const struct health *health = http_owner(http->conn);
    const struct http1_head *head = http->head;
    struct slice origin = header_value(head, "origin");
    // Who has a token got it from the operator, whichever page he is on.
    return origin.len == 0 || health->options.tokens_path != NULL || sockets_same_origin(head) ||
           is_named_origin(health, origin) ||
           (ip_is_loopback(&health->address.ip) && is_localhost(host_of(authority_of(origin))));
}

void api_read_ticket(struct api_request *request)
{
    const struct http1_head *head = request->http->head;
    struct api_ticket *ticket = &request->ticket;
    struct slice origin = header_value(head, "origin");
    ticket->head = slice_eq(head->method, SLICE("HEAD"));
    ticket->secure = slice_eq_nocase(header_value(head, "x-forwarded-proto"), SLICE("https"));
    ticket->gzip = gzip_is_accepted(header_value(head, "accept-encoding"));
    if (origin.len == 0) {
        return;
    }
    if (is_named_origin(request->health, origin)) {
        // One that is too long is answered like one that is not named.
        (void)slice_to_text(origin, ticket->origin, sizeof ticket->origin);
    } else if (is_listed(request->health->options.cors_origins, SLICE("*"))) {
        snprintf(ticket->origin, sizeof ticket->origin, "*");
    }
}

void api_write_cors(const struct api_ticket *ticket, struct buf *lines)
{
    if (ticket->origin[0] == '\0') {
        return;
    }
    buf_printf(lines, "Access-Control-Allow-Origin: %s\r\n", ticket->origin);
    buf_append_str(lines, "Access-Control-Expose-Headers: ETag, Retry-After, X-Cache-TTL\r\n");
    if (strcmp(ticket->origin, "*") != 0) {
        buf_append_str(lines, "Access-Control-Allow-Credentials: true\r\n");
    }
}

// ---- Tokens

enum role api_role(struct api_request *request)
{
    static const char *const names[] = {"token", "access_token"};
    struct slice authorization = header_value(request->http->head, "authorization");
    struct slice offered = sockets_offered_token(request->http->head);
    const struct token_list *tokens = &request->health->tokens;
    if (request->health->options.tokens_path == NULL || http_is_local(request->http->conn)) {
        return ROLE_ADMIN;
    }
    if (slice_starts_with_nocase(authorization, SLICE("bearer "))) {
        return token_list_role(tokens, slice_trim(slice_skip(authorization, strlen("bearer "))));
    }
    if (offered.len > 0) {
        return token_list_role(tokens, offered);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char token[TOKEN_SIZE];
        api_text(request, names[i], token, sizeof token);
        if (token[0] != '\0') {
            return token_list_role(tokens, slice_str(token));
        }
    }
    return ROLE_NOBODY;
}

bool api_may(struct api_request *request, enum access access)
{
    const struct health_options *options = &request->health->options;
    static const enum role needed[] = {
        [ACCESS_OPEN] = ROLE_NOBODY,
        [ACCESS_PUBLIC] = ROLE_VIEWER,
        [ACCESS_READ] = ROLE_VIEWER,
        [ACCESS_OPERATE] = ROLE_OPERATOR,
        [ACCESS_ADMINISTER] = ROLE_ADMIN,
    };
    if (http_is_local(request->http->conn)) {
        return true; // no page comes this way
    }
    if (options->tokens_path == NULL && access >= ACCESS_OPERATE &&
        !sockets_same_origin(request->http->head) &&
        !is_named_origin(request->health, header_value(request->http->head, "origin"))) {
        api_answer_error(request, 403, "Pages of other origins may change nothing");
        return false;
    }
    if (options->tokens_path == NULL || access == ACCESS_OPEN ||
        (access == ACCESS_PUBLIC && options->public_read)) {
        return true;
    }
    enum role role = api_role(request);
    if (role == ROLE_NOBODY) {
        api_answer_error(request, 401, "Missing authentication token");
    } else if (role < needed[access]) {
        api_answer_error(request, 403, "Insufficient role");
    }
    return role >= needed[access] && role != ROLE_NOBODY;
}
