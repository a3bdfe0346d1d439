// SPDX-License-Identifier: Apache-2.0
// The bench's agent: publishes one tunnel and joins every proxied stream to a local TCP port. One
// thread, epoll, no heap after a stream has begun. It is made to cost little, so that what the
// engine costs can be seen beside it.
//
//   weir-bench-agent --engine PORT --name ENGINE-HOST --token TOKEN --label LABEL --origin PORT
//                    [--protocol http|tls] [--passthrough]
//
// Prints the published host name when the tunnel is open; ends when its standard input does.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"
#include "wire.h"

enum {
    RECORD_MAX = 16 * 1024,
    RECORDS_MAX = 8, // that leave by one call
    CHUNK = RECORDS_MAX * 16 * 1024,
    WIRE_MAX = RECORDS_MAX * (16 * 1024 + 256),
    EVENTS_MAX = 256,
    ID_MAX = 64,
    SECRET_MAX = 128,
};

// One direction of a stream: what was read and not yet written.
struct flow {
    size_t start;
    size_t end;
    bool drains; // the source has ended, which only a read behind its last byte shows
    bool ended;  // nothing more will be read
    bool closed; // and the other side was told
    uint8_t bytes[CHUNK];
};

struct stream {
    int engine_fd;
    int origin_fd;
    SSL *tls;
    bool greeted; // ProxyReq is out
    bool dead;
    bool emptied;        // the last read of engine_fd has
    struct stream *next; // in the free list
    size_t greeting_len;
    uint8_t greeting[1024];
    struct flow up;   // from the engine to the origin
    struct flow down; // from the origin to the engine
    bool gathers;     // records go to wire, not to the socket
    size_t wire_start;
    size_t wire_end;
    uint8_t wire[WIRE_MAX]; // records that the socket has not taken
};

static struct {
    const char *engine_name;
    const char *token;
    const char *label;
    const char *protocol;
    bool passthrough;
    uint16_t engine_port;
    uint16_t origin_port;
    int epoll;
    SSL_CTX *context;
    SSL_SESSION *session; // of the last connection, for the next
    BIO_METHOD *socket;
    SSL *control;
    size_t control_len;
    uint8_t control_bytes[WIRE_FRAME_MAX];
    struct stream *free_streams;
    struct stream *ended[EVENTS_MAX * 2];
    size_t ended_count;
} agent;

// ---- Sockets

static int connect_to(uint16_t port)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        util_die_errno("socket");
    // As weir does it: on loopback nothing is paced. Where the default does not, this costs nothing.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    // Loopback: the connection stands when the call returns.
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        util_die_errno("connect");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        util_die_errno("TCP_NODELAY");
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        util_die_errno("O_NONBLOCK");
    return fd;
}

static void watch(int fd, void *who, bool origin)
{
    // The lowest bit of the pointer says which end of the stream the event is about.
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)(uintptr_t)who | (origin ? 1 : 0)};
    if (epoll_ctl(agent.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        util_die_errno("epoll_ctl");
}

static SSL *tls_new(int fd)
{
    SSL *tls = SSL_new(agent.context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1 ||
        SSL_set_tlsext_host_name(tls, agent.engine_name) != 1)
        util_die("no TLS state");
    SSL_set_connect_state(tls);
    if (agent.session != NULL)
        SSL_set_session(tls, agent.session);
    return tls;
}

// Records of bulk gather and leave by one call; all others go out as they are made.
static int socket_write(BIO *bio, const char *bytes, int len)
{
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->gathers && WIRE_MAX - stream->wire_end >= (size_t)len) {
        memcpy(stream->wire + stream->wire_end, bytes, (size_t)len);
        stream->wire_end += (size_t)len;
        return len;
    }
    // What has gathered goes first.
    ssize_t sent =
        stream->wire_end > 0 ? -1 : send(stream->engine_fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (sent < 0 && (stream->wire_end > 0 || errno == EAGAIN))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int socket_read(BIO *bio, char *bytes, int size)
{
    struct stream *stream = BIO_get_data(bio);
    ssize_t len = recv(stream->engine_fd, bytes, (size_t)size, 0);
    BIO_clear_retry_flags(bio);
    stream->emptied = len < size;
    if (len < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (len == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)len;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ||
           (command == BIO_CTRL_EOF && BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0);
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

static SSL *tls_of(struct stream *stream)
{
    SSL *tls = tls_new(stream->engine_fd);
    BIO *bio = BIO_new(agent.socket);
    if (bio == NULL)
        util_die("no memory");
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls, bio, bio);
    return tls;
}

static int on_new_session(SSL *tls, SSL_SESSION *session)
{
    (void)tls;
    SSL_SESSION_free(agent.session);
    agent.session = session;
    return 1;
}

// ---- Streams

static struct stream *stream_new(void)
{
    struct stream *stream = agent.free_streams;
    if (stream == NULL)
        return util_alloc(1, sizeof *stream);
    agent.free_streams = stream->next;
    stream->greeted = false;
    stream->dead = false;
    stream->up.start = stream->up.end = stream->down.start = stream->down.end = 0;
    stream->gathers = false;
    stream->wire_start = stream->wire_end = 0;
    stream->up.drains = stream->down.drains = false;
    stream->up.ended = stream->up.closed = stream->down.ended = stream->down.closed = false;
    return stream;
}

static void stream_end(struct stream *stream)
{
    if (stream->dead)
        return;
    stream->dead = true;
    ERR_clear_error();
    (void)SSL_shutdown(stream->tls);
    SSL_free(stream->tls);
    close(stream->engine_fd);
    close(stream->origin_fd);
    // Events of this round may still name it.
    if (agent.ended_count == sizeof agent.ended / sizeof *agent.ended)
        util_die("more streams ended in one round than it has events");
    agent.ended[agent.ended_count++] = stream;
}

// Bytes moved, 0: none now, -1: the end, -2: a failure.
static int tls_in(struct stream *stream, void *out, size_t size)
{
    size_t len;
    ERR_clear_error();
    int done = SSL_read_ex(stream->tls, out, size, &len);
    if (done == 1)
        return (int)len;
    int error = SSL_get_error(stream->tls, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    return error == SSL_ERROR_ZERO_RETURN ? -1 : -2;
}

// False when some of what has gathered is left, or the socket is broken.
static bool wire_flush(struct stream *stream, bool *broken)
{
    while (stream->wire_start < stream->wire_end) {
        ssize_t sent = send(stream->engine_fd, stream->wire + stream->wire_start,
            stream->wire_end - stream->wire_start, MSG_NOSIGNAL);
        if (sent < 0) {
            *broken = errno != EAGAIN;
            return false;
        }
        stream->wire_start += (size_t)sent;
    }
    stream->wire_start = stream->wire_end = 0;
    return true;
}

static int tls_out(struct stream *stream, const void *bytes, size_t size)
{
    size_t len;
    ERR_clear_error();
    int done = SSL_write_ex(stream->tls, bytes, size, &len);
    if (done == 1)
        return (int)len;
    int error = SSL_get_error(stream->tls, done);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -2;
}

// As many records as there is room for. What has gathered is as good as written: the stream lives
// until it has gone.
static int tls_out_bulk(struct stream *stream, const uint8_t *bytes, size_t size)
{
    int total = 0;
    stream->gathers = true;
    while ((size_t)total < size) {
        int done = tls_out(stream, bytes + total, size - (size_t)total);
        if (done <= 0)
            break;
        total += done;
    }
    stream->gathers = false;
    bool broken = false;
    (void)wire_flush(stream, &broken);
    return broken ? -2 : total;
}

static int plain_in(int fd, void *out, size_t size)
{
    ssize_t len = recv(fd, out, size, 0);
    if (len > 0)
        return (int)len;
    return len == 0 ? -1 : errno == EAGAIN ? 0 : -2;
}

static int plain_out(int fd, const void *bytes, size_t size)
{
    ssize_t len = send(fd, bytes, size, MSG_NOSIGNAL);
    return len >= 0 ? (int)len : errno == EAGAIN ? 0 : -2;
}

// Whether a read of so many bytes has emptied the socket.
static bool was_last(struct stream *stream, bool up, int len)
{
    return up ? stream->emptied && SSL_has_pending(stream->tls) == 0 : len < CHUNK;
}

// Moves one direction until a side has had enough; false when the stream is broken.
static bool flow_move(struct stream *stream, struct flow *flow, bool up)
{
    bool last = false;
    bool broken = false;
    if (!up && !wire_flush(stream, &broken))
        return !broken;
    for (;;) {
        while (flow->start < flow->end) {
            const uint8_t *at = flow->bytes + flow->start;
            size_t len = flow->end - flow->start;
            int done = up                 ? plain_out(stream->origin_fd, at, len)
                       : len > RECORD_MAX ? tls_out_bulk(stream, at, len)
                                          : tls_out(stream, at, len);
            if (done < 0)
                return false;
            if (done == 0)
                return true;
            flow->start += (size_t)done;
            if (stream->wire_end > 0)
                return true;
        }
        flow->start = flow->end = 0;
        if (flow->ended) {
            if (!flow->closed && up)
                shutdown(stream->origin_fd, SHUT_WR);
            else if (!flow->closed)
                (void)SSL_shutdown(stream->tls);
            flow->closed = true;
            return true;
        }
        if (last)
            return true;
        int done = up ? tls_in(stream, flow->bytes, CHUNK)
                      : plain_in(stream->origin_fd, flow->bytes, CHUNK);
        if (done == 0)
            return true;
        if (done == -2)
            return false;
        if (done == -1)
            flow->ended = true;
        else
            flow->end = (size_t)done;
        last = done > 0 && !flow->drains && was_last(stream, up, done);
    }
}

static bool stream_greet(struct stream *stream)
{
    ERR_clear_error();
    int done = SSL_do_handshake(stream->tls);
    if (done != 1) {
        int error = SSL_get_error(stream->tls, done);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    }
    // A fresh connection has room for the request.
    if (tls_out(stream, stream->greeting, stream->greeting_len) != (int)stream->greeting_len)
        return false;
    stream->greeted = true;
    return true;
}

static bool flow_waits(const struct flow *flow)
{
    return flow->start < flow->end || (flow->ended && !flow->closed);
}

// Something is ready at the engine's end, or at the origin's.
static void stream_go_on(struct stream *stream, uint32_t events, bool origin)
{
    bool in = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    struct flow *source = origin ? &stream->down : &stream->up;
    if (stream->dead)
        return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        source->drains = true;
    bool begins = !stream->greeted;
    bool fine = !begins || stream_greet(stream);
    if (fine && stream->greeted) {
        bool up = begins || (origin ? flow_waits(&stream->up) : in);
        bool down = begins || (origin ? in : flow_waits(&stream->down) || stream->wire_end > 0);
        fine = (!up || flow_move(stream, &stream->up, true)) &&
               (!down || flow_move(stream, &stream->down, false));
    }
    if (!fine || (stream->up.closed && stream->down.closed))
        stream_end(stream);
}

static void stream_begin(struct wire_text stream_id, struct wire_text secret)
{
    struct stream *stream = stream_new();
    stream->greeting_len = wire_proxy(stream->greeting, stream_id, secret);
    stream->origin_fd = connect_to(agent.origin_port);
    stream->engine_fd = connect_to(agent.engine_port);
    stream->tls = tls_of(stream);
    watch(stream->engine_fd, stream, false);
    watch(stream->origin_fd, stream, true);
    stream_go_on(stream, 0, false);
}

// ---- The control channel

static void control_write(const uint8_t *frame, size_t len)
{
    size_t written;
    // Short frames into an empty socket: there is always room.
    if (SSL_write_ex(agent.control, frame, len, &written) != 1 || written != len)
        util_die("the control channel takes no more");
}

static void take_proxy_request(struct wire_text request)
{
    struct wire_text stream_id = wire_field(request, 2);
    struct wire_text secret = wire_field(wire_field(request, 3), 1);
    uint8_t answer[ID_MAX + 32];
    if (stream_id.len == 0 || stream_id.len > ID_MAX || secret.len == 0 || secret.len > SECRET_MAX)
        util_die("a ProxyConnReq without stream id or secret");
    stream_begin(stream_id, secret);
    control_write(answer, wire_proxy_conn_answer(answer, stream_id));
}

static void take_tunnel(struct wire_text answer)
{
    struct wire_text properties = wire_field(answer, 2);
    struct wire_text host = wire_field(wire_field(properties, 22), 1);
    struct wire_text why = wire_field(wire_field(wire_field(answer, 3), 2), 1);
    if (host.len == 0)
        util_die("no tunnel: %.*s", (int)why.len, why.at == NULL ? "" : (const char *)why.at);
    printf("%.*s\n", (int)host.len, (const char *)host.at);
    fflush(stdout);
}

static void take_frame(struct wire_text frame)
{
    struct wire_text body = wire_field(frame, WIRE_PROXY_CONN_REQ);
    if (body.at != NULL) {
        take_proxy_request(body);
        return;
    }
    body = wire_field(frame, WIRE_OPEN_CHANNEL_RSP);
    if (body.at != NULL) {
        uint8_t request[2048];
        if (wire_field(body, 1).at == NULL)
            util_die("the engine refuses the control channel");
        control_write(
            request, wire_open_tunnel(request, agent.protocol, agent.label, agent.passthrough));
        return;
    }
    body = wire_field(frame, WIRE_OPEN_TUNNEL_RSP);
    if (body.at != NULL)
        take_tunnel(body);
}

static void take_frames(void)
{
    size_t at = 0;
    while (agent.control_len - at >= 4) {
        const uint8_t *head = agent.control_bytes + at;
        size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (len > WIRE_FRAME_MAX - 4)
            util_die("a frame of %zu bytes", len);
        if (agent.control_len - at < len + 4)
            break;
        take_frame((struct wire_text){head + 4, len});
        at += len + 4;
    }
    memmove(agent.control_bytes, agent.control_bytes + at, agent.control_len - at);
    agent.control_len -= at;
}

static void control_go_on(void)
{
    size_t len;
    for (;;) {
        ERR_clear_error();
        int done = SSL_read_ex(agent.control, agent.control_bytes + agent.control_len,
            sizeof agent.control_bytes - agent.control_len, &len);
        if (done != 1) {
            if (SSL_get_error(agent.control, done) != SSL_ERROR_WANT_READ)
                util_die("the engine ended the control channel");
            return;
        }
        agent.control_len += len;
        take_frames();
    }
}

static void control_open(void)
{
    uint8_t request[WIRE_FRAME_MAX];
    int fd = connect_to(agent.engine_port);
    agent.control = tls_new(fd);
    if (fcntl(fd, F_SETFL, 0) != 0)
        util_die_errno("fcntl");
    if (SSL_do_handshake(agent.control) != 1)
        util_die("no TLS with the engine");
    control_write(request, wire_open_channel(request, agent.token));
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        util_die_errno("fcntl");
    watch(fd, NULL, false);
}

// ---- Main

static SSL_CTX *context_new(void)
{
    static const unsigned char alpn[] = "\x07rstrm/1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1) != 0)
        util_die("no TLS context");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    return context;
}

static void recycle(void)
{
    for (size_t i = 0; i < agent.ended_count; i++) {
        agent.ended[i]->next = agent.free_streams;
        agent.free_streams = agent.ended[i];
    }
    agent.ended_count = 0;
}

static void run(void)
{
    static int standard_input = STDIN_FILENO; // its address stands for it in events
    struct epoll_event events[EVENTS_MAX];
    struct epoll_event stdin_event = {.events = EPOLLIN, .data.ptr = &standard_input};
    // A file or /dev/null cannot be watched; then a signal ends the agent.
    (void)epoll_ctl(agent.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &stdin_event);
    for (;;) {
        int count = epoll_wait(agent.epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            util_die_errno("epoll_wait");
        for (int i = 0; i < count; i++) {
            uintptr_t who = (uintptr_t)(events[i].data.u64 & ~(uint64_t)1);
            if (events[i].data.ptr == &standard_input)
                return;
            if (who == 0)
                control_go_on();
            else
                stream_go_on((struct stream *)who, events[i].events, (events[i].data.u64 & 1) != 0);
        }
        recycle();
    }
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return NULL;
}

static const char *needed(int argc, char **argv, const char *name)
{
    const char *value = option(argc, argv, name);
    if (value == NULL)
        util_die("%s is missing", name);
    return value;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    agent.engine_port = (uint16_t)atoi(needed(argc, argv, "--engine"));
    agent.engine_name = needed(argc, argv, "--name");
    agent.token = needed(argc, argv, "--token");
    agent.label = needed(argc, argv, "--label");
    agent.origin_port = (uint16_t)atoi(needed(argc, argv, "--origin"));
    agent.protocol = option(argc, argv, "--protocol");
    agent.protocol = agent.protocol == NULL ? "http" : agent.protocol;
    agent.passthrough = strcmp(argv[argc - 1], "--passthrough") == 0;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    agent.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (agent.epoll < 0)
        util_die_errno("epoll_create1");
    agent.context = context_new();
    agent.socket = socket_method();
    control_open();
    run();
    return 0;
}
