// SPDX-License-Identifier: Apache-2.0
// The life of an errand, and presence: the errands that ask the store once.
//
// 1. errand_free is the only end: legal in any state.
// 2. Whoever has gone is not answered; what was published is published all the same.
#include "platform/errand.h"

#include "base/mem.h"
#include "base/time.h"
#include "platform/platform_internal.h"
#include "proto/json_write.h"
#include "sys/clock.h"

#define ANSWER_TIMEOUT_NS (10 * NS_PER_S) // above all that a store may take
#define ANSWER_BYTES_MAX 4096

void errand_free(struct errand *errand)
{
    timer_cancel(&errand->timer);
    list_remove(&errand->node);
    list_remove(&errand->queue);
    store_call_forget(errand->call);
    platform_ask_fini(&errand->ask);
    mem_free(errand);
}

void errand_answer(struct errand *errand, unsigned status, struct slice body)
{
    struct http_conn *conn = errand->conn;
    service_count_answer(errand->service, status);
    errand->conn = NULL;
    if (conn != NULL) {
        http_answer(conn, &(struct http_answer){
                              .content_type = "application/json", .status = status, .body = body});
    }
    errand_free(errand);
}

void errand_refuse(struct errand *errand, unsigned status, const char *reason)
{
    struct buf body = BUF_INIT(ANSWER_BYTES_MAX);
    buf_printf(&body, "{\"ok\":false,\"reason\":\"%s\"}", reason);
    errand_answer(errand, status, buf_slice(&body));
    buf_reset(&body);
}

void errand_fail(struct errand *errand, enum weir_result result)
{
    errand_refuse(errand, 503, result == WEIR_FULL ? "STORE_BUSY" : "STORE_UNAVAILABLE");
}

static void on_gone(void *arg)
{
    struct errand *errand = arg;
    errand->conn = NULL;
    if (errand->ask.kind != ASK_PUBLISH) {
        errand_free(errand);
    }
}

// ---- Presence

static void on_put(struct store_call *call)
{
    struct errand *errand = call->arg;
    errand->call = NULL;
    if (call->result != WEIR_OK) {
        errand_fail(errand, call->result);
    } else {
        errand_answer(errand, 200, SLICE("{\"ok\":true}"));
    }
}

static struct store_call *put_call(struct errand *errand)
{
    const struct presence_ask *ask = &errand->ask.presence;
    bool connected = ask->daemon_connected;
    struct store_call *call =
        store_call_new(connected ? STORE_PRESENCE_PUT : STORE_PRESENCE_DROP, on_put, errand);
    if (call == NULL) {
        return NULL;
    }
    store_call_text(call, ask->workspace_id);
    store_call_text(call, ask->runtime_target_id);
    if (connected) {
        store_call_text_or_null(call, ask->machine_id);
    }
    store_call_text(call, ask->relay_id);
    if (connected) {
        store_call_text(call, ask->relay_ws_base_url);
    }
    store_call_number(call, (int64_t)sys_wall_ms());
    return call;
}

static void write_or_null(struct json_writer *writer, const char *key, struct slice text)
{
    if (text.len > 0) {
        jsonw_string(writer, key, text);
    } else {
        jsonw_null(writer, key);
    }
}

// A stale entry says so, and that nobody is connected, for relays that do not know the word.
static void write_presence(
    const struct errand *errand, const struct store_call *call, struct buf *out)
{
    struct json_writer writer;
    bool found = call->row_count > 0;
    bool connected = found && store_call_cell_number(call, 0, 2) != 0;
    int64_t age_ms = found ? (int64_t)sys_wall_ms() - store_call_cell_number(call, 0, 4) : 0;
    bool stale =
        connected && age_ms > (int64_t)errand->service->options.config->presence_ttl_s * 1000;
    json_writer_init(&writer, out);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", true);
    write_or_null(&writer, "relayId", connected ? store_call_cell(call, 0, 0) : SLICE_EMPTY);
    write_or_null(&writer, "relayWsBaseUrl", connected ? store_call_cell(call, 0, 1) : SLICE_EMPTY);
    jsonw_bool(&writer, "daemonConnected", connected && !stale);
    jsonw_bool(&writer, "stale", stale);
    write_or_null(&writer, "runtimeTargetId", errand->ask.presence.runtime_target_id);
    write_or_null(&writer, "machineId", connected ? store_call_cell(call, 0, 3) : SLICE_EMPTY);
    jsonw_object_end(&writer);
}

static void on_got(struct store_call *call)
{
    struct errand *errand = call->arg;
    struct buf body = BUF_INIT(ANSWER_BYTES_MAX);
    errand->call = NULL;
    if (call->result != WEIR_OK) {
        errand_fail(errand, call->result);
        return;
    }
    write_presence(errand, call, &body);
    if (body.failed) {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
    } else {
        errand_answer(errand, 200, buf_slice(&body));
    }
    buf_reset(&body);
}

static struct store_call *get_call(struct errand *errand)
{
    struct store_call *call = store_call_new(STORE_PRESENCE_GET, on_got, errand);
    if (call != NULL) {
        store_call_text(call, errand->ask.presence.workspace_id);
        store_call_text(call, errand->ask.presence.runtime_target_id);
    }
    return call;
}

// ---- Daemons' keys and tokens

#define DAEMON_KEYS_MAX 1000000

static void on_key_put(struct store_call *call)
{
    struct errand *errand = call->arg;
    struct buf body = BUF_INIT(ANSWER_BYTES_MAX);
    errand->call = NULL;
    if (call->result != WEIR_OK) {
        errand_fail(errand, call->result);
        return;
    }
    if (call->row_count == 0) {
        errand_refuse(errand, 503, "TOO_MANY_DAEMON_KEYS");
        return;
    }
    buf_printf(&body, "{\"ok\":true,\"daemonIssueGeneration\":%lld}",
        (long long)store_call_cell_number(call, 0, 0));
    errand_answer(errand, 200, buf_slice(&body));
    buf_reset(&body);
}

static struct store_call *key_put_call(struct errand *errand)
{
    const struct daemon_key_ask *ask = &errand->ask.daemon_key;
    struct store_call *call = store_call_new(STORE_DAEMON_KEY_PUT, on_key_put, errand);
    if (call != NULL) {
        store_call_text(call, ask->workspace_id);
        store_call_text(call, ask->runtime_target_id);
        store_call_text(call, ask->public_key);
        store_call_number(call, (int64_t)sys_wall_ms());
        store_call_number(call, DAEMON_KEYS_MAX);
    }
    return call;
}

static void answer_token(struct errand *errand, const struct daemon_facts *facts)
{
    struct buf body = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    unsigned status = 500;
    if (platform_answer_token(
            errand->service->options.platform, &errand->ask, facts, &body, &status) == WEIR_OK) {
        errand_answer(errand, status, buf_slice(&body));
    } else {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
    }
    buf_reset(&body);
}

static void on_facts(struct store_call *call)
{
    struct errand *errand = call->arg;
    struct daemon_facts facts = {SLICE_EMPTY, -1};
    errand->call = NULL;
    if (call->result != WEIR_OK) {
        errand_fail(errand, call->result);
        return;
    }
    if (call->row_count > 0) {
        facts =
            (struct daemon_facts){store_call_cell(call, 0, 0), store_call_cell_number(call, 0, 1)};
    }
    answer_token(errand, &facts);
}

static struct store_call *facts_call(struct errand *errand)
{
    const struct relay_token_request *request = &errand->ask.token.request;
    struct store_call *call = store_call_new(STORE_DAEMON_KEY_GET, on_facts, errand);
    if (call != NULL) {
        // Of a workspace that is no id there is no row, and the token is refused.
        bool known =
            platform_is_id(request->workspace_id) && platform_is_id(request->runtime_target_id);
        store_call_text(call, known ? request->workspace_id : SLICE_EMPTY);
        store_call_text(call, known ? request->runtime_target_id : SLICE_EMPTY);
    }
    return call;
}

static void ask_once(struct errand *errand, struct store_call *call)
{
    if (call == NULL) {
        errand_refuse(errand, 500, "INTERNAL_ERROR");
        return;
    }
    errand->call = call;
    platform_store_run(errand->service->store, call);
}

// Without keys there is no need to wait for the store.
static void start_token(struct errand *errand)
{
    if (platform_has_keys(errand->service->options.platform)) {
        ask_once(errand, facts_call(errand));
    } else {
        answer_token(errand, &(struct daemon_facts){SLICE_EMPTY, -1});
    }
}

// ---- Start

static uint64_t answer_timeout_ns(const struct errand *errand)
{
    return errand->ask.kind == ASK_PULL
               ? ANSWER_TIMEOUT_NS + time_from_ms((uint64_t)errand->ask.pull.wait_ms)
               : ANSWER_TIMEOUT_NS;
}

static void on_waited(struct timer *timer)
{
    struct errand *errand = container_of(timer, struct errand, timer);
    bus_pull(errand); // a last look
}

void errand_start(
    struct platform_service *service, struct http_conn *conn, struct platform_ask *ask)
{
    struct errand *errand = mem_zalloc(sizeof *errand);
    if (errand == NULL) {
        platform_ask_fini(ask);
        service_count_answer(service, 500);
        http_answer(conn, &(struct http_answer){.status = 500});
        return;
    }
    errand->service = service;
    errand->conn = conn;
    errand->ask = *ask;
    *ask = (struct platform_ask){.kind = ASK_NONE};
    timer_init(&errand->timer, on_waited);
    list_init(&errand->queue);
    list_push_back(&service->errands, &errand->node);
    http_wait_for(conn, answer_timeout_ns(errand), on_gone, errand);
    switch (errand->ask.kind) {
    case ASK_PRESENCE_PUT:
        ask_once(errand, put_call(errand));
        break;
    case ASK_PRESENCE_GET:
        ask_once(errand, get_call(errand));
        break;
    case ASK_PUBLISH:
        bus_publish(errand);
        break;
    case ASK_PULL:
        errand->deadline_ns =
            worker_now(service->worker) + time_from_ms((uint64_t)errand->ask.pull.wait_ms);
        bus_pull(errand);
        break;
    case ASK_TOKEN:
        start_token(errand);
        break;
    case ASK_DAEMON_KEY:
        ask_once(errand, key_put_call(errand));
        break;
    case ASK_NONE:
        break;
    }
}
