// SPDX-License-Identifier: Apache-2.0
// A byte stream on a worker: TCP, with or without TLS on top. Whoever owns a stream reads and
// writes when `ready` says so; nothing is buffered here but what OpenSSL keeps.
#ifndef WEIR_STREAM_STREAM_H
#define WEIR_STREAM_STREAM_H

#include <openssl/ssl.h>
#include <sys/uio.h>

#include "base/result.h"
#include "loop/watch.h"
#include "loop/worker.h"
#include "sys/socket.h"

struct stream;
// events: enum watch_event bits. The callback may close the stream, and may free nothing.
typedef void stream_fn(struct stream *stream, unsigned events);
typedef void stream_closed_fn(struct stream *stream);

struct stream {
    struct watch watch;
    struct worker *worker; // borrowed
    SSL *ssl;              // owned; NULL for plain TCP; the innermost one of a stack
    union {
        stream_fn *ready;
        stream_closed_fn *closed; // while closing
    };
    struct job again;       // deferred: TLS holds bytes that the socket will not announce
    int fd;                 // owned; -1 when closed
    uint8_t wanted;         // enum watch_event; what the owner waits for
    bool tls_write_blocked; // a TLS read needs the socket to be writable
    bool holds;             // TLS has bytes, an end or an error that the socket will not announce
    bool end_blocked;       // close_notify waits for room in the socket
    bool ended;             // we have sent our end
    bool closing;
};

// Takes fd over (also on failure, when it is closed). ssl is NULL or a fresh SSL, taken over too.
enum weir_result stream_open(struct stream *stream, struct worker *worker, int fd, SSL *ssl,
    stream_fn *ready) WEIR_MUST_CHECK;
// Puts TLS on a plain stream that nothing was read from; ssl is taken over, also on failure.
enum weir_result stream_start_tls(struct stream *stream, SSL *ssl) WEIR_MUST_CHECK;
// Moves the TLS handshake on: WEIR_OK when it is done (always, for plain TCP), WEIR_AGAIN with the
// right readiness waited for, else the reason it failed.
enum weir_result stream_handshake(struct stream *stream) WEIR_MUST_CHECK;
void stream_want(struct stream *stream, unsigned events);

// Fills the parts in order as far as bytes are there. WEIR_AGAIN when there are none, WEIR_CLOSED
// at the peer's end (with TLS: at close_notify; an end without one is WEIR_RESET).
enum weir_result stream_read(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len) WEIR_MUST_CHECK;
// Writes what fits now, possibly less than all parts; WEIR_AGAIN when nothing does. May change the
// parts.
enum weir_result stream_write(
    struct stream *stream, struct iovec *parts, size_t count, size_t *ret_len) WEIR_MUST_CHECK;
// How many of the bytes right behind those that stream_write took are encrypted already and wait in
// the stream. The owner may let go of them; then stream_flush sends them, and nothing else may be
// written or ended before it has returned WEIR_OK. *ret_len of them have gone now. WEIR_AGAIN: not
// all have.
size_t stream_kept(const struct stream *stream);
enum weir_result stream_flush(struct stream *stream, size_t *ret_len) WEIR_MUST_CHECK;
// The memory of what is encrypted and waits for the socket, perhaps beside its plaintext: none
// unless a write has taken less than it was given.
size_t stream_backlog(const struct stream *stream);
// We will send no more: close_notify and FIN.
void stream_finish(struct stream *stream);
// The same for one direction of a stream that is still read: close_notify with TLS, FIN without.
// WEIR_AGAIN: to be called again when the socket is writable.
enum weir_result stream_end(struct stream *stream) WEIR_MUST_CHECK;
// From now on an end without close_notify counts as one with it: for protocols that say themselves
// where they end.
void stream_accept_bare_end(struct stream *stream);
// Ends it at once; hard sends a reset. `closed` is called at the end of the turn (see watch_close);
// only then may the memory go.
void stream_close(struct stream *stream, bool hard, stream_closed_fn *closed);

// Leaves this worker: like stream_close, but descriptor and TLS state are kept and handed out.
struct stream_state {
    int fd;
    SSL *ssl;
};
void stream_detach(
    struct stream *stream, struct stream_state *ret_state, stream_closed_fn *detached);
// Gives up a detached state that nobody wants.
void stream_state_drop(struct stream_state *state);

#endif
