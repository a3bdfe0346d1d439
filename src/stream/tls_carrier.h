// SPDX-License-Identifier: Apache-2.0
// The socket under TLS sessions, as OpenSSL's BIO. Unlike OpenSSL's own it can carry many records
// in one system call, in either direction.
#ifndef WEIR_STREAM_TLS_CARRIER_H
#define WEIR_STREAM_TLS_CARRIER_H

#include <openssl/ssl.h>

#include "base/result.h"

#define TLS_RECORD_MAX 16384u // of plaintext
#define TLS_BATCH_RECORDS_MAX 8u
#define TLS_BATCH_SIZE (TLS_BATCH_RECORDS_MAX * (TLS_RECORD_MAX + 256u))

struct tls_carrier;

// Sets ssl on the socket fd, which stays the caller's. SSL_get_fd gives it.
enum weir_result tls_carrier_attach(SSL *ssl, int fd) WEIR_MUST_CHECK;
// NULL where the kernel encrypts: there OpenSSL's own BIO is used, and each record is a call. ssl
// must not run inside of another session.
struct tls_carrier *tls_carrier_of(SSL *ssl);

// ---- Receiving

// What one call has brought. In the caller's hands between begin and end.
struct tls_intake {
    const char *at;
    size_t len;
    enum weir_result result;
};

// Receives up to size bytes into area. Until tls_intake_end sessions get these, and no others.
void tls_intake_begin(
    struct tls_carrier *carrier, struct tls_intake *intake, char *area, size_t size);
// Keeps what they have not taken for later. WEIR_MEMORY: it is lost, and the connection broken.
enum weir_result tls_intake_end(struct tls_carrier *carrier) WEIR_MUST_CHECK;
// What it keeps of either direction, in bytes of memory.
size_t tls_carrier_size(const struct tls_carrier *carrier);
// Bytes have left the socket that no session has taken.
bool tls_carrier_holds(const struct tls_carrier *carrier);

// ---- Sending

// Records, where each of them ends, and their plaintext. In the caller's hands between begin and
// send.
struct tls_batch {
    char *area; // borrowed, TLS_BATCH_SIZE
    size_t len;
    size_t count;
    struct {
        size_t end;
        size_t plain_len;
    } records[TLS_BATCH_RECORDS_MAX];
};

// From here on records go to the batch. Nothing may be left of an earlier one (tls_batch_flush).
void tls_batch_begin(struct tls_carrier *carrier, struct tls_batch *batch, char *area);
// A session has written so many bytes.
void tls_batch_note(struct tls_batch *batch, size_t plain_len);
bool tls_batch_is_full(const struct tls_batch *batch);
// Sends it by one call. What the kernel does not take is kept, and goes before anything else does.
// *ret_plain_len counts the plaintext of those records that have gone whole: as with SSL_write,
// what is not written is to be offered again, unchanged. WEIR_AGAIN: not all of it has.
enum weir_result tls_batch_send(struct tls_carrier *carrier, size_t *ret_plain_len) WEIR_MUST_CHECK;
// Sends what is left of earlier batches. *ret_plain_len is the plaintext that has gone since: the
// first bytes of what is offered again, of which there are plain_max. WEIR_AGAIN: something is
// left.
enum weir_result tls_batch_flush(
    struct tls_carrier *carrier, size_t plain_max, size_t *ret_plain_len) WEIR_MUST_CHECK;
// The plaintext of what is left, and of what has gone and was not reported.
size_t tls_batch_kept(const struct tls_carrier *carrier);

#endif
