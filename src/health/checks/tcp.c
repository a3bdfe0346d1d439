// SPDX-License-Identifier: Apache-2.0
// A TCP check: the connection completes; when the spec says so, bytes are sent and a text must
// arrive.
//
//   connecting ──► sending ──► reading ──► pass
#include "base/buf.h"
#include "health/checks/race.h"

#define ANSWER_LEN_MAX 65536
#define CHUNK_SIZE 4096

struct tcp_check {
    struct check base;
    struct race race;
    bool reading;
    size_t sent;
    struct buf answer;
};

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

// Ends with WEIR_AGAIN, the check's end, or 64 KiB.
static void read_answer(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    while (!check->ended) {
        char chunk[CHUNK_SIZE];
        size_t len = 0;
        size_t room = ANSWER_LEN_MAX - tcp->answer.len;
        enum weir_result result =
            sys_recv(race_fd(&tcp->race), chunk, room < sizeof chunk ? room : sizeof chunk, &len);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result == WEIR_CLOSED) {
            check_end(check, OUTCOME_ANSWER, "closed by the peer before \"%s\" arrived",
                check->spec->expect);
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
}

static void send_text(struct tcp_check *tcp)
{
    struct check *check = &tcp->base;
    struct slice text = slice_skip(slice_str(check->spec->send), tcp->sent);
    while (text.len > 0) {
        struct iovec part = {(void *)(uintptr_t)text.at, text.len};
        size_t len = 0;
        enum weir_result result = sys_send_vector(race_fd(&tcp->race), &part, 1, &len);
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
    tcp->reading = true;
    read_answer(tcp); // a greeting may be there already
}

static void on_ready(struct race *race, unsigned events)
{
    struct tcp_check *tcp = container_of(race, struct tcp_check, race);
    (void)events; // the calls tell
    if (tcp->reading) {
        read_answer(tcp);
    } else {
        send_text(tcp);
    }
}

static unsigned on_connected(struct race *race, unsigned events)
{
    const struct tcp_check *tcp = container_of(race, struct tcp_check, race);
    on_ready(race, events);
    return tcp->reading ? SYS_READY_READ : SYS_READY_READ | SYS_READY_WRITE;
}

static void start(struct check *check)
{
    struct tcp_check *tcp = (struct tcp_check *)check;
    const struct check_spec *spec = check->spec;
    buf_init(&tcp->answer, ANSWER_LEN_MAX);
    tcp->race.speaks_first = spec->send != NULL || spec->expect == NULL;
    race_start(&tcp->race, check, slice_str(spec->host), spec->port, on_connected, on_ready);
}

static void expire(struct check *check)
{
    const struct tcp_check *tcp = (struct tcp_check *)check;
    const char *connecting = race_doing(&tcp->race);
    check_end_timeout(check, connecting != NULL ? connecting
                             : tcp->reading     ? "waiting for the answer"
                                                : "sending");
}

static void stop(struct check *check)
{
    struct tcp_check *tcp = (struct tcp_check *)check;
    buf_reset(&tcp->answer);
    race_close(&tcp->race);
    check_gone(check);
}

const struct check_kind check_tcp = {sizeof(struct tcp_check), start, expire, stop};
