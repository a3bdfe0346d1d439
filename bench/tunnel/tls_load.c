// SPDX-License-Identifier: Apache-2.0
// New TLS connections, and many that idle. One thread, epoll.
//
//   weir-bench-tls connect --port P --name HOST --server-pid PID --count N
//                  [--parallel C] [--deadline S]
//       N full handshakes (no resumption), C at a time; each connection is closed when it stands, and
//       counts when the server has closed its side too.
//   weir-bench-tls idle ... the same, but each stays until standard input ends.
//   weir-bench-tls hold ... the same, and each has sent one request and taken the whole answer.
//
// Prints one JSON object: connections, seconds, and the server's CPU time in nanoseconds.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

enum { EVENTS_MAX = 256 };

struct conn {
    SSL *tls;
    int fd;
    bool shaken;
    bool asked;
    bool done;
    size_t head_len;
    char head[4096];
};

static struct {
    const char *name;
    struct sockaddr_in address;
    SSL_CTX *context;
    int epoll;
    bool ask;
    bool stay;
    unsigned count;
    unsigned started;
    unsigned finished;
    struct conn *conns;
    size_t request_len;
    char request[512];
} load;

static void conn_start(struct conn *conn)
{
    struct linger hard = {1, 0};
    int one = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        util_die_errno("socket");
    if (connect(conn->fd, (struct sockaddr *)&load.address, sizeof load.address) != 0)
        util_die_errno("connect");
    // No TIME_WAIT: the ports of thousands of connections are needed again in the next round.
    if (setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) != 0 ||
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        fcntl(conn->fd, F_SETFL, O_NONBLOCK) != 0)
        util_die_errno("socket options");
    conn->tls = SSL_new(load.context);
    if (conn->tls == NULL || SSL_set_fd(conn->tls, conn->fd) != 1 ||
        SSL_set_tlsext_host_name(conn->tls, load.name) != 1)
        util_die("no TLS state");
    SSL_set_connect_state(conn->tls);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
        util_die_errno("epoll_ctl");
}

static void conn_finish(struct conn *conn)
{
    conn->done = true;
    load.finished++;
    if (!load.stay) {
        SSL_free(conn->tls);
        close(conn->fd);
    }
    if (load.started < load.count)
        conn_start(&load.conns[load.started++]);
}

static bool wait_more(struct conn *conn, int returned)
{
    int error = SSL_get_error(conn->tls, returned);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

// True when the whole answer is here.
static bool take_answer(struct conn *conn)
{
    size_t len;
    while (conn->head_len < sizeof conn->head - 1) {
        int done = SSL_read_ex(
            conn->tls, conn->head + conn->head_len, sizeof conn->head - 1 - conn->head_len, &len);
        if (done != 1) {
            if (!wait_more(conn, done))
                util_die("the server ended a connection instead of answering");
            return false;
        }
        conn->head_len += len;
        conn->head[conn->head_len] = '\0';
        char *end = strstr(conn->head, "\r\n\r\n");
        char *length = strcasestr(conn->head, "content-length:");
        if (end != NULL && length != NULL) {
            size_t due = (size_t)(end + 4 - conn->head) + strtoul(length + 15, NULL, 10);
            if (strncmp(conn->head, "HTTP/1.1 200", 12) != 0)
                util_die("the server answers %.40s", conn->head);
            if (conn->head_len >= due)
                return true;
        }
    }
    util_die("an answer without Content-Length, or longer than %zu bytes", sizeof conn->head);
}

// close_notify out, and everything the server still says until its end in.
static void conn_say_goodbye(struct conn *conn)
{
    char waste[256];
    size_t len;
    if (!conn->asked)
        (void)SSL_shutdown(conn->tls);
    conn->asked = true;
    int done;
    do {
        ERR_clear_error();
        done = SSL_read_ex(conn->tls, waste, sizeof waste, &len);
    } while (done == 1);
    if (!wait_more(conn, done))
        conn_finish(conn);
}

static void conn_go_on(struct conn *conn)
{
    size_t written;
    if (conn->done)
        return;
    ERR_clear_error();
    if (!conn->shaken) {
        int done = SSL_do_handshake(conn->tls);
        if (done != 1) {
            if (!wait_more(conn, done))
                util_die("a handshake fails: %s", ERR_error_string(ERR_get_error(), NULL));
            return;
        }
        conn->shaken = true;
    }
    if (!load.stay) {
        conn_say_goodbye(conn);
        return;
    }
    if (!load.ask) {
        conn_finish(conn);
        return;
    }
    if (!conn->asked) {
        if (SSL_write_ex(conn->tls, load.request, load.request_len, &written) != 1)
            util_die("a request does not fit into a fresh connection");
        conn->asked = true;
    }
    if (take_answer(conn))
        conn_finish(conn);
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    if (fallback == NULL)
        util_die("%s is missing", name);
    return fallback;
}

static void prepare(int argc, char **argv)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    struct rlimit files;
    const char *mode = argc < 2 ? "" : argv[1];
    load.ask = strcmp(mode, "hold") == 0;
    load.stay = load.ask || strcmp(mode, "idle") == 0;
    if (!load.stay && strcmp(mode, "connect") != 0)
        util_die("connect, idle or hold?");
    load.name = option(argc, argv, "--name", NULL);
    load.count = (unsigned)atoi(option(argc, argv, "--count", NULL));
    load.address = (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(option(argc, argv, "--port", NULL)))};
    load.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    load.request_len = (size_t)snprintf(load.request, sizeof load.request,
        "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", load.name);
    load.context = SSL_CTX_new(TLS_client_method());
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.context == NULL || load.epoll < 0 ||
        SSL_CTX_set_alpn_protos(load.context, alpn, sizeof alpn - 1) != 0)
        util_die("no TLS context");
    SSL_CTX_set_mode(load.context, SSL_MODE_RELEASE_BUFFERS);
    load.conns = util_alloc(load.count, sizeof *load.conns);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    alarm((unsigned)atoi(option(argc, argv, "--deadline", "60")));
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    prepare(argc, argv);
    pid_t server = (pid_t)atoi(option(argc, argv, "--server-pid", NULL));
    unsigned parallel = (unsigned)atoi(option(argc, argv, "--parallel", "32"));
    uint64_t cpu_ns = util_process_cpu_ns(server);
    uint64_t begun_ns = util_now_ns();
    while (load.started < load.count && load.started < parallel)
        conn_start(&load.conns[load.started++]);
    while (load.finished < load.count) {
        int count = epoll_wait(load.epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            util_die_errno("epoll_wait");
        for (int i = 0; i < count; i++)
            conn_go_on(events[i].data.ptr);
    }
    printf("{\"connections\": %u, \"seconds\": %.6f, \"server_cpu_ns\": %llu}\n", load.count,
        (double)(util_now_ns() - begun_ns) / 1e9,
        (unsigned long long)(util_process_cpu_ns(server) - cpu_ns));
    fflush(stdout);
    if (load.stay) {
        alarm(0);
        while (getchar() != EOF)
            continue;
    }
    return 0;
}
