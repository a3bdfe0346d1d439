// SPDX-License-Identifier: Apache-2.0
// Non-blocking TCP sockets. Every descriptor is close-on-exec and never raises SIGPIPE. Where the
// machine's congestion control is BBR, sockets on loopback use Reno: they need not be paced.
#ifndef WEIR_SYS_SOCKET_H
#define WEIR_SYS_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/ip.h"
#include "base/result.h"

struct sys_address {
    struct ip ip;
    uint16_t port;
};

// Resolves a literal address or "localhost" and "" (all addresses, IPv4). No DNS is asked.
enum weir_result sys_address_parse(
    const char *host, uint16_t port, struct sys_address *ret_address) WEIR_MUST_CHECK;

// A non-blocking socket as socket(2) makes it, for libraries that bring their own addresses.
enum weir_result sys_socket(int family, int type, int protocol, int *ret_fd) WEIR_MUST_CHECK;

// A descriptor that is good for nothing but to be closed when another one is needed.
enum weir_result sys_spare_descriptor(int *ret_fd) WEIR_MUST_CHECK;

// A listening socket with SO_REUSEPORT, so that each worker (and a new process beside an old one)
// has its own. *address gets the port the kernel chose when it asks for 0.
// [::] takes IPv4 too, and where there is no IPv6 it is 0.0.0.0.
enum weir_result sys_listen(struct sys_address *address, int *ret_fd) WEIR_MUST_CHECK;
// The same without SO_REUSEPORT: WEIR_IN_USE when anybody listens there.
enum weir_result sys_listen_alone(struct sys_address *address, int *ret_fd) WEIR_MUST_CHECK;
// Where a descriptor that came from outside listens. WEIR_INVALID: it is no TCP socket that does.
enum weir_result sys_listening_address(int fd, struct sys_address *ret_address) WEIR_MUST_CHECK;
// Another descriptor for the same socket, close-on-exec.
enum weir_result sys_duplicate(int fd, int *ret_fd) WEIR_MUST_CHECK;
// A listening Unix socket that only its owner and root may connect to. Replaces a socket that is at
// the path, not a file of another kind (WEIR_IN_USE). WEIR_TOO_LONG: the path is.
enum weir_result sys_listen_unix(const char *path, int *ret_fd) WEIR_MUST_CHECK;
// Takes the socket at a path away; the listening descriptor is the caller's.
void sys_unlisten_unix(const char *path);
// WEIR_AGAIN: nobody waits. WEIR_DESCRIPTORS: nobody can be taken now. WEIR_RESET: that one left.
enum weir_result sys_accept(int fd, int *ret_fd, struct sys_address *ret_peer) WEIR_MUST_CHECK;
// Begins to connect; writability tells the end, then sys_connect_result.
enum weir_result sys_connect(const struct sys_address *address, int *ret_fd) WEIR_MUST_CHECK;
// The same for who is going to send first, or to close: what ends the handshake goes with that, one
// packet less. The peer learns of the connection only then, 40 ms later at most.
enum weir_result sys_connect_to_send(
    const struct sys_address *address, int *ret_fd) WEIR_MUST_CHECK;
// How a connect fares: WEIR_AGAIN while it goes on. To where it was begun; not after its end.
enum weir_result sys_connect_look(const struct sys_address *address, int fd) WEIR_MUST_CHECK;
// Acknowledges what has come, and what comes, at once; for a while, as the kernel sees fit.
void sys_acknowledge(int fd);
enum weir_result sys_connect_result(int fd) WEIR_MUST_CHECK;
// The same to a Unix socket; a path in '@' is in the abstract namespace. WEIR_TOO_LONG: the path
// is.
enum weir_result sys_connect_unix(const char *path, int *ret_fd) WEIR_MUST_CHECK;
// Makes a descriptor that came from outside like ours: non-blocking, close-on-exec.
enum weir_result sys_adopt(int fd) WEIR_MUST_CHECK;

// Two that are connected with each other: ours does not block, the other one is for a program.
enum weir_result sys_socket_pair(int *ret_ours, int *ret_other) WEIR_MUST_CHECK;

// Small messages leave at once; on every data socket.
enum weir_result sys_set_nodelay(int fd) WEIR_MUST_CHECK;

// For peers that are silent for long: a dead one is noticed within a minute (keep-alive after 30 s,
// every 10 s, three times), or 30 s after data that it does not acknowledge.
void sys_watch_peer(int fd);
struct sys_tcp_health {
    unsigned unacknowledged; // segments
    unsigned timeouts;       // in a row, of the one that was sent first
};
enum weir_result sys_tcp_health(int fd, struct sys_tcp_health *ret_health) WEIR_MUST_CHECK;

// WEIR_CLOSED at the peer's end of stream.
enum weir_result sys_recv(int fd, void *bytes, size_t len, size_t *ret_len) WEIR_MUST_CHECK;
// As sys_recv, but the bytes stay in the socket.
enum weir_result sys_peek(int fd, void *bytes, size_t len, size_t *ret_len) WEIR_MUST_CHECK;
// The socket counts as readable only when it holds at least len bytes (1 is normal).
void sys_set_receive_low(int fd, size_t len);
enum weir_result sys_recv_vector(
    int fd, struct iovec *parts, size_t count, size_t *ret_len) WEIR_MUST_CHECK;
enum weir_result sys_send_vector(
    int fd, struct iovec *parts, size_t count, size_t *ret_len) WEIR_MUST_CHECK;
// Whether the kernel can encrypt TLS records itself; asked of it once.
bool sys_has_kernel_tls(void);
// We will send no more.
void sys_shutdown_send(int fd);
// Somebody listens there already, and may share it with us. False for port 0, and when it cannot be
// told.
bool sys_is_listened_on(const struct sys_address *address);
void sys_close(int fd);
// Closes so that the peer gets a reset and nothing stays in the kernel.
void sys_close_hard(int fd);

#endif
