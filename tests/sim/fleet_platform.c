// SPDX-License-Identifier: Apache-2.0
// The network between the relays and the platform, and the platform itself, which keeps what spec
// section 8 says: who has which daemon, and frames for relays.
//
//   call ──(latency)──► platform ──(latency)──► answer        one of many, see enum fate, goes wrong;
//                          └ a pull waits for frames           calls overtake one another
//
// It is honest in a calm world. In others it is away for a while, hands the same frame out twice under
// another number, and frames with a signature that is wrong.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/number.h"
#include "base/time.h"
#include "fleet.h"
#include "http/client.h"
#include "proto/json_scan.h"

#define FRAME_LIFE_NS (60 * NS_PER_S)
#define RECORD_LIFE_NS (45 * NS_PER_S)
#define ANSWER_SIZE (512 * 1024)
#define RECORDS_MAX 16

enum fate {
    FATE_FINE,
    FATE_LOST,     // the request
    FATE_MUTE,     // the answer
    FATE_REFUSED,  // nobody listens
    FATE_BROKEN,   // 500, and nothing was done
    FATE_NONSENSE, // done, and the answer cannot be read
    FATE_COUNT,
};

struct http_call {
    struct list node; // in network.calls
    struct worker *worker;
    unsigned relay;
    char path[32];
    char *body;
    size_t body_len;
    http_call_fn *done;
    void *arg;
    enum fate fate;
    uint64_t arrives_ns;
    uint64_t waits_until_ns; // of a pull
    uint64_t answered_ns;    // 0: not yet
    uint64_t deadline_ns;
    size_t response_max;
    unsigned status;
    char *answer; // owned
    size_t answer_len;
    uint64_t frames; // in it
};

struct stored {
    struct list node;
    uint64_t id;
    uint64_t since_ns;
    char target[64];
    char *text;
    size_t len;
};

struct record {
    char key[64];
    char relay[64];
    char url[64];
    uint64_t since_ns;
    bool connected;
};

static struct {
    struct list calls;
    struct list frames;
    uint64_t last_id;
    uint64_t away_until_ns;
    bool batch;
    struct record records[RECORDS_MAX];
    uint64_t handed[FLEET_RELAYS];
} network;

enum member {
    RELAY_ID,
    WORKSPACE,
    TARGET,
    URL,
    CONNECTED,
    SINCE,
    LIMIT,
    WAIT,
    FRAMES,
    TARGET_RELAY,
    MEMBER_COUNT,
};
static const char *const members[MEMBER_COUNT] = {"relayId", "workspaceId", "runtimeTargetId",
    "relayWsBaseUrl", "daemonConnected", "sinceId", "limit", "waitMs", "frames", "targetRelayId"};
static struct json_keys *keys;

struct http_call *__wrap_http_call_start(struct worker *worker,
    const struct http_call_options *options, http_call_fn *done, void *arg);
void __wrap_http_call_cancel(struct http_call *call);

static void *take(size_t size)
{
    void *block = calloc(1, size);
    fleet_check(block != NULL, "out of memory");
    return block;
}

static char *copy_of(const char *bytes, size_t len)
{
    char *copy = take(len + 1);
    memcpy(copy, bytes, len);
    return copy;
}

static void read_text(const struct json_value *value, char *out, size_t size)
{
    fleet_check(json_value_is_string(value) && !value->escaped && value->text.len < size,
        "a member that is no text");
    memcpy(out, value->text.at, value->text.len);
    out[value->text.len] = '\0';
}

static uint64_t read_number(const struct json_value *value)
{
    uint64_t number = 0;
    fleet_check(number_parse_u64(value->text, UINT64_MAX, &number) == WEIR_OK, "no number");
    return number;
}

// ---- Calls

static uint64_t latency_ns(void)
{
    if (fleet_is_calm() || fleet_chance(80)) {
        return 100 * (NS_PER_MS / 1000) + fleet_below(2 * NS_PER_MS);
    }
    return fleet_below(fleet_chance(90) ? 100 * NS_PER_MS : 4 * NS_PER_S);
}

static enum fate draw_fate(void)
{
    return fleet_is_calm() || fleet_chance(93) ? FATE_FINE : (enum fate)fleet_below(FATE_COUNT);
}

struct http_call *__wrap_http_call_start(struct worker *worker,
    const struct http_call_options *options, http_call_fn *done, void *arg)
{
    struct http_call *call = take(sizeof *call);
    const char *slash = strstr(options->url, "/relay/");
    fleet_check(slash != NULL && options->timeout_ns > 0, "a call to nowhere, or for ever");
    snprintf(call->path, sizeof call->path, "%s", slash + strlen("/relay/"));
    call->worker = worker;
    call->relay = fleet_enter(worker);
    call->body = copy_of(options->body.at, options->body.len);
    call->body_len = options->body.len;
    call->done = done;
    call->arg = arg;
    call->fate = draw_fate();
    call->arrives_ns = fleet_now() + latency_ns();
    call->deadline_ns = fleet_now() + options->timeout_ns;
    call->response_max = options->response_max;
    list_push_back(&network.calls, &call->node);
    return call;
}

void __wrap_http_call_cancel(struct http_call *call)
{
    if (call == NULL) {
        return;
    }
    list_remove(&call->node);
    free(call->body);
    free(call->answer);
    free(call);
}

static void tell(struct http_call *call, const struct http_call_result *result)
{
    list_remove(&call->node);
    fleet_enter(call->worker);
    call->worker->now_known = false;
    call->done(call->arg, result);
    free(call->body);
    free(call->answer);
    free(call);
}

static void reply(struct http_call *call, unsigned status, char *text, size_t len)
{
    call->status = status;
    call->answer = text;
    call->answer_len = len;
    call->answered_ns = fleet_now() + latency_ns();
    if (call->fate == FATE_NONSENSE) {
        call->answer_len = call->answer_len / 2;
        call->frames = 0;
    }
}

static void reply_text(struct http_call *call, unsigned status, const char *text)
{
    reply(call, status, copy_of(text, strlen(text)), strlen(text));
}

// ---- Presence

static struct record *record_of(const struct json_value *values)
{
    char workspace[32];
    char target[32];
    char key[64];
    read_text(&values[WORKSPACE], workspace, sizeof workspace);
    read_text(&values[TARGET], target, sizeof target);
    snprintf(key, sizeof key, "%s %s", workspace, target);
    for (size_t i = 0; i < RECORDS_MAX; i++) {
        struct record *record = &network.records[i];
        if (record->key[0] == '\0') {
            memcpy(record->key, key, sizeof key);
        }
        if (strcmp(record->key, key) == 0) {
            return record;
        }
    }
    fleet_check(false, "too many cells");
    return NULL;
}

static void upsert(struct http_call *call, const struct json_value *values)
{
    struct record *record = record_of(values);
    char relay[64];
    read_text(&values[RELAY_ID], relay, sizeof relay);
    if (values[CONNECTED].kind == JSON_KIND_TRUE) {
        memcpy(record->relay, relay, sizeof relay);
        read_text(&values[URL], record->url, sizeof record->url);
        record->since_ns = fleet_now();
        record->connected = true;
    } else if (strcmp(record->relay, relay) == 0) {
        record->connected = false;
    }
    reply_text(call, 200, "{\"ok\":true}");
}

static void resolve(struct http_call *call, const struct json_value *values)
{
    const struct record *record = record_of(values);
    char text[256];
    bool there = record->connected && fleet_now() - record->since_ns < RECORD_LIFE_NS;
    snprintf(text, sizeof text,
        "{\"ok\":true,\"daemonConnected\":%s,\"relayId\":\"%s\",\"relayWsBaseUrl\":\"%s\"}",
        there ? "true" : "false", record->relay, record->url);
    reply_text(call, 200, text);
}

// ---- The bus

static void store(struct slice text, const char *target)
{
    struct stored *stored = take(sizeof *stored);
    stored->id = ++network.last_id;
    stored->since_ns = fleet_now();
    snprintf(stored->target, sizeof stored->target, "%s", target);
    stored->text = copy_of(text.at, text.len);
    stored->len = text.len;
    list_push_back(&network.frames, &stored->node);
}

// The signature is the last member: a text of base64url.
static void forge(struct slice text, const char *target)
{
    char *copy = copy_of(text.at, text.len);
    char *last = copy + text.len - 3;
    *last = *last == 'A' ? 'B' : 'A';
    store(slice_of(copy, text.len), target);
    free(copy);
}

static void take_frame(struct slice text)
{
    struct json_value values[MEMBER_COUNT];
    char target[64];
    fleet_check(json_scan(text, keys, values) == WEIR_OK, "a frame that cannot be read");
    read_text(&values[TARGET_RELAY], target, sizeof target);
    if (!fleet_is_calm() && fleet_chance(3)) {
        forge(text, target);
    }
    store(text, target);
    if (!fleet_is_calm() && fleet_chance(5)) {
        store(text, target);
    }
}

static void publish(struct http_call *call, const struct json_value *values)
{
    struct slice body = slice_of(call->body, call->body_len);
    struct slice rest = values[FRAMES].text;
    struct slice frame;
    char text[1024] = "{\"ok\":true,\"batch\":true,\"results\":[";
    if (values[FRAMES].kind != JSON_KIND_ARRAY) {
        take_frame(body);
        reply_text(call, 200, network.batch ? "{\"ok\":true,\"batch\":true}" : "{\"ok\":true}");
        return;
    }
    fleet_check(network.batch, "a batch that nobody asked for");
    for (const char *comma = ""; json_array_next(&rest, &frame); comma = ",") {
        take_frame(frame);
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%strue", comma);
    }
    size_t len = strlen(text);
    snprintf(text + len, sizeof text - len, "]}");
    reply_text(call, 200, text);
}

static void expire_frames(void)
{
    list_for_each_safe (node, &network.frames) {
        struct stored *stored = container_of(node, struct stored, node);
        if (fleet_now() - stored->since_ns >= FRAME_LIFE_NS) {
            list_remove(&stored->node);
            free(stored->text);
            free(stored);
        }
    }
}

// False: there are none.
static bool answer_pull(struct http_call *call, const struct json_value *values)
{
    char relay[64];
    uint64_t since = read_number(&values[SINCE]);
    uint64_t limit = read_number(&values[LIMIT]);
    static char text[ANSWER_SIZE];
    size_t len = (size_t)snprintf(text, ANSWER_SIZE, "{\"ok\":true,\"frames\":[");
    read_text(&values[RELAY_ID], relay, sizeof relay);
    list_for_each (node, &network.frames) {
        const struct stored *stored = container_of(node, struct stored, node);
        if (stored->id > since && strcmp(stored->target, relay) == 0 && call->frames < limit &&
            len + stored->len + 64 < ANSWER_SIZE) {
            len += (size_t)snprintf(text + len, ANSWER_SIZE - len, "%s{\"id\":%llu,%.*s",
                call->frames > 0 ? "," : "", (unsigned long long)stored->id,
                (int)stored->len - 1, stored->text + 1);
            call->frames++;
        }
    }
    len += (size_t)snprintf(text + len, ANSWER_SIZE - len, "]}");
    if (call->frames == 0 && fleet_now() < call->waits_until_ns) {
        return false;
    }
    reply(call, 200, copy_of(text, len), len);
    return true;
}

// ---- What is due

// False: a pull goes on waiting.
static bool handle(struct http_call *call)
{
    struct json_value values[MEMBER_COUNT];
    fleet_check(json_scan(slice_of(call->body, call->body_len), keys, values) == WEIR_OK,
        "a call that cannot be read");
    if (strcmp(call->path, "bus/pull") == 0) {
        if (call->waits_until_ns == 0) {
            call->waits_until_ns = fleet_now() + time_from_ms(read_number(&values[WAIT]));
        }
        expire_frames();
        return answer_pull(call, values);
    }
    if (strcmp(call->path, "bus/publish") == 0) {
        publish(call, values);
    } else if (strcmp(call->path, "presence/upsert") == 0) {
        upsert(call, values);
    } else {
        fleet_check(strcmp(call->path, "presence/resolve") == 0, "a call of another kind");
        resolve(call, values);
    }
    return true;
}

// False: nothing of it is due.
static bool arrive(struct http_call *call)
{
    bool away = fleet_now() < network.away_until_ns;
    if (call->fate == FATE_LOST || fleet_now() < call->arrives_ns) {
        return false;
    }
    if (call->waits_until_ns == 0 && (call->fate == FATE_REFUSED || away)) {
        tell(call, &(struct http_call_result){
                       .outcome = HTTP_CALL_FAILED, .failure = WEIR_REFUSED, .error = "refused"});
        return true;
    }
    if (call->fate == FATE_BROKEN) {
        reply_text(call, 500, "{}");
        return true;
    }
    return handle(call);
}

static void hand_over(struct http_call *call)
{
    if (call->answer_len > call->response_max) {
        tell(call, &(struct http_call_result){.outcome = HTTP_CALL_TOO_LARGE});
        return;
    }
    if (call->status == 200) {
        network.handed[call->relay] += call->frames;
    }
    tell(call, &(struct http_call_result){.outcome = HTTP_CALL_ANSWERED,
                   .status = call->status,
                   .body = slice_of(call->answer, call->answer_len)});
}

static bool is_due(struct http_call *call)
{
    if (call->answered_ns != 0 && call->fate != FATE_MUTE && fleet_now() >= call->answered_ns) {
        hand_over(call);
        return true;
    }
    if (fleet_now() >= call->deadline_ns) {
        tell(call, &(struct http_call_result){.outcome = HTTP_CALL_TIMEOUT});
        return true;
    }
    return call->answered_ns == 0 && arrive(call);
}

void platform_step(void)
{
    if (!fleet_is_calm() && fleet_below(4000) == 0) {
        network.away_until_ns = fleet_now() + fleet_below(10 * NS_PER_S);
    }
    bool again = true;
    while (again) { // a callback may start and cancel others
        again = false;
        list_for_each (node, &network.calls) {
            if (is_due(container_of(node, struct http_call, node))) {
                again = true;
                break;
            }
        }
    }
}

uint64_t platform_handed(unsigned relay)
{
    return network.handed[relay];
}

void platform_forget(unsigned relay)
{
    network.handed[relay] = 0;
    list_for_each (node, &network.calls) {
        fleet_check(container_of(node, struct http_call, node)->relay != relay,
            "a call of a relay that has ended");
    }
}

void platform_begin(void)
{
    memset(&network, 0, sizeof network);
    list_init(&network.calls);
    list_init(&network.frames);
    network.batch = fleet_chance(50);
    keys = json_keys_new(members, MEMBER_COUNT);
    fleet_check(keys != NULL, "out of memory");
}

void platform_end(void)
{
    fleet_check(list_empty(&network.calls), "a call is left");
    while (!list_empty(&network.frames)) {
        struct stored *stored = container_of(network.frames.next, struct stored, node);
        list_remove(&stored->node);
        free(stored->text);
        free(stored);
    }
    json_keys_free(keys);
}
