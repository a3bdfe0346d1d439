// SPDX-License-Identifier: Apache-2.0
#include "relay/admission.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "http/client.h"
#include "obs/log.h"
#include "proto/json_write.h"

#define REQUEST_BYTES_MAX 32768
#define REASON_SIZE 256

struct admission {
    struct shard *shard;
    struct http_call *call;
    admission_fn *done;
    void *arg;
};

static void write_question(struct buf *out, const struct admission_question *question)
{
    struct json_writer json;
    json_writer_init(&json, out);
    jsonw_object_begin(&json, NULL);
    jsonw_string(&json, "relayToken", question->token);
    jsonw_text(&json, "role", role_name(question->role));
    jsonw_string(&json, "workspaceId", question->workspace);
    if (question->target.len > 0) {
        jsonw_string(&json, "runtimeTargetId", question->target);
    }
    jsonw_object_end(&json);
}

static const enum handshake_failure failures[] = {
    [ADMISSION_OK] = FAILURE_COUNT,
    [ADMISSION_DENIED] = FAILURE_ADMISSION_DENIED,
    [ADMISSION_INVALID_JSON] = FAILURE_ADMISSION_ERROR,
    [ADMISSION_INVALID_CLAIMS] = FAILURE_INVALID_CLAIMS,
    [ADMISSION_NO_MEMORY] = FAILURE_ADMISSION_ERROR,
};

static void note_unknown(struct shard *shard, const struct claims *claims)
{
    if (claims->unknown[0] == '\0') {
        return;
    }
    metrics_count(shard->worker->metrics, METRIC_UNKNOWN_CLAIMS);
    if (!atomic_exchange(&shard->relay->unknown_claim_logged, true)) {
        struct log_line line;
        log_begin(&line, LOG_UNKNOWN_CLAIMS);
        log_text(&line, "claim", claims->unknown);
        log_end(&line);
    }
}

static void judge(struct admission *admission, const struct http_call_result *answer,
    struct claims *claims, char reason[REASON_SIZE], struct admission_result *ret_result)
{
    uint64_t timeout_ms = admission->shard->relay->config->admission_timeout_ms;
    struct admission_result *result = ret_result;
    *result = (struct admission_result){.reason = reason, .status = answer->status};
    switch (answer->outcome) {
    case HTTP_CALL_TIMEOUT:
        snprintf(reason, REASON_SIZE, "admission request timed out after %llums",
            (unsigned long long)timeout_ms);
        result->status = 504;
        result->failure = FAILURE_ADMISSION_TIMEOUT;
        return;
    case HTTP_CALL_TOO_LARGE:
        snprintf(reason, REASON_SIZE, "ADMISSION_RESPONSE_TOO_LARGE");
        result->status = 502;
        result->failure = FAILURE_ADMISSION_ERROR;
        return;
    case HTTP_CALL_FAILED:
        snprintf(reason, REASON_SIZE, "%s", answer->error);
        result->status = 504;
        result->failure = FAILURE_ADMISSION_ERROR;
        return;
    case HTTP_CALL_ANSWERED:
        break;
    }
    enum admission_verdict verdict =
        claims_read(answer->body, answer->status, claims, reason, REASON_SIZE);
    result->admitted = verdict == ADMISSION_OK;
    result->failure = failures[verdict];
    result->claims = claims;
}

static void on_answer(void *arg, const struct http_call_result *answer)
{
    struct admission *admission = arg;
    struct shard *shard = admission->shard;
    struct claims claims = {0};
    char reason[REASON_SIZE];
    struct admission_result result;
    judge(admission, answer, &claims, reason, &result);
    metrics_observe(shard->worker->metrics, HISTOGRAM_JWT_VALIDATE_DURATION_SECONDS,
        answer->seconds);
    if (result.admitted) {
        note_unknown(shard, &claims);
    }
    admission_fn *done = admission->done;
    void *done_arg = admission->arg;
    mem_free(admission);
    done(done_arg, &result);
    claims_fini(&claims);
}

struct admission *admission_start(struct shard *shard, const struct admission_question *question,
    admission_fn *done, void *arg)
{
    const struct relay *relay = shard->relay;
    struct admission *admission = mem_zalloc(sizeof *admission);
    if (admission == NULL) {
        return NULL;
    }
    *admission = (struct admission){.shard = shard, .done = done, .arg = arg};
    struct buf body;
    buf_init(&body, REQUEST_BYTES_MAX);
    write_question(&body, question);
    const char *headers[] = {"content-type: application/json", relay->internal_key_header, NULL};
    if (!body.failed) {
        admission->call = http_call_start(shard->worker,
            &(struct http_call_options){
                .method = "POST",
                .url = relay->config->admission_url,
                .headers = headers,
                .body = buf_slice(&body),
                .tls = &relay->platform_tls,
                .timeout_ns = time_from_ms(relay->config->admission_timeout_ms),
                .response_max = relay->config->admission_max_response_bytes,
            },
            on_answer, admission);
    }
    buf_reset(&body);
    if (admission->call == NULL) {
        mem_free(admission);
        return NULL;
    }
    return admission;
}

void admission_cancel(struct admission *admission)
{
    if (admission != NULL) {
        http_call_cancel(admission->call);
        mem_free(admission);
    }
}
