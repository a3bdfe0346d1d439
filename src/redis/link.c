// SPDX-License-Identifier: Apache-2.0
// 1. `fail` is the only way back to WAITING; it closes the stream, and the next attempt begins when
//    both the pause is over and the stream has gone.
// 2. unanswered counts commands whose replies have not come; while there are any, the timer is
//    armed.
// 3. A reply is at most reply_max long, and what waits to be sent OUT_MAX.
// 4. Every command has a tag, and every tag is told to `replied` once, or is gone with `lost`;
// those
//    of the greeting are the link's own.
#include "redis/link.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "stream/tls_context.h"

#define OUT_MAX (4 * 1024 * 1024)
#define DEADLINE_NS (5 * NS_PER_S)
#define BACKOFF_MIN_NS (NS_PER_S / 2)
#define BACKOFF_MAX_NS (4 * NS_PER_S)
#define READS_PER_TURN 8

// ---- Life of a connection

static void attempt(struct redis_link *link);

static void enter(struct redis_link *link, enum redis_state state, uint64_t deadline_ns)
{
    link->state = state;
    worker_arm_in(link->worker, &link->timer, deadline_ns);
}

static void on_closed(struct stream *stream)
{
    struct redis_link *link = container_of(stream, struct redis_link, stream);
    link->streaming = false;
    if (!link->closed && link->state == REDIS_WAITING && !timer_armed(&link->timer)) {
        attempt(link);
    }
}

static void let_go(struct redis_link *link)
{
    if (link->resolve != NULL) {
        resolve_cancel(link->resolve);
        link->resolve = NULL;
    }
    if (link->streaming && !link->stream.closing) {
        stream_close(&link->stream, true, on_closed);
    }
    if (link->reader != NULL) {
        redisReaderFree(link->reader);
        link->reader = NULL;
    }
    buf_reset(&link->out);
    link->dropped += link->unanswered;
    link->unanswered = 0;
}

static void fail(struct redis_link *link, const char *doing, const char *why)
{
    snprintf(link->problem, sizeof link->problem, "%s: %.*s", doing, (int)sizeof link->problem - 32,
        why);
    bool stood = link->state == REDIS_READY;
    let_go(link);
    enter(link, REDIS_WAITING, link->backoff_ns);
    link->backoff_ns *= 2;
    if (link->backoff_ns > BACKOFF_MAX_NS) {
        link->backoff_ns = BACKOFF_MAX_NS;
    }
    if (stood) {
        link->lost(link->arg);
    }
}

static const char *doing_of(const struct redis_link *link)
{
    static const char *const words[] = {
        [REDIS_WAITING] = "waiting",
        [REDIS_RESOLVING] = "name",
        [REDIS_CONNECTING] = "connect",
        [REDIS_TLS] = "tls",
        [REDIS_GREETING] = "greeting",
        [REDIS_READY] = "answer",
    };
    return words[link->state];
}

static void on_timer(struct timer *timer)
{
    struct redis_link *link = container_of(timer, struct redis_link, timer);
    if (link->state != REDIS_WAITING) {
        fail(link, doing_of(link), "no answer in time");
    } else if (!link->streaming) {
        attempt(link);
    }
}

// ---- Commands

// False: what waits is too much, or memory ran out.
static bool put_command(
    struct redis_link *link, unsigned tag, const struct slice *words, size_t count)
{
    const char *texts[REDIS_WORDS_MAX];
    size_t lens[REDIS_WORDS_MAX];
    char *command = NULL;
    weir_assert(count <= REDIS_WORDS_MAX);
    if (link->unanswered == REDIS_PENDING_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = words[i].at;
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)count, texts, lens);
    bool ok = len > 0 && buf_append(&link->out, command, (size_t)len) == WEIR_OK;
    redisFreeCommand(command);
    link->tags[(link->tag_first + link->unanswered) % REDIS_PENDING_MAX] = (uint8_t)tag;
    link->unanswered += ok;
    return ok;
}

// False: the connection failed.
static bool write_out(struct redis_link *link)
{
    while (link->out.len > 0) {
        struct slice waiting = buf_slice(&link->out);
        struct iovec part = {(char *)(uintptr_t)waiting.at, waiting.len};
        size_t len = 0;
        enum weir_result result = stream_write(&link->stream, &part, 1, &len);
        if (result == WEIR_AGAIN) {
            stream_want(&link->stream, WATCH_READ | WATCH_WRITE);
            return true;
        }
        if (result != WEIR_OK) {
            fail(link, doing_of(link), weir_result_text(result));
            return false;
        }
        buf_consume(&link->out, len);
    }
    stream_want(&link->stream, WATCH_READ);
    return true;
}

bool redis_link_send(struct redis_link *link, unsigned tag, const struct slice *words, size_t count)
{
    bool first = link->unanswered == 0;
    if (link->state != REDIS_READY || !put_command(link, tag, words, count)) {
        link->dropped++;
        return false;
    }
    link->sent++;
    if (first) {
        worker_arm_in(link->worker, &link->timer, DEADLINE_NS);
    }
    return write_out(link);
}

static void greet(struct redis_link *link)
{
    const struct redis_place *place = link->place;
    struct slice user = slice_str(place->user);
    struct slice password = slice_str(place->password);
    char database[16];
    int len = snprintf(database, sizeof database, "%u", place->database);
    bool ok = true;
    link->reader = redisReaderCreate();
    enter(link, REDIS_GREETING, DEADLINE_NS);
    if (password.len > 0 && user.len > 0) {
        ok = put_command(link, 0, (struct slice[]){SLICE("AUTH"), user, password}, 3);
    } else if (password.len > 0) {
        ok = put_command(link, 0, (struct slice[]){SLICE("AUTH"), password}, 2);
    }
    ok = ok && put_command(
                   link, 0, (struct slice[]){SLICE("SELECT"), slice_of(database, (size_t)len)}, 2);
    if (!ok || link->reader == NULL) {
        fail(link, doing_of(link), weir_result_text(WEIR_MEMORY));
        return;
    }
    (void)write_out(link); // it failed: told already
}

// ---- Replies

// False: the connection is given up.
static bool take_reply(struct redis_link *link, const redisReply *reply)
{
    if (link->unanswered == 0) {
        fail(link, doing_of(link), "an answer that nobody asked for");
        return false;
    }
    unsigned tag = link->tags[link->tag_first];
    link->tag_first = (link->tag_first + 1) % REDIS_PENDING_MAX;
    link->unanswered--;
    if (link->state == REDIS_GREETING && reply->type == REDIS_REPLY_ERROR) {
        char why[REDIS_PROBLEM_SIZE];
        snprintf(why, sizeof why, "%.*s", reply->len > 100 ? 100 : (int)reply->len, reply->str);
        fail(link, doing_of(link), why);
        return false;
    }
    if (link->unanswered > 0) {
        worker_arm_in(link->worker, &link->timer, DEADLINE_NS);
    } else {
        timer_cancel(&link->timer);
    }
    if (link->state == REDIS_READY) {
        link->replied(link->arg, tag, reply);
    } else if (link->unanswered == 0) {
        link->state = REDIS_READY;
        link->backoff_ns = BACKOFF_MIN_NS;
        link->problem[0] = '\0';
        link->ready(link->arg);
    }
    return link->state == REDIS_READY || link->state == REDIS_GREETING;
}

static bool take_replies(struct redis_link *link)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            fail(link, doing_of(link), "what answers there is no Redis");
            return false;
        }
        if (reply == NULL) {
            return true;
        }
        bool stays = take_reply(link, reply);
        freeReplyObject(reply);
        if (!stays) {
            return false;
        }
    }
}

static void read_in(struct redis_link *link)
{
    char chunk[4096];
    for (int i = 0; i < READS_PER_TURN; i++) {
        struct iovec part = {chunk, sizeof chunk};
        size_t len = 0;
        enum weir_result result = stream_read(&link->stream, &part, 1, &len);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result == WEIR_OK && (link->reader->len > link->reply_max ||
                                     redisReaderFeed(link->reader, chunk, len) != REDIS_OK)) {
            result = WEIR_TOO_LARGE;
        }
        if (result != WEIR_OK) {
            fail(link, doing_of(link), weir_result_text(result));
            return;
        }
        if (!take_replies(link)) {
            return;
        }
    }
}

// ---- Connecting

static void shake_hands(struct redis_link *link)
{
    enum weir_result result = stream_handshake(&link->stream);
    if (result == WEIR_OK) {
        greet(link);
    } else if (result != WEIR_AGAIN) {
        fail(link, doing_of(link), weir_result_text(result));
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct redis_link *link = container_of(stream, struct redis_link, stream);
    if (link->state == REDIS_CONNECTING) {
        enum weir_result result = sys_connect_result(stream->fd);
        if (result != WEIR_OK) {
            fail(link, doing_of(link), weir_result_text(result));
            return;
        }
        link->state = REDIS_TLS;
    }
    if (link->state == REDIS_TLS) {
        shake_hands(link);
        return;
    }
    if ((events & WATCH_WRITE) != 0 && !write_out(link)) {
        return;
    }
    if ((events & WATCH_READ) != 0) {
        read_in(link);
    }
}

static SSL *make_tls(const struct redis_link *link)
{
    const char *host = link->place->seeds[0].host;
    struct ip literal;
    bool is_name = ip_parse(slice_str(host), &literal) != WEIR_OK;
    SSL *ssl = SSL_new(link->tls);
    bool ok = ssl != NULL;
    if (ok) {
        SSL_set_connect_state(ssl);
        ok = is_name ? SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1
                     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static void connect_to(struct redis_link *link, const struct ip *ip)
{
    struct sys_address address = {*ip, link->place->seeds[0].port};
    SSL *ssl = link->tls == NULL ? NULL : make_tls(link);
    int fd;
    link->state = REDIS_CONNECTING;
    enum weir_result result =
        link->tls != NULL && ssl == NULL ? WEIR_CRYPTO : sys_connect(&address, &fd);
    if (result != WEIR_OK) {
        SSL_free(ssl);
        fail(link, doing_of(link), weir_result_text(result));
        return;
    }
    result = stream_open(&link->stream, link->worker, fd, ssl, on_ready);
    if (result != WEIR_OK) {
        fail(link, doing_of(link), weir_result_text(result));
        return;
    }
    link->streaming = true;
    stream_want(&link->stream, WATCH_WRITE);
}

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct redis_link *link = arg;
    link->resolve = NULL;
    if (result != WEIR_OK || count == 0) {
        fail(link, doing_of(link), weir_result_text(result));
    } else {
        connect_to(link, &ips[0]);
    }
}

static void attempt(struct redis_link *link)
{
    enter(link, REDIS_RESOLVING, DEADLINE_NS);
    link->resolve = resolve_start(link->worker, link->place->seeds[0].host, on_resolved, link);
    if (link->resolve == NULL) {
        fail(link, doing_of(link), weir_result_text(WEIR_MEMORY));
    }
}

enum weir_result redis_link_open(
    struct redis_link *link, struct worker *worker, const struct redis_place *place)
{
    link->place = place;
    link->backoff_ns = BACKOFF_MIN_NS;
    buf_init(&link->out, OUT_MAX);
    timer_init(&link->timer, on_timer);
    snprintf(link->problem, sizeof link->problem, "not connected yet");
    if (place->tls) {
        link->tls = tls_client_new(place->ca_path, true);
        if (link->tls == NULL) {
            return WEIR_CRYPTO;
        }
    }
    link->worker = worker;
    attempt(link);
    return WEIR_OK;
}

void redis_link_close(struct redis_link *link)
{
    if (link->worker == NULL || link->closed) {
        return;
    }
    link->closed = true;
    timer_cancel(&link->timer);
    let_go(link);
    SSL_CTX_free(link->tls);
    link->tls = NULL;
}
