// SPDX-License-Identifier: Apache-2.0
// Whether an agent gets a control channel: token, then protocol version, then limits (spec section
// 4.5); and what is agreed on (4.6).
#include "base/mem.h"
#include "base/number.h"
#include "base/time.h"
#include "engine/control/control.h"
#include "engine/control/directory.h"
#include "engine/control/registration.h"
#include "engine/edge/arrival.h"
#include "engine/edge/census.h"
#include "engine/edge/parting.h"
#include "obs/log.h"
#include "sys/clock.h"

#define PROTOCOL_MAJOR 1

// Spec section 4.6.
#define HEARTBEATS_MISSED 3
#define SILENCE_MIN_NS (15 * NS_PER_S)
#define SILENCE_MAX_NS (900 * NS_PER_S)

// ---- Judging

struct refusal {
    enum rstrm_code code; // 0: none
    enum engine_metric metric;
    const char *message; // for the agent
    const char *reason;  // for the log
};

static const struct refusal unauthorized = {RSTRM_CODE_UNAUTHORIZED,
    ENGINE_CONTROL_CHANNEL_OPENS_UNAUTHORIZED, "The token is not valid.", ""};
static const struct refusal version_missing = {RSTRM_CODE_PROTOCOL_VERSION_MISSING,
    ENGINE_CONTROL_CHANNEL_OPENS_VERSION, "The protocol version is missing.", "no version"};
static const struct refusal version_invalid = {RSTRM_CODE_PROTOCOL_VERSION_INVALID,
    ENGINE_CONTROL_CHANNEL_OPENS_VERSION, "The protocol version is not valid.", "invalid version"};
static const struct refusal version_incompatible = {RSTRM_CODE_PROTOCOL_VERSION_INCOMPATIBLE,
    ENGINE_CONTROL_CHANNEL_OPENS_VERSION, "The protocol version is not supported.",
    "incompatible version"};
static const struct refusal full = {RSTRM_CODE_CAPACITY_EXHAUSTED,
    ENGINE_CONTROL_CHANNEL_OPENS_CAPACITY, "Too many control channels.", "limit reached"};
static const struct refusal stopping = {RSTRM_CODE_SERVICE_UNAVAILABLE,
    ENGINE_CONTROL_CHANNEL_OPENS_ERROR, "The engine is shutting down.", "shutting down"};
static const struct refusal no_memory = {RSTRM_CODE_INTERNAL, ENGINE_CONTROL_CHANNEL_OPENS_ERROR,
    "The engine is out of memory.", "out of memory"};

// Digits, dot, digits, and perhaps another pair. NULL: fine.
static const struct refusal *judge_version(struct slice version)
{
    uint64_t numbers[3] = {0};
    size_t count = 0;
    struct slice part;
    if (version.len == 0) {
        return &version_missing;
    }
    while (slice_split(&version, '.', &part)) {
        if (count == 3 || number_parse_u64(part, UINT32_MAX, &numbers[count]) != WEIR_OK) {
            return &version_invalid;
        }
        count++;
    }
    if (count < 2) {
        return &version_invalid;
    }
    return numbers[0] == PROTOCOL_MAJOR ? NULL : &version_incompatible;
}

static void refuse(struct engine_shard *shard, struct arrival *arrival,
    const struct refusal *refusal, const char *reason)
{
    struct log_line line;
    char peer[IP_TEXT_SIZE];
    struct buf words = BUF_INIT(RSTRM_FRAME_MAX);
    struct rstrm_error error = {(int32_t)refusal->code, slice_str(refusal->message)};
    struct rstrm_message message = {
        .kind = RSTRM_OPEN_CONTROL_CHANNEL_RSP, .open_control_channel_rsp.error = &error};
    ip_to_text(&arrival->peer.ip, peer);
    log_begin(&line, LOG_AGENT_REJECTED);
    log_text(&line, "peer", peer);
    log_u64(&line, "code", (uint64_t)refusal->code);
    log_text(&line, "reason", reason);
    log_end(&line);
    engine_count(shard, refusal->metric);
    if (rstrm_encode(&words, &message) != WEIR_OK) {
        buf_reset(&words); // then the end alone must do
    }
    parting_start(shard, &arrival->state, &words);
}

// ---- Opening

static void agree_on_liveness(struct control *control, const struct rstrm_liveness *asked)
{
    uint64_t interval_ns = asked == NULL ? 0 : time_from_ms(asked->heartbeat_interval_ms);
    if (interval_ns > SILENCE_MAX_NS) {
        interval_ns = 0; // no timeout fits it: as if it had not asked
    }
    uint64_t silence_ns = HEARTBEATS_MISSED * interval_ns;
    silence_ns = silence_ns < SILENCE_MIN_NS ? SILENCE_MIN_NS : silence_ns;
    control->heartbeat_ns = interval_ns;
    control->silence_max_ns = silence_ns > SILENCE_MAX_NS ? SILENCE_MAX_NS : silence_ns;
}

static void send_ok(struct control *control)
{
    struct rstrm_server_details server = {
        .agent = SLICE("weir"), .version = SLICE(WEIR_VERSION), .plan = SLICE("community")};
    struct rstrm_liveness liveness = {(uint32_t)(control->heartbeat_ns / NS_PER_MS),
        (uint32_t)(control->silence_max_ns / NS_PER_MS)};
    struct rstrm_channel ok = {
        .client_id = slice_str(control->client->id),
        .server_details = &server,
        .liveness = control->heartbeat_ns > 0 ? &liveness : NULL,
    };
    control_send(control, &(struct rstrm_message){.kind = RSTRM_OPEN_CONTROL_CHANNEL_RSP,
                              .open_control_channel_rsp.ok = &ok});
}

static void log_opened(const struct control *control)
{
    struct log_line line;
    char peer[IP_TEXT_SIZE];
    ip_to_text(&control->peer.ip, peer);
    log_begin(&line, LOG_CONTROL_CHANNEL_OPENED);
    log_text(&line, "clientId", control->client->id);
    log_text(&line, "peer", peer);
    log_str(&line, "agent", control->client->agent);
    log_str(&line, "version", control->client->version);
    log_str(&line, "protocolVersion", control->client->protocol_version);
    log_end(&line);
}

// Everything but the connection. NULL: *ret_refusal says why. The token is taken over.
static struct control *make_control(struct engine_shard *shard, struct arrival *arrival,
    const struct rstrm_open_control_channel_req *request, struct token *token,
    const struct refusal **ret_refusal)
{
    *ret_refusal = &no_memory;
    struct control *control = mem_zalloc(sizeof *control);
    if (control == NULL) {
        token_free(token);
        return NULL;
    }
    control_init(control, shard);
    control->token = token;
    control->peer = arrival->peer;
    agree_on_liveness(control, request->liveness);
    control->client = client_new(request->client_details, token);
    enum directory_outcome outcome = DIRECTORY_MEMORY;
    if (control->client != NULL) {
        struct directory_limits limits;
        struct tunnel_rules rules;
        registration_rules(shard->engine, &rules, &limits);
        outcome = directory_add_client(shard->engine->directory, control->client, &limits);
    }
    if (outcome == DIRECTORY_ADDED &&
        buf_append_slice(&control->in, buf_slice(&arrival->unread)) == WEIR_OK) {
        return control;
    }
    if (outcome == DIRECTORY_ADDED) {
        directory_remove_client(shard->engine->directory, control->client);
    }
    *ret_refusal = outcome == DIRECTORY_FULL ? &full : &no_memory;
    control_discard(control);
    return NULL;
}

// NULL: refused, and told so.
static struct token *judge(
    struct engine_shard *shard, struct arrival *arrival, const struct rstrm_client_details *details)
{
    const char *reason = "no client details";
    struct slice secret = slice_str(shard->engine->config->jwt_secret);
    struct token *token =
        details == NULL ? NULL : token_read(details->token, secret, sys_wall_ms(), &reason);
    if (token == NULL) {
        refuse(shard, arrival, &unauthorized, reason);
        return NULL;
    }
    const struct refusal *refusal = judge_version(details->protocol_version);
    if (refusal == NULL && shard->draining) {
        refusal = &stopping;
    }
    if (refusal != NULL) {
        refuse(shard, arrival, refusal, refusal->reason);
        token_free(token);
        return NULL;
    }
    return token;
}

void control_start(struct engine_shard *shard, struct arrival *arrival,
    const struct rstrm_open_control_channel_req *request)
{
    const struct refusal *refusal;
    struct token *token = judge(shard, arrival, request->client_details);
    if (token == NULL) {
        return;
    }
    struct control *control = make_control(shard, arrival, request, token, &refusal);
    if (control == NULL) {
        refuse(shard, arrival, refusal, refusal->reason);
        return;
    }
    sys_watch_peer(arrival->state.fd);
    if (control_begin(control, &arrival->state) != WEIR_OK) {
        engine_count(shard, ENGINE_CONTROL_CHANNEL_OPENS_ERROR);
        directory_remove_client(shard->engine->directory, control->client);
        control_discard(control);
        return;
    }
    census_vouch(control->stream.ssl);
    engine_count(shard, ENGINE_CONTROL_CHANNEL_OPENS_OK);
    log_opened(control);
    send_ok(control);
}
