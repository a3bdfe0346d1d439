// SPDX-License-Identifier: Apache-2.0
#include "sys/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/errors.h"
#include "sys/fault.h"

#define BACKLOG 4096 // the kernel cuts it to net.core.somaxconn

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t to_kernel(const struct sys_address *address, union any_address *out)
{
    memset(out, 0, sizeof *out);
    if (ip_is_v4(&address->ip)) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(address->port);
        memcpy(&out->v4.sin_addr, address->ip.bytes + 12, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(address->port);
    memcpy(&out->v6.sin6_addr, address->ip.bytes, 16);
    return sizeof out->v6;
}

static void from_kernel(const union any_address *in, struct sys_address *out)
{
    if (in->any.sa_family == AF_INET) {
        out->ip = ip_from_v4((const uint8_t *)&in->v4.sin_addr);
        out->port = ntohs(in->v4.sin_port);
        return;
    }
    out->ip = ip_from_v6((const uint8_t *)&in->v6.sin6_addr);
    out->port = ntohs(in->v6.sin6_port);
}

enum weir_result sys_address_parse(const char *host, uint16_t port, struct sys_address *ret_address)
{
    struct slice text = slice_str(host);
    ret_address->port = port;
    if (text.len == 0) {
        text = SLICE("0.0.0.0");
    }
    if (slice_eq(text, SLICE("localhost"))) {
        text = SLICE("127.0.0.1");
    }
    if (text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']') {
        text = slice_of(text.at + 1, text.len - 2);
    }
    return ip_parse(text, &ret_address->ip);
}

static enum weir_result set_flag(int fd, int level, int name)
{
    int on = 1;
    if (setsockopt(fd, level, name, &on, sizeof on) != 0) {
        return sys_result_of_errno(errno);
    }
    return WEIR_OK;
}

enum weir_result sys_socket(int family, int type, int protocol, int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

enum weir_result sys_spare_descriptor(int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

static pthread_once_t pacing_once = PTHREAD_ONCE_INIT;
static bool pacing; // is what connections of this machine do by default

static void ask_for_pacing(void)
{
    char name[16] = "";
    socklen_t len = sizeof name - 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        pacing = getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 &&
                 strncmp(name, "bbr", 3) == 0;
        close(fd);
    }
}

// BBR lets bytes go by a timer, which spares the routers of a network. Within one machine there are
// none, and the timer costs a sixth of what bulk can do. Reno is there for everybody, always.
static void avoid_pacing(int fd)
{
    static const char other[] = "reno";
    pthread_once(&pacing_once, ask_for_pacing);
    if (pacing) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, other, sizeof other - 1);
    }
}

// What a socket on loopback accepts is like it.
static enum weir_result open_tcp(const struct sys_address *address, int *ret_fd)
{
    int family = ip_is_v4(&address->ip) ? AF_INET : AF_INET6;
    enum weir_result result = sys_socket(family, SOCK_STREAM, 0, ret_fd);
    if (result == WEIR_OK && ip_is_loopback(&address->ip)) {
        avoid_pacing(*ret_fd);
    }
    return result;
}

static enum weir_result set_listen_flags(int fd, const struct sys_address *address, bool shared)
{
    int off = 0;
    enum weir_result result = set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (result == WEIR_OK && shared) {
        result = set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
    }
    if (result == WEIR_OK && !ip_is_v4(&address->ip) &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        result = sys_result_of_errno(errno);
    }
    return result;
}

static enum weir_result bind_and_listen(int fd, struct sys_address *address)
{
    union any_address kernel;
    socklen_t len = to_kernel(address, &kernel);
    if (bind(fd, &kernel.any, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &kernel.any, &len) != 0) {
        // Of a socket that connects, the same means that the peer is out of reach.
        return errno == EADDRNOTAVAIL ? WEIR_NO_ADDRESS : sys_result_of_errno(errno);
    }
    from_kernel(&kernel, address);
    return WEIR_OK;
}

static enum weir_result listen_once(struct sys_address *address, bool shared, int *ret_fd)
{
    int fd;
    enum weir_result result = open_tcp(address, &fd);
    if (result != WEIR_OK) {
        return result;
    }
    result = set_listen_flags(fd, address, shared);
    if (result == WEIR_OK) {
        result = bind_and_listen(fd, address);
    }
    if (result != WEIR_OK) {
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return WEIR_OK;
}

static enum weir_result listen_at(struct sys_address *address, bool shared, int *ret_fd)
{
    static const struct ip any_v6;
    static const uint8_t any_v4[4];
    enum weir_result result = listen_once(address, shared, ret_fd);
    if (result == WEIR_OK || result == WEIR_IN_USE || result == WEIR_PERMISSION ||
        !ip_eq(&address->ip, &any_v6)) {
        return result;
    }
    address->ip = ip_from_v4(any_v4);
    return listen_once(address, shared, ret_fd);
}

enum weir_result sys_listen(struct sys_address *address, int *ret_fd)
{
    return listen_at(address, true, ret_fd);
}

enum weir_result sys_listen_alone(struct sys_address *address, int *ret_fd)
{
    return listen_at(address, false, ret_fd);
}

enum weir_result sys_listening_address(int fd, struct sys_address *ret_address)
{
    union any_address own;
    socklen_t len = sizeof own;
    int protocol = 0;
    int listens = 0;
    socklen_t option_len = sizeof listens;
    if (getsockname(fd, &own.any, &len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &option_len) != 0 || listens == 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &option_len) != 0 ||
        protocol != IPPROTO_TCP) {
        return WEIR_INVALID;
    }
    from_kernel(&own, ret_address);
    return WEIR_OK;
}

enum weir_result sys_duplicate(int fd, int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_fd = copy;
    return WEIR_OK;
}

bool sys_is_listened_on(const struct sys_address *address)
{
    int fd;
    if (address->port == 0 || open_tcp(address, &fd) != WEIR_OK) {
        return false;
    }
    // Without SO_REUSEPORT a listener in our way shows; without listen() nobody can reach this one.
    union any_address kernel;
    socklen_t len = to_kernel(address, &kernel);
    bool taken = set_listen_flags(fd, address, false) == WEIR_OK &&
                 bind(fd, &kernel.any, len) != 0 && errno == EADDRINUSE;
    close(fd);
    return taken;
}

enum weir_result sys_accept(int fd, int *ret_fd, struct sys_address *ret_peer)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    union any_address peer;
    memset(&peer, 0, sizeof peer);
    socklen_t len = sizeof peer;
    int accepted = accept4(fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) {
        return sys_result_of_errno(errno);
    }
    from_kernel(&peer, ret_peer);
    *ret_fd = accepted;
    return WEIR_OK;
}

static enum weir_result connect_now(const struct sys_address *address, int fd)
{
    union any_address kernel;
    socklen_t len = to_kernel(address, &kernel);
    if (connect(fd, &kernel.any, len) == 0) {
        return WEIR_OK;
    }
    return errno == EALREADY ? WEIR_AGAIN : sys_result_of_errno(errno);
}

static enum weir_result begin_connect(
    const struct sys_address *address, bool acknowledge, int *ret_fd)
{
    int fd;
    enum weir_result result = open_tcp(address, &fd);
    if (result != WEIR_OK) {
        return result;
    }
    if (!acknowledge) {
        int off = 0;
        // Without it there is one packet more.
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    }
    result = connect_now(address, fd);
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return WEIR_OK;
}

enum weir_result sys_connect(const struct sys_address *address, int *ret_fd)
{
    return begin_connect(address, true, ret_fd);
}

enum weir_result sys_connect_to_send(const struct sys_address *address, int *ret_fd)
{
    return begin_connect(address, false, ret_fd);
}

enum weir_result sys_connect_look(const struct sys_address *address, int fd)
{
    return connect_now(address, fd);
}

void sys_acknowledge(int fd)
{
    int on = 1;
    // It would happen anyway, only later.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

// False: the path does not fit.
static bool unix_address(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_size)
{
    size_t len = strlen(path);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof ret_address->sun_path) {
        return false;
    }
    memcpy(ret_address->sun_path, path, len);
    if (path[0] == '@') {
        ret_address->sun_path[0] = '\0';
    }
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static bool is_socket(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

void sys_unlisten_unix(const char *path)
{
    if (is_socket(path)) {
        (void)unlink(path); // what stays is replaced by the next one
    }
}

enum weir_result sys_listen_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address;
    socklen_t size;
    int fd;
    if (!unix_address(path, &address, &size)) {
        return WEIR_TOO_LONG;
    }
    enum weir_result result = sys_socket(AF_UNIX, SOCK_STREAM, 0, &fd);
    if (result != WEIR_OK) {
        return result;
    }
    sys_unlisten_unix(path);
    // The mode of the descriptor becomes that of the path: at no moment is it open to others.
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, size) != 0 ||
        listen(fd, SOMAXCONN) != 0) {
        result = sys_result_of_errno(errno);
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return WEIR_OK;
}

enum weir_result sys_connect_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address;
    socklen_t size;
    int fd;
    if (!unix_address(path, &address, &size)) {
        return WEIR_TOO_LONG;
    }
    enum weir_result result = sys_socket(AF_UNIX, SOCK_STREAM, 0, &fd);
    if (result != WEIR_OK) {
        return result;
    }
    if (connect(fd, (const struct sockaddr *)&address, size) != 0) {
        result = errno == EAGAIN ? WEIR_REFUSED : sys_result_of_errno(errno); // its queue is full
        close(fd);
        return result;
    }
    *ret_fd = fd;
    return WEIR_OK;
}

enum weir_result sys_adopt(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (sys_fault_now()) {
        return WEIR_INVALID;
    }
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return sys_result_of_errno(errno);
    }
    return WEIR_OK;
}

enum weir_result sys_connect_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return sys_result_of_errno(errno);
    }
    return error == 0 ? WEIR_OK : sys_result_of_errno(error);
}

enum weir_result sys_set_nodelay(int fd)
{
    if (sys_fault_now()) {
        return WEIR_RESET;
    }
    return set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
}

void sys_watch_peer(int fd)
{
    static const struct {
        int level;
        int name;
        int value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        // Without them a dead peer costs memory for longer, and nothing else.
        (void)setsockopt(
            fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
    }
}

enum weir_result sys_tcp_health(int fd, struct sys_tcp_health *ret_health)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return sys_result_of_errno(errno);
    }
    ret_health->unacknowledged = info.tcpi_unacked;
    ret_health->timeouts = info.tcpi_retransmits;
    return WEIR_OK;
}

static enum weir_result receive(int fd, void *bytes, size_t len, int flags, size_t *ret_len)
{
    if (sys_fault_now()) {
        return WEIR_RESET;
    }
    ssize_t got = recv(fd, bytes, len, flags);
    if (got < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_len = (size_t)got;
    return got == 0 ? WEIR_CLOSED : WEIR_OK;
}

enum weir_result sys_recv(int fd, void *bytes, size_t len, size_t *ret_len)
{
    return receive(fd, bytes, len, 0, ret_len);
}

enum weir_result sys_peek(int fd, void *bytes, size_t len, size_t *ret_len)
{
    return receive(fd, bytes, len, MSG_PEEK, ret_len);
}

void sys_set_receive_low(int fd, size_t len)
{
    int low = (int)len;
    // Without it the loop only wakes more often.
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
}

enum weir_result sys_recv_vector(int fd, struct iovec *parts, size_t count, size_t *ret_len)
{
    if (sys_fault_now()) {
        return WEIR_RESET;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t got = recvmsg(fd, &message, 0);
    if (got < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_len = (size_t)got;
    return got == 0 ? WEIR_CLOSED : WEIR_OK;
}

enum weir_result sys_send_vector(int fd, struct iovec *parts, size_t count, size_t *ret_len)
{
    if (sys_fault_now()) {
        return WEIR_RESET;
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t done = count == 1 ? send(fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL)
                              : sendmsg(fd, &message, MSG_NOSIGNAL);
    if (done < 0) {
        return sys_result_of_errno(errno);
    }
    *ret_len = (size_t)done;
    return WEIR_OK;
}

static pthread_once_t kernel_tls_once = PTHREAD_ONCE_INIT;
static bool kernel_tls;

// A socket without a connection cannot have it, but is told so only where anybody can: else the
// name is not known (ENOENT).
static void ask_for_kernel_tls(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        kernel_tls =
            setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 || errno == ENOTCONN;
        close(fd);
    }
}

bool sys_has_kernel_tls(void)
{
    pthread_once(&kernel_tls_once, ask_for_kernel_tls);
    return kernel_tls;
}

void sys_shutdown_send(int fd)
{
    // The peer may be gone already; the next read says so.
    (void)shutdown(fd, SHUT_WR);
}

void sys_close(int fd)
{
    close(fd);
}

void sys_close_hard(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

enum weir_result sys_socket_pair(int *ret_ours, int *ret_other)
{
    int fds[2];
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return sys_result_of_errno(errno);
    }
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ret_ours = fds[0];
    *ret_other = fds[1];
    return WEIR_OK;
}
