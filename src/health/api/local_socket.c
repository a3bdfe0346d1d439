// SPDX-License-Identifier: Apache-2.0
// The path belongs to whoever holds a lock on PATH.lock, which the kernel gives back whatever
// happens to its holder: so what a crash left at the path may be replaced, and what another monitor
// serves there never is.
#include "health/api/local_socket.h"

#include <stdio.h>

#include "base/time.h"
#include "obs/log.h"
#include "sys/file.h"

#define LOOK_NS (2 * NS_PER_S)
#define LOCK_PATH_SIZE 4096

static void complain(struct local_socket *local, enum weir_result why)
{
    struct log_line line;
    if (local->complained) {
        return;
    }
    local->complained = true;
    log_begin(&line, LOG_HEALTH_SOCKET_FAILED);
    log_text(&line, "path", local->path);
    log_text(&line, "problem", weir_result_text(why));
    log_end(&line);
}

static enum weir_result take(struct local_socket *local)
{
    char lock_path[LOCK_PATH_SIZE];
    int fd;
    int len = snprintf(lock_path, sizeof lock_path, "%s.lock", local->path);
    if (len < 0 || (size_t)len >= sizeof lock_path) {
        return WEIR_TOO_LONG;
    }
    enum weir_result result = sys_file_lock(lock_path, 0, &local->lock_fd);
    if (result != WEIR_OK) {
        local->lock_fd = -1;
        return result;
    }
    result = sys_listen_unix(local->path, &fd);
    if (result == WEIR_OK) {
        result = http_server_open(&local->server, local->worker, local->options, fd);
    }
    if (result != WEIR_OK) {
        sys_close(local->lock_fd);
        local->lock_fd = -1;
    }
    return result;
}

static void on_look(struct timer *timer)
{
    struct local_socket *local = container_of(timer, struct local_socket, look);
    enum weir_result result = take(local);
    if (result == WEIR_OK) {
        return;
    }
    if (result != WEIR_TIMEOUT) { // that is: another monitor has it
        complain(local, result);
    }
    worker_arm_in(local->worker, timer, LOOK_NS);
}

void local_socket_start(struct local_socket *local, struct worker *worker, const char *path,
    const struct http_options *options)
{
    *local =
        (struct local_socket){.worker = worker, .path = path, .options = options, .lock_fd = -1};
    timer_init(&local->look, on_look);
    on_look(&local->look);
}

static void leave(struct local_socket *local)
{
    timer_cancel(&local->look);
    if (local->lock_fd >= 0) {
        sys_unlisten_unix(local->path);
        sys_close(local->lock_fd);
        local->lock_fd = -1;
    }
}

void local_socket_drain(struct local_socket *local)
{
    if (local->worker == NULL) {
        return;
    }
    leave(local);
    if (local->server.worker != NULL) {
        http_server_drain(&local->server);
    }
}

void local_socket_stop(struct local_socket *local)
{
    if (local->worker == NULL) {
        return;
    }
    leave(local);
    http_server_close(&local->server);
    local->worker = NULL;
}
