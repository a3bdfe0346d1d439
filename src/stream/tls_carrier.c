// SPDX-License-Identifier: Apache-2.0
// OpenSSL sends and receives each record by a system call of its own, which for bulk costs as much
// as the encryption. Here records gather in an area of the worker's and leave by one call, and one
// call brings several.
//
// Invariants:
// 1. Outside of begin and end no area is in use: what is left of it is copied, to `kept` (received,
//    not taken by a session) or to `rest` (encrypted, not taken by the kernel). Both are smaller
//    than TLS_BATCH_SIZE and rare: readers ask for what they have room for, and only a full socket
//    cuts a batch short.
// 2. Bytes leave in the order they were encrypted: nothing is sent while there is a rest.
// 3. A byte counts as written when its record is in the kernel, not before. The owner keeps what
//    lies in the rest and offers it again, or only remembers how much it is, and is told then.
//
// Rejected: MSG_MORE for all records but the last, which saves passes through the stack but not the
// calls; a larger read buffer of OpenSSL's, which is moved to the front with every record.
#include "stream/tls_carrier.h"

#include <pthread.h>

#include "base/mem.h"
#include "sys/socket.h"

// A record, and what else a session may have to say before it. The largest expansion is that of
// TLS 1.2 with CBC.
#define RECORD_ROOM (TLS_RECORD_MAX + 512u)

struct chunk {
    size_t start;
    size_t len;
    char bytes[];
};

struct rest {
    struct tls_batch batch; // its records from `next` on have not gone whole
    size_t next;
    size_t gone;  // plaintext that has, and was not reported
    size_t sent;  // of the batch's bytes
    size_t start; // of the batch, which bytes begin with
    char bytes[];
};

struct tls_carrier {
    int fd;
    bool broken;               // bytes were lost
    bool reset;                // the kernel has told so, which it does once: then it tells an end
    struct tls_intake *intake; // borrowed between begin and end, as is batch
    struct tls_batch *batch;
    struct chunk *kept; // owned, as is rest
    struct rest *rest;
};

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method; // one for the process, never freed; NULL without memory

// ---- Failures

static void note_failure(struct tls_carrier *carrier, enum weir_result result)
{
    carrier->reset |= result != WEIR_OK && result != WEIR_AGAIN && result != WEIR_CLOSED;
}

// ---- Receiving

void tls_intake_begin(
    struct tls_carrier *carrier, struct tls_intake *intake, char *area, size_t size)
{
    weir_assert(carrier->intake == NULL);
    *intake = (struct tls_intake){.at = area, .result = WEIR_AGAIN};
    if (carrier->kept == NULL) {
        intake->result = sys_recv(carrier->fd, area, size, &intake->len);
        note_failure(carrier, intake->result);
    }
    carrier->intake = intake;
}

enum weir_result tls_intake_end(struct tls_carrier *carrier)
{
    struct tls_intake *intake = carrier->intake;
    carrier->intake = NULL;
    if (intake->len == 0) {
        return WEIR_OK;
    }
    struct chunk *kept = mem_alloc(sizeof *kept + intake->len);
    if (kept == NULL) {
        carrier->broken = true;
        return WEIR_MEMORY;
    }
    *kept = (struct chunk){.len = intake->len};
    memcpy(kept->bytes, intake->at, intake->len);
    carrier->kept = kept;
    return WEIR_OK;
}

bool tls_carrier_holds(const struct tls_carrier *carrier)
{
    return carrier->kept != NULL;
}

size_t tls_carrier_size(const struct tls_carrier *carrier)
{
    const struct chunk *kept = carrier->kept;
    const struct rest *rest = carrier->rest;
    return (kept == NULL ? 0 : kept->start + kept->len) +
           (rest == NULL ? 0 : rest->batch.len - rest->start);
}

static size_t take_kept(struct tls_carrier *carrier, char *bytes, size_t size)
{
    struct chunk *kept = carrier->kept;
    size_t len = kept->len < size ? kept->len : size;
    memcpy(bytes, kept->bytes + kept->start, len);
    kept->start += len;
    kept->len -= len;
    if (kept->len == 0) {
        mem_free(kept);
        carrier->kept = NULL;
    }
    return len;
}

static size_t take_intake(struct tls_intake *intake, char *bytes, size_t size)
{
    size_t len = intake->len < size ? intake->len : size;
    memcpy(bytes, intake->at, len);
    intake->at += len;
    intake->len -= len;
    return len;
}

static enum weir_result receive(
    struct tls_carrier *carrier, char *bytes, size_t size, size_t *ret_len)
{
    struct tls_intake *intake = carrier->intake;
    if (carrier->broken) {
        return WEIR_RESET;
    }
    if (carrier->kept != NULL) {
        *ret_len = take_kept(carrier, bytes, size);
        return WEIR_OK;
    }
    if (intake == NULL) {
        enum weir_result result = sys_recv(carrier->fd, bytes, size, ret_len);
        note_failure(carrier, result);
        return result;
    }
    if (intake->len == 0) {
        return intake->result == WEIR_OK ? WEIR_AGAIN : intake->result;
    }
    *ret_len = take_intake(intake, bytes, size);
    return WEIR_OK;
}

// ---- Sending

void tls_batch_begin(struct tls_carrier *carrier, struct tls_batch *batch, char *area)
{
    weir_assert(carrier->batch == NULL && carrier->rest == NULL);
    batch->area = area;
    batch->len = batch->count = 0;
    carrier->batch = batch;
}

void tls_batch_note(struct tls_batch *batch, size_t plain_len)
{
    weir_assert(batch->count < TLS_BATCH_RECORDS_MAX);
    batch->records[batch->count].end = batch->len;
    batch->records[batch->count++].plain_len = plain_len;
}

bool tls_batch_is_full(const struct tls_batch *batch)
{
    return batch->count == TLS_BATCH_RECORDS_MAX || batch->len > TLS_BATCH_SIZE - RECORD_ROOM;
}

// Records of the batch that are complete within sent bytes, from *next on; their plaintext.
static size_t pass_records(const struct tls_batch *batch, size_t sent, size_t *next)
{
    size_t plain_len = 0;
    while (*next < batch->count && batch->records[*next].end <= sent) {
        plain_len += batch->records[(*next)++].plain_len;
    }
    return plain_len;
}

static enum weir_result keep_rest(
    struct tls_carrier *carrier, const struct tls_batch *batch, size_t sent, size_t next)
{
    struct rest *rest = mem_alloc(sizeof *rest + batch->len - sent);
    if (rest == NULL) {
        carrier->broken = true;
        return WEIR_MEMORY;
    }
    *rest = (struct rest){.batch = *batch, .next = next, .sent = sent, .start = sent};
    memcpy(rest->bytes, batch->area + sent, batch->len - sent);
    carrier->rest = rest;
    return WEIR_OK;
}

static enum weir_result send_bytes(
    struct tls_carrier *carrier, const char *bytes, size_t len, size_t *ret_len)
{
    struct iovec part = {(char *)(uintptr_t)bytes, len};
    *ret_len = 0;
    enum weir_result result = sys_send_vector(carrier->fd, &part, 1, ret_len);
    note_failure(carrier, result);
    return result;
}

enum weir_result tls_batch_send(struct tls_carrier *carrier, size_t *ret_plain_len)
{
    struct tls_batch *batch = carrier->batch;
    size_t sent = 0;
    size_t next = 0;
    enum weir_result result = WEIR_OK;
    carrier->batch = NULL;
    *ret_plain_len = 0;
    if (batch->len > 0) {
        result = send_bytes(carrier, batch->area, batch->len, &sent);
    }
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        return result;
    }
    *ret_plain_len = pass_records(batch, sent, &next);
    if (sent == batch->len) {
        return WEIR_OK;
    }
    enum weir_result kept = keep_rest(carrier, batch, sent, next);
    return kept == WEIR_OK ? WEIR_AGAIN : kept;
}

// Sends what it can; the rest stays, also when it is empty, until its plaintext was reported.
static enum weir_result send_rest(struct tls_carrier *carrier)
{
    struct rest *rest = carrier->rest;
    size_t left = rest->batch.len - rest->sent;
    size_t sent = 0;
    if (left == 0) {
        return WEIR_OK;
    }
    enum weir_result result =
        send_bytes(carrier, rest->bytes + (rest->sent - rest->start), left, &sent);
    if (result != WEIR_OK) {
        return result;
    }
    rest->sent += sent;
    rest->gone += pass_records(&rest->batch, rest->sent, &rest->next);
    return sent == left ? WEIR_OK : WEIR_AGAIN;
}

enum weir_result tls_batch_flush(
    struct tls_carrier *carrier, size_t plain_max, size_t *ret_plain_len)
{
    *ret_plain_len = 0;
    if (carrier->broken) {
        return WEIR_RESET;
    }
    struct rest *rest = carrier->rest;
    if (rest == NULL) {
        return WEIR_OK;
    }
    enum weir_result result = send_rest(carrier);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        return result;
    }
    *ret_plain_len = rest->gone < plain_max ? rest->gone : plain_max;
    rest->gone -= *ret_plain_len;
    if (result == WEIR_AGAIN || rest->gone > 0) {
        return WEIR_AGAIN;
    }
    mem_free(rest);
    carrier->rest = NULL;
    return WEIR_OK;
}

size_t tls_batch_kept(const struct tls_carrier *carrier)
{
    const struct rest *rest = carrier->rest;
    size_t plain_len = rest == NULL ? 0 : rest->gone;
    for (size_t i = rest == NULL ? 0 : rest->next; rest != NULL && i < rest->batch.count; i++) {
        plain_len += rest->batch.records[i].plain_len;
    }
    return plain_len;
}

static enum weir_result send_record(
    struct tls_carrier *carrier, const char *bytes, size_t len, size_t *ret_len)
{
    struct tls_batch *batch = carrier->batch;
    if (carrier->broken) {
        return WEIR_RESET;
    }
    if (batch != NULL) {
        if (len > TLS_BATCH_SIZE - batch->len) {
            return WEIR_AGAIN; // it goes first
        }
        memcpy(batch->area + batch->len, bytes, len);
        batch->len += len;
        *ret_len = len;
        return WEIR_OK;
    }
    enum weir_result result = carrier->rest == NULL ? WEIR_OK : send_rest(carrier);
    return result == WEIR_OK ? send_bytes(carrier, bytes, len, ret_len) : result;
}

// ---- As a BIO

static int on_write(BIO *bio, const char *bytes, size_t len, size_t *written)
{
    enum weir_result result = send_record(BIO_get_data(bio), bytes, len, written);
    BIO_clear_retry_flags(bio);
    if (result == WEIR_AGAIN) {
        BIO_set_retry_write(bio);
    }
    // Not 0, which an alert that waits takes for success when it is tried again.
    return result == WEIR_OK ? 1 : -1;
}

static int on_read(BIO *bio, char *bytes, size_t size, size_t *len)
{
    struct tls_carrier *carrier = BIO_get_data(bio);
    enum weir_result result = receive(carrier, bytes, size, len);
    if (result == WEIR_CLOSED && carrier->reset) {
        result = WEIR_RESET; // what has come before the reset was read, this is no end in order
    }
    BIO_clear_retry_flags(bio);
    if (result == WEIR_AGAIN) {
        BIO_set_retry_read(bio);
    } else if (result == WEIR_CLOSED) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    }
    return result == WEIR_OK;
}

static long on_control(BIO *bio, int command, long number, void *pointer)
{
    const struct tls_carrier *carrier = BIO_get_data(bio);
    (void)number;
    switch (command) {
    case BIO_C_GET_FD:
        if (pointer != NULL) {
            *(int *)pointer = carrier->fd;
        }
        return carrier->fd;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static int on_destroy(BIO *bio)
{
    struct tls_carrier *carrier = BIO_get_data(bio);
    if (carrier != NULL) {
        mem_free(carrier->kept);
        mem_free(carrier->rest);
        mem_free(carrier);
    }
    return 1;
}

static void make_method(void)
{
    int type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR;
    method = BIO_meth_new(type, "weir's socket");
    if (method != NULL) {
        BIO_meth_set_write_ex(method, on_write);
        BIO_meth_set_read_ex(method, on_read);
        BIO_meth_set_ctrl(method, on_control);
        BIO_meth_set_destroy(method, on_destroy);
    }
}

enum weir_result tls_carrier_attach(SSL *ssl, int fd)
{
    if (sys_has_kernel_tls()) {
        return SSL_set_fd(ssl, fd) == 1 ? WEIR_OK : WEIR_MEMORY; // it hands over the keys
    }
    pthread_once(&method_once, make_method);
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    struct tls_carrier *carrier = bio == NULL ? NULL : mem_zalloc(sizeof *carrier);
    if (carrier == NULL) {
        BIO_free(bio);
        return WEIR_MEMORY;
    }
    carrier->fd = fd;
    BIO_set_data(bio, carrier);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return WEIR_OK;
}

struct tls_carrier *tls_carrier_of(SSL *ssl)
{
    BIO *bio = SSL_get_wbio(ssl);
    return bio == NULL || BIO_method_type(bio) == BIO_TYPE_SOCKET ? NULL : BIO_get_data(bio);
}
