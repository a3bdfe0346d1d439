// SPDX-License-Identifier: Apache-2.0
// 1. A target is lent exactly when its share is not held (`apply`, after every look and answer);
//    between two of these, cluster_holds is asked at the start and at the end of every check.
// 2. At most one look is under way. Its answer, its error, or the end of the connection is told to
//    shares.c exactly once.
// 3. Two monitors share a share only if they mean the same checks by it: the digest is part of the
//    lease's name. What differs is checked by each.
#include "health/cluster/cluster.h"

#include <stdio.h>

#include "base/time.h"
#include "conf/url.h"
#include "health/cluster/cluster_internal.h"
#include "obs/log.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/host.h"

#define TTL_MIN_NS NS_PER_S
#define TTL_MAX_NS (6 * NS_PER_S)
#define LEAVE_MAX_NS NS_PER_S
#define CONTROL_REPLY_MAX (256 * 1024)

// Part of what monitors agree upon: not a secret.
static const struct siphash_key share_key = {0x7765697268656c74, 0x7368617265730001};

// ---- What is in the shares

static bool is_loopback(struct slice host)
{
    struct ip ip;
    return slice_eq_nocase(host, SLICE("localhost")) ||
           (ip_parse(host, &ip) == WEIR_OK && ip_is_loopback(&ip));
}

// The check means another thing on another machine.
static bool is_of_this_host(const struct service *service)
{
    const struct check_spec *spec = &service->check;
    struct conf_url url;
    switch (spec->type) {
    case CHECK_HTTP:
        return conf_url_parse(slice_str(spec->url), &url) == WEIR_OK && is_loopback(url.host);
    case CHECK_TCP:
        return is_loopback(slice_str(spec->host));
    case CHECK_PROCESS:
    case CHECK_EXEC:
        return service->machine->local || spec->run_on == RUN_ON_MONITOR;
    case CHECK_NONE:
        break;
    }
    return false;
}

static uint64_t digest_of(const struct target *target)
{
    char host[SYS_HOSTNAME_SIZE] = "";
    struct buf text = BUF_INIT(8192);
    if (is_of_this_host(target->service)) {
        sys_hostname(host);
    }
    buf_printf(&text, "%.4000s %llx %llu %s", target->key,
        (unsigned long long)target->service->identity,
        (unsigned long long)target->service->check.interval_ns, host);
    uint64_t digest = siphash(&share_key, buf_slice(&text).at, buf_slice(&text).len);
    buf_reset(&text);
    return digest;
}

static uint64_t find_ttl(const struct monitor *monitor)
{
    uint64_t ttl_ns = TTL_MAX_NS;
    for (size_t i = 0; i < monitor->target_count; i++) {
        const struct service *service = monitor->targets[i]->service;
        uint64_t wanted_ns = service->check.interval_ns / 5 * 3;
        if (service_monitored(service) && wanted_ns < ttl_ns) {
            ttl_ns = wanted_ns;
        }
    }
    return ttl_ns < TTL_MIN_NS ? TTL_MIN_NS : ttl_ns;
}

static void cut_shares(struct cluster *cluster)
{
    uint64_t digests[SHARE_COUNT] = {0};
    unsigned weights[SHARE_COUNT] = {0};
    struct monitor *monitor = cluster->monitor;
    for (size_t i = 0; i < monitor->target_count; i++) {
        struct target *target = monitor->targets[i];
        const char *name = target->service->name;
        target->share = (unsigned)(siphash(&share_key, name, strlen(name)) % SHARE_COUNT);
        if (service_monitored(target->service)) {
            // The order of the file means nothing.
            digests[target->share] ^= digest_of(target);
            weights[target->share]++;
        }
    }
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        digests[i] |= weights[i] > 0;
    }
    cluster->shares.ttl_ns = find_ttl(monitor);
    shares_set(&cluster->shares, digests, weights);
}

// ---- Who checks what

static void log_mode(struct cluster *cluster)
{
    struct log_line line;
    log_begin(&line, LOG_HEALTH_CLUSTER_MODE);
    log_text(&line, "mode", shares_mode_name(cluster->shares.mode));
    log_text(&line, "monitor", cluster->shares.name);
    log_text(&line, "problem", cluster->problem);
    log_end(&line);
    cluster->mode_told = cluster->shares.mode;
}

static void log_held(struct cluster *cluster, unsigned held)
{
    struct log_line line;
    log_begin(&line, LOG_HEALTH_CLUSTER_SHARES);
    log_u64(&line, "held", held);
    log_u64(&line, "of", shares_count_used(&cluster->shares));
    log_u64(&line, "monitors", cluster->shares.monitor_count);
    log_u64(&line, "takeovers", cluster->shares.takeovers);
    log_end(&line);
    cluster->held_told = held;
}

static void tell(struct cluster *cluster)
{
    unsigned held = shares_count_held(&cluster->shares, monitor_now_ns());
    bool news = cluster->mode_told != cluster->shares.mode || cluster->held_told != held;
    if (cluster->mode_told != cluster->shares.mode) {
        log_mode(cluster);
    }
    if (cluster->held_told != held) {
        log_held(cluster, held);
    }
    if (news) {
        cluster->changed(cluster->arg);
    }
}

static void apply(struct cluster *cluster)
{
    struct monitor *monitor = cluster->monitor;
    const struct shares *shares = &cluster->shares;
    bool alone = shares->mode == SHARES_ALONE;
    for (size_t i = 0; i < monitor->target_count; i++) {
        struct target *target = monitor->targets[i];
        bool holds = cluster_holds(cluster, target);
        target->checked_by = alone ? shares->name : shares->all[target->share].owner;
        if (holds && target->lent) {
            monitor_take(target);
            target->unsent = target->has_last;
        } else if (!holds && !target->lent) {
            monitor_lend(target);
        }
    }
    cluster_send_again(cluster);
    tell(cluster);
}

bool cluster_holds(const struct cluster *cluster, const struct target *target)
{
    return shares_hold(&cluster->shares, target->share, monitor_now_ns());
}

// ---- Looks

static void ask(struct cluster *cluster)
{
    if (shares_look(&cluster->shares, monitor_now_ns()) && !cluster_send_look(cluster)) {
        cluster_look_failed(cluster, cluster->control.problem);
    }
}

static void on_look(struct timer *timer)
{
    struct cluster *cluster = container_of(timer, struct cluster, look);
    worker_arm_in(cluster->worker, timer, shares_period_ns(&cluster->shares));
    ask(cluster);
    apply(cluster);
}

void cluster_look_failed(struct cluster *cluster, const char *why)
{
    shares_failed(&cluster->shares);
    cluster->lease_errors++;
    snprintf(cluster->problem, sizeof cluster->problem, "%.*s", CLUSTER_PROBLEM_SIZE - 1, why);
    cluster->left |= cluster->leaving;
}

// What the answer made wanted is asked for without waiting for the next look.
static bool wants_more(const struct shares *shares)
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (shares->all[i].wanted != shares->all[i].mine) {
            return true;
        }
    }
    return false;
}

void cluster_answered(struct cluster *cluster)
{
    bool first = cluster->shares.mode != SHARES_SHARED;
    cluster->problem[0] = '\0';
    shares_answer(&cluster->shares, &cluster->view);
    apply(cluster);
    bool more = wants_more(&cluster->shares);
    cluster->left = cluster->leaving && !more;
    if (more && (first || cluster->leaving)) {
        worker_arm_in(cluster->worker, &cluster->look, 0);
    }
}

// ---- The connections

static void on_ready(void *arg)
{
    struct cluster *cluster = arg;
    for (size_t i = 0; i < cluster->monitor->target_count; i++) {
        struct target *target = cluster->monitor->targets[i];
        target->unsent = target->has_last && !target->lent;
    }
    worker_arm_in(cluster->worker, &cluster->look, 0);
}

static void on_replied(void *arg, uint64_t tag, const struct redisReply *reply)
{
    cluster_take_reply(arg, (unsigned)tag, reply);
}

static void on_lost(void *arg)
{
    struct cluster *cluster = arg;
    if (cluster->shares.asking) {
        cluster_look_failed(cluster, cluster->control.problem);
    }
    if (cluster->lost_wall_ms == 0) {
        cluster->lost_wall_ms = sys_wall_ms();
    }
}

// ---- Life

static void make_name(uint16_t port, char name[SHARES_NAME_SIZE])
{
    char host[SYS_HOSTNAME_SIZE];
    uint64_t session = sys_wall_ms();
    enum weir_result ignored = sys_entropy(&session, sizeof session); // the clock will do
    (void)ignored;
    sys_hostname(host);
    snprintf(name, SHARES_NAME_SIZE, "%.80s:%u#%016llx", host, (unsigned)port,
        (unsigned long long)session);
}

enum weir_result cluster_start(struct cluster *cluster, struct worker *worker,
    struct monitor *monitor, const struct redis_place *place, uint16_t port)
{
    char name[SHARES_NAME_SIZE];
    make_name(port, name);
    cluster->worker = worker;
    cluster->monitor = monitor;
    shares_init(&cluster->shares, name, TTL_MAX_NS);
    timer_init(&cluster->look, on_look);
    cluster_send_start(cluster);
    cut_shares(cluster);
    apply(cluster);
    worker_arm_in(worker, &cluster->look, 0);
    struct redis_link_options options = {.place = place, .reply_max = CONTROL_REPLY_MAX};
    struct redis_link_hooks hooks = {
        .ready = on_ready, .replied = on_replied, .lost = on_lost, .arg = cluster};
    enum weir_result result = redis_link_open(&cluster->control, worker, &options, &hooks);
    if (result == WEIR_OK) {
        result = cluster_read_start(cluster, place);
    }
    return result;
}

void cluster_follow(struct cluster *cluster)
{
    if (cluster->monitor != NULL) {
        cut_shares(cluster);
        cluster->stale_states = true;
        apply(cluster);
        worker_arm_in(cluster->worker, &cluster->look, 0);
    }
}

void cluster_leave(struct cluster *cluster)
{
    if (cluster->monitor == NULL) {
        return;
    }
    cluster->leaving = true;
    cluster->left_by_ns = worker_now(cluster->worker) + LEAVE_MAX_NS;
    shares_leave(&cluster->shares);
    apply(cluster);
    worker_arm_in(cluster->worker, &cluster->look, 0);
}

bool cluster_left(const struct cluster *cluster)
{
    return cluster->monitor == NULL || cluster->left || cluster->control.state != REDIS_READY ||
           worker_now(cluster->worker) >= cluster->left_by_ns;
}

void cluster_stop(struct cluster *cluster)
{
    if (cluster->monitor == NULL) {
        return;
    }
    cluster->monitor = NULL;
    timer_cancel(&cluster->look);
    timer_cancel(&cluster->pace);
    timer_cancel(&cluster->retry);
    redis_link_close(&cluster->control);
    redis_link_close(&cluster->reader);
}

// ---- For people

bool cluster_tell(const struct cluster *cluster, char *text, size_t size)
{
    const struct shares *shares = &cluster->shares;
    unsigned differing = shares_count_differing(shares);
    int len = 0;
    switch (shares->mode) {
    case SHARES_JOINING:
        snprintf(text, size, "joining the other monitors");
        return true;
    case SHARES_ALONE:
        snprintf(text, size,
            "alone: the Redis does not grant leases (%.100s); everything is checked here, and "
            "perhaps by other monitors as well",
            cluster->problem[0] == '\0' ? "it was started just now" : cluster->problem);
        return false;
    case SHARES_SHARED:
        len = snprintf(text, size, "%zu monitors; %u of %u shares are checked here",
            shares->monitor_count, shares_count_held(shares, monitor_now_ns()),
            shares_count_used(shares));
        break;
    }
    if (differing > 0 && len > 0 && (size_t)len < size) {
        snprintf(text + len, size - (size_t)len,
            "; %u are another thing to another monitor: its registry differs", differing);
    }
    return true;
}
