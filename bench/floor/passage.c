// SPDX-License-Identifier: Apache-2.0
// weir-bench-passage FRONT-PORT ENGINE-PORT CHAIN KEY HOST: what an engine that passes a TLS tunnel
// through cannot go below. The visitor's leg is bytes as they are, the agent's is TLS by the
// protocol: so it receives, has OpenSSL encrypt or decrypt, and sends, each by one system call for
// sixteen records. It says what the agent waits to hear (constant frames, nothing is looked at),
// serves one visitor at a time, and has no limits, no deadlines and no other tunnels.
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "util.h"

enum {
    RECORD_MAX = 16 * 1024,
    RECORDS = 16, // a call; with 3, 4 and 8 it costs about the same, with 2 a tenth more
    PIECE = RECORDS * RECORD_MAX,
    PLAIN_SIZE = PIECE + 2 * RECORD_MAX, // with what OpenSSL may have of a record before
    FRAME_MAX = 64 * 1024,
};

struct part {
    size_t start;
    size_t end;
    uint8_t bytes[PLAIN_SIZE];
};

static struct {
    SSL *tls;
    int front;
    int agent;
    struct part in;   // from the agent, not given to OpenSSL
    struct part down; // for the visitor
    struct part out;  // records for the agent
    uint8_t up[PIECE];
    bool gathers; // records stay in `out`
    bool broken;
    bool front_ended;
    bool agent_ended;
} now;

// ---- The socket under OpenSSL

static int socket_write(BIO *bio, const char *bytes, int len)
{
    (void)bio;
    if (!now.gathers)
        return (int)send(now.agent, bytes, (size_t)len, MSG_NOSIGNAL);
    memcpy(now.out.bytes + now.out.end, bytes, (size_t)len);
    now.out.end += (size_t)len;
    return len;
}

static int socket_read(BIO *bio, char *bytes, int size)
{
    size_t len = now.in.end - now.in.start;
    BIO_clear_retry_flags(bio);
    if (!now.gathers)
        return (int)recv(now.agent, bytes, (size_t)size, 0);
    if (len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    len = len < (size_t)size ? len : (size_t)size;
    memcpy(bytes, now.in.bytes + now.in.start, len);
    now.in.start += len;
    return (int)len;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "a socket");
    if (method == NULL)
        util_die("no memory");
    BIO_meth_set_write(method, socket_write);
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_ctrl(method, socket_control);
    return method;
}

// ---- Frames

static uint8_t *put(uint8_t *at, unsigned number, const void *body, size_t len)
{
    if (len > 127)
        util_die("a host name of at most 100 characters, please");
    if (number > 15)
        *at++ = 0x80 | (uint8_t)(number << 3 & 0x7f) | 2;
    *at++ = number > 15 ? (uint8_t)(number >> 4) : (uint8_t)(number << 3 | 2);
    *at++ = (uint8_t)len;
    memcpy(at, body, len);
    return at + len;
}

static void send_frame(SSL *tls, unsigned member, const uint8_t *body, const uint8_t *end)
{
    uint8_t frame[256] = {0};
    uint8_t *last = put(frame + 4, member, body, (size_t)(end - body));
    size_t written;
    frame[3] = (uint8_t)(last - frame - 4);
    if (SSL_write_ex(tls, frame, (size_t)(last - frame), &written) != 1)
        util_die("the agent has gone");
}

static void read_exactly(SSL *tls, uint8_t *out, size_t len)
{
    for (size_t got = 0, more; got < len; got += more) {
        if (SSL_read_ex(tls, out + got, len - got, &more) != 1)
            util_die("the agent has gone");
    }
}

// Whatever it says.
static void skip_frame(SSL *tls)
{
    static uint8_t body[FRAME_MAX];
    uint8_t head[4];
    read_exactly(tls, head, sizeof head);
    size_t len = (size_t)head[2] << 8 | head[3];
    if (head[0] != 0 || head[1] != 0)
        util_die("a frame of more than 64 KiB");
    read_exactly(tls, body, len);
}

static SSL *greet(SSL_CTX *context, int fd)
{
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1 || SSL_accept(tls) != 1)
        util_die("no TLS with the agent");
    return tls;
}

static SSL *open_channel(SSL_CTX *context, int engine, const char *host)
{
    uint8_t inner[256];
    uint8_t outer[256];
    SSL *control = greet(context, sockets_accept(engine));
    skip_frame(control); // OpenControlChannelReq
    uint8_t *end = put(inner, 1, "floor", 5);
    send_frame(control, 2, outer, put(outer, 1, inner, (size_t)(end - inner)));
    skip_frame(control); // OpenTunnelReq
    uint8_t name[128];
    end = put(name, 1, host, strlen(host));
    end = put(inner, 22, name, (size_t)(end - name));
    uint8_t *last = put(outer, 1, "bench", 5);
    send_frame(control, 6, outer, put(last, 2, inner, (size_t)(end - inner)));
    return control;
}

static SSL *open_stream(SSL *control, SSL_CTX *context, BIO_METHOD *method, int engine)
{
    static const uint8_t secret[] = {0x0a, 1, 's'};
    uint8_t body[64];
    uint8_t *end = put(body, 1, "tunnel", 6);
    end = put(end, 2, "stream", 6);
    send_frame(control, 9, body, put(end, 3, secret, sizeof secret));
    now.agent = sockets_accept(engine);
    SSL *tls = SSL_new(context);
    BIO *bio = BIO_new(method);
    if (tls == NULL || bio == NULL)
        util_die("no memory");
    BIO_set_init(bio, 1);
    SSL_set_bio(tls, bio, bio);
    if (SSL_accept(tls) != 1)
        util_die("no TLS with the agent");
    skip_frame(tls); // ProxyReq
    return tls;
}

// ---- Bytes

static void send_part(int fd, struct part *part)
{
    ssize_t sent = send(fd, part->bytes + part->start, part->end - part->start, MSG_NOSIGNAL);
    if (sent < 0) {
        now.broken |= errno != EAGAIN;
        return;
    }
    part->start += (size_t)sent;
    if (part->start == part->end)
        part->start = part->end = 0;
}

// Records from the agent, as many as have come.
static void decrypt(void)
{
    size_t len;
    while (now.down.end < PLAIN_SIZE) {
        int done =
            SSL_read_ex(now.tls, now.down.bytes + now.down.end, PLAIN_SIZE - now.down.end, &len);
        if (done != 1) {
            int error = SSL_get_error(now.tls, done);
            now.agent_ended |= error == SSL_ERROR_ZERO_RETURN;
            now.broken |= error != SSL_ERROR_ZERO_RETURN && error != SSL_ERROR_WANT_READ;
            break;
        }
        now.down.end += len;
    }
}

static void move_down(void)
{
    ssize_t got = recv(now.agent, now.in.bytes, PIECE, 0);
    if (got <= 0) {
        now.broken = got == 0 || errno != EAGAIN;
        return;
    }
    now.in.start = 0;
    now.in.end = (size_t)got;
    decrypt();
    if (now.down.end > 0)
        send_part(now.front, &now.down);
}

static void move_up(void)
{
    ssize_t got = recv(now.front, now.up, PIECE, 0);
    size_t len;
    if (got < 0) {
        now.broken = errno != EAGAIN;
        return;
    }
    now.front_ended = got == 0;
    if (now.front_ended)
        (void)SSL_shutdown(now.tls);
    for (size_t at = 0; at < (size_t)got; at += len) {
        if (SSL_write_ex(now.tls, now.up + at, (size_t)got - at, &len) != 1)
            util_die("OpenSSL does not encrypt");
    }
    if (now.out.end > 0)
        send_part(now.agent, &now.out);
}

static void carry(void)
{
    while (!now.broken && !(now.front_ended && now.agent_ended && now.down.end == 0)) {
        bool down = now.down.end == 0 && !now.agent_ended;
        bool up = now.out.end == 0 && !now.front_ended;
        struct pollfd ends[] = {
            {now.front, (short)((up ? POLLIN : 0) | (now.down.end > 0 ? POLLOUT : 0)), 0},
            {now.agent, (short)((down ? POLLIN : 0) | (now.out.end > 0 ? POLLOUT : 0)), 0}};
        if (poll(ends, 2, -1) < 0)
            util_die_errno("poll");
        if ((ends[0].revents & POLLOUT) != 0)
            send_part(now.front, &now.down);
        if ((ends[1].revents & POLLOUT) != 0)
            send_part(now.agent, &now.out);
        if (down && (ends[1].revents & (POLLIN | POLLHUP)) != 0)
            move_down();
        if (up && (ends[0].revents & (POLLIN | POLLHUP)) != 0)
            move_up();
        now.broken |= ((ends[0].revents | ends[1].revents) & POLLERR) != 0;
    }
}

static void serve(SSL *control, SSL_CTX *context, BIO_METHOD *method, int engine, int front)
{
    now.gathers = now.broken = now.front_ended = now.agent_ended = false;
    now.in.start = now.in.end = now.down.start = now.down.end = now.out.start = now.out.end = 0;
    now.front = front;
    now.tls = open_stream(control, context, method, engine);
    now.gathers = true;
    sockets_unblock(now.front);
    sockets_unblock(now.agent);
    carry();
    ERR_clear_error();
    SSL_free(now.tls);
    close(now.front);
    close(now.agent);
}

static int choose_protocol(SSL *tls, const unsigned char **out, unsigned char *outlen,
    const unsigned char *offered, unsigned len, void *arg)
{
    (void)tls;
    (void)arg;
    if (len < 1)
        return SSL_TLSEXT_ERR_NOACK;
    *out = offered + 1; // the agent offers one
    *outlen = offered[0];
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_new(const char *chain, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, chain) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        util_die("no certificate");
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("usage: weir-bench-passage FRONT-PORT ENGINE-PORT CHAIN KEY HOST\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    int front = sockets_listen(argv[1]);
    int engine = sockets_listen(argv[2]);
    SSL_CTX *context = context_new(argv[3], argv[4]);
    BIO_METHOD *method = socket_method();
    SSL *control = open_channel(context, engine, argv[5]);
    for (;;)
        serve(control, context, method, engine, sockets_accept(front));
}
