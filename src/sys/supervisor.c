// SPDX-License-Identifier: Apache-2.0
// Our own few lines instead of libsystemd: the protocol is three variables and one datagram, and is
// promised to stay (systemd.io/PORTABILITY_AND_STABILITY).
#include "sys/supervisor.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/clock.h"

#define FIRST_FD 3 // SD_LISTEN_FDS_START
#define SOCKETS_MAX 256
#define NAME_SIZE 64

struct passed {
    int fd; // -1 once it is taken
    char name[NAME_SIZE];
};

static struct passed passed[SOCKETS_MAX];
static unsigned passed_count;
static struct sockaddr_un notify = {.sun_family = AF_UNIX};
static socklen_t notify_len; // 0: nobody wants to know

// The nth of the names, which have colons between them.
static void copy_name(const char *names, unsigned nth, char *out)
{
    while (nth > 0 && names != NULL) {
        names = strchr(names, ':');
        names = names == NULL ? NULL : names + 1;
        nth--;
    }
    size_t len = names == NULL ? 0 : strcspn(names, ":");
    snprintf(out, NAME_SIZE, "%.*s", (int)(len < NAME_SIZE ? len : NAME_SIZE - 1),
        names == NULL ? "" : names);
}

static void find_sockets(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid()) {
        return;
    }
    unsigned long wanted = strtoul(count, NULL, 10);
    passed_count = wanted < SOCKETS_MAX ? (unsigned)wanted : SOCKETS_MAX;
    for (unsigned i = 0; i < passed_count; i++) {
        passed[i].fd = FIRST_FD + (int)i;
        copy_name(names, i, passed[i].name);
    }
}

static void find_notify_socket(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len >= sizeof notify.sun_path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(notify.sun_path, path, len);
    notify.sun_path[0] = path[0] == '@' ? '\0' : '/';
    notify_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void sys_supervisor_open(void)
{
    static const char *const names[] = {
        "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"};
    find_sockets();
    find_notify_socket();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsetenv(names[i]);
    }
}

unsigned sys_supervisor_take(const char *name, int *fds, unsigned max)
{
    unsigned count = 0;
    for (unsigned i = 0; i < passed_count; i++) {
        if (passed[i].fd < 0 || strcmp(passed[i].name, name) != 0) {
            continue;
        }
        if (count < max && sys_adopt(passed[i].fd) == WEIR_OK) {
            fds[count] = passed[i].fd;
            passed[i].fd = -1;
        }
        count++;
    }
    return count;
}

const char *sys_supervisor_left(unsigned nth)
{
    for (unsigned i = 0; i < passed_count; i++) {
        if (passed[i].fd >= 0 && nth-- == 0) {
            return passed[i].name;
        }
    }
    return NULL;
}

void sys_supervisor_tell(const char *state)
{
    if (notify_len == 0) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    // Who does not listen is none the wiser, and that is all.
    ssize_t sent = sendto(
        fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&notify, notify_len);
    (void)sent;
    close(fd);
}

void sys_supervisor_tell_reload(void)
{
    char text[64];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
        (unsigned long long)(sys_now_ns() / 1000));
    sys_supervisor_tell(text);
}
