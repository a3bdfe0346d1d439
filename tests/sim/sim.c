// SPDX-License-Identifier: Apache-2.0
// The world below and above the engine room. The seam is the linker's: calls that leave the room
// downward (--wrap, see CMakeLists.txt) come here first, so that the code under test is the code
// that runs elsewhere.
//
//   clock, entropy      the world's; time passes when the world says so
//   receive, send       pieces of any size, "not now" at any time; a wire that was reset is broken
//   close               which end was closed, and how
//   TCP's health        of unix sockets there is none, so chance decides
//   heap                counted: a world gives back what it took
//   certificates        none: the workers start without doors (the gate is proven end to end),
//   which
//                       engine_worker_start has to survive anyway. Peers are handed over as the
//                       gate does it, in some worlds behind a handshake of TLS.
//
// Both workers run on this thread, a turn of one or the other as chance has it, so that a post may
// overtake, or be overtaken by, anything that it may meet with threads.
#include "chance.h"
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"
#include "engine/control/control.h"
#include "engine/edge/census.h"
#include "engine/edge/engine_tls.h"
#include "engine/shard.h"
#include "sys/fault.h"

#define FD_MAX 1024
#define WORKERS_MAX 2
#define KINDS (PROXIED_TCP + 1)
#define OPENS 5 // ways in which asking for a channel ends
// A first answer finds an empty socket; that it fits is no matter of chance.
#define WHOLE_UNTIL 512

static struct {
    uint64_t seed;
    uint64_t chance;
    uint64_t now_ns;
    bool calm;
    bool encrypted;
    bool drained;
    unsigned workers;
    struct crew crew;
    struct engine engine;
    struct engine_config config;
    struct engine_config next;  // after a reload
    struct wire *wires[FD_MAX]; // by the engine's descriptor
    int64_t blocks;             // of the heap
    size_t channels;            // asked for
    size_t asked[KINDS];        // streams
    size_t ended[KINDS];
} sim;

static int64_t seen[ENGINE_METRIC_COUNT]; // in all worlds

void sim_check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "sim: seed %llu, at %llu ms: %s\n", (unsigned long long)sim.seed,
            (unsigned long long)(sim.now_ns / NS_PER_MS), what);
        abort();
    }
}

// ---- Chance

uint64_t sim_random(void)
{
    return chance_next(&sim.chance);
}

uint64_t sim_below(uint64_t end)
{
    return sim_random() % end;
}

bool sim_chance(unsigned percent)
{
    return sim_below(100) < percent;
}

// ---- What the linker puts in the way

uint64_t __wrap_sys_now_ns(void);
uint64_t __wrap_sys_wall_ms(void);
enum weir_result __wrap_sys_entropy(void *bytes, size_t len);
enum weir_result __wrap_sys_tcp_health(int fd, struct sys_tcp_health *ret_health);
enum weir_result __real_sys_recv(int fd, void *bytes, size_t len, size_t *ret_len);
enum weir_result __wrap_sys_recv(int fd, void *bytes, size_t len, size_t *ret_len);
enum weir_result __real_sys_send_vector(int, struct iovec *, size_t, size_t *);
enum weir_result __wrap_sys_send_vector(int, struct iovec *, size_t, size_t *);
void __real_sys_close(int fd);
void __wrap_sys_close(int fd);
void __wrap_sys_close_hard(int fd);
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
enum weir_result __wrap_engine_load_certificate(struct engine_shard *, char *, size_t);
void __real_census_vouch(SSL *ssl);
void __wrap_census_vouch(SSL *ssl);
void __real_control_start(
    struct engine_shard *, struct arrival *, const struct rstrm_open_control_channel_req *);
void __wrap_control_start(
    struct engine_shard *, struct arrival *, const struct rstrm_open_control_channel_req *);
struct proxied *__real_proxied_open(struct engine_shard *, struct tunnel *, enum proxied_kind,
    const struct ip *, proxied_fn *, void *);
struct proxied *__wrap_proxied_open(struct engine_shard *, struct tunnel *, enum proxied_kind,
    const struct ip *, proxied_fn *, void *);
void __real_proxied_ended(struct engine_shard *, struct tunnel *, enum proxied_kind);
void __wrap_proxied_ended(struct engine_shard *, struct tunnel *, enum proxied_kind);

uint64_t __wrap_sys_now_ns(void)
{
    return sim.now_ns;
}

uint64_t __wrap_sys_wall_ms(void)
{
    return UINT64_C(1700000000000) + sim.now_ns / NS_PER_MS;
}

enum weir_result __wrap_sys_entropy(void *bytes, size_t len)
{
    if (sys_fault_now()) {
        return WEIR_IO;
    }
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)sim_random();
    }
    return WEIR_OK;
}

enum weir_result __wrap_sys_tcp_health(int fd, struct sys_tcp_health *ret_health)
{
    (void)fd;
    ret_health->unacknowledged = (unsigned)sim_below(3);
    ret_health->timeouts = sim.calm || sim_chance(80) ? 0 : (unsigned)sim_below(5);
    return WEIR_OK;
}

enum weir_result __wrap_sys_recv(int fd, void *bytes, size_t len, size_t *ret_len)
{
    struct wire *wire = sim.wires[fd];
    sim_check(wire != NULL, "a descriptor that is closed is read");
    if (wire->reset_by_peer) {
        return WEIR_RESET;
    }
    if (sim_chance(10)) {
        return WEIR_AGAIN;
    }
    return __real_sys_recv(fd, bytes, sim_chance(30) ? 1 + sim_below(len) : len, ret_len);
}

enum weir_result __wrap_sys_send_vector(int fd, struct iovec *parts, size_t count, size_t *ret_len)
{
    struct wire *wire = sim.wires[fd];
    sim_check(wire != NULL, "a descriptor that is closed is written to");
    struct iovec piece = *parts;
    bool whole = wire->engine_wrote < WHOLE_UNTIL || sim_chance(60);
    if (wire->reset_by_peer) {
        return WEIR_RESET;
    }
    if (!whole && sim_chance(25)) {
        return WEIR_AGAIN;
    }
    if (!whole && piece.iov_len > 0) {
        piece.iov_len = 1 + sim_below(piece.iov_len);
        parts = &piece;
        count = 1;
    }
    enum weir_result result = __real_sys_send_vector(fd, parts, count, ret_len);
    wire->engine_wrote += result == WEIR_OK ? *ret_len : 0;
    return result;
}

static void drop_peers_end(struct wire *wire)
{
    SSL_free(wire->inner);
    SSL_free(wire->ssl);
    wire->inner = wire->ssl = NULL;
    close(wire->fd);
    wire->fd = -1;
}

static void close_of(int fd, bool hard)
{
    struct wire *wire = sim.wires[fd];
    if (wire != NULL) {
        wire->engine_fd = -1;
        wire->reset_by_engine = hard;
        sim.wires[fd] = NULL;
        if (wire->leaves) {
            drop_peers_end(wire);
        }
    }
    __real_sys_close(fd);
}

void __wrap_sys_close(int fd)
{
    close_of(fd, false);
}

void __wrap_sys_close_hard(int fd)
{
    close_of(fd, true);
}

void *__wrap_mem_zalloc(size_t size)
{
    void *block = __real_mem_zalloc(size);
    sim.blocks += block != NULL;
    return block;
}

void *__wrap_mem_alloc(size_t size)
{
    void *block = __real_mem_alloc(size);
    sim.blocks += block != NULL;
    return block;
}

void *__wrap_mem_realloc(void *block, size_t size)
{
    void *moved = __real_mem_realloc(block, size);
    sim.blocks += block == NULL && moved != NULL;
    return moved;
}

char *__wrap_mem_copy(const char *bytes, size_t len)
{
    char *block = __real_mem_copy(bytes, len);
    sim.blocks += block != NULL;
    return block;
}

void __wrap_mem_free(void *block)
{
    sim.blocks -= block != NULL;
    __real_mem_free(block);
}

enum weir_result __wrap_engine_load_certificate(
    struct engine_shard *shard, char *problem, size_t size)
{
    (void)shard;
    snprintf(problem, size, "no certificate");
    return WEIR_CRYPTO;
}

void __wrap_census_vouch(SSL *ssl)
{
    if (ssl != NULL) {
        __real_census_vouch(ssl);
    }
}

void __wrap_control_start(struct engine_shard *shard, struct arrival *arrival,
    const struct rstrm_open_control_channel_req *request)
{
    sim.channels++;
    __real_control_start(shard, arrival, request);
}

struct proxied *__wrap_proxied_open(struct engine_shard *shard, struct tunnel *tunnel,
    enum proxied_kind kind, const struct ip *source, proxied_fn *done, void *arg)
{
    struct proxied *proxied = __real_proxied_open(shard, tunnel, kind, source, done, arg);
    sim.asked[kind] += proxied != NULL;
    return proxied;
}

void __wrap_proxied_ended(struct engine_shard *shard, struct tunnel *tunnel, enum proxied_kind kind)
{
    sim.ended[kind]++;
    __real_proxied_ended(shard, tunnel, kind);
}

// ---- Wires

void wire_open_plain(struct wire *wire, struct arrival *ret_arrival)
{
    int ends[2];
    int size = 2048;
    sim_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0 &&
                  ends[1] < FD_MAX,
        "no descriptors");
    if (sim_chance(30)) {
        (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    *wire = (struct wire){.fd = ends[0], .engine_fd = ends[1]};
    sim.wires[ends[1]] = wire;
    static const uint8_t address[4] = {192, 0, 2, 1};
    *ret_arrival = (struct arrival){
        .state.fd = ends[1],
        .unread = BUF_INIT(RSTRM_FRAME_MAX),
        .peer.ip = ip_from_v4(address),
    };
}

// A fault hits once.
void wire_open(struct wire *wire, struct arrival *ret_arrival)
{
    wire_open_plain(wire, ret_arrival);
    while (sim.encrypted && !shell_open(wire, &ret_arrival->state.ssl)) {
        close_of(wire->engine_fd, false);
        drop_peers_end(wire);
        wire_open_plain(wire, ret_arrival);
    }
    wire->engine_wrote = 0;
}

size_t wire_send(struct wire *wire, const void *bytes, size_t len)
{
    if (wire->fd < 0 || wire->leaves) {
        return 0;
    }
    if (wire->inner != NULL) {
        return inside_send(wire, bytes, len);
    }
    if (wire->ssl != NULL) {
        return shell_send(wire, bytes, len);
    }
    ssize_t sent = send(wire->fd, bytes, len, MSG_NOSIGNAL);
    return sent < 0 ? 0 : (size_t)sent;
}

enum wire_news wire_receive(struct wire *wire, void *bytes, size_t size, size_t *ret_len)
{
    if (wire->fd < 0 || wire->leaves) {
        return WIRE_RESET;
    }
    if (wire->inner != NULL) {
        return inside_receive(wire, bytes, size, ret_len);
    }
    return wire->ssl != NULL ? shell_receive(wire, bytes, size, ret_len)
                             : wire_receive_plain(wire, bytes, size, ret_len);
}

enum wire_news wire_receive_plain(struct wire *wire, void *bytes, size_t size, size_t *ret_len)
{
    ssize_t got = recv(wire->fd, bytes, size, 0);
    if (got > 0) {
        *ret_len = (size_t)got;
        return WIRE_BYTES;
    }
    if (got < 0 && errno == EAGAIN) {
        return WIRE_NOTHING;
    }
    return got == 0 && !wire->reset_by_engine ? WIRE_END : WIRE_RESET;
}

void wire_finish(struct wire *wire)
{
    if (wire->fd < 0) {
        return;
    }
    if (wire->inner != NULL) {
        inside_finish(wire);
    }
    if (wire->ssl != NULL) {
        shell_finish(wire);
    } else {
        (void)shutdown(wire->fd, SHUT_WR);
    }
}

void wire_close(struct wire *wire, bool reset)
{
    if (wire->fd < 0) {
        return;
    }
    if (wire->ssl != NULL && !reset && wire->engine_fd >= 0) {
        if (sim.calm || sim_chance(80)) {
            wire_finish(wire);
        }
        wire->leaves = !shell_flush(wire);
    }
    if (!wire->leaves || reset) {
        wire->reset_by_peer = reset;
        drop_peers_end(wire);
    }
}

static void flush_wires(void)
{
    for (size_t fd = 0; sim.encrypted && fd < FD_MAX; fd++) {
        struct wire *wire = sim.wires[fd];
        if (wire != NULL && wire->ssl != NULL && shell_flush(wire) && wire->leaves) {
            drop_peers_end(wire);
        }
    }
}

// ---- The engine

static void set_limits(struct engine_config *config)
{
    bool narrow = !sim.calm && sim_chance(25);
    *config = (struct engine_config){
        .host = (char *)(uintptr_t) "edge.test",
        .jwt_secret = (char *)(uintptr_t) "the secret of the simulated engine",
        .cert_file = (char *)(uintptr_t) "/nowhere",
        .key_file = (char *)(uintptr_t) "/nowhere",
        .upstream_keepalive = sim_chance(50),
        .http_idle_s = 1 + sim_below(90),
        .limit_header_bytes = 8192,
        .limit_body_idle_s = sim.calm ? 300 : 1 + sim_below(300),
        .stream_request_s = sim.calm ? 30 : 1 + sim_below(30),
        .takeover = sim_chance(80) ? ENGINE_TAKEOVER_SAME_IDENTITY : ENGINE_TAKEOVER_NEVER,
        .limit_channels = narrow ? 3 : 100,
        .limit_channels_per_subject = narrow ? 2 : 100,
        .limit_tunnels = narrow ? 4 : 100,
        .limit_tunnels_per_channel = narrow ? 2 : 20,
        .limit_outstanding_per_channel = sim_chance(50) ? 1 : 2 + sim_below(3),
        .limit_queued_per_channel = narrow ? sim_below(3) : 100,
        .limit_streams_per_tunnel = narrow ? 2 : 100,
        .limit_h2_streams = narrow ? 2 : 100,
        .limit_connections = 1000,
        .limit_connections_per_address = 1000,
        .limit_labels = 8,
        .limit_buffered_bytes = narrow ? UINT64_C(4000) << sim_below(7) : 1 << 28,
    };
}

void sim_begin(uint64_t seed)
{
    int64_t blocks = sim.blocks;
    char problem[256];
    memset(&sim, 0, sizeof sim);
    sim.blocks = blocks;
    sim.seed = sim.chance = seed;
    sim.now_ns = 1000 * NS_PER_S;
    sim.calm = sim_chance(25);
    sim.encrypted = sim_chance(25);
    sim.workers = 1 + (unsigned)sim_below(WORKERS_MAX);
    set_limits(&sim.config);
    sim_check(crew_init(&sim.crew, sim.workers) == WEIR_OK, "no crew");
    sim_check(engine_init(&sim.engine, &sim.crew, &sim.config) == WEIR_OK, "no engine");
    for (unsigned i = 0; i < sim.workers; i++) {
        enum weir_result result =
            engine_worker_start(&sim.engine, &sim.crew.workers[i], problem, sizeof problem);
        sim_check(result == WEIR_CRYPTO, "a worker with doors");
    }
    if (!sim.calm && sim_chance(30)) {
        mem_fail_at(1 + sim_below(sim_chance(50) ? 400 : 4000));
    }
    if (!sim.calm && sim_chance(30)) {
        sys_fail_at(1 + sim_below(sim_chance(50) ? 400 : 4000));
    }
}

uint64_t sim_seed(void)
{
    return sim.seed;
}

bool sim_calm(void)
{
    return sim.calm;
}

bool sim_encrypted(void)
{
    return sim.encrypted;
}

uint64_t sim_now(void)
{
    return sim.now_ns;
}

// What a worker has read of the clock is of the turn before.
void sim_pass(uint64_t ns)
{
    sim.now_ns += ns;
    for (unsigned i = 0; i < sim.workers; i++) {
        sim.crew.workers[i].now_known = false;
    }
}

struct slice sim_secret(void)
{
    return slice_str(sim.engine.config->jwt_secret);
}

void sim_change_secret(void)
{
    sim.next = sim.config;
    sim.next.jwt_secret = (char *)(uintptr_t) "another secret of the simulated engine";
    engine_reload(&sim.engine, &sim.next);
}

void sim_turn(void)
{
    flush_wires();
    unsigned first = (unsigned)sim_below(sim.workers);
    for (unsigned i = 0; i < sim.workers; i++) {
        worker_settle(&sim.crew.workers[(first + i) % sim.workers]);
    }
}

static struct engine_shard *shard_at(unsigned index)
{
    return engine_shard_of(&sim.crew.workers[index]);
}

struct engine_shard *sim_any_shard(void)
{
    return shard_at((unsigned)sim_below(sim.workers));
}

bool sim_is_settled(void)
{
    for (unsigned i = 0; i < sim.workers; i++) {
        const struct engine_shard *shard = shard_at(i);
        if (shard->proxied.count > 0 || !list_empty(&shard->holding) ||
            !list_empty(&shard->dials) || !list_empty(&shard->raw_visitors) ||
            !list_empty(&shard->partings) || !list_empty(&shard->probes)) {
            return false;
        }
    }
    return true;
}

bool sim_has_streams(void)
{
    bool any = false;
    for (unsigned i = 0; i < sim.workers; i++) {
        const struct engine_shard *shard = shard_at(i);
        any = any || !list_empty(&shard->raws) || !list_empty(&shard->h1_conns) ||
              !list_empty(&shard->h2_conns) || !list_empty(&shard->upstreams);
    }
    return any;
}

bool sim_has_channels(void)
{
    bool any = false;
    for (unsigned i = 0; i < sim.workers; i++) {
        any = any || shard_at(i)->channels.count > 0;
    }
    return any;
}

static void on_drained(void *arg)
{
    (void)arg;
    sim_check(!sim.drained, "drained twice");
    sim.drained = true;
}

void sim_drain(void)
{
    engine_drain(&sim.engine, on_drained, NULL);
}

bool sim_is_drained(void)
{
    return sim.drained;
}

// ---- The books

static int64_t total(enum engine_metric first, unsigned nth)
{
    return engine_metrics_total(
        sim.engine.metrics, sim.workers, (enum engine_metric)((unsigned)first + nth));
}

static int64_t sum(enum engine_metric first, unsigned count)
{
    int64_t all = 0;
    for (unsigned i = 0; i < count; i++) {
        all += total(first, i);
    }
    return all;
}

static void balance(void)
{
    for (unsigned i = 0; i < ENGINE_METRIC_COUNT; i++) {
        seen[i] += total((enum engine_metric)0, i);
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        unsigned first = kind * PROXIED_OUTCOME_COUNT;
        sim_check(sum((enum engine_metric)(ENGINE_STREAMS_HTTP_OK + first),
                      PROXIED_OUTCOME_COUNT) == (int64_t)sim.asked[kind],
            "streams asked for and their outcomes");
        sim_check(total(ENGINE_STREAMS_HTTP_OK, first + PROXIED_BOUND) == (int64_t)sim.ended[kind],
            "streams bound and ended");
        sim_check(total(ENGINE_STREAMS_ACTIVE_HTTP, kind) == 0, "streams active at the end");
    }
    sim_check(sum(ENGINE_CONTROL_CHANNEL_OPENS_OK, OPENS) == (int64_t)sim.channels,
        "channels asked for and their outcomes");
    sim_check(sum(ENGINE_CONTROL_CHANNEL_CLOSES_CLIENT, CONTROL_CLOSE_ERROR + 1) ==
                  total(ENGINE_CONTROL_CHANNEL_OPENS_OK, 0),
        "channels opened and closed");
    sim_check(total(ENGINE_CONTROL_CHANNELS, 0) == 0, "channels at the end");
    sim_check(sum(ENGINE_TUNNELS_PRIVATE, TUNNEL_TCP + 1) == 0, "tunnels at the end");
}

// As the crew does it when its threads have ended (crew_run).
void sim_stop(void)
{
    mem_fail_at(0);
    sys_fail_at(0);
    for (unsigned i = 0; i < sim.workers; i++) {
        worker_settle(&sim.crew.workers[i]);
    }
    for (unsigned i = 0; i < sim.workers; i++) {
        engine_worker_stop(&sim.crew.workers[i]);
    }
    for (unsigned i = 0; i < sim.workers; i++) {
        worker_settle(&sim.crew.workers[i]);
    }
}

void sim_end(void)
{
    balance();
    for (int fd = 0; fd < FD_MAX; fd++) {
        sim_check(sim.wires[fd] == NULL, "a descriptor is left open");
    }
    crew_fini(&sim.crew);
    engine_fini(&sim.engine);
    sim_check(sim.blocks == 0, "memory is left");
}

void sim_check_variety(void)
{
    static const struct {
        unsigned first;
        unsigned count;
    } rows[] = {
        {ENGINE_STREAMS_HTTP_OK, PROXIED_FAILED},
        {ENGINE_STREAMS_HTTP_OK + PROXIED_TLS * PROXIED_OUTCOME_COUNT, PROXIED_FAILED},
        {ENGINE_STREAMS_HTTP_OK + PROXIED_DIAL * PROXIED_OUTCOME_COUNT, PROXIED_FAILED},
        {ENGINE_CONTROL_CHANNEL_CLOSES_CLIENT, CONTROL_CLOSE_ERROR + 1},
        {ENGINE_CONTROL_CHANNEL_OPENS_OK, OPENS},
        {ENGINE_HTTP_REQUESTS_H1_1XX + 1, 1},
        {ENGINE_HTTP_REQUESTS_H2_1XX + 1, 1},
        {ENGINE_HTTP_RETRIES, 1},
        {ENGINE_VISITORS_CUT, 1},
        {ENGINE_HTTP_STREAM_REUSES, 1},
        {ENGINE_TAKEOVERS, 1},
        {ENGINE_TUNNEL_OPENS_CONFLICT, 1},
        {ENGINE_TUNNEL_OPENS_CAPACITY, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (unsigned nth = 0; nth < rows[i].count; nth++) {
            struct engine_metrics_row row = {0};
            bool known = engine_metrics_row_at(rows[i].first + nth, &row);
            if (!known || seen[rows[i].first + nth] == 0) {
                fprintf(stderr, "sim: in no world %s{%s}\n", row.name, row.labels);
                abort();
            }
        }
    }
}
