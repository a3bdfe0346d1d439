// SPDX-License-Identifier: Apache-2.0
// Signals: one handler writes the number into the pipe of each that waits for it. signalfd would
// need the signals blocked in every thread, those of a program around our library too.
#include "sys/notices.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sys/errors.h"
#include "sys/fault.h"

#define LISTENERS_MAX 16
#define SIGNALS_MAX 64
#define READS_MAX 4 // of a directory's events at once

// Their pipes stay open for good: a handler on another thread may be about to write.
static struct listener {
    int read_fd;
    atomic_int write_fd;
    _Atomic uint64_t signals; // by bit number - 1; 0: free
} listeners[LISTENERS_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned listener_count; // with a pipe
static unsigned waiting[SIGNALS_MAX];
static struct sigaction before[SIGNALS_MAX];

static void on_signal(int number)
{
    int error = errno;
    char byte = (char)number;
    for (int i = 0; i < LISTENERS_MAX; i++) {
        if ((atomic_load(&listeners[i].signals) >> (number - 1) & 1) != 0) {
            // A pipe that is full holds enough of them.
            ssize_t written = write(atomic_load(&listeners[i].write_fd), &byte, 1);
            (void)written;
        }
    }
    errno = error;
}

static struct listener *free_listener(void)
{
    for (unsigned i = 0; i < listener_count; i++) {
        if (atomic_load(&listeners[i].signals) == 0) {
            return &listeners[i];
        }
    }
    int ends[2];
    if (listener_count == LISTENERS_MAX || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return NULL;
    }
    struct listener *listener = &listeners[listener_count++];
    listener->read_fd = ends[0];
    atomic_store(&listener->write_fd, ends[1]);
    return listener;
}

static void wait_for(struct listener *listener, int number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    atomic_fetch_or(&listener->signals, UINT64_C(1) << (number - 1));
    if (waiting[number - 1]++ == 0) {
        (void)sigaction(number, &action, &before[number - 1]); // a signal that can be caught
    }
}

// ThreadSanitizer (gcc 12) makes room for a thread's signals when that thread waits for the first
// time, and loses one that comes meanwhile: one that is sent as soon as the log says that we have
// started.
static void wait_once(void)
{
#ifdef __SANITIZE_THREAD__
    usleep(0);
#endif
}

enum weir_result sys_signals_open(const int *numbers, size_t count, int *ret_fd)
{
    wait_once();
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    pthread_mutex_lock(&lock);
    struct listener *listener = free_listener();
    for (size_t i = 0; listener != NULL && i < count; i++) {
        wait_for(listener, numbers[i]);
    }
    pthread_mutex_unlock(&lock);
    if (listener == NULL) {
        return WEIR_DESCRIPTORS;
    }
    *ret_fd = listener->read_fd;
    return WEIR_OK;
}

int sys_signals_take(int fd)
{
    char byte;
    return read(fd, &byte, 1) == 1 ? byte : 0;
}

static void stop_waiting(struct listener *listener)
{
    for (int i = 0; i < SIGNALS_MAX; i++) {
        if ((atomic_load(&listener->signals) >> i & 1) != 0 && --waiting[i] == 0) {
            (void)sigaction(i + 1, &before[i], NULL);
        }
    }
    atomic_store(&listener->signals, 0);
    while (sys_signals_take(listener->read_fd) != 0) {
        // nobody wants to know any more
    }
}

void sys_signals_close(int fd)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < listener_count; i++) {
        if (listeners[i].read_fd == fd) {
            stop_waiting(&listeners[i]);
        }
    }
    pthread_mutex_unlock(&lock);
}

void sys_signals_renounce(const int *numbers, size_t count)
{
    static const struct sigaction nothing = {.sa_handler = SIG_IGN};
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++) {
        before[numbers[i] - 1] = nothing;
        if (waiting[numbers[i] - 1] == 0) {
            (void)sigaction(numbers[i], &nothing, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
}

enum weir_result sys_directory_open(const char *path, int *ret_fd)
{
    if (sys_fault_now()) {
        return WEIR_DESCRIPTORS;
    }
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        return sys_result_of_errno(errno);
    }
    // Who writes and does not close, a log for one, is not heard: that would be every line of it.
    const uint32_t events =
        IN_ATTRIB | IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
    if (inotify_add_watch(fd, path, events) < 0) {
        int error = errno;
        close(fd);
        return sys_result_of_errno(error);
    }
    *ret_fd = fd;
    return WEIR_OK;
}

// An overflow names nobody.
static bool concerns(const struct inotify_event *event, const char *name)
{
    return (event->mask & IN_Q_OVERFLOW) != 0 || (event->len > 0 && strcmp(event->name, name) == 0);
}

bool sys_directory_take(int fd, const char *name)
{
    _Alignas(struct inotify_event) char bytes[4096 + sizeof(struct inotify_event) + NAME_MAX + 1];
    bool found = false;
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t len = read(fd, bytes, sizeof bytes);
        if (len <= 0) {
            break;
        }
        for (const char *at = bytes; at < bytes + len;) {
            const struct inotify_event *event = (const void *)at;
            found = found || concerns(event, name);
            at += sizeof *event + event->len;
        }
    }
    return found;
}
