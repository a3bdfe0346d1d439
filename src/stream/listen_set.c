// SPDX-License-Identifier: Apache-2.0
#include "stream/listen_set.h"

#include <stdio.h>

#include "base/mem.h"
#include "obs/log.h"
#include "sys/supervisor.h"

#define PASSED_MAX 256

// Right for the moment of an upgrade: the old process and the new one side by side.
static void log_shared(const struct listen_wish *wish, const struct listen_set *set)
{
    struct log_line line;
    log_begin(&line, LOG_LISTEN_SHARED);
    log_text(&line, "host", wish->host);
    log_u64(&line, "port", set->address.port);
    log_text(&line, "warning",
        "another process listens here too: the kernel spreads connections over both; stop one "
        "soon");
    log_end(&line);
}

static enum weir_result make_sockets(struct listen_set *set, const struct listen_wish *wish)
{
    enum weir_result result = WEIR_OK;
    bool shared = sys_is_listened_on(&set->address);
    for (unsigned i = 0; i < set->count && result == WEIR_OK; i++) {
        result = sys_listen(&set->address, &set->fds[i]);
    }
    if (result == WEIR_OK && shared) {
        log_shared(wish, set);
    }
    return result;
}

static enum weir_result explain(
    enum weir_result result, const struct listen_wish *wish, char *problem, size_t size)
{
    if (result != WEIR_OK) {
        snprintf(problem, size, "cannot listen on %s port %u: %s", wish->host, wish->port,
            weir_result_text(result));
    }
    return result;
}

// ---- Passed ones

static bool is_wished(const struct sys_address *wish, const struct sys_address *passed)
{
    return ip_eq(&wish->ip, &passed->ip) && (wish->port == 0 || wish->port == passed->port);
}

static enum weir_result check_passed(const struct listen_set *set, const struct listen_wish *wish,
    unsigned count, struct sys_address *ret_address, char *problem, size_t size)
{
    if (count > set->count) {
        snprintf(problem, size,
            "%u sockets were passed for \"%s\" and there are %u workers, who take one each; pass "
            "fewer, or set the number of workers",
            count, wish->name, set->count);
        return WEIR_INVALID;
    }
    for (unsigned i = 0; i < count; i++) {
        char text[IP_TEXT_SIZE];
        if (sys_listening_address(set->fds[i], ret_address) != WEIR_OK) {
            snprintf(problem, size, "what was passed as \"%s\" is no TCP socket that listens",
                wish->name);
            return WEIR_INVALID;
        }
        if (!is_wished(&set->address, ret_address)) {
            ip_to_text(&ret_address->ip, text);
            snprintf(problem, size,
                "the socket passed as \"%s\" listens on %s port %u, the configuration says %s port "
                "%u: make them the same",
                wish->name, text, ret_address->port, wish->host, wish->port);
            return WEIR_INVALID;
        }
    }
    return WEIR_OK;
}

static enum weir_result share_passed(struct listen_set *set, unsigned count)
{
    enum weir_result result = WEIR_OK;
    for (unsigned i = count; i < set->count && result == WEIR_OK; i++) {
        result = sys_duplicate(set->fds[i % count], &set->fds[i]);
    }
    return result;
}

// ---- All together

// How many there were.
static unsigned take_passed(struct listen_set *set, const struct listen_wish *wish)
{
    int passed[PASSED_MAX];
    unsigned count = sys_supervisor_take(wish->name, passed, PASSED_MAX);
    for (unsigned i = 0; i < count && i < PASSED_MAX; i++) {
        if (i < set->count) {
            set->fds[i] = passed[i];
        } else {
            sys_close(passed[i]);
        }
    }
    return count;
}

enum weir_result listen_set_open(
    struct listen_set *set, const struct listen_wish *wish, char *problem, size_t size)
{
    *set = (struct listen_set){.count = wish->count};
    enum weir_result result = sys_address_parse(wish->host, wish->port, &set->address);
    if (result != WEIR_OK) {
        return explain(result, wish, problem, size);
    }
    set->fds = mem_alloc(wish->count * sizeof *set->fds);
    if (set->fds == NULL) {
        return explain(WEIR_MEMORY, wish, problem, size);
    }
    for (unsigned i = 0; i < wish->count; i++) {
        set->fds[i] = -1;
    }
    unsigned passed = take_passed(set, wish);
    if (passed == 0) {
        return explain(make_sockets(set, wish), wish, problem, size);
    }
    struct sys_address address;
    result = check_passed(set, wish, passed, &address, problem, size);
    if (result == WEIR_OK) {
        set->address = address;
        set->inherited = true;
        result = explain(share_passed(set, passed), wish, problem, size);
    }
    return result;
}

int listen_set_take(struct listen_set *set, unsigned worker)
{
    int fd = set->fds[worker];
    set->fds[worker] = -1;
    return fd;
}

void listen_set_close(struct listen_set *set)
{
    for (unsigned i = 0; set->fds != NULL && i < set->count; i++) {
        if (set->fds[i] >= 0) {
            sys_close(set->fds[i]);
        }
    }
    mem_free(set->fds);
    set->fds = NULL;
}
