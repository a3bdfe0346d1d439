// SPDX-License-Identifier: Apache-2.0
// Three relays in one thread. The seam is the linker's (--wrap, see CMakeLists.txt):
//
//   clock, entropy     the world's; every relay's wall clock is off by something of its own
//   http_call_*        the network to the platform (fleet_platform.c)
//   http_server_*      no doors: peers are handed over as an upgrade does it when it was admitted
//   rules              tables of the process, which three relays share
//   heap               counted: a world gives back what it took; in some worlds an allocation fails
//
// Workers take turns on this thread as chance has it, so that a post may overtake, or be overtaken
// by, anything that it may meet with threads.
#include "chance.h"
#include "fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"
#include "relay/peer.h"
#include "relay/relay.h"

#define WORKERS_MAX 2
#define SKEW_MAX_MS 20000

struct site {
    bool up;
    bool killed;
    bool drained;
    unsigned life;
    int64_t skew_ms;
    char id[32];
    char url[64];
    struct relay_config config;
    struct crew crew;
    struct relay relay;
};

static struct {
    uint64_t seed;
    uint64_t chance;
    uint64_t now_ns;
    bool calm;
    unsigned current;
    int64_t blocks; // of the heap
    int64_t totals[METRIC_COUNT];
    struct site sites[FLEET_RELAYS];
} fleet;

void fleet_check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "sim: seed %llu, at %llu ms: %s\n", (unsigned long long)fleet.seed,
            (unsigned long long)(fleet.now_ns / NS_PER_MS), what);
        abort();
    }
}

// ---- Chance

uint64_t fleet_random(void)
{
    return chance_next(&fleet.chance);
}

uint64_t fleet_below(uint64_t end)
{
    return fleet_random() % end;
}

bool fleet_chance(unsigned percent)
{
    return fleet_below(100) < percent;
}

// ---- What the linker puts in the way

uint64_t __wrap_sys_now_ns(void);
uint64_t __wrap_sys_wall_ms(void);
enum weir_result __wrap_sys_entropy(void *bytes, size_t len);
enum weir_result __wrap_http_server_open(
    struct http_server *, struct worker *, const struct http_options *, int fd);
bool __wrap_http_server_is_empty(const struct http_server *server);
int __wrap_listen_set_take(struct listen_set *set, unsigned worker);
enum weir_result __real_frame_rules_init(void);
enum weir_result __wrap_frame_rules_init(void);
void __real_frame_rules_fini(void);
void __wrap_frame_rules_fini(void);
enum weir_result __real_bus_message_rules_init(void);
enum weir_result __wrap_bus_message_rules_init(void);
void __real_bus_message_rules_fini(void);
void __wrap_bus_message_rules_fini(void);
void *__real_mem_zalloc(size_t size);
void *__wrap_mem_zalloc(size_t size);
void *__real_mem_alloc(size_t size);
void *__wrap_mem_alloc(size_t size);
void *__real_mem_realloc(void *block, size_t size);
void *__wrap_mem_realloc(void *block, size_t size);
char *__real_mem_copy(const char *bytes, size_t len);
char *__wrap_mem_copy(const char *bytes, size_t len);
void __real_mem_free(void *block);
void __wrap_mem_free(void *block);

uint64_t __wrap_sys_now_ns(void)
{
    return fleet.now_ns;
}

uint64_t __wrap_sys_wall_ms(void)
{
    int64_t skew_ms = fleet.sites[fleet.current].skew_ms;
    return (uint64_t)((int64_t)(UINT64_C(1700000000000) + fleet.now_ns / NS_PER_MS) + skew_ms);
}

enum weir_result __wrap_sys_entropy(void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)fleet_random();
    }
    return WEIR_OK;
}

enum weir_result __wrap_http_server_open(
    struct http_server *server, struct worker *worker, const struct http_options *options, int fd)
{
    (void)server, (void)worker, (void)options, (void)fd;
    return WEIR_OK;
}

bool __wrap_http_server_is_empty(const struct http_server *server)
{
    (void)server;
    return true;
}

int __wrap_listen_set_take(struct listen_set *set, unsigned worker)
{
    (void)set, (void)worker;
    return -1;
}

enum weir_result __wrap_frame_rules_init(void)
{
    return WEIR_OK;
}

void __wrap_frame_rules_fini(void)
{
}

enum weir_result __wrap_bus_message_rules_init(void)
{
    return WEIR_OK;
}

void __wrap_bus_message_rules_fini(void)
{
}

void *__wrap_mem_zalloc(size_t size)
{
    void *block = __real_mem_zalloc(size);
    fleet.blocks += block != NULL;
    return block;
}

void *__wrap_mem_alloc(size_t size)
{
    void *block = __real_mem_alloc(size);
    fleet.blocks += block != NULL;
    return block;
}

void *__wrap_mem_realloc(void *block, size_t size)
{
    void *moved = __real_mem_realloc(block, size);
    fleet.blocks += block == NULL && moved != NULL;
    return moved;
}

char *__wrap_mem_copy(const char *bytes, size_t len)
{
    char *block = __real_mem_copy(bytes, len);
    fleet.blocks += block != NULL;
    return block;
}

void __wrap_mem_free(void *block)
{
    fleet.blocks -= block != NULL;
    __real_mem_free(block);
}

// ---- Relays

static const char *get_setting(void *arg, const char *name)
{
    const struct site *site = arg;
    const struct {
        const char *name;
        const char *value;
    } settings[] = {
        {"RELAY_ID", site->id},
        {"RELAY_PUBLIC_WS_BASE_URL", site->url},
        {"RELAY_BACKPLANE_MODE", "server"},
        {"RELAY_TLS", "0"},
        {"SERVER_URL", "http://platform.test"},
        {"RELAY_INTERNAL_KEY", "the key of the simulated platform"},
        {"RELAY_BUS_HMAC_KEY", "the key of the simulated bus"},
        {"RELAY_MAX_CONNECTIONS_PER_IP", "1000"},
        {"RELAY_UPGRADE_RATE_PER_MINUTE", "1000000"},
        {"RELAY_KEX_INIT_RATE_PER_MINUTE", "1000000"},
        {"RELAY_RUNTIME_RATE_PER_MINUTE", "1000000"},
        {"RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE", "1000000"},
        {"RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE", "1000000"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return settings[i].value;
        }
    }
    return NULL;
}

static bool no_file(void *arg, const char *path)
{
    (void)arg, (void)path;
    return false;
}

static void configure(struct site *site, unsigned index)
{
    static const uint8_t random[6];
    struct conf_source source = {.get = get_setting, .file_exists = no_file, .arg = site};
    struct conf_problems problems;
    snprintf(site->id, sizeof site->id, "relay-%u-%u", index, site->life);
    snprintf(site->url, sizeof site->url, "ws://relay-%u.test:7781/ws", index);
    conf_problems_init(&problems);
    fleet_check(relay_config_load(&source, random, false, &site->config, &problems) == WEIR_OK,
        "a configuration without memory");
    fleet_check(problems.errors.len == 0, "a configuration that is not accepted");
    conf_problems_fini(&problems);
}

static int64_t skew(void)
{
    return fleet.calm || fleet_chance(70) ? (int64_t)fleet_below(2000) - 1000
                                          : (int64_t)fleet_below(2 * SKEW_MAX_MS) - SKEW_MAX_MS;
}

void fleet_start(unsigned index)
{
    static const struct http_route no_routes[] = {{NULL, NULL, NULL}};
    struct site *site = &fleet.sites[index];
    char problem[256];
    mem_fail_at(0); // a process that does not start is another story
    fleet.current = index;
    site->life++;
    site->killed = site->drained = false;
    site->skew_ms = skew();
    configure(site, index);
    unsigned workers = 1 + (unsigned)fleet_below(WORKERS_MAX);
    fleet_check(crew_init(&site->crew, workers) == WEIR_OK, "no crew");
    fleet_check(
        relay_init(&site->relay, &site->crew, &site->config, no_routes, NULL) == WEIR_OK,
        "no relay");
    for (unsigned i = 0; i < workers; i++) {
        fleet_check(relay_worker_start(&site->relay, &site->crew.workers[i], problem,
                        sizeof problem) == WEIR_OK,
            "no worker");
    }
    site->up = true;
    if (!fleet.calm && fleet_chance(20)) {
        mem_fail_at(1 + fleet_below(fleet_chance(50) ? 400 : 4000));
    }
}

static int64_t total(const struct site *site, enum metric metric)
{
    return metrics_total(site->crew.metrics, site->crew.count, metric);
}

// Frames of an answer that memory did not suffice for are asked for again.
static bool has_lost_answers(const struct site *site)
{
    int64_t count = 0;
    for (unsigned i = 0; i < site->crew.count; i++) {
        count += atomic_load(&site->crew.metrics[i].bus_ends[BUS_CALL_PULL][BUS_END_NO_MEMORY]);
    }
    return count > 0;
}

// Every frame that came from the bus is counted once (incoming.c, 3).
static void balance_bus(const struct site *site, unsigned index)
{
    static const enum metric ends[] = {METRIC_BUS_FRAMES_TO_DAEMON, METRIC_BUS_FRAMES_TO_CLIENTS,
        METRIC_BUS_FRAMES_DROPPED, METRIC_BUS_FRAMES_REJECTED,
        METRIC_BUS_FRAMES_DAEMON_RATE_LIMITED, METRIC_BUS_PULL_FRAME_TOO_LARGE,
        METRIC_BUS_PULL_INVALID_SIGNATURE, METRIC_BUS_PULL_STALE_SIGNATURE,
        METRIC_BUS_PULL_REPLAYED_SIGNATURE};
    int64_t counted = 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        counted += total(site, ends[i]);
    }
    int64_t handed = (int64_t)platform_handed(index);
    fleet_check(counted <= handed, "more frames of the bus are counted than came");
    fleet_check(site->killed || has_lost_answers(site) || counted == handed,
        "frames of the bus that nobody counted");
}

// Every frame that left is counted once, by how it ended (outgoing.c, 3).
static void balance_publishing(const struct site *site)
{
    static const enum metric routed[] = {METRIC_CLIENT_MESSAGES_ROUTED_BUS,
        METRIC_SESSION_FRAME_ROUTED_BUS, METRIC_KEY_EXCHANGE_RESPONSE_ROUTED_BUS,
        METRIC_PAIRING_RESPONSE_ROUTED_BUS};
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof routed / sizeof *routed; i++) {
        sum += total(site, routed[i]);
    }
    fleet_check(sum == total(site, METRIC_BUS_PUBLISH_OK), "frames published and frames routed");
}

// Every frame that is one is routed, dropped, or over a rate (without memory for a window, too): here,
// or when it has found no daemon and was held, or waited for its turn, at the end of its client, or of
// the relay.
static void balance_frames(const struct site *site)
{
    static const enum metric ends[] = {METRIC_FRAMES_CLIENT_TO_DAEMON,
        METRIC_CLIENT_MESSAGES_ROUTED_BUS, METRIC_CLIENT_MESSAGES_DROPPED,
        METRIC_FRAMES_CLIENT_KEX_RATE_LIMITED, METRIC_FRAMES_CLIENT_RUNTIME_RATE_LIMITED,
        METRIC_FRAMES_DAEMON_TO_CLIENTS};
    int64_t sum = 0;
    int64_t sized = 0;
    for (unsigned i = 0; i < site->crew.count; i++) {
        for (size_t j = 0; j <= HISTOGRAM_BUCKETS_MAX; j++) {
            sized += (int64_t)atomic_load(
                &site->crew.metrics[i].histograms[HISTOGRAM_FRAME_SIZE_BYTES].buckets[j]);
        }
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        sum += total(site, ends[i]);
    }
    fleet_check(sum == sized, "frames that came and frames that are accounted for");
}

static void end_site(struct site *site, unsigned index)
{
    fleet.current = index;
    mem_fail_at(0);
    for (unsigned i = 0; i < site->crew.count; i++) {
        relay_worker_stop(&site->crew.workers[i]);
    }
    for (unsigned i = 0; i < site->crew.count; i++) {
        worker_settle(&site->crew.workers[i]);
        ws_worker_fini(&site->crew.workers[i]);
    }
    balance_bus(site, index);
    balance_publishing(site);
    balance_frames(site);
    fleet_check(total(site, METRIC_CONNECTIONS) == 0, "connections at the end");
    fleet_check(total(site, METRIC_BACKPLANE_LINKS_DOWN) == 0, "ways that are down at the end");
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        fleet.totals[i] += total(site, (enum metric)i);
    }
    relay_fini(&site->relay);
    crew_fini(&site->crew);
    relay_config_free(&site->config);
    platform_forget(index);
    site->up = false;
}

bool fleet_is_up(unsigned index)
{
    return fleet.sites[index].up;
}

void fleet_kill(unsigned index)
{
    fleet.sites[index].killed = true;
    end_site(&fleet.sites[index], index);
}

static void on_drained(void *arg)
{
    struct site *site = arg;
    fleet_check(!site->drained, "drained twice");
    site->drained = true;
}

// Posts of its own that are still on their way belong to the end of a process as well.
void fleet_drain(unsigned index)
{
    struct site *site = &fleet.sites[index];
    uint64_t until_ns = fleet.now_ns + 6 * NS_PER_S;
    fleet.current = index;
    relay_drain(&site->relay, on_drained, site);
    while (!site->drained && fleet.now_ns < until_ns) {
        peers_step();
        fleet_turn();
        platform_step();
        fleet_pass(fleet_below(20 * NS_PER_MS));
    }
    fleet_check(site->drained, "a drain that does not end");
    site->killed = true; // frames that were being pulled
    end_site(site, index);
}

// ---- The world

void fleet_begin(uint64_t seed)
{
    int64_t blocks = fleet.blocks;
    int64_t totals[METRIC_COUNT];
    memcpy(totals, fleet.totals, sizeof totals);
    memset(&fleet, 0, sizeof fleet);
    fleet.blocks = blocks;
    memcpy(fleet.totals, totals, sizeof totals);
    fleet.seed = fleet.chance = seed;
    fleet.now_ns = 1000 * NS_PER_S;
    fleet.calm = fleet_chance(25);
    fleet_check(__real_frame_rules_init() == WEIR_OK && __real_bus_message_rules_init() == WEIR_OK,
        "no rules");
    platform_begin();
    for (unsigned i = 0; i < FLEET_RELAYS; i++) {
        fleet_start(i);
    }
}

void fleet_end(void)
{
    for (unsigned i = 0; i < FLEET_RELAYS; i++) {
        if (fleet.sites[i].up) {
            end_site(&fleet.sites[i], i);
        }
    }
    platform_end();
    __real_frame_rules_fini();
    __real_bus_message_rules_fini();
    fleet_check(fleet.blocks == 0, "memory is left");
}

bool fleet_is_calm(void)
{
    return fleet.calm;
}

uint64_t fleet_seed(void)
{
    return fleet.seed;
}

uint64_t fleet_now(void)
{
    return fleet.now_ns;
}

int64_t fleet_total(enum metric metric)
{
    return fleet.totals[metric];
}

// What a worker has read of the clock is of the turn before.
void fleet_pass(uint64_t ns)
{
    fleet.now_ns += ns;
    for (unsigned i = 0; i < FLEET_RELAYS; i++) {
        for (unsigned j = 0; fleet.sites[i].up && j < fleet.sites[i].crew.count; j++) {
            fleet.sites[i].crew.workers[j].now_known = false;
        }
    }
}

void fleet_turn(void)
{
    unsigned first = (unsigned)fleet_below(FLEET_RELAYS);
    for (unsigned i = 0; i < FLEET_RELAYS; i++) {
        unsigned index = (first + i) % FLEET_RELAYS;
        struct site *site = &fleet.sites[index];
        unsigned begin = site->up ? (unsigned)fleet_below(site->crew.count) : 0;
        fleet.current = index;
        for (unsigned j = 0; site->up && j < site->crew.count; j++) {
            worker_settle(&site->crew.workers[(begin + j) % site->crew.count]);
        }
    }
}

unsigned fleet_enter(const struct worker *worker)
{
    for (unsigned i = 0; i < FLEET_RELAYS; i++) {
        const struct crew *crew = &fleet.sites[i].crew;
        if (worker >= crew->workers && worker < crew->workers + crew->count) {
            fleet.current = i;
            return i;
        }
    }
    fleet_check(false, "a worker of nobody");
    return 0;
}

// ---- Joining

// As upgrade.c does it when the platform has said yes.
int fleet_join(unsigned index, enum role role, unsigned cell, const char *client, int64_t generation)
{
    static const uint8_t address[4] = {192, 0, 2, 1};
    struct site *site = &fleet.sites[index];
    struct relay *relay = &site->relay;
    char workspace[16];
    int ends[2];
    if (!site->up) {
        return -1;
    }
    fleet.current = index;
    snprintf(workspace, sizeof workspace, "ws_%u", cell);
    struct claims claims = {
        .workspace_id = workspace,
        .runtime_target_id = (char *)(uintptr_t) "rt_1",
        .client_id = (char *)(uintptr_t)client,
        .scope = role == ROLE_CLIENT ? SCOPE_RUNTIME : SCOPE_NONE,
        .has_role = true,
        .role = role,
        .has_generation = generation >= 0,
        .generation = generation,
    };
    fleet_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
        "no descriptors");
    struct admitted admitted = {
        .stream.fd = ends[1],
        .claims = &claims,
        .workspace = slice_str(workspace),
        .target = SLICE("rt_1"),
        .role = role,
        .ip = ip_from_v4(address),
    };
    if (ledger_enter(relay->ledger, &admitted.ip, fleet.now_ns) != LEDGER_ADMITTED) {
        fleet_check(!fleet.calm, "an address that is refused");
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    uint64_t hash = siphash(&relay->placement, workspace, strlen(workspace));
    struct worker *worker = &relay->crew->workers[hash % relay->crew->count];
    if (peer_open(shard_of(worker), &admitted) != WEIR_OK) {
        fleet_check(!fleet.calm, "a peer that cannot open");
        close(ends[0]);
        return -1;
    }
    return ends[0];
}
