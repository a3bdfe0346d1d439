// SPDX-License-Identifier: Apache-2.0
// Requests to the service: /health and /metrics are answered here, everything else is the
// platform's, or the store's.
#include "platform/errand.h"

#include "base/mem.h"
#include "obs/log.h"
#include "proto/json_write.h"

#define HEALTH_BYTES_MAX 2048
#define PAGE_BYTES_MAX 65536
#define INTERNAL SLICE("/api/runtime/internal/")
#define UNAUTHORIZED "{\"ok\":false,\"reason\":\"UNAUTHORIZED\"}"

static struct slice header_of(const struct http1_head *head, struct slice name)
{
    const struct http1_header *header = http1_find(head, name);
    return header == NULL ? SLICE_EMPTY : header->value;
}

static struct platform_request question_of(const struct http1_head *head, struct slice path)
{
    return (struct platform_request){
        .method = head->method,
        .path = path,
        .authorization = header_of(head, SLICE("authorization")),
        .internal_key = header_of(head, SLICE("x-relay-internal-key")),
    };
}

size_t service_body_limit(struct http_server *server, const struct http1_head *head)
{
    const struct platform_service *service = server->options->owner;
    struct slice path;
    struct slice query;
    if (http1_split_target(head->target, &path, &query) != WEIR_OK) {
        return 0; // it is refused for that
    }
    struct platform_request question = question_of(head, path);
    return platform_body_limit(service->options.platform, &question);
}

// ---- Counting

static const struct {
    struct slice tail; // of the path
    enum platform_metric metric;
} kinds[] = {
    {{"/jwks.json", 10}, PLATFORM_REQUESTS_JWKS},
    {{"/validate", 9}, PLATFORM_REQUESTS_VALIDATE},
    {{"/relay-token", 12}, PLATFORM_REQUESTS_TOKEN},
    {{"/presence/upsert", 16}, PLATFORM_REQUESTS_PRESENCE},
    {{"/presence/resolve", 17}, PLATFORM_REQUESTS_PRESENCE},
    {{"/bus/publish", 12}, PLATFORM_REQUESTS_PUBLISH},
    {{"/bus/pull", 9}, PLATFORM_REQUESTS_PULL},
};

static void count_request(struct platform_service *service, struct slice path)
{
    enum platform_metric metric = PLATFORM_REQUESTS_OTHER;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (slice_ends_with(path, kinds[i].tail)) {
            metric = kinds[i].metric;
        }
    }
    service_add(service, metric, 1);
}

void service_count_answer(struct platform_service *service, unsigned status)
{
    service_add(service,
        status < 400   ? PLATFORM_ANSWERS_FINE
        : status < 500 ? PLATFORM_ANSWERS_REFUSED
                       : PLATFORM_ANSWERS_FAILED,
        1);
}

static void answer(
    struct platform_service *service, struct http_conn *conn, const struct http_answer *answer)
{
    service_count_answer(service, answer->status);
    http_answer(conn, answer);
}

// ---- Our own pages

static void answer_health(struct platform_service *service, struct http_conn *conn)
{
    struct platform_store_health health;
    struct buf body = BUF_INIT(HEALTH_BYTES_MAX);
    struct json_writer writer;
    bool keys = platform_has_keys(service->options.platform);
    platform_store_look(service->store, &health);
    bool ok = health.ok && keys && !service->draining;
    json_writer_init(&writer, &body);
    jsonw_object_begin(&writer, NULL);
    jsonw_bool(&writer, "ok", ok);
    jsonw_text(&writer, "service", "platform");
    jsonw_u64(&writer, "uptimeMs",
        (worker_now(service->worker) - service->worker->crew->started_ns) / 1000000);
    jsonw_text(&writer, "store", health.kind);
    jsonw_bool(&writer, "storeOk", health.ok);
    jsonw_bool(&writer, "keysLoaded", keys);
    jsonw_bool(&writer, "draining", service->draining);
    jsonw_object_end(&writer);
    answer(service, conn,
        &(struct http_answer){.content_type = "application/json",
            .status = ok ? 200 : 503,
            .body = buf_slice(&body)});
    buf_reset(&body);
}

static size_t count_waiting(const struct list *pulls)
{
    size_t count = 0;
    list_for_each (node, pulls) {
        count++;
    }
    return count;
}

static void gather_metrics(struct platform_service *service)
{
    struct platform_store_health health;
    int64_t *values = service->metrics.values;
    platform_store_look(service->store, &health);
    values[PLATFORM_STORE_UP] = health.ok;
    values[PLATFORM_STORE_WAITING] = (int64_t)health.waiting;
    values[PLATFORM_STORE_FAILURES] = (int64_t)health.failures;
    values[PLATFORM_STORE_RECONNECTS] = (int64_t)health.reconnects;
    values[PLATFORM_PULLS_WAITING] = (int64_t)count_waiting(&service->pulls);
    values[PLATFORM_CONNECTIONS] = (int64_t)service->server.conn_count;
    values[PLATFORM_CERT_NOT_AFTER] =
        service->tls.current == NULL ? 0 : tls_server_expiry(&service->tls);
}

static void answer_metrics(struct platform_service *service, const struct http_request *request)
{
    enum exposition exposition = prometheus_choose(header_of(request->head, SLICE("accept")));
    struct buf page = BUF_INIT(PAGE_BYTES_MAX);
    gather_metrics(service);
    platform_metrics_write(
        &service->metrics, service->worker->crew->started_wall_ms, exposition, &page);
    answer(service, request->conn,
        &(struct http_answer){
            .content_type = prometheus_content_type(exposition),
            .headers = "Cache-Control: no-store\r\n",
            .status = page.failed ? 500 : 200,
            .body = buf_slice(&page),
        });
    buf_reset(&page);
}

// ---- Refusals that say who

static void log_refused(const struct http_request *request, const char *reason)
{
    char ip[IP_TEXT_SIZE];
    struct log_line line;
    ip_to_text(&http_peer(request->conn)->ip, ip);
    log_begin(&line, LOG_PLATFORM_REFUSED);
    log_text(&line, "reason", reason);
    log_str(&line, "path", request->path);
    log_text(&line, "ip", ip);
    log_end(&line);
}

static void refuse(struct platform_service *service, const struct http_request *request,
    unsigned status, const char *reason)
{
    struct buf body = BUF_INIT(HEALTH_BYTES_MAX);
    log_refused(request, reason);
    buf_printf(&body, "{\"ok\":false,\"reason\":\"%s\"}", reason);
    answer(service, request->conn,
        &(struct http_answer){
            .content_type = "application/json", .status = status, .body = buf_slice(&body)});
    buf_reset(&body);
}

// True: it was one of ours.
static bool handle_own(struct platform_service *service, struct http_request *request)
{
    bool health = slice_eq(request->path, SLICE("/health"));
    if ((!health && !slice_eq(request->path, SLICE("/metrics"))) ||
        !slice_eq(request->head->method, SLICE("GET"))) {
        return false;
    }
    if (health) {
        answer_health(service, request->conn);
    } else if (platform_is_admin(
                   service->options.platform, header_of(request->head, SLICE("authorization")))) {
        answer_metrics(service, request);
    } else {
        refuse(service, request, 401, "UNAUTHORIZED");
    }
    return true;
}

// ---- Everything else

static void handle_platform(struct platform_service *service, struct http_request *request)
{
    struct platform_request question = question_of(request->head, request->path);
    struct http_answer said = {.content_type = "application/json", .status = 500};
    struct platform_ask ask;
    struct buf body = BUF_INIT(PLATFORM_ANSWER_LEN_MAX);
    question.body = request->body;
    enum weir_result result =
        platform_handle(service->options.platform, &question, &body, &said.status, &ask);
    if (result == WEIR_OK && ask.kind != ASK_NONE) {
        errand_start(service, request->conn, &ask);
    } else if (result == WEIR_OK) {
        said.body = buf_slice(&body);
        if (said.status == 401 && slice_eq(said.body, SLICE(UNAUTHORIZED))) {
            log_refused(request, "UNAUTHORIZED");
        }
        answer(service, request->conn, &said);
    } else {
        platform_ask_fini(&ask);
        said.body = SLICE("{\"ok\":false,\"reason\":\"INTERNAL_ERROR\"}");
        said.status = 500;
        answer(service, request->conn, &said);
    }
    buf_reset(&body);
}

void service_handle(struct http_request *request)
{
    struct platform_service *service = http_owner(request->conn);
    count_request(service, request->path);
    if (handle_own(service, request)) {
        return;
    }
    if (service->options.config->client_ca_file != NULL &&
        slice_starts_with(request->path, INTERNAL) && !http_peer_is_certified(request->conn)) {
        refuse(service, request, 401, "CLIENT_CERTIFICATE_REQUIRED");
        return;
    }
    handle_platform(service, request);
}
