// SPDX-License-Identifier: Apache-2.0
// An HTTP check over libcurl, for all that is not plain (http_plain.c): one request over a
// connection of its own. The status is judged when the head is there; the body is read only when a
// rule asks for it, up to 64 KiB.

#include "base/time.h"
#include "health/checks/body_regex.h"
#include "health/checks/http_request.h"
#include "http/client.h"
#include "sys/clock.h"
#include "sys/file.h"

#define BODY_LEN_MAX 65536
#define CA_BYTES_MAX (4 * 1024 * 1024) // all public authorities together are a quarter of a MiB

struct http_check {
    struct check base;
    struct http_call *call; // NULL: none under way
    struct http_tls_profile tls;
};

// ---- Judging

static bool contains(struct slice body, const char *text)
{
    return memmem(body.at, body.len, text, strlen(text)) != NULL;
}

static void judge_answer(struct check *check, const struct http_call_result *result)
{
    const struct check_spec *spec = check->spec;
    if (!http_request_judge(check, result->status)) {
        return;
    }
    if (spec->body_contains != NULL && !contains(result->body, spec->body_contains)) {
        check_end(check, OUTCOME_BODY, "HTTP %u, but the body does not contain \"%s\"",
            result->status, spec->body_contains);
    } else if (spec->body_regex != NULL && !body_regex_matches(spec->body_regex, result->body)) {
        check_end(check, OUTCOME_BODY, "HTTP %u, but the body does not match \"%s\"",
            result->status, spec->body_regex);
    } else {
        check_end(check, OUTCOME_PASS, "HTTP %u", result->status);
    }
}

static void judge_tls(struct check *check, const struct http_call_result *result)
{
    uint64_t now_s = sys_wall_ms() / 1000;
    uint64_t end_s = result->tls_not_after_s;
    if (end_s != 0 && end_s < now_s && result->tls_problem != NULL) {
        uint64_t days = (now_s - end_s) / 86400;
        check_end(check, OUTCOME_TLS, "tls: certificate expired %llu day%s ago",
            (unsigned long long)days, days == 1 ? "" : "s");
        return;
    }
    check_end(check, OUTCOME_TLS, "tls: %s",
        result->tls_problem != NULL ? result->tls_problem : result->error);
}

static void judge_failure(struct check *check, const struct http_call_result *result)
{
    bool connected = check->record.phases.connect_ns != 0;
    switch ((int)result->failure) {
    case WEIR_NOT_FOUND:
        check_end(check, OUTCOME_NAME, "dns: name not found");
        break;
    case WEIR_CRYPTO:
        judge_tls(check, result);
        break;
    case WEIR_PROTOCOL:
        check_end(check, OUTCOME_PROTOCOL, "http: %s", result->error);
        break;
    case WEIR_IO:
        check_end(check, OUTCOME_INTERNAL, "http: %s", result->error);
        break;
    default:
        check_end_result(check, connected ? "http" : "connect", result->failure);
        break;
    }
}

// ---- The call

static uint64_t to_ns(double seconds)
{
    return seconds <= 0 ? 0 : (uint64_t)(seconds * (double)NS_PER_S);
}

static const char *phase_of(const struct check *check)
{
    const struct check_phases *phases = &check->record.phases;
    bool tls = strncmp(check->spec->url, "https", 5) == 0;
    if (phases->connect_ns == 0) {
        return phases->name_ns == 0 ? "resolving the name" : "connecting";
    }
    if (tls && phases->tls_ns == 0) {
        return "TLS handshaking";
    }
    return phases->first_byte_ns == 0 ? "waiting for an answer" : "reading the answer";
}

static void on_done(void *arg, const struct http_call_result *result)
{
    struct http_check *http = arg;
    struct check *check = &http->base;
    http->call = NULL;
    check->record.phases = (struct check_phases){
        .name_ns = to_ns(result->timing.name),
        .connect_ns = to_ns(result->timing.connect),
        .tls_ns = to_ns(result->timing.tls),
        .first_byte_ns = to_ns(result->timing.first_byte),
    };
    check->record.tls_not_after_s = result->tls_not_after_s;
    switch (result->outcome) {
    case HTTP_CALL_ANSWERED:
        judge_answer(check, result);
        break;
    case HTTP_CALL_TIMEOUT:
        check_end_timeout(check, phase_of(check));
        break;
    case HTTP_CALL_TOO_LARGE:
        check_end(check, OUTCOME_PROTOCOL, "http: the head of the answer is too large");
        break;
    case HTTP_CALL_FAILED:
        judge_failure(check, result);
        break;
    }
}

// libcurl opens the file of authorities as it is, and reads to its end.
static bool can_trust(struct check *check)
{
    const char *path = check->spec->ca_cert;
    enum weir_result result = path == NULL ? WEIR_OK : sys_file_look_plain(path, CA_BYTES_MAX);
    if (result != WEIR_OK) {
        check_end(check, OUTCOME_TLS, "tls: ca_cert %s: %s", path,
            result == WEIR_INVALID ? "not a plain file" : weir_result_text(result));
    }
    return result == WEIR_OK;
}

static void start(struct check *check)
{
    struct http_check *http = (struct http_check *)check;
    const struct check_spec *spec = check->spec;
    const char *headers[HTTP_REQUEST_LINES_MAX];
    bool wants_body = spec->body_contains != NULL || spec->body_regex != NULL;
    if (!can_trust(check)) {
        return;
    }
    http->tls = (struct http_tls_profile){.verify = spec->verify_tls, .ca_path = spec->ca_cert};
    http_request_lines(spec, headers);
    http->call = http_call_start(check->room->worker,
        &(struct http_call_options){
            .method = spec->method,
            .url = spec->url,
            .headers = headers,
            .body = slice_str(spec->body),
            .tls = &http->tls,
            .timeout_ns = spec->timeout_ns,
            .response_max = BODY_LEN_MAX,
            .once = true,
            .follow_redirects = spec->follow_redirects,
            .head_only = !wants_body,
            .cut_body = wants_body,
        },
        on_done, http);
    if (http->call == NULL) {
        check_end(check, OUTCOME_INTERNAL, "http: the request cannot be made");
        return;
    }
    // The call has the deadline itself, and says in which phase it passed. Ours is the second line.
    worker_arm(check->room->worker, &check->deadline,
        check->started_ns + spec->timeout_ns + 100 * NS_PER_MS);
}

static void expire(struct check *check)
{
    check_end_timeout(check, "");
}

static void stop(struct check *check)
{
    struct http_check *http = (struct http_check *)check;
    http_call_cancel(http->call);
    check_gone(check);
}

const struct check_kind check_http = {sizeof(struct http_check), start, expire, stop};
