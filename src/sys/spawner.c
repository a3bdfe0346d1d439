// SPDX-License-Identifier: Apache-2.0
//   we ──request──► spawner ──fork, exec──► program
//      ◄──answer, descriptors──
//
// One datagram asks and one answers, and who asks waits: starting a process takes less than a
// millisecond, and all else nothing.
//
// 1. Only children of the spawner's own are told anything or waited for: they are in its table.
// 2. A child stays in the table until it was reaped; who loses interest says so (ABANDON), and it
//    is reaped when it has ended.
// 3. The spawner takes no notice of signals that are sent to all of a service's processes: as long
//    as we drain, programs run to their end. It ends when our end of the socket is closed, however
//    we ended; what is contained dies with it (sys/spawn.c).
#include "sys/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "sys/errors.h"
#include "sys/privileges.h"

#define WORDS_MAX 4096                 // arguments and variables of one program
#define REQUEST_BYTES_MAX (128 * 1024) // what a socket's buffer takes at once
#define CHILDREN_MAX 1024
#define SOCKET_FD 3
#define DESCRIPTORS 3 // handle, output, report

enum operation { SPAWN, TELL, REAP };

struct request {
    enum operation operation;
    enum sys_spawner_signal signal;
    int pid;
    bool contained;
    bool has_identity;
    bool has_cwd;
    unsigned argument_count;
    unsigned variable_count;
    struct sys_identity identity;
    // Arguments, variables and the directory follow, each ended by a NUL.
};

struct answer {
    enum weir_result result;
    int pid;
    struct sys_exit exit;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int spawner_fd = -1;

// ---- In the spawner

struct kept_child {
    struct sys_child child; // pid 0: free
    bool abandoned;
};

struct spawner {
    struct kept_child children[CHILDREN_MAX];
    union {
        struct request request;
        char bytes[sizeof(struct request) + REQUEST_BYTES_MAX];
    } in;
};

static struct kept_child *find_child(struct spawner *spawner, int pid)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        if (spawner->children[i].child.pid == pid) {
            return &spawner->children[i];
        }
    }
    return NULL;
}

static void forget_child(struct kept_child *kept)
{
    sys_child_close(&kept->child);
    *kept = (struct kept_child){0};
}

static void reap_abandoned(struct spawner *spawner)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        struct kept_child *kept = &spawner->children[i];
        struct sys_exit exit;
        if (kept->abandoned && sys_child_reap_here(&kept->child, &exit) != WEIR_AGAIN) {
            forget_child(kept);
        }
    }
}

// Sets words to the next count strings of *at; false when they are not there.
static bool take_words(char **at, const char *end, unsigned count, const char **words)
{
    for (unsigned i = 0; i < count; i++) {
        char *nul = memchr(*at, '\0', (size_t)(end - *at));
        if (nul == NULL) {
            return false;
        }
        words[i] = *at;
        *at = nul + 1;
    }
    words[count] = NULL;
    return true;
}

static enum weir_result spawn_asked(
    struct spawner *spawner, size_t len, struct answer *answer, int fds[DESCRIPTORS])
{
    static const char *arguments[WORDS_MAX + 1];
    static const char *variables[WORDS_MAX + 1];
    const char *directory[2] = {NULL, NULL};
    const struct request *request = &spawner->in.request;
    char *at = spawner->in.bytes + sizeof *request;
    const char *end = spawner->in.bytes + len;
    struct kept_child *kept = find_child(spawner, 0);
    if (request->argument_count == 0 || request->argument_count > WORDS_MAX ||
        request->variable_count > WORDS_MAX || request->identity.group_count < 0 ||
        request->identity.group_count > SYS_USER_GROUPS_MAX ||
        !take_words(&at, end, request->argument_count, arguments) ||
        !take_words(&at, end, request->variable_count, variables) ||
        !take_words(&at, end, request->has_cwd ? 1 : 0, directory)) {
        return WEIR_INVALID;
    }
    if (kept == NULL) {
        return WEIR_FULL;
    }
    enum weir_result result = sys_spawn_here(
        &(struct sys_spawn_options){
            .argv = arguments,
            .env = variables,
            .cwd = directory[0],
            .contained = request->contained,
        },
        request->has_identity ? &request->identity : NULL, &kept->child);
    if (result == WEIR_OK) {
        answer->pid = kept->child.pid;
        fds[0] = kept->child.handle;
        fds[1] = kept->child.output;
        fds[2] = kept->child.report;
    } else {
        kept->child.pid = 0;
    }
    return result;
}

static void tell_asked(struct spawner *spawner)
{
    struct kept_child *kept = find_child(spawner, spawner->in.request.pid);
    if (kept != NULL && kept->child.pid > 0) {
        sys_child_tell_here(&kept->child, spawner->in.request.signal);
        kept->abandoned = kept->abandoned || spawner->in.request.signal == SPAWNER_ABANDON;
    }
}

static enum weir_result reap_asked(struct spawner *spawner, struct answer *answer)
{
    struct kept_child *kept = find_child(spawner, spawner->in.request.pid);
    if (kept == NULL || kept->child.pid == 0) {
        return WEIR_NOT_FOUND;
    }
    enum weir_result result = sys_child_reap_here(&kept->child, &answer->exit);
    if (result != WEIR_AGAIN) {
        forget_child(kept);
    }
    return result;
}

static bool send_answer(const struct answer *answer, const int fds[DESCRIPTORS])
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    } control = {0};
    struct iovec bytes = {(void *)(uintptr_t)answer, sizeof *answer};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (fds[0] >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int) * DESCRIPTORS);
        memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * DESCRIPTORS);
    }
    return sendmsg(SOCKET_FD, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *answer;
}

static bool serve_one(struct spawner *spawner)
{
    struct answer answer = {.result = WEIR_OK};
    int fds[DESCRIPTORS] = {-1, -1, -1};
    ssize_t len = recv(SOCKET_FD, spawner->in.bytes, sizeof spawner->in.bytes, 0);
    if (len < 0 && errno == EINTR) {
        return true;
    }
    if (len < (ssize_t)sizeof(struct request)) {
        return false; // the other end is closed
    }
    reap_abandoned(spawner);
    switch (spawner->in.request.operation) {
    case SPAWN:
        answer.result = spawn_asked(spawner, (size_t)len, &answer, fds);
        break;
    case TELL:
        tell_asked(spawner);
        break;
    case REAP:
        answer.result = reap_asked(spawner, &answer);
        break;
    }
    bool sent = send_answer(&answer, fds);
    if (fds[1] >= 0) {
        close(fds[1]); // who asked reads it
    }
    return sent;
}

static _Noreturn void run_spawner(int fd, const struct sys_identity *become)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        signal(ignored[i], SIG_IGN); // a program gets them as at login
    }
    struct spawner *spawner = mem_zalloc(sizeof *spawner);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool good = spawner != NULL && null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(null_fd, 1) == 1 &&
                (fd == SOCKET_FD ? fcntl(fd, F_SETFD, FD_CLOEXEC) == 0
                                 : dup3(fd, SOCKET_FD, O_CLOEXEC) == SOCKET_FD) &&
                (become == NULL || sys_become(become, 0) == WEIR_OK);
    (void)close_range(SOCKET_FD + 1, ~0u, 0);
    (void)prctl(PR_SET_NAME, "weir-spawner");
    while (good && serve_one(spawner)) {
    }
    _exit(good ? 0 : 1);
}

// ---- In the process that asks

enum weir_result sys_spawner_open(const struct sys_identity *become)
{
    int ends[2];
    weir_assert(spawner_fd < 0);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return sys_result_of_errno(errno);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_spawner(ends[1], become);
    }
    enum weir_result result = pid < 0 ? sys_result_of_errno(errno) : WEIR_OK;
    close(ends[1]);
    if (result == WEIR_OK) {
        spawner_fd = ends[0];
    } else {
        close(ends[0]);
    }
    return result;
}

bool sys_spawner_is_open(void)
{
    return spawner_fd >= 0;
}

void sys_spawner_close(void)
{
    if (spawner_fd >= 0) {
        close(spawner_fd);
        spawner_fd = -1;
    }
}

// The descriptors that came with an answer; fewer when we have no room for them.
static unsigned take_descriptors(struct msghdr *message, int fds[DESCRIPTORS])
{
    const struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (head == NULL || head->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    count = count < DESCRIPTORS ? count : DESCRIPTORS;
    memcpy(fds, CMSG_DATA(head), count * sizeof(int));
    return (unsigned)count;
}

static ssize_t receive(struct msghdr *message)
{
    ssize_t len;
    do {
        len = recvmsg(spawner_fd, message, MSG_CMSG_CLOEXEC);
    } while (len < 0 && errno == EINTR);
    return len;
}

static enum weir_result ask(
    struct slice question, struct answer *ret_answer, int fds[DESCRIPTORS], unsigned *ret_fd_count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    } control = {0};
    struct iovec in = {ret_answer, sizeof *ret_answer};
    struct msghdr message = {.msg_iov = &in,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    enum weir_result result = WEIR_OK;
    pthread_mutex_lock(&lock);
    if (send(spawner_fd, question.at, question.len, MSG_NOSIGNAL) < 0) {
        result = errno == EMSGSIZE ? WEIR_TOO_LARGE : WEIR_RESET;
    } else if (receive(&message) != (ssize_t)sizeof *ret_answer) {
        result = WEIR_RESET;
    }
    pthread_mutex_unlock(&lock);
    *ret_fd_count = result == WEIR_OK ? take_descriptors(&message, fds) : 0;
    return result;
}

static enum weir_result ask_about(
    const struct sys_child *child, struct request request, struct answer *ret_answer)
{
    int fds[DESCRIPTORS];
    unsigned fd_count;
    request.pid = child->pid;
    return ask(slice_of((const char *)&request, sizeof request), ret_answer, fds, &fd_count);
}

// Words with the NUL behind them.
static void put_words(struct buf *out, const char *const *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)buf_append(out, words[i], strlen(words[i]) + 1); // out->failed is looked at
    }
}

static unsigned count_words(const char *const *words)
{
    unsigned count = 0;
    while (words != NULL && words[count] != NULL) {
        count++;
    }
    return count;
}

// False: it is too long, or there is no memory.
static bool put_request(
    const struct sys_spawn_options *options, const struct sys_identity *identity, struct buf *out)
{
    struct request request = {.operation = SPAWN,
        .contained = options->contained,
        .has_identity = identity != NULL,
        .has_cwd = options->cwd != NULL,
        .argument_count = count_words(options->argv),
        .variable_count = count_words(options->env)};
    if (identity != NULL) {
        request.identity = *identity;
    }
    (void)buf_append(out, &request, sizeof request);
    put_words(out, options->argv, request.argument_count);
    put_words(out, options->env, request.variable_count);
    put_words(out, &options->cwd, request.has_cwd ? 1 : 0);
    return !out->failed && request.argument_count <= WORDS_MAX &&
           request.variable_count <= WORDS_MAX;
}

static enum weir_result finish_spawn(const struct sys_spawn_options *options,
    const struct answer *answer, const int fds[DESCRIPTORS], unsigned fd_count,
    struct sys_child *ret_child)
{
    *ret_child = (struct sys_child){.pid = answer->pid, .contained = options->contained};
    if (fd_count == DESCRIPTORS) {
        ret_child->handle = fds[0];
        ret_child->output = fds[1];
        ret_child->report = fds[2];
        return WEIR_OK;
    }
    for (unsigned i = 0; i < fd_count; i++) {
        close(fds[i]);
    }
    sys_spawner_tell(ret_child, SPAWNER_ABANDON);
    return WEIR_DESCRIPTORS;
}

enum weir_result sys_spawner_spawn(const struct sys_spawn_options *options,
    const struct sys_identity *identity, struct sys_child *ret_child)
{
    struct buf question = BUF_INIT(sizeof(struct request) + REQUEST_BYTES_MAX);
    struct answer answer;
    int fds[DESCRIPTORS];
    unsigned fd_count = 0;
    weir_assert(options->stdio == NULL); // nobody who has a spawner gives a program its sockets
    enum weir_result result = put_request(options, identity, &question)
                                  ? ask(buf_slice(&question), &answer, fds, &fd_count)
                                  : WEIR_TOO_LARGE;
    buf_reset(&question);
    if (result == WEIR_OK) {
        result = answer.result;
    }
    return result == WEIR_OK ? finish_spawn(options, &answer, fds, fd_count, ret_child) : result;
}

void sys_spawner_tell(const struct sys_child *child, enum sys_spawner_signal signal)
{
    struct answer answer;
    enum weir_result ignored =
        ask_about(child, (struct request){.operation = TELL, .signal = signal}, &answer);
    (void)ignored; // a spawner that is gone has taken the program along
}

enum weir_result sys_spawner_reap(const struct sys_child *child, struct sys_exit *ret_exit)
{
    struct answer answer;
    enum weir_result result = ask_about(child, (struct request){.operation = REAP}, &answer);
    if (result == WEIR_OK) {
        result = answer.result;
    }
    if (result == WEIR_OK) {
        *ret_exit = answer.exit;
    }
    return result;
}
