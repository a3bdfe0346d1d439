// SPDX-License-Identifier: Apache-2.0
// Order of the checks, each terminal (spec section 4.2; the numbers are its rows):
//
//   accepting worker   1 upgrade rate  2 total cap  3 address cap      (ledger_enter: reserves)
//                      4 target        5 path       6 query            7 token
//                      11 WebSocket handshake headers (cheap, so before the platform is asked)
//   owning worker      8 clients of the cell (reserves)                4.6 local look at the token
//                      9 admission     10 where the daemon is, if clients are redirected
//                                      12 claims, after the 101        (peer.c)
//
// Invariants:
// 1. From ledger_enter until `finish`, the upgrade holds exactly one slot of the ledger; peer_open
//    takes it over.
// 2. While the upgrade waits (for a key set, for admission) its stream is watched for the peer's
//    end only; what the peer sends early stays in the socket.
// 3. upgrade_free is the only exit after the hand-over; a cell's reservation goes with it.
#include "relay/upgrade.h"

#include <stdio.h>

#include "base/mem.h"
#include "obs/log.h"
#include "proto/proxy_header.h"
#include "relay/admission.h"
#include "relay/backplane/presence.h"
#include "relay/cell.h"
#include "relay/jwks_cache.h"
#include "relay/peer.h"
#include "relay/places.h"
#include "relay/redirect.h"

#define TOKEN_LEN_MIN 10
#define TOKEN_LEN_MAX 4096
#define ID_SIZE (CELL_ID_LEN_MAX + 1)
#define PROTOCOL_SIZE 4200

struct upgrade {
    struct list node; // in shard->upgrades
    struct job job;
    struct shard *shard; // the accepting worker's, then the owning one's
    struct stream_state state;
    struct stream stream; // while it waits on the owning worker
    struct buf unread;
    struct jwks_waiter waiter;
    struct admission *admission;
    struct presence_waiter presence;
    char *redirect; // owned; URL of the relay that has the daemon, or NULL
    struct claims claims;
    bool asks_http; // to be redirected by a 307
    bool exempt;    // from the total cap
    bool reserved; // a client's place in its cell
    struct ip ip;
    enum role role;
    size_t workspace_len;
    size_t target_len;
    char workspace[ID_SIZE];
    char target[ID_SIZE];
    char accept[WS_ACCEPT_SIZE];
    size_t token_len;
    char *token;    // in texts
    char *protocol; // in texts; to be echoed, "" for none
    char texts[];   // as long as these two: many upgrades wait at once, and peers stay behind them
};

// While a request is looked at, its texts may be as long as they are allowed to be.
struct draft {
    char token[TOKEN_LEN_MAX + 1];
    char protocol[PROTOCOL_SIZE];
};

// ---- Refusals

struct refusal {
    unsigned status; // 0: dropped without a byte
    enum handshake_failure failure;
    enum metric metric; // METRIC_COUNT: none of its own
    const char *headers;
    const char *body;
};

static const struct refusal rate_limited = {429, FAILURE_RATE_LIMITED,
    METRIC_UPGRADE_RATE_LIMITED, "Retry-After: 60\r\n", NULL};
static const struct refusal total_full = {503, FAILURE_TOTAL_CONNECTIONS,
    METRIC_UPGRADE_REJECTED_TOTAL_CONNECTIONS, "Retry-After: 5\r\n", NULL};
static const struct refusal address_full = {429, FAILURE_IP_CONNECTIONS,
    METRIC_UPGRADE_REJECTED_IP_CONNECTIONS, "Retry-After: 5\r\n", NULL};
static const struct refusal bad_target = {0, FAILURE_BAD_REQUEST, METRIC_UPGRADE_ERRORS, NULL, NULL};
static const struct refusal bad_path = {0, FAILURE_BAD_REQUEST, METRIC_COUNT, NULL, NULL};
static const struct refusal bad_query = {400, FAILURE_INVALID_QUERY, METRIC_UPGRADE_INVALID_QUERY,
    NULL, NULL};
static const struct refusal no_token = {401, FAILURE_MISSING_AUTH, METRIC_UPGRADE_MISSING_AUTH,
    NULL, NULL};
static const struct refusal query_token = {401, FAILURE_QUERY_TOKEN_NOT_ALLOWED,
    METRIC_UPGRADE_MISSING_AUTH, NULL, NULL};
static const struct refusal bad_method = {405, FAILURE_BAD_REQUEST, METRIC_COUNT, NULL,
    "Invalid HTTP method"};
static const struct refusal bad_upgrade = {400, FAILURE_BAD_REQUEST, METRIC_COUNT, NULL,
    "Invalid Upgrade header"};
static const struct refusal bad_key = {400, FAILURE_BAD_REQUEST, METRIC_COUNT, NULL,
    "Missing or invalid Sec-WebSocket-Key header"};
static const struct refusal bad_version = {400, FAILURE_BAD_REQUEST, METRIC_COUNT,
    "Sec-WebSocket-Version: 13, 8\r\n", "Missing or invalid Sec-WebSocket-Version header"};
static const struct refusal bad_protocol = {400, FAILURE_BAD_REQUEST, METRIC_COUNT, NULL,
    "Invalid Sec-WebSocket-Protocol header"};
static const struct refusal cell_full = {429, FAILURE_WORKSPACE_CLIENTS,
    METRIC_UPGRADE_REJECTED_WORKSPACE_CLIENTS, "Retry-After: 5\r\n", NULL};
static const struct refusal no_memory = {503, FAILURE_ABORTED, METRIC_UPGRADE_ERRORS, NULL, NULL};

static size_t write_refusal(const struct refusal *refusal, char *out, size_t size)
{
    size_t body_len = refusal->body == NULL ? 0 : strlen(refusal->body);
    int len = snprintf(out, size,
        "HTTP/1.1 %u %s\r\n%s%sConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
        refusal->status, http1_reason(refusal->status),
        refusal->headers == NULL ? "" : refusal->headers,
        body_len > 0 ? "Content-Type: text/html\r\n" : "", body_len,
        refusal->body == NULL ? "" : refusal->body);
    return len < 0 ? 0 : (size_t)len;
}

static void account_refusal(struct shard *shard, const struct refusal *refusal,
    const struct ip *ip, const struct upgrade *upgrade)
{
    char ip_text[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(ip, ip_text);
    if (refusal->metric != METRIC_COUNT) {
        metrics_count(shard->worker->metrics, refusal->metric);
    }
    metrics_failure(shard->worker->metrics, refusal->failure);
    bool error = refusal == &bad_target;
    log_begin(&line, error ? LOG_UPGRADE_ERROR : LOG_UPGRADE_REFUSED);
    log_text(&line, "reason", handshake_failure_label(refusal->failure));
    if (refusal->body != NULL) {
        log_text(&line, "detail", refusal->body);
    }
    log_u64(&line, "status", refusal->status);
    if (upgrade != NULL && upgrade->workspace_len > 0) {
        log_text(&line, "role", role_name(upgrade->role));
        log_text(&line, "workspaceId", upgrade->workspace);
    }
    log_text(&line, "ip", ip_text);
    log_end(&line);
}

void upgrade_failed(struct http_server *server, const struct ip *peer, enum http_failure failure)
{
    static const struct {
        const char *reason;
        enum handshake_failure failure;
    } kinds[] = {
        [HTTP_FAILURE_TLS] = {"tls_handshake", FAILURE_COUNT},
        [HTTP_FAILURE_PROXY] = {"bad PROXY header", FAILURE_BAD_REQUEST},
        [HTTP_FAILURE_MALFORMED] = {"malformed request", FAILURE_BAD_REQUEST},
        [HTTP_FAILURE_TOO_LARGE] = {"request head too large", FAILURE_BAD_REQUEST},
        [HTTP_FAILURE_TIMEOUT] = {"request not complete in time", FAILURE_ABORTED},
        [HTTP_FAILURE_LEFT] = {"peer left in the middle of its request", FAILURE_ABORTED},
    };
    struct metrics_shard *metrics = server->worker->metrics;
    if (failure == HTTP_FAILURE_TLS) {
        metrics_count(metrics, METRIC_TLS_HANDSHAKE_FAILURES);
    } else {
        metrics_failure(metrics, kinds[failure].failure);
    }
    char ip[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(peer, ip);
    log_begin(&line, LOG_HANDSHAKE_FAILED);
    log_text(&line, "reason", kinds[failure].reason);
    log_text(&line, "ip", ip);
    log_end(&line);
}

// ---- On the accepting worker

static struct ip client_ip(struct shard *shard, const struct http_request *request)
{
    const struct relay_config *config = shard->relay->config;
    const struct http1_head *head = request->head;
    char joined[2048];
    size_t len = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http1_header *header = &head->headers[i];
        if (!slice_eq_nocase(header->name, SLICE("x-forwarded-for"))) {
            continue;
        }
        int more = snprintf(joined + len, sizeof joined - len, "%s%.*s", len > 0 ? "," : "",
            SLICE_ARG(header->value));
        if (more < 0 || (size_t)more >= sizeof joined - len) {
            break;
        }
        len += (size_t)more;
    }
    return proxy_client_ip(&http_peer(request->conn)->ip, slice_of(joined, len),
        config->trusted_proxies.items, config->trusted_proxies.count);
}

static bool asks_for_http_redirect(struct slice query)
{
    char style[8];
    size_t len;
    return http1_query_value(query, SLICE("redirect"), style, sizeof style, &len) == WEIR_OK &&
           slice_eq(slice_of(style, len), SLICE("http"));
}

static bool read_query(struct upgrade *upgrade, struct slice query)
{
    char role[32];
    size_t role_len;
    upgrade->asks_http = asks_for_http_redirect(query);
    if (http1_query_value(query, SLICE("role"), role, sizeof role, &role_len) != WEIR_OK ||
        !role_parse(slice_of(role, role_len), &upgrade->role)) {
        return false;
    }
    if (http1_query_value(query, SLICE("workspaceId"), upgrade->workspace, ID_SIZE,
            &upgrade->workspace_len) != WEIR_OK ||
        !cell_is_id(slice_of(upgrade->workspace, upgrade->workspace_len))) {
        upgrade->workspace_len = 0;
        return false;
    }
    enum weir_result result = http1_query_value(query, SLICE("runtimeTargetId"), upgrade->target,
        ID_SIZE, &upgrade->target_len);
    if (result == WEIR_NOT_FOUND) {
        upgrade->target_len = 0;
        return true;
    }
    return result == WEIR_OK && cell_is_id(slice_of(upgrade->target, upgrade->target_len));
}

static bool take_token(struct upgrade *upgrade, struct slice token)
{
    if (token.len < TOKEN_LEN_MIN || !slice_to_text(token, upgrade->token, TOKEN_LEN_MAX + 1)) {
        return false;
    }
    upgrade->token_len = token.len;
    return true;
}

static bool token_from_authorization(struct upgrade *upgrade, const struct http1_head *head)
{
    const struct http1_header *header = http1_find(head, SLICE("authorization"));
    if (header == NULL || !slice_starts_with_nocase(header->value, SLICE("bearer"))) {
        return false;
    }
    struct slice rest = slice_skip(header->value, 6);
    if (rest.len == 0 || (rest.at[0] != ' ' && rest.at[0] != '\t')) {
        return false;
    }
    return take_token(upgrade, slice_trim(rest));
}

static bool token_from_protocol(struct upgrade *upgrade, const struct http1_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (!slice_eq_nocase(head->headers[i].name, SLICE("sec-websocket-protocol"))) {
            continue;
        }
        struct slice rest = head->headers[i].value;
        struct slice offer;
        while (slice_split(&rest, ',', &offer)) {
            offer = slice_trim(offer);
            if (slice_starts_with(offer, SLICE("auth."))) {
                return take_token(upgrade, slice_skip(offer, 5));
            }
        }
    }
    return false;
}

// Spec section 4.3: the first source that gives a token of a fitting length wins.
static const struct refusal *find_token(
    struct upgrade *upgrade, const struct http_request *request)
{
    if (token_from_authorization(upgrade, request->head) ||
        token_from_protocol(upgrade, request->head)) {
        return NULL;
    }
    char token[TOKEN_LEN_MAX + 1];
    size_t len;
    if (http1_query_value(request->query, SLICE("token"), token, sizeof token, &len) != WEIR_OK ||
        len < TOKEN_LEN_MIN) {
        return &no_token;
    }
    if (upgrade->shard->relay->config->security_mode != SECURITY_MODE_DEV) {
        return &query_token;
    }
    return take_token(upgrade, slice_of(token, len)) ? NULL : &no_token;
}

static bool is_token_text(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c) != NULL) {
            return false;
        }
    }
    return text.len > 0;
}

// The protocol to echo: the first offer that is no token; a token only when there is nothing else.
static bool choose_protocol(struct upgrade *upgrade, const struct http1_head *head)
{
    struct slice offers[32];
    size_t count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        if (!slice_eq_nocase(head->headers[i].name, SLICE("sec-websocket-protocol"))) {
            continue;
        }
        struct slice rest = head->headers[i].value;
        struct slice offer;
        while (slice_split(&rest, ',', &offer)) {
            offer = slice_trim(offer);
            if (!is_token_text(offer) || count == sizeof offers / sizeof offers[0]) {
                return false;
            }
            for (size_t j = 0; j < count; j++) {
                if (slice_eq(offers[j], offer)) {
                    return false;
                }
            }
            offers[count++] = offer;
        }
    }
    struct slice chosen = count == 0 ? SLICE_EMPTY : offers[0];
    for (size_t i = count; i > 0; i--) {
        if (!slice_starts_with(offers[i - 1], SLICE("auth."))) {
            chosen = offers[i - 1];
        }
    }
    return slice_to_text(chosen, upgrade->protocol, PROTOCOL_SIZE);
}

static const struct refusal *check_handshake(
    struct upgrade *upgrade, const struct http_request *request)
{
    const struct http1_head *head = request->head;
    const struct http1_header *upgrade_header = http1_find(head, SLICE("upgrade"));
    const struct http1_header *key = http1_find(head, SLICE("sec-websocket-key"));
    const struct http1_header *version = http1_find(head, SLICE("sec-websocket-version"));
    if (!slice_eq(head->method, SLICE("GET"))) {
        return &bad_method;
    }
    if (upgrade_header == NULL || !slice_eq_nocase(upgrade_header->value, SLICE("websocket"))) {
        return &bad_upgrade;
    }
    if (key == NULL || !ws_key_valid(key->value) ||
        ws_accept_key(key->value, upgrade->accept) != WEIR_OK) {
        return &bad_key;
    }
    if (version == NULL || (!slice_eq(version->value, SLICE("13")) &&
                               !slice_eq(version->value, SLICE("8")))) {
        return &bad_version;
    }
    return choose_protocol(upgrade, head) ? NULL : &bad_protocol;
}

static const struct refusal *check_request(
    struct upgrade *upgrade, const struct http_request *request)
{
    if (!slice_eq(request->path, SLICE("/ws"))) {
        return &bad_path;
    }
    if (!read_query(upgrade, request->query)) {
        return &bad_query;
    }
    const struct refusal *refusal = find_token(upgrade, request);
    return refusal != NULL ? refusal : check_handshake(upgrade, request);
}

static const struct refusal *enter_ledger(struct shard *shard, const struct ip *ip)
{
    static const struct refusal *const verdicts[] = {
        [LEDGER_ADMITTED] = NULL,
        [LEDGER_RATE_LIMITED] = &rate_limited,
        [LEDGER_FULL] = &total_full,
        [LEDGER_ADDRESS_FULL] = &address_full,
        [LEDGER_NO_MEMORY] = &no_memory,
    };
    return verdicts[ledger_enter(shard->relay->ledger, ip, worker_now(shard->worker))];
}

static void refuse_request(struct http_request *request, struct shard *shard,
    const struct refusal *refusal, const struct ip *ip, const struct upgrade *upgrade)
{
    char answer[512];
    account_refusal(shard, refusal, ip, upgrade);
    size_t len = refusal->status == 0 ? 0 : write_refusal(refusal, answer, sizeof answer);
    http_refuse(request->conn, slice_of(answer, len));
}

static void arrive(struct worker *worker, struct job *job);

// Between two workers at the end of the process.
static void drop_detached(struct worker *worker, struct upgrade *upgrade)
{
    stream_state_drop(&upgrade->state);
    ledger_leave(upgrade->shard->relay->ledger, &upgrade->ip, upgrade->exempt);
    metrics_failure(worker->metrics, FAILURE_ABORTED);
    buf_reset(&upgrade->unread);
    mem_free(upgrade);
}

// The connection may be opened on another worker now.
static void on_detached(void *arg)
{
    struct upgrade *upgrade = arg;
    struct relay *relay = upgrade->shard->relay;
    if (upgrade->shard->drained) { // the owner may have stopped: nobody would take it
        atomic_fetch_sub(&relay->upgrades_moving, 1);
        drop_detached(upgrade->shard->worker, upgrade);
        return;
    }
    unsigned place = relay_place(relay, slice_of(upgrade->workspace, upgrade->workspace_len));
    worker_post(&relay->crew->workers[place], &upgrade->job, arrive);
}

static struct upgrade *keep_upgrade(const struct upgrade *candidate)
{
    size_t token_size = candidate->token_len + 1;
    size_t protocol_size = strlen(candidate->protocol) + 1;
    struct upgrade *upgrade = mem_alloc(sizeof *upgrade + token_size + protocol_size);
    if (upgrade == NULL) {
        return NULL;
    }
    *upgrade = *candidate;
    upgrade->token = upgrade->texts;
    upgrade->protocol = upgrade->texts + token_size;
    memcpy(upgrade->token, candidate->token, token_size);
    memcpy(upgrade->protocol, candidate->protocol, protocol_size);
    return upgrade;
}

void upgrade_handle(struct http_request *request)
{
    struct shard *shard = http_owner(request->conn);
    struct ip ip = client_ip(shard, request);
    const struct refusal *refusal = enter_ledger(shard, &ip);
    if (refusal != NULL) {
        refuse_request(request, shard, refusal, &ip, NULL);
        return;
    }
    struct draft draft;
    struct upgrade candidate = {
        .shard = shard, .ip = ip, .token = draft.token, .protocol = draft.protocol};
    struct upgrade *upgrade = NULL;
    refusal = check_request(&candidate, request);
    if (refusal == NULL) {
        upgrade = keep_upgrade(&candidate);
        refusal = upgrade == NULL ? &no_memory : NULL;
    }
    if (refusal != NULL) {
        ledger_leave(shard->relay->ledger, &ip, false);
        refuse_request(request, shard, refusal, &ip, &candidate);
        return;
    }
    if (upgrade->role == ROLE_WORKER) {
        upgrade->exempt = true;
        ledger_exempt(shard->relay->ledger);
    }
    atomic_fetch_add(&shard->relay->upgrades_moving, 1); // before the connection leaves the server
    http_detach(request->conn, &upgrade->state, &upgrade->unread, on_detached, upgrade);
}

// ---- On the owning worker

static struct cell_name cell_name(const struct upgrade *upgrade)
{
    return (struct cell_name){slice_of(upgrade->workspace, upgrade->workspace_len),
        slice_of(upgrade->target, upgrade->target_len)};
}

static void leave_shard(struct upgrade *upgrade)
{
    list_remove(&upgrade->node);
    jwks_cancel(&upgrade->waiter);
    presence_cancel(&upgrade->presence);
    admission_cancel(upgrade->admission);
    upgrade->admission = NULL;
    if (upgrade->reserved) {
        places_give_back(upgrade->shard, cell_name(upgrade));
        upgrade->reserved = false;
    }
}

static void upgrade_free(struct upgrade *upgrade)
{
    struct shard *shard = upgrade->shard;
    claims_fini(&upgrade->claims);
    buf_reset(&upgrade->unread);
    mem_free(upgrade->redirect);
    mem_free(upgrade);
    relay_note_departure(shard);
}

static void on_closed(struct stream *stream)
{
    upgrade_free(container_of(stream, struct upgrade, stream));
}

// Ends an upgrade that holds an open stream: with an answer, or none.
static void finish(struct upgrade *upgrade, struct slice answer, bool hard)
{
    leave_shard(upgrade);
    ledger_leave(upgrade->shard->relay->ledger, &upgrade->ip, upgrade->exempt);
    if (answer.len > 0) {
        struct iovec part = {(char *)(uintptr_t)answer.at, answer.len};
        size_t written;
        // A fresh connection's socket buffer takes a few hundred bytes, or the peer has gone.
        (void)!stream_write(&upgrade->stream, &part, 1, &written);
        stream_finish(&upgrade->stream);
    }
    stream_close(&upgrade->stream, hard, on_closed);
}

static void refuse(struct upgrade *upgrade, const struct refusal *refusal)
{
    char answer[512];
    account_refusal(upgrade->shard, refusal, &upgrade->ip, upgrade);
    finish(upgrade, slice_of(answer, write_refusal(refusal, answer, sizeof answer)), false);
}

static void abort_upgrade(struct upgrade *upgrade)
{
    static const struct refusal aborted = {0, FAILURE_ABORTED, METRIC_COUNT, NULL, NULL};
    account_refusal(upgrade->shard, &aborted, &upgrade->ip, upgrade);
    finish(upgrade, SLICE_EMPTY, true);
}

// Anything the socket reports while we wait: the peer has left.
static void on_ready(struct stream *stream, unsigned events)
{
    (void)events;
    abort_upgrade(container_of(stream, struct upgrade, stream));
}

static size_t write_switch(const struct upgrade *upgrade, char *out, size_t size)
{
    bool echo = upgrade->protocol[0] != '\0';
    int len = snprintf(out, size,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
        upgrade->accept, echo ? "Sec-WebSocket-Protocol: " : "", upgrade->protocol,
        echo ? "\r\n" : "");
    return (size_t)len;
}

// The stream is free of the upgrade's watch: it becomes a peer's.
static void on_handed_over(struct stream *stream)
{
    struct upgrade *upgrade = container_of(stream, struct upgrade, stream);
    char preface[PROTOCOL_SIZE + 512];
    struct admitted admitted = {
        .stream = upgrade->state,
        .preface = slice_of(preface, write_switch(upgrade, preface, sizeof preface)),
        .unread = buf_slice(&upgrade->unread),
        .claims = &upgrade->claims,
        .workspace = slice_of(upgrade->workspace, upgrade->workspace_len),
        .target = slice_of(upgrade->target, upgrade->target_len),
        .redirect = upgrade->redirect == NULL ? SLICE_EMPTY : slice_str(upgrade->redirect),
        .role = upgrade->role,
        .ip = upgrade->ip,
    };
    struct shard *shard = upgrade->shard;
    leave_shard(upgrade);
    if (peer_open(shard, &admitted) != WEIR_OK) {
        metrics_failure(shard->worker->metrics, FAILURE_ABORTED);
    }
    upgrade_free(upgrade);
}

static void refuse_admission(struct upgrade *upgrade, const struct admission_result *result)
{
    static const struct refusal denied = {401, FAILURE_ADMISSION_DENIED, METRIC_COUNT, NULL, NULL};
    char ip[IP_TEXT_SIZE];
    struct log_line line;
    struct metrics_shard *metrics = upgrade->shard->worker->metrics;
    ip_to_text(&upgrade->ip, ip);
    metrics_count(metrics, METRIC_ADMISSION_DENIED);
    metrics_failure(metrics, result->failure);
    log_begin(&line, LOG_ADMISSION_DENIED);
    log_text(&line, "role", role_name(upgrade->role));
    log_text(&line, "workspaceId", upgrade->workspace);
    log_text(&line, "reason", result->reason);
    log_u64(&line, "status", result->status);
    log_text(&line, "ip", ip);
    log_end(&line);
    char answer[512];
    finish(upgrade, slice_of(answer, write_refusal(&denied, answer, sizeof answer)), false);
}

static void hand_over(struct upgrade *upgrade)
{
    stream_detach(&upgrade->stream, &upgrade->state, on_handed_over);
}

// ---- A daemon that another relay has (spec section 10)

// Only whom the claims entitle to the daemon learns where it is.
static bool may_be_redirected(const struct upgrade *upgrade)
{
    const struct shard *shard = upgrade->shard;
    const struct claims *claims = &upgrade->claims;
    struct cell_name name = cell_name(upgrade);
    if (upgrade->role != ROLE_CLIENT || !shard->relay->config->client_redirect_enabled ||
        name.target.len == 0 || claims->workspace_id == NULL ||
        claims->runtime_target_id == NULL || claims->scope == SCOPE_NONE ||
        !slice_eq(slice_str(claims->workspace_id), name.workspace) ||
        !slice_eq(slice_str(claims->runtime_target_id), name.target)) {
        return false;
    }
    const struct cell *cell = cell_find(upgrade->shard, name.workspace, name.target);
    return cell == NULL || cell->daemon == NULL;
}

static void redirect_by_http(struct upgrade *upgrade, struct slice url)
{
    char answer[4096];
    struct log_line line;
    int len = snprintf(answer, sizeof answer,
        "HTTP/1.1 307 Temporary Redirect\r\n"
        "Location: %.*s?role=client&workspaceId=%s&runtimeTargetId=%s\r\n"
        "Connection: close\r\nContent-Length: 0\r\n\r\n",
        SLICE_ARG(url), upgrade->workspace, upgrade->target);
    metrics_count(upgrade->shard->worker->metrics, METRIC_CLIENT_REDIRECT);
    log_begin(&line, LOG_CLIENT_REDIRECTED);
    log_text(&line, "workspaceId", upgrade->workspace);
    log_text(&line, "runtimeTargetId", upgrade->target);
    log_str(&line, "relayWsBaseUrl", url);
    log_end(&line);
    finish(upgrade, slice_of(answer, (size_t)len), false);
}

// A look-up that failed is none: it never fails the upgrade.
static void on_located(
    struct presence_waiter *waiter, enum bus_end end, const struct presence *answer)
{
    struct upgrade *upgrade = container_of(waiter, struct upgrade, presence);
    enum redirect_style style =
        (enum redirect_style)upgrade->shard->relay->config->client_redirect_style;
    (void)end;
    if (answer != NULL && redirect_is_usable(upgrade->shard, answer->url)) {
        if (style == REDIRECT_HTTP || (style == REDIRECT_AUTO && upgrade->asks_http)) {
            redirect_by_http(upgrade, answer->url);
            return;
        }
        upgrade->redirect = mem_copy(answer->url.at, answer->url.len);
    }
    hand_over(upgrade);
}

static void on_admission(void *arg, const struct admission_result *result)
{
    struct upgrade *upgrade = arg;
    upgrade->admission = NULL;
    if (!result->admitted) {
        refuse_admission(upgrade, result);
        return;
    }
    metrics_count(upgrade->shard->worker->metrics, METRIC_ADMISSION_OK);
    upgrade->claims = *result->claims;
    *result->claims = (struct claims){0};
    if (may_be_redirected(upgrade)) {
        presence_ask(upgrade->shard, cell_name(upgrade), &upgrade->presence);
    } else {
        hand_over(upgrade);
    }
}

static void ask_platform(struct upgrade *upgrade)
{
    upgrade->admission = admission_start(upgrade->shard,
        &(struct admission_question){
            .token = slice_of(upgrade->token, upgrade->token_len),
            .workspace = slice_of(upgrade->workspace, upgrade->workspace_len),
            .target = slice_of(upgrade->target, upgrade->target_len),
            .role = upgrade->role,
        },
        on_admission, upgrade);
    if (upgrade->admission == NULL) {
        refuse(upgrade, &no_memory);
    }
}

// Only what is surely bad ends here (spec section 4.6).
static void on_checked(struct jwks_waiter *waiter, enum precheck verdict)
{
    struct upgrade *upgrade = container_of(waiter, struct upgrade, waiter);
    if (verdict == PRECHECK_EXPIRED || verdict == PRECHECK_BAD_SIGNATURE) {
        bool expired = verdict == PRECHECK_EXPIRED;
        refuse_admission(upgrade,
            &(struct admission_result){
                .failure = expired ? FAILURE_JWT_EXPIRED : FAILURE_JWT_SIGNATURE,
                .reason = expired ? "jwt_expired" : "jwt_signature",
                .status = 401,
            });
        return;
    }
    ask_platform(upgrade);
}

// A place is reserved before the platform is asked, so that a burst cannot pass the cap together.
static bool reserve_place(struct upgrade *upgrade)
{
    if (upgrade->role == ROLE_CLIENT) {
        upgrade->reserved = places_reserve(upgrade->shard, cell_name(upgrade));
        return upgrade->reserved;
    }
    return true;
}

static void start_waiting(struct upgrade *upgrade)
{
    struct shard *shard = upgrade->shard;
    if (shard->drained) {
        abort_upgrade(upgrade);
    } else if (!reserve_place(upgrade)) {
        refuse(upgrade, &cell_full);
    } else if (shard->jwks != NULL) {
        upgrade->waiter.token = slice_of(upgrade->token, upgrade->token_len);
        upgrade->waiter.done = on_checked;
        jwks_check(shard->jwks, &upgrade->waiter);
    } else {
        ask_platform(upgrade);
    }
}

static void arrive(struct worker *worker, struct job *job)
{
    struct upgrade *upgrade = container_of(job, struct upgrade, job);
    struct shard *shard = shard_of(worker);
    atomic_fetch_sub(&upgrade->shard->relay->upgrades_moving, 1);
    if (shard == NULL) { // it could not start, which ends the crew
        drop_detached(worker, upgrade);
        return;
    }
    upgrade->shard = shard;
    list_init(&upgrade->node);
    presence_waiter_init(&upgrade->presence, on_located);
    list_push_back(&shard->upgrades, &upgrade->node);
    relay_note_upgrade(shard);
    if (stream_open(&upgrade->stream, worker, upgrade->state.fd, upgrade->state.ssl, on_ready) !=
        WEIR_OK) {
        account_refusal(shard, &no_memory, &upgrade->ip, upgrade);
        leave_shard(upgrade);
        ledger_leave(shard->relay->ledger, &upgrade->ip, upgrade->exempt);
        upgrade_free(upgrade);
        return;
    }
    stream_want(&upgrade->stream, WATCH_HANGUP);
    start_waiting(upgrade);
}

void upgrades_abort(struct shard *shard)
{
    list_for_each_safe(node, &shard->upgrades) {
        struct upgrade *upgrade = container_of(node, struct upgrade, node);
        if (!upgrade->stream.closing) {
            abort_upgrade(upgrade);
        }
    }
}
