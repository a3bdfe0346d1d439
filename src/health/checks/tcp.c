// SPDX-License-Identifier: Apache-2.0
// A TCP check: the connection completes; when the spec says so, bytes are sent and a text must
// arrive. All addresses of a name are tried in their order, within the one deadline.
//
//   resolving ──► connecting ─┬──► sending ──► reading ──► pass
//                     ▲       │ failed: next address
//                     └───────┘
#include "base/buf.h"
#include "health/checks/check_internal.h"
#include "loop/resolver.h"
#include "loop/watch.h"
#include "sys/resolve.h"
#include "sys/socket.h"

#define ANSWER_LEN_MAX 65536
#define CHUNK_SIZE 4096

enum tcp_state { TCP_RESOLVING, TCP_CONNECTING, TCP_SENDING, TCP_READING };

struct tcp_check {
    struct check base;
    enum tcp_state state;
    struct resolve *resolve; // NULL: none under way
    struct watch watch;
    int fd;        // -1: none
    bool watching; // the watch is open, or closing
    bool closing;
    bool stopped;
    struct ip ips[SYS_RESOLVE_MAX];
    size_t ip_count;
    size_t ip_next;
    size_t sent;
    struct buf answer;
    enum weir_result last; // why the last address did not work
};

static void connect_next(struct tcp_check *tcp);

// ---- After connecting

static void look_at_answer(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    const char *expect = check->spec->expect;
    struct slice answer = buf_slice(&tcp->answer);
    if (memmem(answer.at, answer.len, expect, strlen(expect)) != NULL) {
        check_end(check, OUTCOME_PASS, "connected, and the answer is as expected");
    } else if (answer.len == ANSWER_LEN_MAX) {
        check_end(
            check, OUTCOME_ANSWER, "the first 64 KiB of the answer do not contain \"%s\"", expect);
    }
}

static void read_answer(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    char chunk[CHUNK_SIZE];
    size_t len = 0;
    size_t room = ANSWER_LEN_MAX - tcp->answer.len;
    enum weir_result result =
        sys_recv(tcp->fd, chunk, room < sizeof chunk ? room : sizeof chunk, &len);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_CLOSED) {
        check_end(
            check, OUTCOME_ANSWER, "closed by the peer before \"%s\" arrived", check->spec->expect);
        return;
    }
    if (result == WEIR_OK) {
        if (check->record.phases.first_byte_ns == 0) {
            check->record.phases.first_byte_ns = check_elapsed_ns(check);
        }
        result = buf_append(&tcp->answer, chunk, len);
    }
    if (result != WEIR_OK) {
        check_end_result(check, "read", result);
        return;
    }
    look_at_answer(tcp);
}

static void send_text(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    struct slice text = slice_skip(slice_str(check->spec->send), tcp->sent);
    while (text.len > 0) {
        struct iovec part = {(void *)(uintptr_t)text.at, text.len};
        size_t len = 0;
        enum weir_result result = sys_send_vector(tcp->fd, &part, 1, &len);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result != WEIR_OK) {
            check_end_result(check, "send", result);
            return;
        }
        tcp->sent += len;
        text = slice_skip(text, len);
    }
    if (check->spec->expect == NULL) {
        check_end(check, OUTCOME_PASS, "connected");
        return;
    }
    tcp->state = TCP_READING;
    watch_want(&tcp->watch, WATCH_READ);
}

static void on_connected(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    check->record.phases.connect_ns = check_elapsed_ns(check);
    tcp->state = TCP_SENDING;
    send_text(tcp);
}

// ---- Connecting

static void on_closed(struct watch *watch)
{
    struct tcp_check *tcp = container_of(watch, struct tcp_check, watch);
    tcp->watching = tcp->closing = false;
    if (tcp->stopped) {
        check_gone(&tcp->base);
    } else {
        connect_next(tcp);
    }
}

static void close_socket(struct tcp_check *tcp)
{
    if (tcp->watching && !tcp->closing) {
        tcp->closing = true;
        watch_close(&tcp->watch, on_closed);
    }
    if (tcp->fd >= 0) {
        sys_close(tcp->fd);
        tcp->fd = -1;
    }
}

static void on_ready(struct watch *watch, unsigned events)
{
    struct tcp_check *tcp = container_of(watch, struct tcp_check, watch);
    (void)events;
    if (tcp->state == TCP_READING) {
        read_answer(tcp);
        return;
    }
    if (tcp->state == TCP_SENDING) {
        send_text(tcp);
        return;
    }
    enum weir_result result = sys_connect_result(tcp->fd);
    if (result == WEIR_AGAIN) {
        return;
    }
    if (result == WEIR_OK) {
        on_connected(tcp);
        return;
    }
    tcp->last = result;
    close_socket(tcp); // then the next address
}

// Not while the watch of the last address is still closing.
static void connect_next(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    tcp->state = TCP_CONNECTING;
    while (tcp->ip_next < tcp->ip_count) {
        struct sys_address address = {tcp->ips[tcp->ip_next++], check->spec->port};
        tcp->last = sys_connect(&address, &tcp->fd);
        if (tcp->last != WEIR_OK) {
            tcp->fd = -1;
            continue;
        }
        tcp->last = watch_open(check->room->worker, &tcp->watch, tcp->fd, on_ready);
        if (tcp->last == WEIR_OK) {
            tcp->watching = true;
            watch_want(&tcp->watch, WATCH_WRITE);
            return;
        }
        sys_close(tcp->fd);
        tcp->fd = -1;
    }
    check_end_result(check, "connect", tcp->last);
}

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct tcp_check *tcp = arg;
    struct check *check = &tcp->base;
    tcp->resolve = NULL;
    check->record.phases.name_ns = check_elapsed_ns(check);
    if (result == WEIR_OK) {
        memcpy(tcp->ips, ips, count * sizeof *ips);
        tcp->ip_count = count;
        connect_next(tcp);
    } else if (result == WEIR_NOT_FOUND) {
        check_end(check, OUTCOME_NAME, "dns: name not found");
    } else {
        check_end(check, OUTCOME_NAME, "dns: %s",
            result == WEIR_UNREACHABLE ? "no name server answers" : weir_result_text(result));
    }
}

static void start(struct check *check)
{
    struct tcp_check *tcp = (struct tcp_check *)check;
    struct slice host = slice_str(check->spec->host);
    tcp->fd = -1;
    buf_init(&tcp->answer, ANSWER_LEN_MAX);
    if (host.len > 2 && host.at[0] == '[') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    if (ip_parse(host, &tcp->ips[0]) == WEIR_OK) {
        tcp->ip_count = 1;
        connect_next(tcp);
        return;
    }
    tcp->resolve = resolve_start(check->room->worker, check->spec->host, on_resolved, tcp);
    if (tcp->resolve == NULL) {
        check_end_result(check, "dns", WEIR_MEMORY);
    }
}

static void expire(struct check *check)
{
    static const char *const doing[] = {
        [TCP_RESOLVING] = "resolving the name",
        [TCP_CONNECTING] = "connecting",
        [TCP_SENDING] = "sending",
        [TCP_READING] = "waiting for the answer",
    };
    check_end_timeout(check, doing[((struct tcp_check *)check)->state]);
}

static void stop(struct check *check)
{
    struct tcp_check *tcp = (struct tcp_check *)check;
    tcp->stopped = true;
    if (tcp->resolve != NULL) {
        resolve_cancel(tcp->resolve);
    }
    buf_reset(&tcp->answer);
    close_socket(tcp);
    if (!tcp->watching) {
        check_gone(check);
    }
}

const struct check_kind check_tcp = {sizeof(struct tcp_check), start, expire, stop};
