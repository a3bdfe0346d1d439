// SPDX-License-Identifier: Apache-2.0
// The filter sees segments from their TCP header on. A listening socket's filter is asked for the
// first packet and for the one that ends the handshake; sockets that come out of it inherit the
// filter, and get no packet that it drops.
#include "sys/last_call.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "sys/errors.h"
#include "sys/fault.h"

#define TCP_FLAGS_AT 13 // in the header (RFC 9293 section 3.1)
#define FLAG_SYN 0x02
#define FLAG_ACK 0x10
#define ANSWER_SIZE 8192
#define ANSWER_WAIT_US 20000 // the kernel answers from within send; this is for the unexpected

enum weir_result sys_end_handshakes(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FLAG_SYN | FLAG_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (sys_fault_now()) {
        return WEIR_MEMORY;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
        return sys_result_of_errno(errno);
    }
    return WEIR_OK;
}

// port: in the network's order.
static bool ask(int fd, uint8_t family, uint16_t port)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } question = {
        .head = {.nlmsg_len = sizeof question,
            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = 1u << TCP_SYN_RECV,
            .id.idiag_sport = port},
    };
    return send(fd, &question, sizeof question, 0) == (ssize_t)sizeof question;
}

// Whether the first message of the answer is anything but the end of an empty list. The rest of it
// goes with the socket.
static bool answer_is_not_empty(int fd)
{
    union {
        struct nlmsghdr head;
        char bytes[ANSWER_SIZE];
    } answer;
    ssize_t len = recv(fd, &answer, sizeof answer, 0);
    return len < (ssize_t)sizeof answer.head || answer.head.nlmsg_type != NLMSG_DONE;
}

static bool family_has_handshakes(uint8_t family, uint16_t port)
{
    struct timeval wait = {.tv_usec = ANSWER_WAIT_US};
    if (sys_fault_now()) {
        return true;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        return true;
    }
    bool some = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
                !ask(fd, family, port) || answer_is_not_empty(fd);
    close(fd);
    return some;
}

bool sys_has_handshakes(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } own;
    socklen_t len = sizeof own;
    if (getsockname(fd, &own.any, &len) != 0) {
        return true;
    }
    uint16_t port = own.any.sa_family == AF_INET ? own.v4.sin_port : own.v6.sin6_port;
    return family_has_handshakes(AF_INET, port) || family_has_handshakes(AF_INET6, port);
}
