// SPDX-License-Identifier: Apache-2.0
// 1. `fail` is the only way back to WAITING; it closes the stream, and the next attempt begins when
//    both the pause is over and the stream has gone.
// 2. unanswered counts commands whose replies have not come; while there are any, the timer is
//    armed for the oldest of them.
// 3. A reply is at most reply_max long, and what waits to be sent out_max.
// 4. Every command has a tag, and every tag is told to `replied` once, or is gone with `lost`;
// those
//    of the greeting and of pings are the link's own.
// 5. What is sent during a turn leaves by one write at its end.
#include "redis/link.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "stream/tls_context.h"
#include "sys/entropy.h"

#define OUT_MAX (4 * 1024 * 1024)
#define PENDING_MAX 4096
#define DEADLINE_NS (5 * NS_PER_S)
#define BACKOFF_MIN_NS (NS_PER_S / 2)
#define BACKOFF_MAX_NS (4 * NS_PER_S)
#define READS_PER_TURN 4
#define READ_SIZE (64 * 1024)

#define TAG_GREETING REDIS_TAG_OWN
#define TAG_PING UINT64_MAX

struct redis_pending {
    uint64_t tag;
    uint64_t sent_ns;
};

// ---- Life of a connection

static void attempt(struct redis_link *link);

static const struct redis_address *address_of(const struct redis_link *link)
{
    return link->options.address != NULL ? link->options.address : &link->options.place->seeds[0];
}

static SSL_CTX *tls_of(const struct redis_link *link)
{
    return link->options.tls != NULL ? link->options.tls : link->own_tls;
}

static void tell_gone(struct redis_link *link)
{
    if (redis_link_is_gone(link) && link->hooks.gone != NULL) {
        link->hooks.gone(link->hooks.arg);
    }
}

static void on_closed(struct stream *stream)
{
    struct redis_link *link = container_of(stream, struct redis_link, stream);
    link->streaming = false;
    if (link->closed) {
        tell_gone(link);
    } else if (link->state == REDIS_WAITING && !timer_armed(&link->timer)) {
        attempt(link);
    }
}

static void forsake(struct redis_link *link)
{
    link->dropped += link->unanswered;
    while (link->unanswered > 0) {
        uint64_t tag = link->pending[link->pending_first].tag;
        link->pending_first = (link->pending_first + 1) % link->options.pending_max;
        link->unanswered--;
        if (tag < REDIS_TAG_OWN && link->hooks.forsaken != NULL) {
            link->hooks.forsaken(link->hooks.arg, tag);
        }
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
}

static uint64_t random_part(uint64_t bound)
{
    uint64_t random = bound / 2;
    enum weir_result ignored = sys_entropy(&random, sizeof random); // then it is no jitter
    (void)ignored;
    return random % (bound + 1);
}

static void fail(
    struct redis_link *link, const char *doing, enum redis_fault fault, const char *why)
{
    bool stood = link->state == REDIS_READY;
    snprintf(link->problem, sizeof link->problem, "%s: %.*s", doing, (int)sizeof link->problem - 32,
        why != NULL ? why : redis_fault_text(fault));
    link->fault = fault;
    let_go(link);
    link->state = REDIS_WAITING;
    worker_arm_in(link->worker, &link->timer, random_part(link->backoff_ns));
    link->backoff_ns *= 2;
    if (link->backoff_ns > BACKOFF_MAX_NS) {
        link->backoff_ns = BACKOFF_MAX_NS;
    }
    forsake(link);
    if (link->closed) {
        return;
    }
    if (stood) {
        link->hooks.lost(link->hooks.arg);
    } else if (link->hooks.failed != NULL) {
        link->hooks.failed(link->hooks.arg);
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

static void fail_by(struct redis_link *link, enum weir_result result)
{
    enum redis_fault fault = redis_fault_of_result(result);
    if (link->state == REDIS_TLS) {
        fault = REDIS_FAULT_TLS;
    }
    fail(link, doing_of(link), fault, NULL);
}

// ---- Commands

// False: too much waits, or memory ran out.
static bool put_command(
    struct redis_link *link, uint64_t tag, const struct slice *words, size_t count)
{
    const char *texts[REDIS_WORDS_MAX];
    size_t lens[REDIS_WORDS_MAX];
    char *command = NULL;
    weir_assert(count <= REDIS_WORDS_MAX);
    if (link->unanswered == link->options.pending_max) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = words[i].at;
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)count, texts, lens);
    bool ok = len > 0 && buf_append(&link->out, command, (size_t)len) == WEIR_OK;
    redisFreeCommand(command);
    if (ok) {
        unsigned at = (link->pending_first + link->unanswered++) % link->options.pending_max;
        link->pending[at] = (struct redis_pending){tag, worker_now(link->worker)};
    }
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
            fail_by(link, result);
            return false;
        }
        buf_consume(&link->out, len);
    }
    stream_want(&link->stream, WATCH_READ);
    return true;
}

static void on_flush(struct worker *worker, struct job *job)
{
    struct redis_link *link = container_of(job, struct redis_link, flush);
    (void)worker;
    link->flushing = false;
    if (link->closed) {
        tell_gone(link);
    } else if (link->state >= REDIS_GREETING) {
        (void)write_out(link); // it failed: told already
    }
}

// READY only: for the oldest answer, or for the next ping.
static void arm_ready(struct redis_link *link)
{
    if (link->unanswered > 0) {
        worker_arm(link->worker, &link->timer,
            link->pending[link->pending_first].sent_ns + link->options.answer_ns);
    } else if (link->options.ping_ns > 0) {
        worker_arm_in(link->worker, &link->timer, link->options.ping_ns);
    } else {
        timer_cancel(&link->timer);
    }
}

static bool send_any(struct redis_link *link, uint64_t tag, const struct slice *words, size_t count)
{
    if (link->worker == NULL || link->state != REDIS_READY ||
        !put_command(link, tag, words, count)) {
        link->dropped++;
        return false;
    }
    link->sent++;
    if (link->unanswered == 1) {
        arm_ready(link);
    }
    if (!link->flushing) {
        link->flushing = true;
        worker_defer(link->worker, &link->flush, on_flush);
    }
    return true;
}

bool redis_link_send(struct redis_link *link, uint64_t tag, const struct slice *words, size_t count)
{
    weir_assert(tag < REDIS_TAG_OWN);
    return send_any(link, tag, words, count);
}

uint64_t redis_link_next_tag(const struct redis_link *link)
{
    return link->unanswered > 0 ? link->pending[link->pending_first].tag : REDIS_TAG_OWN;
}

static void on_timer(struct timer *timer)
{
    struct redis_link *link = container_of(timer, struct redis_link, timer);
    if (link->state == REDIS_READY && link->unanswered == 0) {
        (void)send_any(link, TAG_PING, (struct slice[]){SLICE("PING")}, 1); // memory: it waits then
    } else if (link->state != REDIS_WAITING) {
        fail(link, doing_of(link), REDIS_FAULT_TIMEOUT, NULL);
    } else if (!link->streaming) {
        attempt(link);
    }
}

static bool put_auth(struct redis_link *link)
{
    const struct redis_place *place = link->options.place;
    struct slice user = slice_str(link->options.sentinel ? place->sentinel_user : place->user);
    struct slice password =
        slice_str(link->options.sentinel ? place->sentinel_password : place->password);
    if (password.len == 0) {
        return true;
    }
    return user.len > 0
               ? put_command(link, TAG_GREETING, (struct slice[]){SLICE("AUTH"), user, password}, 3)
               : put_command(link, TAG_GREETING, (struct slice[]){SLICE("AUTH"), password}, 2);
}

static void greet(struct redis_link *link)
{
    char database[16];
    int len = snprintf(database, sizeof database, "%u", link->options.place->database);
    link->reader = redisReaderCreate();
    link->state = REDIS_GREETING;
    struct slice select[] = {SLICE("SELECT"), slice_of(database, (size_t)len)};
    bool ok = put_auth(link);
    // Something must be asked: whoever wants a password, or is still loading, says so then.
    ok = ok && (link->options.sentinel
                       ? put_command(link, TAG_GREETING, (struct slice[]){SLICE("PING")}, 1)
                       : put_command(link, TAG_GREETING, select, 2));
    ok = ok && (!link->options.master ||
                   put_command(link, TAG_GREETING, (struct slice[]){SLICE("ROLE")}, 1));
    if (!ok || link->reader == NULL) {
        fail(link, doing_of(link), REDIS_FAULT_MEMORY, NULL);
        return;
    }
    (void)write_out(link); // it failed: told already
}

// ---- Replies

static bool says_replica(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           !slice_eq(slice_str(reply->element[0]->str), SLICE("master"));
}

// False: the connection is given up.
static bool take_greeting(struct redis_link *link, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        enum redis_fault fault = redis_fault_of(reply);
        char why[REDIS_PROBLEM_SIZE];
        snprintf(why, sizeof why, "%.*s (%s)", reply->len > 100 ? 100 : (int)reply->len, reply->str,
            redis_fault_text(fault));
        fail(link, doing_of(link), fault, why);
        return false;
    }
    if (link->options.master && says_replica(reply)) {
        fail(link, doing_of(link), REDIS_FAULT_REPLICA, NULL);
        return false;
    }
    if (link->unanswered == 0) {
        link->state = REDIS_READY;
        link->backoff_ns = BACKOFF_MIN_NS;
        link->problem[0] = '\0';
        link->fault = REDIS_FAULT_NONE;
        arm_ready(link);
        link->hooks.ready(link->hooks.arg);
    }
    return true;
}

// False: the connection is given up.
static bool take_reply(struct redis_link *link, const redisReply *reply)
{
    const struct redis_link_hooks *hooks = &link->hooks;
    if (link->state == REDIS_READY && hooks->pushed != NULL && hooks->pushed(hooks->arg, reply)) {
        return !link->closed && link->state == REDIS_READY;
    }
    if (link->unanswered == 0) {
        fail(link, doing_of(link), REDIS_FAULT_NOT_REDIS, "an answer that nobody asked for");
        return false;
    }
    uint64_t tag = link->pending[link->pending_first].tag;
    link->pending_first = (link->pending_first + 1) % link->options.pending_max;
    link->unanswered--;
    if (link->state == REDIS_GREETING) {
        return take_greeting(link, reply) && !link->closed && link->state >= REDIS_GREETING;
    }
    arm_ready(link);
    if (tag != TAG_PING) {
        hooks->replied(hooks->arg, tag, reply);
    }
    return !link->closed && link->state == REDIS_READY;
}

static bool take_replies(struct redis_link *link)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            fail(link, doing_of(link), REDIS_FAULT_NOT_REDIS, NULL);
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
    char *area = link->worker->read_area;
    for (int i = 0; i < READS_PER_TURN; i++) {
        struct iovec part = {area, READ_SIZE};
        size_t len = 0;
        enum weir_result result = stream_read(&link->stream, &part, 1, &len);
        if (result == WEIR_AGAIN) {
            return;
        }
        if (result == WEIR_OK && (link->reader->len > link->options.reply_max ||
                                     redisReaderFeed(link->reader, area, len) != REDIS_OK)) {
            result = WEIR_TOO_LARGE;
        }
        if (result != WEIR_OK) {
            fail_by(link, result);
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
        fail_by(link, result);
    }
}

static void on_ready(struct stream *stream, unsigned events)
{
    struct redis_link *link = container_of(stream, struct redis_link, stream);
    if (link->state == REDIS_CONNECTING) {
        enum weir_result result = sys_connect_result(stream->fd);
        if (result != WEIR_OK) {
            fail(link, doing_of(link), redis_fault_of_result(result), NULL);
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
    const char *host = link->options.place->server_name;
    host = host != NULL ? host : address_of(link)->host;
    struct ip literal;
    bool is_name = ip_parse(slice_str(host), &literal) != WEIR_OK;
    SSL *ssl = SSL_new(tls_of(link));
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
    struct sys_address address = {*ip, address_of(link)->port};
    bool tls = link->options.place->tls;
    SSL *ssl = tls ? make_tls(link) : NULL;
    int fd;
    link->state = REDIS_CONNECTING;
    enum weir_result result = tls && ssl == NULL ? WEIR_CRYPTO : sys_connect(&address, &fd);
    if (result != WEIR_OK) {
        SSL_free(ssl);
        fail_by(link, result);
        return;
    }
    result = stream_open(&link->stream, link->worker, fd, ssl, on_ready);
    if (result != WEIR_OK) {
        fail_by(link, result);
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
        fail(link, doing_of(link), REDIS_FAULT_NAME, NULL);
    } else {
        connect_to(link, &ips[0]);
    }
}

static void attempt(struct redis_link *link)
{
    link->state = REDIS_RESOLVING;
    worker_arm_in(link->worker, &link->timer, link->options.connect_ns);
    link->resolve = resolve_start(link->worker, address_of(link)->host, on_resolved, link);
    if (link->resolve == NULL) {
        fail(link, doing_of(link), REDIS_FAULT_MEMORY, NULL);
    }
}

static void set_defaults(struct redis_link_options *options)
{
    options->connect_ns = options->connect_ns > 0 ? options->connect_ns : DEADLINE_NS;
    options->answer_ns = options->answer_ns > 0 ? options->answer_ns : DEADLINE_NS;
    options->out_max = options->out_max > 0 ? options->out_max : OUT_MAX;
    options->pending_max = options->pending_max > 0 ? options->pending_max : PENDING_MAX;
}

enum weir_result redis_link_open(struct redis_link *link, struct worker *worker,
    const struct redis_link_options *options, const struct redis_link_hooks *hooks)
{
    *link = (struct redis_link){.options = *options, .hooks = *hooks};
    set_defaults(&link->options);
    link->backoff_ns = BACKOFF_MIN_NS;
    buf_init(&link->out, link->options.out_max);
    timer_init(&link->timer, on_timer);
    link->fault = REDIS_FAULT_STARTING;
    snprintf(link->problem, sizeof link->problem, "%s", redis_fault_text(link->fault));
    link->pending = mem_alloc(link->options.pending_max * sizeof *link->pending);
    if (link->pending == NULL) {
        return WEIR_MEMORY;
    }
    if (options->place->tls && options->tls == NULL) {
        link->own_tls = tls_client_new(options->place->ca_path, true);
        if (link->own_tls == NULL) {
            mem_free(link->pending);
            link->pending = NULL;
            return WEIR_CRYPTO;
        }
    }
    link->worker = worker;
    worker_arm_in(worker, &link->timer, 0); // the first attempt: nothing is called back from here
    return WEIR_OK;
}

void redis_link_restart(struct redis_link *link, enum redis_fault why)
{
    if (link->worker != NULL && !link->closed) {
        link->backoff_ns = BACKOFF_MIN_NS;
        fail(link, doing_of(link), why, NULL);
    }
}

void redis_link_close(struct redis_link *link)
{
    if (link->worker == NULL || link->closed) {
        return;
    }
    link->closed = true;
    timer_cancel(&link->timer);
    let_go(link);
    link->state = REDIS_WAITING;
    forsake(link);
    mem_free(link->pending);
    link->pending = NULL;
    SSL_CTX_free(link->own_tls);
    link->own_tls = NULL;
}
