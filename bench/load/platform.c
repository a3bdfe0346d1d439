// SPDX-License-Identifier: Apache-2.0
// weir-bench-platform PORT: the platform a relay asks before it lets anybody in, reduced to yes.
// Answers every POST with claims made from the request's own fields, keeps connections alive, and
// says `listening` on stdout once it does. Ends when stdin ends.
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

enum { REQUEST_MAX = 16 * 1024, FIELD_MAX = 129, ANSWER_MAX = 1024, EVENTS = 256 };

struct peer {
    int fd;
    size_t len;
    char request[REQUEST_MAX + 1];
};

// Copies the string value of `key`. The relay's own body holds checked ids only, so no escapes.
static void take_field(const char *body, const char *key, char out[FIELD_MAX])
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
    const char *at = strstr(body, pattern);
    out[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(pattern);
    size_t len = strcspn(at, "\"");
    if (len >= FIELD_MAX)
        util_die("%s is longer than an id may be", key);
    memcpy(out, at, len);
    out[len] = '\0';
}

static size_t make_answer(const char *body, char *out)
{
    static unsigned long serial;
    char role[FIELD_MAX];
    char workspace[FIELD_MAX];
    char target[FIELD_MAX];
    take_field(body, "role", role);
    take_field(body, "workspaceId", workspace);
    take_field(body, "runtimeTargetId", target);
    bool client = strcmp(role, "client") == 0;
    char claims[ANSWER_MAX / 2];
    int len = snprintf(claims, sizeof claims,
        "{\"ok\":true,\"claims\":{\"role\":\"%s\",\"workspaceId\":\"%s\",\"runtimeTargetId\":\"%"
        "s\","
        "\"%s\":\"b-%lu\"%s}}",
        role, workspace, target, client ? "clientId" : "machineId", ++serial,
        client ? ",\"scope\":\"runtime\"" : "");
    return (size_t)snprintf(out, ANSWER_MAX,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len,
        claims);
}

// Bytes of the first whole request in the buffer, 0 when it is not complete.
static size_t request_size(const struct peer *p)
{
    const char *end = strstr(p->request, "\r\n\r\n");
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end + 4 - p->request);
    const char *length = strcasestr(p->request, "\r\ncontent-length:");
    if (length == NULL || length > end)
        util_die("a request without a length");
    size_t size = head + strtoul(length + 17, NULL, 10);
    return size <= p->len ? size : 0;
}

static void answer_all(struct peer *p)
{
    size_t size;
    while ((size = request_size(p)) > 0) {
        char answer[ANSWER_MAX];
        char next = p->request[size];
        p->request[size] = '\0';
        size_t len = make_answer(strstr(p->request, "\r\n\r\n"), answer);
        p->request[size] = next;
        if (send(p->fd, answer, len, MSG_NOSIGNAL) != (ssize_t)len)
            return; // the relay went away: its descriptor reports that next
        p->len -= size;
        memmove(p->request, p->request + size, p->len + 1);
    }
}

static void peer_ready(struct peer *p)
{
    ssize_t got = recv(p->fd, p->request + p->len, REQUEST_MAX - p->len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close(p->fd);
        free(p);
        return;
    }
    p->len += (size_t)got;
    p->request[p->len] = '\0';
    answer_all(p);
}

static void watch(int epoll, int fd, void *pointer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        util_die_errno("epoll_ctl");
}

static void accept_one(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct peer *p = util_alloc(1, sizeof *p);
    p->fd = fd;
    watch(epoll, fd, p);
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
        util_die_errno("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        util_die("usage: weir-bench-platform PORT");
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on((unsigned)strtoul(argv[1], NULL, 10));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int standard_input = STDIN_FILENO;
    watch(epoll, listener, &listener);
    watch(epoll, standard_input, &standard_input);
    puts("listening");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            void *who = events[i].data.ptr;
            char byte;
            if (who == &listener)
                accept_one(epoll, listener);
            else if (who != &standard_input)
                peer_ready(who);
            else if (read(STDIN_FILENO, &byte, 1) <= 0)
                return 0;
        }
    }
}
