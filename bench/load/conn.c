// SPDX-License-Identifier: Apache-2.0
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

static void set_option(int fd, int level, int name, const void *value, socklen_t len)
{
    if (setsockopt(fd, level, name, value, len) != 0)
        util_die_errno("setsockopt");
}

static int socket_open(struct in_addr source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        util_die_errno("socket");
    int on = 1;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // Ends with a reset: ten thousand connections must not leave ten thousand ports in TIME_WAIT.
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    set_option(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (source.s_addr == 0)
        return fd;
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = source};
    if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
        util_die_errno("bind");
    return fd;
}

void conn_start(struct conn *c, const struct conn_target *target, int epoll, const char *request)
{
    c->fd = socket_open(target->source);
    c->state = CONN_CONNECTING;
    c->started_ns = util_now_ns();
    c->head_len = strlen(request);
    if (c->head_len >= sizeof c->head)
        util_die("the upgrade request is too long");
    memcpy(c->head, request, c->head_len);
    if (target->tls != NULL) {
        c->ssl = SSL_new(target->tls);
        if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
            util_die("SSL_new failed");
        SSL_set_connect_state(c->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        util_die_errno("epoll_ctl");
    const struct sockaddr *to = (const struct sockaddr *)&target->address;
    if (connect(c->fd, to, sizeof target->address) != 0 && errno != EINPROGRESS)
        util_die_errno("connect");
}

// True when a TLS call only has to wait; dies when it failed.
static bool tls_waits(struct conn *c, int result, const char *act)
{
    int why = SSL_get_error(c->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return true;
    char text[256] = "connection ended";
    unsigned long code = ERR_get_error();
    if (code != 0)
        ERR_error_string_n(code, text, sizeof text);
    util_die("connection %u, TLS %s: %s", c->index, act, text);
}

static size_t tls_read(struct conn *c, uint8_t *out, size_t size)
{
    size_t total = 0;
    while (total < size) {
        size_t got = 0;
        int result = SSL_read_ex(c->ssl, out + total, size - total, &got);
        if (result != 1 && tls_waits(c, result, "read"))
            break;
        total += got;
    }
    return total;
}

// A record at a time, until all is taken or the kernel's buffer is full.
static size_t tls_write(struct conn *c, const uint8_t *data, size_t len)
{
    size_t total = 0;
    while (total < len) {
        size_t put = 0;
        int result = SSL_write_ex(c->ssl, data + total, len - total, &put);
        if (result != 1 && tls_waits(c, result, "write"))
            break;
        total += put;
    }
    return total;
}

static size_t plain_read(struct conn *c, uint8_t *out, size_t size)
{
    ssize_t got = recv(c->fd, out, size, 0);
    if (got > 0)
        return (size_t)got;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    util_die("connection %u: %s", c->index, got == 0 ? "closed by the server" : strerror(errno));
}

static size_t socket_read(struct conn *c, uint8_t *out, size_t size)
{
    return c->ssl != NULL ? tls_read(c, out, size) : plain_read(c, out, size);
}

size_t conn_read(struct conn *c, uint8_t *out, size_t size)
{
    size_t early = c->head_len - c->head_pos;
    if (early == 0)
        return socket_read(c, out, size);
    if (early > size)
        util_die("connection %u: a read of %zu bytes is too small", c->index, size);
    memcpy(out, c->head + c->head_pos, early);
    c->head_pos = c->head_len;
    return early + (size > early ? socket_read(c, out + early, size - early) : 0);
}

size_t conn_write(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->ssl != NULL)
        return tls_write(c, data, len);
    ssize_t put = send(c->fd, data, len, MSG_NOSIGNAL);
    if (put >= 0)
        return (size_t)put;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    util_die_errno("send");
}

static bool connect_finished(struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        util_die("connection %u: connect: %s", c->index, strerror(error));
    struct sockaddr_in peer;
    len = sizeof peer;
    return getpeername(c->fd, (struct sockaddr *)&peer, &len) == 0;
}

static bool request_sent(struct conn *c)
{
    size_t left = c->head_len - c->head_pos;
    c->head_pos += conn_write(c, (const uint8_t *)c->head + c->head_pos, left);
    return c->head_pos == c->head_len;
}

static bool response_read(struct conn *c)
{
    size_t space = sizeof c->head - 1 - c->head_len;
    size_t got = socket_read(c, (uint8_t *)c->head + c->head_len, space);
    c->head_len += got;
    c->head[c->head_len] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL && got == space)
        util_die("connection %u: the upgrade answer is too long", c->index);
    if (end == NULL)
        return false;
    if (strncmp(c->head, "HTTP/1.1 101 ", 13) != 0)
        util_die("connection %u: refused: %.*s", c->index, (int)strcspn(c->head, "\r\n"), c->head);
    c->head_pos = (size_t)(end + 4 - c->head);
    return true;
}

bool conn_advance(struct conn *c)
{
    if (c->state == CONN_CONNECTING && connect_finished(c))
        c->state = c->ssl != NULL ? CONN_TLS : CONN_REQUEST;
    if (c->state == CONN_TLS) {
        int result = SSL_do_handshake(c->ssl);
        if (result != 1 && tls_waits(c, result, "handshake"))
            return false;
        c->state = CONN_REQUEST;
    }
    if (c->state == CONN_REQUEST && request_sent(c)) {
        c->state = CONN_RESPONSE;
        c->head_len = 0;
    }
    if (c->state == CONN_RESPONSE && response_read(c))
        c->state = CONN_OPEN;
    return c->state == CONN_OPEN;
}

void conn_take_control(struct conn *c, const struct ws_piece *piece)
{
    if (c->in.len > WS_CONTROL_MAX)
        util_die("connection %u: a control frame of %llu bytes", c->index,
            (unsigned long long)c->in.len);
    ws_unmask(&c->in, piece, c->ping + piece->offset);
    if (!piece->last)
        return;
    if (c->in.opcode == WS_CLOSE)
        util_die("connection %u: close %d %.*s", c->index,
            c->in.len >= 2 ? c->ping[0] << 8 | c->ping[1] : 0,
            c->in.len > 2 ? (int)c->in.len - 2 : 0, (const char *)c->ping + 2);
    if (c->in.opcode == WS_PING && c->pong_pos == c->pong_len) {
        c->pong_len = ws_frame_write(c->pong, WS_PONG, c->ping, (size_t)c->in.len);
        c->pong_pos = 0;
    }
}

bool conn_flush_pong(struct conn *c)
{
    if (c->pong_pos < c->pong_len)
        c->pong_pos += conn_write(c, c->pong + c->pong_pos, c->pong_len - c->pong_pos);
    return c->pong_pos == c->pong_len;
}
