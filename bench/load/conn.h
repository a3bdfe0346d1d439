// SPDX-License-Identifier: Apache-2.0
// One WebSocket connection of the generator: TCP, TLS when asked for, the HTTP upgrade, then bytes.
//
//   CONNECTING -> [TLS] -> REQUEST -> RESPONSE -> OPEN
//
// Sockets are edge-triggered, registered once for both directions: a caller reads until a read
// comes back short, and writes until a write does.
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ws.h"

enum conn_state { CONN_CONNECTING, CONN_TLS, CONN_REQUEST, CONN_RESPONSE, CONN_OPEN };

enum { CONN_HEAD_MAX = 2048 };

struct conn {
    int fd;
    enum conn_state state;
    SSL *ssl; // NULL: plain
    unsigned index;
    uint64_t started_ns;
    char head[CONN_HEAD_MAX]; // the request going out, then the answer coming in
    size_t head_len;
    size_t head_pos; // sent of the request; in OPEN, where bytes past the answer begin
    struct ws_reader in;
    uint8_t pong[WS_CONTROL_MAX + WS_HEAD_MAX]; // waits here until it may be written
    size_t pong_len;
    size_t pong_pos;
    uint8_t ping[WS_CONTROL_MAX]; // payload of a ping that is still arriving
};

struct conn_target {
    struct sockaddr_in address;
    SSL_CTX *tls;          // NULL: plain
    struct in_addr source; // source address to bind; 0: the kernel's choice
};

// Starts to connect; `request` is the whole HTTP request. The connection is registered with
// `epoll` under its own pointer.
void conn_start(struct conn *c, const struct conn_target *target, int epoll, const char *request);

// Goes as far as it can without waiting; true once it is OPEN. Dies when the server refuses.
bool conn_advance(struct conn *c);

// Bytes read (fewer than `size`: nothing more for now), 0: nothing now. Dies when the server ends
// the connection.
size_t conn_read(struct conn *c, uint8_t *out, size_t size);

// Bytes taken, fewer than `len` when the kernel's buffer is full. The next write on this connection
// must then begin with the bytes that were not taken.
size_t conn_write(struct conn *c, const uint8_t *data, size_t len);

// Looks at a piece of a control frame: prepares a pong for a ping, dies on a close.
void conn_take_control(struct conn *c, const struct ws_piece *piece);

// Sends a prepared pong; call it only between frames. False: the kernel's buffer is full.
bool conn_flush_pong(struct conn *c);

#endif
