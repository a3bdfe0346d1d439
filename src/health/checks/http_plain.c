// SPDX-License-Identifier: Apache-2.0
// One request over a connection of its own, answered when the head is there. On the wire it is what
// libcurl sends for the same spec; why libcurl does not send it: docs/adr/0006.
//
//   connecting ──► sending ──► reading ──► judged
#include "health/checks/http_plain.h"

#include <stdio.h>

#include "base/number.h"
#include "conf/url.h"
#include "health/checks/race.h"
#include "health/checks/http_request.h"
#include "proto/http1_skim.h"

#define REQUEST_SIZE 4096
#define REQUEST_OURS_LEN_MAX 512 // of what is not the spec's
#define CHUNK_SIZE 4096

struct plain_check {
    struct check base;
    struct race race;
    struct http1_skim skim;
    size_t sent;
    bool reading;
};

// ---- What suits

static bool is_plain_host(struct slice host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (host.at[0] == '[') {
        return true;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (memchr(allowed, host.at[i], sizeof allowed - 1) == NULL) {
            return false;
        }
    }
    return true;
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static bool is_plain_url(const char *text)
{
    struct conf_url url;
    return conf_url_parse(slice_str(text), &url) == WEIR_OK && !url.has_userinfo &&
           slice_eq_nocase(url.scheme, SLICE("http")) && is_plain_host(url.host) &&
           is_ascii(url.rest);
}

static bool has_plain_headers(const struct check_spec *spec, size_t len)
{
    static const char *const others[] = {"Content-Length:", "Transfer-Encoding:", "Expect:"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (http_request_has(spec, others[i])) {
            return false;
        }
    }
    for (const char *const *at = spec->headers; at != NULL && *at != NULL; at++) {
        len += strlen(*at) + 2;
    }
    return len <= REQUEST_SIZE - REQUEST_OURS_LEN_MAX;
}

bool http_plain_suits(const struct check_spec *spec)
{
    bool method = strcmp(spec->method, "GET") == 0 || strcmp(spec->method, "HEAD") == 0;
    bool bodies = spec->body != NULL || spec->body_contains != NULL || spec->body_regex != NULL;
    return method && !bodies && !spec->follow_redirects && is_plain_url(spec->url) &&
           has_plain_headers(spec, 2 * strlen(spec->url)); // path and Host
}

// ---- Asking

static struct conf_url url_of(const struct check *check)
{
    struct conf_url url = {0};
    enum weir_result result = conf_url_parse(slice_str(check->spec->url), &url);
    weir_assert(result == WEIR_OK); // it suited
    return url;
}

static uint16_t port_of(const struct conf_url *url)
{
    uint64_t port = 80;
    enum weir_result ignored = number_parse_u64(url->port, UINT16_MAX, &port); // none: 80
    (void)ignored;
    return (uint16_t)port;
}

static struct slice target_of(const struct conf_url *url)
{
    ptrdiff_t fragment = slice_find(url->rest, '#');
    return fragment < 0 ? url->rest : slice_of(url->rest.at, (size_t)fragment);
}

static void add(char request[REQUEST_SIZE], size_t *len, struct slice text)
{
    weir_assert(text.len <= REQUEST_SIZE - *len); // has_plain_headers has counted
    memcpy(request + *len, text.at, text.len);
    *len += text.len;
}

static void add_host(char request[REQUEST_SIZE], size_t *len, const struct conf_url *url)
{
    add(request, len, SLICE("Host: "));
    add(request, len, url->host);
    if (url->port.len > 0 && port_of(url) != 80) {
        add(request, len, SLICE(":"));
        add(request, len, url->port);
    }
    add(request, len, SLICE("\r\n"));
}

// "name;" is a header without a value, "name:" none at all.
static void add_line(char request[REQUEST_SIZE], size_t *len, struct slice line)
{
    char last = line.at[line.len - 1];
    if (last == ':') {
        return;
    }
    bool empty = last == ';' && slice_find(line, ':') < 0;
    add(request, len, empty ? slice_of(line.at, line.len - 1) : line);
    add(request, len, empty ? SLICE(":\r\n") : SLICE("\r\n"));
}

static size_t write_request(const struct check *check, char request[REQUEST_SIZE])
{
    const struct check_spec *spec = check->spec;
    const struct conf_url url = url_of(check);
    const char *lines[HTTP_REQUEST_LINES_MAX];
    struct slice target = target_of(&url);
    size_t len = 0;
    add(request, &len, slice_str(spec->method));
    add(request, &len, target.len > 0 && target.at[0] == '/' ? SLICE(" ") : SLICE(" /"));
    add(request, &len, target);
    add(request, &len, SLICE(" HTTP/1.1\r\n"));
    if (!http_request_has(spec, "Host:")) {
        add_host(request, &len, &url);
    }
    http_request_lines(spec, lines);
    for (size_t i = 0; lines[i] != NULL; i++) {
        add_line(request, &len, slice_str(lines[i]));
    }
    add(request, &len, SLICE("\r\n"));
    return len;
}

// ---- The answer

static void judge(struct plain_check *plain, enum weir_result result)
{
    struct check *check = &plain->base;
    unsigned status = plain->skim.status;
    if (result == WEIR_MALFORMED) {
        check_end(check, OUTCOME_PROTOCOL, "http: the answer is no HTTP/1");
    } else if (result == WEIR_TOO_LARGE) {
        check_end(check, OUTCOME_PROTOCOL, "http: the head of the answer is too large");
    } else if (http_request_judge(check, status)) {
        check_end(check, OUTCOME_PASS, "HTTP %u", status);
    }
}

// Ends with WEIR_AGAIN, the check's end, or what a head may be at most.
static void read_answer(struct plain_check *plain)
{
    struct check *check = &plain->base;
    while (!check->ended) {
        char chunk[CHUNK_SIZE];
        size_t len = 0;
        enum weir_result result = sys_recv(race_fd(&plain->race), chunk, sizeof chunk, &len);
        if (result == WEIR_AGAIN) {
            // Who sends a head in pieces may wait with the next for our acknowledgement.
            if (plain->skim.len > 0) {
                sys_acknowledge(race_fd(&plain->race));
            }
            return;
        }
        if (result == WEIR_CLOSED && plain->skim.len > 0) {
            check_end(check, OUTCOME_PROTOCOL, "http: closed by the peer inside the head");
            return;
        }
        if (result != WEIR_OK) {
            check_end_result(check, "http", result);
            return;
        }
        if (check->record.phases.first_byte_ns == 0) {
            check->record.phases.first_byte_ns = check_elapsed_ns(check);
        }
        result = http1_skim_feed(&plain->skim, slice_of(chunk, len));
        if (result != WEIR_AGAIN) {
            judge(plain, result);
        }
    }
}

// The request is short, so that it is written again where one call did not take all of it.
static void send_request(struct plain_check *plain)
{
    struct check *check = &plain->base;
    char request[REQUEST_SIZE];
    size_t request_len = write_request(check, request);
    while (plain->sent < request_len) {
        struct iovec part = {request + plain->sent, request_len - plain->sent};
        size_t len = 0;
        enum weir_result result = sys_send_vector(race_fd(&plain->race), &part, 1, &len);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result != WEIR_OK) {
            check_end_result(check, "http", result);
            return;
        }
        plain->sent += len;
    }
    plain->reading = true;
}

static void on_ready(struct race *race, unsigned events)
{
    struct plain_check *plain = container_of(race, struct plain_check, race);
    if (!plain->reading) {
        send_request(plain);
    }
    if (plain->reading && !plain->base.ended && (events & SYS_READY_READ) != 0) {
        read_answer(plain);
    }
}

static unsigned on_connected(struct race *race, unsigned events)
{
    const struct plain_check *plain = container_of(race, struct plain_check, race);
    on_ready(race, events);
    return plain->reading ? SYS_READY_READ : SYS_READY_READ | SYS_READY_WRITE;
}

// ---- The kind

static void start(struct check *check)
{
    struct plain_check *plain = (struct plain_check *)check;
    const struct conf_url url = url_of(check);
    plain->race.speaks_first = true;
    race_start(&plain->race, check, url.host, port_of(&url), on_connected, on_ready);
}

static void expire(struct check *check)
{
    const struct plain_check *plain = (struct plain_check *)check;
    const char *connecting = race_doing(&plain->race);
    check_end_timeout(check, connecting != NULL     ? connecting
                             : !plain->reading      ? "sending"
                             : plain->skim.len == 0 ? "waiting for an answer"
                                                    : "reading the answer");
}

static void stop(struct check *check)
{
    race_close(&((struct plain_check *)check)->race);
    check_gone(check);
}

const struct check_kind check_http_plain = {sizeof(struct plain_check), start, expire, stop};
