// SPDX-License-Identifier: Apache-2.0
// Bulk through a stream with TLS, over a wire that takes as much of each call as the test says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "stream/stream.h"
#include "stream/tls_carrier.h"

#define SERVER_FD 100
#define CLIENT_FD 101
#define TOTAL (5u * 1024 * 1024 / 4)

// What is on its way to each end, by descriptor.
static struct buf wire[2];
static size_t allowance[2]; // of one call of each end; the call behind it takes nothing
static bool tired[2];
static bool no_memory;

bool __wrap_sys_has_kernel_tls(void);
enum weir_result __wrap_sys_recv(int fd, void *bytes, size_t size, size_t *ret_len);
enum weir_result __wrap_sys_send_vector(int fd, struct iovec *parts, size_t n, size_t *ret_len);
void __wrap_watch_want(struct watch *watch, unsigned events);
void *__wrap_mem_alloc(size_t size);
void *__real_mem_alloc(size_t size);

bool __wrap_sys_has_kernel_tls(void)
{
    return false;
}

enum weir_result __wrap_sys_recv(int fd, void *bytes, size_t size, size_t *ret_len)
{
    struct buf *from = &wire[fd - SERVER_FD];
    struct slice here = buf_slice(from);
    if (here.len == 0) {
        return WEIR_AGAIN;
    }
    *ret_len = here.len < size ? here.len : size;
    memcpy(bytes, here.at, *ret_len);
    buf_consume(from, *ret_len);
    return WEIR_OK;
}

enum weir_result __wrap_sys_send_vector(int fd, struct iovec *parts, size_t n, size_t *ret_len)
{
    int end = fd - SERVER_FD;
    assert_int_equal(n, 1);
    tired[end] = !tired[end];
    if (allowance[end] == 0 || (!tired[end] && allowance[end] < SIZE_MAX)) {
        return WEIR_AGAIN;
    }
    *ret_len = parts->iov_len < allowance[end] ? parts->iov_len : allowance[end];
    assert_int_equal(buf_append(&wire[1 - end], parts->iov_base, *ret_len), WEIR_OK);
    return WEIR_OK;
}

// The streams are on no loop.
void __wrap_watch_want(struct watch *watch, unsigned events)
{
    (void)watch, (void)events;
}

void *__wrap_mem_alloc(size_t size)
{
    return no_memory ? NULL : __real_mem_alloc(size);
}

// ---- Two ends

static unsigned give_key(SSL *ssl, const char *hint, char *identity, unsigned identity_size,
    unsigned char *key, unsigned key_size)
{
    (void)ssl, (void)hint, (void)identity_size, (void)key_size;
    strcpy(identity, "x");
    memset(key, 7, 32);
    return 32;
}

static unsigned check_key(SSL *ssl, const char *identity, unsigned char *key, unsigned key_size)
{
    (void)ssl, (void)identity, (void)key_size;
    memset(key, 7, 32);
    return 32;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_psk_client_callback(context, give_key);
    SSL_CTX_set_psk_server_callback(context, check_key);
    assert_int_equal(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256"), 1);
    return context;
}

static struct worker worker;
static struct stream server;
static struct stream client;

static void open_end(struct stream *stream, SSL_CTX *context, int fd)
{
    *stream = (struct stream){.worker = &worker, .fd = fd, .ssl = SSL_new(context)};
    list_init(&stream->again.node);
    assert_int_equal(tls_carrier_attach(stream->ssl, fd), WEIR_OK);
    assert_int_equal(SSL_get_fd(stream->ssl), fd);
}

static int set_up(void **state)
{
    (void)state;
    SSL_CTX *context = new_context();
    worker.wire_area = mem_alloc(WORKER_WIRE_AREA_SIZE);
    for (int i = 0; i < 2; i++) {
        wire[i] = BUF_INIT(64u * 1024 * 1024);
        allowance[i] = SIZE_MAX;
        tired[i] = no_memory = false;
    }
    open_end(&server, context, SERVER_FD);
    open_end(&client, context, CLIENT_FD);
    SSL_set_accept_state(server.ssl);
    SSL_set_connect_state(client.ssl);
    for (int i = 0; i < 3; i++) {
        SSL_do_handshake(client.ssl);
        SSL_do_handshake(server.ssl);
    }
    assert_true(SSL_is_init_finished(client.ssl) && SSL_is_init_finished(server.ssl));
    tired[0] = tired[1] = false;
    SSL_CTX_free(context);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    SSL_free(server.ssl);
    SSL_free(client.ssl);
    mem_free(worker.wire_area);
    buf_reset(&wire[0]);
    buf_reset(&wire[1]);
    return 0;
}

static char byte_at(size_t place)
{
    return (char)(place * 31 + place / 251);
}

// Takes everything that has arrived, a read of room bytes at a time.
static enum weir_result take_all(size_t room, size_t *received)
{
    static char area[WORKER_READ_AREA_SIZE];
    for (;;) {
        struct iovec part = {area, room};
        size_t len = 0;
        enum weir_result result = stream_read(&client, &part, 1, &len);
        if (result != WEIR_OK) {
            return result;
        }
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(area[i], byte_at(*received + i));
        }
        *received += len;
    }
}

static void fill(char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = byte_at(i);
    }
}

// ---- Sending

struct manner {
    const char *name;
    size_t allowance; // of each call into the socket
    size_t offer;     // of each call of stream_write; 0: everything
    size_t part;      // and in parts of so many bytes; 0: in one
};

static const struct manner manners[] = {
    {"everything goes", SIZE_MAX, 0, 0},
    {"a batch goes whole", TLS_BATCH_SIZE, 0, 0},
    {"records break anywhere", 12345, 0, 0},
    {"almost a record", TLS_RECORD_MAX + 21, 0, 0},
    {"a record and a byte", TLS_RECORD_MAX + 23, 0, 0},
    {"little by little", 701, 0, 0},
    {"less is offered again than before", 50000, 20000, 0},
    {"many parts", 50000, 0, 5000},
    {"parts of records", SIZE_MAX, 0, TLS_RECORD_MAX},
};

static size_t offer(const struct manner *manner, char *bytes, size_t len)
{
    struct iovec parts[64];
    size_t count = 0;
    size_t written = 0;
    len = manner->offer > 0 && manner->offer < len ? manner->offer : len;
    do {
        size_t part = manner->part > 0 && manner->part < len ? manner->part : len;
        parts[count++] = (struct iovec){bytes, part};
        bytes += part;
        len -= part;
    } while (len > 0 && count < 64);
    enum weir_result result = stream_write(&server, parts, count, &written);
    assert_true(result == WEIR_OK || (result == WEIR_AGAIN && written == 0));
    return written;
}

static void test_what_is_reported_has_gone(void **state)
{
    static char bytes[TOTAL];
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        size_t reported = 0;
        size_t received = 0;
        print_message("%s\n", manners[i].name);
        allowance[0] = manners[i].allowance;
        while (reported < sizeof bytes) {
            reported += offer(&manners[i], bytes + reported, sizeof bytes - reported);
            assert_int_equal(take_all(64u * 1024, &received), WEIR_AGAIN);
            assert_true(received >= reported);
        }
        assert_int_equal(received, sizeof bytes);
        tear_down(state);
        set_up(state);
    }
}

// Bytes that the stream has encrypted are not offered again: it is only asked whether they have gone.
static void test_what_is_kept_goes_by_itself(void **state)
{
    static char bytes[TOTAL];
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        size_t begun = 0;
        size_t gone = 0;
        size_t received = 0;
        print_message("%s\n", manners[i].name);
        allowance[0] = manners[i].allowance;
        while (gone < sizeof bytes) {
            size_t len = 0;
            size_t kept = begun - gone;
            enum weir_result result = stream_flush(&server, &len);
            assert_true(result == WEIR_OK ? len == kept : result == WEIR_AGAIN && len <= kept);
            gone += len;
            if (result == WEIR_OK && begun < sizeof bytes) {
                gone += offer(&manners[i], bytes + begun, sizeof bytes - begun);
                begun = gone + stream_kept(&server);
            }
            assert_int_equal(take_all(64u * 1024, &received), WEIR_AGAIN);
            assert_in_range(received, gone, begun);
        }
        assert_int_equal(received, sizeof bytes);
        tear_down(state);
        set_up(state);
    }
}

static void test_the_end_waits_for_the_rest(void **state)
{
    static char bytes[TOTAL];
    struct iovec part = {bytes, 100000};
    size_t written = 0;
    size_t received = 0;
    (void)state;
    fill(bytes, sizeof bytes);
    allowance[0] = 40000;
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
    assert_in_range(written, 1, 40000);
    allowance[0] = 0;
    assert_int_equal(stream_end(&server), WEIR_AGAIN);
    allowance[0] = SIZE_MAX;
    assert_int_equal(stream_end(&server), WEIR_OK);
    assert_int_equal(take_all(64u * 1024, &received), WEIR_CLOSED);
    assert_int_equal(received, 100000); // what was encrypted cannot be taken back
}

static void test_an_end_may_wait_for_long(void **state)
{
    size_t received = 0;
    (void)state;
    allowance[0] = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stream_end(&server), WEIR_AGAIN);
    }
    allowance[0] = SIZE_MAX;
    assert_int_equal(stream_end(&server), WEIR_OK);
    assert_int_equal(take_all(64u * 1024, &received), WEIR_CLOSED);
    assert_int_equal(received, 0);
}

static void test_what_waits_as_records_is_told(void **state)
{
    static char bytes[TOTAL];
    struct iovec part = {bytes, 100000};
    size_t written = 0;
    size_t received = 0;
    (void)state;
    fill(bytes, sizeof bytes);
    assert_int_equal(stream_backlog(&server), 0);
    allowance[0] = 40000;
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
    assert_in_range(stream_backlog(&server), 60000, 60000 + 7 * 100);
    allowance[0] = SIZE_MAX;
    part = (struct iovec){bytes + written, 100000 - written};
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
    assert_int_equal(stream_backlog(&server), 0);
    assert_int_equal(take_all(64u * 1024, &received), WEIR_AGAIN);
    assert_int_equal(received, 100000);
}

static void test_a_rest_without_memory_breaks_the_connection(void **state)
{
    static char bytes[TOTAL];
    struct iovec part = {bytes, 100000};
    size_t written = 0;
    (void)state;
    allowance[0] = 10000;
    no_memory = true;
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_MEMORY);
    no_memory = false;
    allowance[0] = SIZE_MAX;
    part = (struct iovec){bytes, 100};
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_RESET);
    assert_int_equal(written, 0);
}

// ---- Receiving

static void test_reads_of_any_size(void **state)
{
    static const size_t rooms[] = {
        1, 100, 16384, 16385, 47 * 1024, 50 * 1024, 65536, 100000, WORKER_READ_AREA_SIZE};
    static char bytes[100000];
    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct iovec part = {bytes, sizeof bytes};
        size_t written = 0;
        size_t received = 0;
        assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
        assert_int_equal(written, sizeof bytes);
        assert_int_equal(take_all(rooms[i], &received), WEIR_AGAIN);
        assert_int_equal(received, sizeof bytes);
    }
}

// A session may stop in the middle of what was received at once.
static void test_what_a_session_leaves_is_kept(void **state)
{
    static char bytes[60000];
    struct iovec part = {bytes, sizeof bytes};
    struct tls_carrier *carrier = tls_carrier_of(client.ssl);
    struct tls_intake intake;
    size_t written = 0;
    size_t received = 0;
    (void)state;
    fill(bytes, sizeof bytes);
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
    tls_intake_begin(carrier, &intake, worker.wire_area, 50000);
    assert_int_equal(SSL_read(client.ssl, bytes, 1000), 1000);
    assert_int_equal(tls_intake_end(carrier), WEIR_OK);
    assert_true(tls_carrier_holds(carrier));
    memset(worker.wire_area, 0, WORKER_WIRE_AREA_SIZE);
    received = 1000;
    assert_int_equal(take_all(65536, &received), WEIR_AGAIN);
    assert_int_equal(received, sizeof bytes);
    assert_false(tls_carrier_holds(carrier));
    assert_int_equal(stream_write(&server, &part, 1, &written), WEIR_OK);
    tls_intake_begin(carrier, &intake, worker.wire_area, 50000);
    no_memory = true;
    assert_int_equal(tls_intake_end(carrier), WEIR_MEMORY);
    no_memory = false;
    assert_int_equal(take_all(65536, &received), WEIR_RESET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_reported_has_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_kept_goes_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_waits_for_the_rest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_may_wait_for_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_waits_as_records_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_rest_without_memory_breaks_the_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reads_of_any_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_session_leaves_is_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
