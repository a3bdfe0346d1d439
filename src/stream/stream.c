// SPDX-License-Identifier: Apache-2.0
// Invariants:
// 1. The watch waits for what the owner wants, plus writability while a TLS read is blocked on it.
// 2. When TLS holds bytes, or the end behind the last ones, and the owner wants to read, `again` is
//    queued: the socket may never become readable for them. TLS reads ahead (tls_context.c), so
//    that a record costs one system call and not two.
// 3. TLS may run inside TLS (tls_stack.h): the inner session's carrier is the outer one, and calls
//    go to the inner one. What either of them holds counts for 2, and both are ended.
// 4. Bulk is read and written many records a call (tls_carrier.h); the area for that belongs to the
//    stream in a call of stream_read or stream_write, and to nobody in between.
// 5. After stream_close or stream_detach, `ready` is never called again.
#include "stream/stream.h"

#include <openssl/err.h>

#include "stream/tls_carrier.h"

#define PARTS_MAX 64
#define SESSION_HOLDS_MAX (17u * 1024) // of received bytes: OpenSSL's buffer for a record
#define READ_AHEAD_ROOM_MIN (SESSION_HOLDS_MAX + 2 * TLS_RECORD_MAX - 2048)
#define TLS_RECORD_FULL 16000 // of somebody who has more to say; also inside of another session

_Static_assert(WORKER_WIRE_AREA_SIZE >= TLS_BATCH_SIZE, "a batch has room");

static void on_ready(struct watch *watch, unsigned events)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    if (stream->tls_write_blocked && (events & WATCH_WRITE) != 0) {
        stream->tls_write_blocked = false;
        events |= WATCH_READ;
        stream_want(stream, stream->wanted);
    }
    events &= stream->wanted;
    if (events != 0) {
        stream->ready(stream, events);
    }
}

static void on_again(struct worker *worker, struct job *job)
{
    struct stream *stream = container_of(job, struct stream, again);
    (void)worker;
    if (!stream->closing && (stream->wanted & WATCH_READ) != 0) {
        stream->ready(stream, WATCH_READ);
    }
}

// The session that this one runs inside of, or NULL when it runs on the socket.
static SSL *session_below(SSL *ssl)
{
    SSL *below = NULL;
    BIO *carrier = SSL_get_rbio(ssl);
    if (carrier != NULL && BIO_method_type(carrier) == BIO_TYPE_SSL) {
        BIO_get_ssl(carrier, &below);
    }
    return below;
}

// The session on the socket, below all others.
static SSL *lowest_session(SSL *ssl)
{
    for (SSL *below; (below = session_below(ssl)) != NULL;) {
        ssl = below;
    }
    return ssl;
}

// All of them, without a word: OpenSSL would have the ones below say close_notify, which their peer
// takes for an end in order.
static void free_sessions(SSL *ssl)
{
    SSL *below = ssl == NULL ? NULL : session_below(ssl);
    for (; below != NULL; below = session_below(below)) {
        SSL_set_quiet_shutdown(below, 1);
    }
    SSL_free(ssl);
}

// Bytes that have left the socket and not been read; perhaps no whole record.
static bool holds_bytes(SSL *ssl)
{
    SSL *lowest = ssl;
    for (; ssl != NULL; ssl = session_below(ssl)) {
        if (SSL_has_pending(ssl) != 0) {
            return true;
        }
        lowest = ssl;
    }
    struct tls_carrier *carrier = lowest == NULL ? NULL : tls_carrier_of(lowest);
    return carrier != NULL && tls_carrier_holds(carrier);
}

enum weir_result stream_open(
    struct stream *stream, struct worker *worker, int fd, SSL *ssl, stream_fn *ready)
{
    *stream = (struct stream){.worker = worker, .fd = fd, .ssl = ssl, .ready = ready};
    list_init(&stream->again.node);
    enum weir_result result = WEIR_OK;
    if (ssl != NULL && SSL_get_fd(ssl) != fd) {
        result = tls_carrier_attach(ssl, fd);
    }
    if (result == WEIR_OK) {
        result = watch_open(worker, &stream->watch, fd, on_ready);
    }
    if (result != WEIR_OK) {
        free_sessions(ssl);
        sys_close(fd);
        stream->ssl = NULL;
        stream->fd = -1;
        return result;
    }
    stream->holds = holds_bytes(ssl);
    return WEIR_OK;
}

enum weir_result stream_start_tls(struct stream *stream, SSL *ssl)
{
    weir_assert(stream->ssl == NULL);
    stream->ssl = ssl;
    return tls_carrier_attach(ssl, stream->fd);
}

static void look_for_buffered(struct stream *stream)
{
    if ((stream->wanted & WATCH_READ) != 0 && stream->holds && !list_linked(&stream->again.node)) {
        worker_defer(stream->worker, &stream->again, on_again);
    }
}

void stream_want(struct stream *stream, unsigned events)
{
    stream->wanted = (uint8_t)events;
    watch_want(&stream->watch, events | (stream->tls_write_blocked ? (unsigned)WATCH_WRITE : 0));
    look_for_buffered(stream);
}

// What an OpenSSL call that did not succeed means.
static enum weir_result tls_result(struct stream *stream, SSL *ssl, int returned)
{
    switch (SSL_get_error(ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return WEIR_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        stream->tls_write_blocked = true;
        return WEIR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return WEIR_CLOSED;
    case SSL_ERROR_SSL:
        ERR_clear_error();
        return WEIR_PROTOCOL;
    default:
        ERR_clear_error();
        return WEIR_RESET;
    }
}

enum weir_result stream_handshake(struct stream *stream)
{
    if (stream->ssl == NULL || SSL_is_init_finished(stream->ssl)) {
        return WEIR_OK;
    }
    ERR_clear_error();
    int returned = SSL_do_handshake(stream->ssl);
    if (returned == 1) {
        stream->holds = holds_bytes(stream->ssl);
        return WEIR_OK;
    }
    enum weir_result result = tls_result(stream, stream->ssl, returned);
    if (result == WEIR_AGAIN) {
        bool write = stream->tls_write_blocked;
        stream->tls_write_blocked = false;
        stream_want(stream, write ? WATCH_WRITE : WATCH_READ);
    }
    return result;
}

// Reads until nothing more comes, or the parts are full. more is NULL, or counts what has been
// received and no session has taken yet.
static enum weir_result read_records(struct stream *stream, const size_t *more,
    const struct iovec *parts, size_t count, size_t *ret_len)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t filled = 0;
        while (filled < parts[i].iov_len) {
            size_t len;
            char *at = (char *)parts[i].iov_base + filled;
            ERR_clear_error();
            int returned = SSL_read_ex(stream->ssl, at, parts[i].iov_len - filled, &len);
            if (returned != 1) {
                // An end or error behind good bytes is met again by the next read, which nothing
                // else may bring about: its bytes have left the socket.
                *ret_len = total;
                enum weir_result result = tls_result(stream, stream->ssl, returned);
                stream->holds = total > 0 && result != WEIR_AGAIN;
                return total > 0 ? WEIR_OK : result;
            }
            filled += len;
            total += len;
            bool last = more == NULL ? len < TLS_RECORD_FULL : *more == 0;
            if (last && !holds_bytes(stream->ssl)) {
                // The last record for now. Asking the socket would be a system call for nothing:
                // when there is more it says so.
                *ret_len = total;
                return WEIR_OK;
            }
        }
    }
    stream->holds = holds_bytes(stream->ssl);
    *ret_len = total;
    return WEIR_OK;
}

// Large reads receive as much at once as there is room for the plaintext of, beside what a session
// may have left of a record.
static enum weir_result tls_read(
    struct stream *stream, const struct iovec *parts, size_t count, size_t *ret_len)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++) {
        room += parts[i].iov_len;
    }
    bool stacked = session_below(stream->ssl) != NULL;
    struct tls_carrier *carrier = stacked ? NULL : tls_carrier_of(stream->ssl);
    if (carrier == NULL || room < READ_AHEAD_ROOM_MIN) {
        return read_records(stream, NULL, parts, count, ret_len);
    }
    size_t size = room - SESSION_HOLDS_MAX;
    size = size < WORKER_WIRE_AREA_SIZE ? size : WORKER_WIRE_AREA_SIZE;
    struct tls_intake intake;
    tls_intake_begin(carrier, &intake, stream->worker->wire_area, size);
    enum weir_result result = read_records(stream, &intake.len, parts, count, ret_len);
    if (tls_intake_end(carrier) != WEIR_OK) {
        result = WEIR_MEMORY;
    } else if (tls_carrier_holds(carrier)) {
        stream->holds = true;
    }
    return result;
}

enum weir_result stream_read(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len)
{
    if (stream->ssl == NULL) {
        return count == 1 ? sys_recv(stream->fd, parts->iov_base, parts->iov_len, ret_len)
                          : sys_recv_vector(stream->fd, parts, count, ret_len);
    }
    stream->holds = false;
    enum weir_result result = tls_read(stream, parts, count, ret_len);
    if (stream->tls_write_blocked) {
        stream_want(stream, stream->wanted);
    }
    look_for_buffered(stream);
    return result;
}

// One record for many small parts: gathers up to a record's worth, or points at a large part.
static struct iovec next_record(struct iovec *parts, size_t count, char scratch[TLS_RECORD_MAX])
{
    if (count == 1 || parts->iov_len >= TLS_RECORD_MAX) {
        return *parts;
    }
    size_t len = 0;
    for (size_t i = 0; i < count && len < TLS_RECORD_MAX; i++) {
        size_t take = parts[i].iov_len;
        take = take < TLS_RECORD_MAX - len ? take : TLS_RECORD_MAX - len;
        memcpy(scratch + len, parts[i].iov_base, take);
        len += take;
    }
    return (struct iovec){scratch, len};
}

static void skip_parts(struct iovec **parts, size_t *count, size_t len)
{
    while (*count > 0 && len >= (*parts)->iov_len) {
        len -= (*parts)->iov_len;
        (*parts)++;
        (*count)--;
    }
    if (len > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + len;
        (*parts)->iov_len -= len;
    }
}

static enum weir_result write_record(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len)
{
    char scratch[TLS_RECORD_MAX];
    struct iovec record = next_record(parts, count, scratch);
    ERR_clear_error();
    int returned = SSL_write_ex(stream->ssl, record.iov_base, record.iov_len, ret_len);
    if (returned == 1) {
        return WEIR_OK;
    }
    enum weir_result result = tls_result(stream, stream->ssl, returned);
    stream->tls_write_blocked = false; // writability is the owner's to want
    return result;
}

// As many records as a batch takes.
static enum weir_result write_batch(struct stream *stream, struct tls_carrier *carrier,
    const struct iovec *parts, size_t count, size_t *ret_len)
{
    struct tls_batch batch;
    struct iovec copy[PARTS_MAX];
    struct iovec *rest = copy;
    enum weir_result result = WEIR_OK;
    memcpy(copy, parts, count * sizeof *parts);
    tls_batch_begin(carrier, &batch, stream->worker->wire_area);
    while (result == WEIR_OK && count > 0 && !tls_batch_is_full(&batch)) {
        size_t len = 0;
        result = write_record(stream, rest, count, &len);
        if (result == WEIR_OK) {
            tls_batch_note(&batch, len);
            skip_parts(&rest, &count, len);
        }
    }
    enum weir_result sent = tls_batch_send(carrier, ret_len);
    return sent == WEIR_OK ? result : sent;
}

static bool is_bulk(const struct iovec *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count && len <= TLS_RECORD_MAX; i++) {
        len += parts[i].iov_len;
    }
    return len > TLS_RECORD_MAX && count <= PARTS_MAX;
}

static size_t len_of(const struct iovec *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    return len;
}

static enum weir_result tls_write(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len)
{
    struct tls_carrier *carrier = tls_carrier_of(lowest_session(stream->ssl));
    size_t total = 0;
    enum weir_result result = WEIR_OK;
    if (carrier != NULL) {
        result = tls_batch_flush(carrier, len_of(parts, count), &total);
        skip_parts(&parts, &count, total);
    }
    while (result == WEIR_OK && count > 0) {
        size_t len = 0;
        result = carrier != NULL && is_bulk(parts, count)
                     ? write_batch(stream, carrier, parts, count, &len)
                     : write_record(stream, parts, count, &len);
        total += len;
        skip_parts(&parts, &count, len);
    }
    *ret_len = total;
    return total > 0 ? WEIR_OK : result;
}

enum weir_result stream_write(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len)
{
    if (stream->ssl == NULL) {
        return sys_send_vector(stream->fd, parts, count, ret_len);
    }
    return tls_write(stream, parts, count, ret_len);
}

static struct tls_carrier *carrier_below(const struct stream *stream)
{
    return stream->ssl == NULL ? NULL : tls_carrier_of(lowest_session(stream->ssl));
}

size_t stream_kept(const struct stream *stream)
{
    struct tls_carrier *carrier = carrier_below(stream);
    return carrier == NULL ? 0 : tls_batch_kept(carrier);
}

enum weir_result stream_flush(struct stream *stream, size_t *ret_len)
{
    struct tls_carrier *carrier = carrier_below(stream);
    *ret_len = 0;
    return carrier == NULL ? WEIR_OK : tls_batch_flush(carrier, SIZE_MAX, ret_len);
}

size_t stream_backlog(const struct stream *stream)
{
    const struct tls_carrier *carrier = carrier_below(stream);
    return carrier == NULL ? 0 : tls_carrier_size(carrier);
}

void stream_finish(struct stream *stream)
{
    // Whether the alert fits into the socket now is all that can be done about it.
    enum weir_result result = stream_end(stream);
    (void)result;
    sys_shutdown_send(stream->fd);
}

static bool has_said_end(SSL *ssl)
{
    return ssl != NULL && (SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN) != 0;
}

// close_notify of one session of a stack. One that was blocked counts as said: it is the lowest of
// those that have. Called again after it was sent, OpenSSL would wait for the peer's.
static enum weir_result end_session(struct stream *stream, SSL *ssl)
{
    bool blocked = stream->end_blocked && !has_said_end(session_below(ssl));
    if (has_said_end(ssl) && !blocked) {
        return WEIR_OK;
    }
    ERR_clear_error();
    // 0: sent, and the peer's is not here yet.
    int returned = SSL_shutdown(ssl);
    stream->end_blocked = returned < 0;
    if (returned >= 0) {
        return WEIR_OK;
    }
    enum weir_result result = tls_result(stream, ssl, returned);
    stream->tls_write_blocked = false; // writability is the owner's to want
    return result;
}

enum weir_result stream_end(struct stream *stream)
{
    if (stream->ended) {
        return WEIR_OK;
    }
    if (stream->ssl == NULL) {
        sys_shutdown_send(stream->fd);
        stream->ended = true;
        return WEIR_OK;
    }
    if (!SSL_is_init_finished(stream->ssl)) {
        return WEIR_OK; // there is nobody to tell
    }
    for (SSL *ssl = stream->ssl; ssl != NULL; ssl = session_below(ssl)) {
        enum weir_result result = end_session(stream, ssl);
        if (result != WEIR_OK) {
            return result;
        }
    }
    stream->ended = true;
    return WEIR_OK;
}

void stream_accept_bare_end(struct stream *stream)
{
    for (SSL *ssl = stream->ssl; ssl != NULL; ssl = session_below(ssl)) {
        SSL_set_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    }
}

static void on_watch_closed(struct watch *watch)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    stream->closed(stream);
}

static void let_go(struct stream *stream, stream_closed_fn *closed)
{
    stream->closing = true;
    stream->closed = closed;
    stream->wanted = WATCH_NONE;
    list_remove(&stream->again.node);
    watch_close(&stream->watch, on_watch_closed);
}

void stream_close(struct stream *stream, bool hard, stream_closed_fn *closed)
{
    weir_assert(!stream->closing);
    let_go(stream, closed);
    free_sessions(stream->ssl);
    stream->ssl = NULL;
    if (hard) {
        sys_close_hard(stream->fd);
    } else {
        sys_close(stream->fd);
    }
    stream->fd = -1;
}

void stream_detach(
    struct stream *stream, struct stream_state *ret_state, stream_closed_fn *detached)
{
    weir_assert(!stream->closing);
    *ret_state = (struct stream_state){.fd = stream->fd, .ssl = stream->ssl};
    stream->fd = -1;
    stream->ssl = NULL;
    let_go(stream, detached);
}

void stream_state_drop(struct stream_state *state)
{
    free_sessions(state->ssl);
    sys_close(state->fd);
}
