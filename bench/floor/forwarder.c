// SPDX-License-Identifier: Apache-2.0
// weir-bench-floor PORT: what a relay in C cannot go below. It answers the WebSocket upgrade, joins
// the daemon and the client of a cell, and from then on copies bytes: one recv into a big buffer,
// one send out of it. Frames are not looked at and stay masked, so only a generator that accepts
// masked frames from a server can use it. No admission, no limits, no TLS.
//
// A connection without a partner is not read. What the kernel does not take at once is kept for the
// receiver, and the sender is not read until it is gone.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024, HEAD_MAX = 4096, ID_MAX = 260, EVENTS = 256, CELL_BUCKETS = 16384 };

struct peer {
    int fd;
    struct peer *partner;
    struct cell *cell;
    bool daemon;
    char *head; // the upgrade request while it arrives
    size_t head_len;
    uint8_t *rest; // bytes for this peer that the kernel did not take
    size_t rest_len;
    size_t rest_pos;
};

struct cell {
    struct cell *next;
    struct peer *daemon;
    struct peer *client; // the first to come; others stay without a partner
    char name[ID_MAX];
};

static int epoll;
static struct cell *cells[CELL_BUCKETS];
static uint8_t buffer[BUFFER];

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void want(struct peer *p, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &event) != 0)
        die("epoll_ctl");
}

static struct cell *cell_find(const char *name)
{
    uint32_t hash = 2166136261u;
    for (const char *at = name; *at != '\0'; at++)
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    struct cell **bucket = &cells[hash % CELL_BUCKETS];
    for (struct cell *c = *bucket; c != NULL; c = c->next) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    struct cell *c = calloc(1, sizeof *c);
    if (c == NULL)
        die("calloc");
    snprintf(c->name, sizeof c->name, "%s", name);
    c->next = *bucket;
    *bucket = c;
    return c;
}

// Ends a peer and its partner. Events of this turn may still name them, so the memory stays: the
// floor lives for one bench run, and a peer is small.
static void peer_close(struct peer *p)
{
    if (p->fd < 0)
        return;
    close(p->fd);
    p->fd = -1;
    if (p->cell != NULL && p->cell->daemon == p)
        p->cell->daemon = NULL;
    if (p->cell != NULL && p->cell->client == p)
        p->cell->client = NULL;
    free(p->head);
    free(p->rest);
    p->head = NULL;
    p->rest = NULL;
    if (p->partner != NULL)
        peer_close(p->partner);
}

static void peer_join(struct peer *p, const char *name)
{
    p->cell = cell_find(name);
    struct peer **slot = p->daemon ? &p->cell->daemon : &p->cell->client;
    if (*slot == NULL)
        *slot = p;
    struct peer *other = p->daemon ? p->cell->client : p->cell->daemon;
    if (*slot != p || other == NULL) {
        want(p, 0);
        return;
    }
    p->partner = other;
    other->partner = p;
    want(p, EPOLLIN);
    want(other, EPOLLIN);
}

static bool send_all(struct peer *p, const char *text)
{
    return send(p->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

// Copies what stands between `key` and the next of `ends`.
static bool take(const char *head, const char *key, const char *ends, char *out, size_t size)
{
    const char *at = strcasestr(head, key);
    if (at == NULL)
        return false;
    at += strlen(key);
    size_t len = strcspn(at, ends);
    if (len >= size)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static bool upgrade_answer(struct peer *p, const char *key)
{
    char text[128];
    snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1((const uint8_t *)text, strlen(text), digest);
    char accept[32];
    EVP_EncodeBlock((uint8_t *)accept, digest, sizeof digest);
    char answer[256];
    snprintf(answer, sizeof answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    return send_all(p, answer);
}

static void head_complete(struct peer *p)
{
    char role[32];
    char workspace[130];
    char target[130];
    char key[40];
    bool ok = take(p->head, "role=", "& ", role, sizeof role) &&
              take(p->head, "workspaceId=", "& ", workspace, sizeof workspace) &&
              take(p->head, "runtimeTargetId=", "& ", target, sizeof target) &&
              take(p->head, "Sec-WebSocket-Key: ", "\r", key, sizeof key);
    if (!ok) { // a health check
        (void)send_all(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        peer_close(p);
        return;
    }
    free(p->head);
    p->head = NULL;
    p->daemon = strcmp(role, "workspace-daemon") == 0;
    char name[ID_MAX];
    snprintf(name, sizeof name, "%s:%s", workspace, target);
    if (upgrade_answer(p, key))
        peer_join(p, name);
    else
        peer_close(p);
}

static void head_read(struct peer *p)
{
    ssize_t got = recv(p->fd, p->head + p->head_len, HEAD_MAX - 1 - p->head_len, 0);
    if (got <= 0) {
        peer_close(p);
        return;
    }
    p->head_len += (size_t)got;
    p->head[p->head_len] = '\0';
    if (strstr(p->head, "\r\n\r\n") != NULL)
        head_complete(p);
    else if (p->head_len == HEAD_MAX - 1)
        peer_close(p);
}

static void keep_rest(struct peer *from, struct peer *to, const uint8_t *data, size_t len)
{
    to->rest = malloc(len);
    if (to->rest == NULL)
        die("malloc");
    memcpy(to->rest, data, len);
    to->rest_len = len;
    to->rest_pos = 0;
    want(to, (from->rest != NULL ? 0u : (uint32_t)EPOLLIN) | EPOLLOUT);
    want(from, from->rest != NULL ? EPOLLOUT : 0u);
}

static void forward(struct peer *from)
{
    struct peer *to = from->partner;
    ssize_t got = recv(from->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        peer_close(from);
        return;
    }
    ssize_t put = send(to->fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN) {
        peer_close(from);
        return;
    }
    if (put < got)
        keep_rest(from, to, buffer + (put > 0 ? put : 0), (size_t)(got - (put > 0 ? put : 0)));
}

static void send_rest(struct peer *to)
{
    struct peer *from = to->partner;
    ssize_t put = send(to->fd, to->rest + to->rest_pos, to->rest_len - to->rest_pos, MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN)
        return;
    if (put < 0) {
        peer_close(to);
        return;
    }
    to->rest_pos += (size_t)put;
    if (to->rest_pos < to->rest_len)
        return;
    free(to->rest);
    to->rest = NULL;
    want(to, from->rest != NULL ? 0u : EPOLLIN);
    want(from, EPOLLIN | (from->rest != NULL ? (uint32_t)EPOLLOUT : 0u));
}

static void peer_ready(struct peer *p, uint32_t events)
{
    if (p->fd < 0)
        return;
    if (p->head != NULL) {
        head_read(p);
        return;
    }
    if ((events & EPOLLOUT) != 0 && p->rest != NULL)
        send_rest(p);
    if (p->fd < 0)
        return;
    if ((events & EPOLLIN) != 0)
        forward(p);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        peer_close(p);
}

static void accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int on = 1;
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("accept");
    p->fd = fd;
    p->head = malloc(HEAD_MAX);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
    if (p->head == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("accept");
}

static int listen_on(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: weir-bench-floor PORT\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
    int listener = listen_on((unsigned)strtoul(argv[1], NULL, 10));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll");
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL)
                accept_one(listener);
            else
                peer_ready(events[i].data.ptr, events[i].events);
        }
    }
}
