// SPDX-License-Identifier: Apache-2.0
//   resolving ──► racing ──► connected
//                  │  ▲ 250 ms passed, or the newest attempt failed: one more address
//                  └──┘
//
// 1. Attempt i is for address i; those below ip_next were started.
// 2. Without an attempt under way and an address left, the check has ended.
// 3. This machine connects before connect(2) returns, though that does not say so. It is asked once
//    more, and the socket is watched only for what comes after.
#include "health/checks/race.h"

#include "base/time.h"

#define HEAD_START_NS (250 * NS_PER_MS)
#define NAME_SIZE 256

static void next_address(struct race *race);

static void close_losers(struct race *race)
{
    timer_cancel(&race->head_start);
    for (size_t i = 0; i < race->ip_next; i++) {
        if (&race->attempts[i] != race->won) {
            swarm_close(&race->attempts[i].socket);
        }
    }
}

static void win(struct race *race, struct race_attempt *attempt, unsigned events)
{
    struct check *check = race->check;
    race->won = attempt;
    close_losers(race);
    check->record.phases.connect_ns = check_elapsed_ns(check);
    unsigned wanted = race->connected(race, events);
    if (!check->ended && !attempt->socket.watched) {
        enum weir_result result = swarm_watch(&attempt->socket, wanted);
        if (result != WEIR_OK) {
            check_end_result(check, "connect", result);
        }
    }
}

static void on_ready(struct swarm_socket *socket, unsigned events)
{
    struct race_attempt *attempt = container_of(socket, struct race_attempt, socket);
    struct race *race = attempt->race;
    if (race->won != NULL) {
        race->ready(race, events);
        return;
    }
    if ((events & SYS_READY_WRITE) == 0) {
        return;
    }
    enum weir_result result =
        (events & SYS_READY_ERROR) != 0 ? sys_connect_result(socket->fd) : WEIR_OK;
    if (result == WEIR_OK) {
        win(race, attempt, events);
        return;
    }
    race->last = result;
    race->under_way--;
    swarm_close(socket);
    next_address(race);
}

// WEIR_OK: connected already; WEIR_AGAIN: under way.
static enum weir_result start_attempt(struct race *race, size_t i)
{
    struct check_room *room = race->check->room;
    struct race_attempt *attempt = &race->attempts[i];
    struct sys_address address = {race->ips[i], race->port};
    int fd;
    enum weir_result result = WEIR_OK;
    attempt->race = race;
    if (room->swarm == NULL) {
        result = swarm_new(room->worker, &room->swarm);
    }
    if (result == WEIR_OK) {
        result =
            race->speaks_first ? sys_connect_to_send(&address, &fd) : sys_connect(&address, &fd);
    }
    if (result != WEIR_OK) {
        return result;
    }
    swarm_open(room->swarm, &attempt->socket, fd, on_ready);
    result = ip_is_loopback(&address.ip) ? sys_connect_look(&address, fd) : WEIR_AGAIN;
    if (result == WEIR_AGAIN) {
        enum weir_result watched = swarm_watch(&attempt->socket, SYS_READY_READ | SYS_READY_WRITE);
        result = watched == WEIR_OK ? WEIR_AGAIN : watched;
    }
    if (result != WEIR_OK && result != WEIR_AGAIN) {
        swarm_close(&attempt->socket);
    }
    return result;
}

static void next_address(struct race *race)
{
    struct worker *worker = race->check->room->worker;
    timer_cancel(&race->head_start);
    while (race->ip_next < race->ip_count) {
        size_t i = race->ip_next++;
        enum weir_result result = start_attempt(race, i);
        if (result == WEIR_OK) {
            win(race, &race->attempts[i], SYS_READY_WRITE);
            return;
        }
        if (result != WEIR_AGAIN) {
            race->last = result;
            continue;
        }
        race->under_way++;
        if (race->ip_next < race->ip_count) {
            worker_arm_in(worker, &race->head_start, HEAD_START_NS);
        }
        return;
    }
    if (race->under_way == 0) {
        check_end_result(race->check, "connect", race->last);
    }
}

static void on_head_start(struct timer *timer)
{
    next_address(container_of(timer, struct race, head_start));
}

// ---- Names

static void on_resolved(void *arg, enum weir_result result, const struct ip *ips, size_t count)
{
    struct race *race = arg;
    struct check *check = race->check;
    race->resolve = NULL;
    check->record.phases.name_ns = check_elapsed_ns(check);
    if (result == WEIR_OK) {
        memcpy(race->ips, ips, count * sizeof *ips);
        race->ip_count = count;
        next_address(race);
    } else if (result == WEIR_NOT_FOUND) {
        check_end(check, OUTCOME_NAME, "dns: name not found");
    } else {
        check_end(check, OUTCOME_NAME, "dns: %s",
            result == WEIR_UNREACHABLE ? "no name server answers" : weir_result_text(result));
    }
}

void race_start(struct race *race, struct check *check, struct slice host, uint16_t port,
    race_connected_fn *connected, race_fn *ready)
{
    char name[NAME_SIZE];
    race->check = check;
    race->port = port;
    race->connected = connected;
    race->ready = ready;
    timer_init(&race->head_start, on_head_start);
    if (host.len > 2 && host.at[0] == '[') {
        host = slice_of(host.at + 1, host.len - 2);
    }
    if (ip_parse(host, &race->ips[0]) == WEIR_OK) {
        race->ip_count = 1;
        next_address(race);
        return;
    }
    if (!slice_to_text(host, name, sizeof name)) {
        check_end(check, OUTCOME_NAME, "dns: name not found"); // no name is that long
        return;
    }
    race->resolve = resolve_start(check->room->worker, name, on_resolved, race);
    if (race->resolve == NULL) {
        check_end_result(check, "dns", WEIR_MEMORY);
    }
}

void race_close(struct race *race)
{
    if (race->check == NULL) {
        return;
    }
    if (race->resolve != NULL) {
        resolve_cancel(race->resolve);
        race->resolve = NULL;
    }
    race->won = NULL;
    close_losers(race);
}

const char *race_doing(const struct race *race)
{
    if (race->won != NULL) {
        return NULL;
    }
    return race->resolve != NULL ? "resolving the name" : "connecting";
}
