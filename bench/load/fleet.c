// SPDX-License-Identifier: Apache-2.0
#include "fleet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "util.h"

enum { TOKEN_LEN = 340 }; // about what a signed relay token of a platform takes

static void make_request(const struct fleet *f, const struct conn *c, char *out, size_t size)
{
    unsigned per_cell = f->options.clients + f->options.daemons;
    char token[TOKEN_LEN + 1] = {0};
    util_random_base64(token, TOKEN_LEN);
    token[36] = token[TOKEN_LEN - 86 - 1] = '.'; // header.claims.signature
    char key[23] = {0};
    util_random_base64(key, 22);
    for (unsigned i = 0; i < 22; i++)
        key[i] = key[i] == '-' ? '+' : key[i] == '_' ? '/' : key[i];
    key[21] = 'A'; // 16 bytes leave four bits unused in the last digit
    snprintf(out, size,
        "GET /ws?role=%s&workspaceId=bench-%d-%u&runtimeTargetId=rt-1 HTTP/1.1\r\n"
        "Host: relay.bench.test\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s==\r\n"
        "User-Agent: weir-bench\r\n"
        "Authorization: Bearer %s\r\n\r\n",
        fleet_is_daemon(f, c) ? "workspace-daemon" : "client", (int)getpid(), c->index / per_cell,
        key, token);
}

static void start_one(struct fleet *f, unsigned index)
{
    struct conn *c = &f->conns[index];
    c->index = index;
    struct conn_target target = {.address = f->options.address, .tls = f->tls};
    if (!fleet_is_daemon(f, c) && f->options.client_address.sin_port != 0)
        target.address = f->options.client_address;
    if (f->options.sources > 1)
        target.source.s_addr = htonl(INADDR_LOOPBACK + index % f->options.sources);
    char request[CONN_HEAD_MAX];
    make_request(f, c, request, sizeof request);
    conn_start(c, &target, f->epoll, request);
}

static SSL_CTX *tls_client(void)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL)
        util_die("SSL_CTX_new failed");
    // The certificate was made for this run a moment ago; what is measured is the server.
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

int fleet_wait(struct fleet *f, int timeout_ms)
{
    int ready = epoll_wait(f->epoll, f->events, FLEET_EVENTS, timeout_ms);
    if (ready < 0 && errno != EINTR)
        util_die_errno("epoll_wait");
    return ready > 0 ? ready : 0;
}

bool fleet_is_daemon(const struct fleet *f, const struct conn *c)
{
    return f->options.daemons == 1 && c->index % (f->options.clients + 1) == 0;
}

void fleet_check_mask(const struct fleet *f, const struct conn *c)
{
    if (c->in.masked && !f->options.masked_ok)
        util_die("connection %u: a masked frame from a server", c->index);
}

void fleet_read_idle(struct fleet *f, struct conn *c)
{
    uint8_t buffer[4096];
    size_t got;
    do {
        got = conn_read(c, buffer, sizeof buffer);
        const uint8_t *data = buffer;
        size_t len = got;
        struct ws_piece piece;
        while (ws_read(&c->in, &data, &len, &piece)) {
            fleet_check_mask(f, c);
            if (c->in.opcode < WS_CLOSE)
                util_die("connection %u: a message nobody asked for: %.*s", c->index,
                    (int)piece.len, (const char *)piece.data);
            conn_take_control(c, &piece);
        }
    } while (got == sizeof buffer);
    (void)conn_flush_pong(c); // what does not fit goes at the next event
}

void fleet_open(struct fleet *f, const struct fleet_options *options)
{
    f->options = *options;
    f->count = options->cells * (options->clients + options->daemons);
    f->conns = util_alloc(f->count, sizeof *f->conns);
    f->tls = options->tls ? tls_client() : NULL;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll < 0)
        util_die_errno("epoll_create1");
    unsigned started = 0;
    unsigned opened = 0;
    while (opened < f->count) {
        while (started < f->count && started - opened < options->parallel)
            start_one(f, started++);
        int ready = fleet_wait(f, -1);
        for (int i = 0; i < ready; i++) {
            struct conn *c = f->events[i].data.ptr;
            if (c->state == CONN_OPEN) {
                fleet_read_idle(f, c);
            } else if (conn_advance(c)) {
                hist_add(&f->upgrade_ns, util_now_ns() - c->started_ns);
                opened++;
                fleet_read_idle(f, c); // a ping may have come with the answer
            }
        }
    }
}
