// SPDX-License-Identifier: Apache-2.0
// weir-bench-load: the load generator. One thread, one epoll; one JSON object on stdout.
//
//   weir-bench-load traffic ...   envelopes over pairs, closed or open loop
//   weir-bench-load connect ...   open many connections, say what it cost, and with --hold keep
//                                 them open and at rest until stdin ends
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fleet.h"
#include "frames.h"
#include "kex.h"
#include "traffic.h"
#include "util.h"

enum { SETTLE_STEP_MS = 50, SETTLE_STEPS_MAX = 100, SETTLE_CPU_NS = 1000000 };

struct options {
    struct fleet_options fleet;
    struct traffic_options traffic;
    bool hold;
    int pause_ms;
    unsigned deadline_s;
};

static const char usage[] =
    "usage: weir-bench-load traffic|connect --port PORT [options]\n"
    "  --port N          server on 127.0.0.1\n"
    "  --server-pid N    whose CPU time is read\n"
    "  --tls             speak TLS\n"
    "  --masked-ok       accept masked frames from the server (the bare forwarder)\n"
    "  --sources N       spread connections over 127.0.0.1 ... 127.0.0.N (default 1)\n"
    "  --parallel N      upgrades in progress at once (default 64)\n"
    "  --deadline S      end with an error after S seconds (default 60)\n"
    "traffic:\n"
    "  --pairs N         cells of one daemon and one client (default 1)\n"
    "  --size BYTES      of a message (default 512)\n"
    "  --direction D     up, down, both, echo (default both)\n"
    "  --inflight N      frames under way in each stream (default 16)\n"
    "  --rate R          open loop: frames a second over all streams\n"
    "  --client-port N   clients go to this relay, and daemons to --port\n"
    "  --other-pid N     whose CPU time is read as well; up to 16\n"
    "  --pause S         between connecting and the key exchange (default 0)\n"
    "  --warmup S        seconds before the window (default 0.3)\n"
    "  --seconds S       the window (default 1)\n"
    "connect:\n"
    "  --cells N         (default 1)\n"
    "  --clients N       in each cell (default 1)\n"
    "  --no-daemon       cells of clients only\n"
    "  --hold            stay until stdin ends\n";

static double number(const char *name, const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= min && value <= max))
        util_die("--%s %s: a number from %g to %g is wanted", name, text, min, max);
    return value;
}

static enum traffic_direction direction_of(const char *text)
{
    static const char *const names[] = {"up", "down", "both", "echo"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0)
            return (enum traffic_direction)i;
    }
    util_die("--direction %s: up, down, both or echo is wanted", text);
}

static const struct option long_options[] = {{"port", required_argument, NULL, 'p'},
    {"server-pid", required_argument, NULL, 'P'}, {"tls", no_argument, NULL, 't'},
    {"masked-ok", no_argument, NULL, 'm'}, {"sources", required_argument, NULL, 'S'},
    {"parallel", required_argument, NULL, 'l'}, {"deadline", required_argument, NULL, 'x'},
    {"pairs", required_argument, NULL, 'n'}, {"size", required_argument, NULL, 's'},
    {"direction", required_argument, NULL, 'd'}, {"inflight", required_argument, NULL, 'i'},
    {"rate", required_argument, NULL, 'r'}, {"warmup", required_argument, NULL, 'w'},
    {"seconds", required_argument, NULL, 'e'}, {"cells", required_argument, NULL, 'c'},
    {"clients", required_argument, NULL, 'C'}, {"no-daemon", no_argument, NULL, 'N'},
    {"hold", no_argument, NULL, 'h'}, {"client-port", required_argument, NULL, 'a'},
    {"other-pid", required_argument, NULL, 'o'}, {"pause", required_argument, NULL, 'u'},
    {NULL, 0, NULL, 0}};

static void apply_fleet(struct fleet_options *o, int key, const char *name, const char *value)
{
    switch (key) {
    case 'p':
        o->address.sin_port = htons((uint16_t)number(name, value, 1, 65535));
        break;
    case 'a':
        o->client_address.sin_port = htons((uint16_t)number(name, value, 1, 65535));
        break;
    case 't':
        o->tls = true;
        break;
    case 'm':
        o->masked_ok = true;
        break;
    case 'S':
        o->sources = (unsigned)number(name, value, 1, 254);
        break;
    case 'l':
        o->parallel = (unsigned)number(name, value, 1, 4096);
        break;
    case 'n':
    case 'c':
        o->cells = (unsigned)number(name, value, 1, 100000);
        break;
    case 'C':
        o->clients = (unsigned)number(name, value, 0, 100000);
        break;
    case 'N':
        o->daemons = 0;
        break;
    default:
        fputs(usage, stderr);
        exit(64);
    }
}

static void add_other(struct traffic_options *o, pid_t pid)
{
    if (o->other_count == TRAFFIC_OTHERS_MAX)
        util_die("--other-pid: %d at most", TRAFFIC_OTHERS_MAX);
    o->others[o->other_count++] = pid;
}

static void apply(struct options *o, int key, const char *name, const char *value)
{
    switch (key) {
    case 'P':
        o->traffic.server = (pid_t)number(name, value, 1, 1 << 22);
        break;
    case 'o':
        add_other(&o->traffic, (pid_t)number(name, value, 1, 1 << 22));
        break;
    case 'u':
        o->pause_ms = (int)(number(name, value, 0, 60) * 1000);
        break;
    case 's':
        o->traffic.size = (size_t)number(name, value, FRAMES_ENVELOPE_MIN, 1 << 20);
        break;
    case 'd':
        o->traffic.direction = direction_of(value);
        break;
    case 'i':
        o->traffic.inflight = (unsigned)number(name, value, 1, 60000);
        break;
    case 'r':
        o->traffic.rate = number(name, value, 1, 1e7);
        break;
    case 'w':
        o->traffic.warmup_ns = (uint64_t)(number(name, value, 0, 60) * 1e9);
        break;
    case 'e':
        o->traffic.window_ns = (uint64_t)(number(name, value, 0.01, 600) * 1e9);
        break;
    case 'h':
        o->hold = true;
        break;
    case 'x':
        o->deadline_s = (unsigned)number(name, value, 1, 3600);
        break;
    default:
        apply_fleet(&o->fleet, key, name, value);
        break;
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    o->fleet.address.sin_family = AF_INET;
    o->fleet.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    o->fleet.client_address = o->fleet.address;
    int index = 0;
    int key;
    while ((key = getopt_long(argc, argv, "", long_options, &index)) != -1)
        apply(o, key, long_options[index].name, optarg);
    if (optind != argc || o->fleet.address.sin_port == 0) {
        fputs(usage, stderr);
        exit(64);
    }
}

static void print_hist(const char *name, const struct hist *h)
{
    printf(",\"%s\":{\"count\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64
           ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "}",
        name, h->total, hist_quantile(h, 0.5), hist_quantile(h, 0.9), hist_quantile(h, 0.99),
        hist_quantile(h, 0.999), h->max);
}

static void print_traffic(const struct options *o, const struct traffic_result *r)
{
    double seconds = (double)r->window_ns / 1e9;
    printf("{\"pairs\":%u,\"size\":%zu,\"inflight\":%u,\"rate\":%g,\"seconds\":%.6f,"
           "\"frames\":%" PRIu64 ",\"frames_per_s\":%.1f,",
        o->fleet.cells, o->traffic.size, o->traffic.inflight, o->traffic.rate, seconds, r->frames,
        (double)r->frames / seconds);
    printf("\"server_cpu_ns\":%" PRIu64 ",\"server_user_ns\":%" PRIu64
           ",\"server_system_ns\":%" PRIu64
           ",\"server_cpu_ns_per_frame\":%.1f,\"server_share\":%.4f,",
        r->server_cpu_ns, r->server_user_ns, r->server_system_ns,
        r->frames > 0 ? (double)r->server_cpu_ns / (double)r->frames : 0,
        (double)r->server_cpu_ns / (double)r->window_ns);
    printf("\"generator_cpu_ns\":%" PRIu64 ",\"generator_share\":%.4f", r->generator_cpu_ns,
        (double)r->generator_cpu_ns / (double)r->window_ns);
    printf(",\"others_cpu_ns\":[");
    for (unsigned i = 0; i < o->traffic.other_count; i++)
        printf("%s%" PRIu64, i > 0 ? "," : "", r->others_cpu_ns[i]);
    printf("]");
    print_hist("latency_ns", &r->latency_ns);
    print_hist("lateness_ns", &r->lateness_ns);
    puts("}");
}

static void serve_idle(struct fleet *f, int timeout_ms)
{
    int ready = fleet_wait(f, timeout_ms);
    for (int i = 0; i < ready; i++)
        fleet_read_idle(f, f->events[i].data.ptr);
}

static void serve_idle_for(struct fleet *f, int ms)
{
    uint64_t until_ns = util_now_ns() + (uint64_t)ms * 1000000;
    while (util_now_ns() < until_ns)
        serve_idle(f, SETTLE_STEP_MS);
}

static void run_traffic(struct options *o)
{
    if (o->fleet.clients != 1 || o->fleet.daemons != 1)
        util_die("traffic runs over pairs: one daemon and one client a cell");
    static struct fleet fleet;
    static struct traffic_result result;
    fleet_open(&fleet, &o->fleet);
    serve_idle_for(&fleet, o->pause_ms);
    kex_run(&fleet);
    traffic_run(&fleet, &o->traffic, &result);
    print_traffic(o, &result);
}

static uint64_t server_cpu_ns(const struct options *o)
{
    return o->traffic.server != 0 ? util_process_cpu_ns(o->traffic.server) : 0;
}

// The server may go on working after the last 101 (registration, logs): wait until it rests.
static void settle(const struct options *o, struct fleet *f)
{
    uint64_t before_ns = server_cpu_ns(o);
    for (unsigned i = 0; i < SETTLE_STEPS_MAX; i++) {
        serve_idle_for(f, SETTLE_STEP_MS);
        uint64_t now_ns = server_cpu_ns(o);
        if (now_ns - before_ns < SETTLE_CPU_NS)
            return;
        before_ns = now_ns;
    }
}

// Answers pings until the harness closes stdin.
static void hold(struct fleet *f)
{
    struct pollfd fds[2] = {
        {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = f->epoll, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            util_die_errno("poll");
        char byte;
        if (fds[0].revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0)
            return;
        if (fds[1].revents != 0)
            serve_idle(f, 0);
    }
}

static void run_connect(struct options *o)
{
    static struct fleet fleet;
    uint64_t start_ns = util_now_ns();
    uint64_t start_cpu_ns = server_cpu_ns(o);
    fleet_open(&fleet, &o->fleet);
    uint64_t wall_ns = util_now_ns() - start_ns;
    settle(o, &fleet);
    uint64_t cpu_ns = server_cpu_ns(o) - start_cpu_ns;
    printf("{\"connections\":%u,\"cells\":%u,\"tls\":%s,\"wall_ns\":%" PRIu64
           ",\"server_cpu_ns\":%" PRIu64 ",\"server_cpu_ns_per_connection\":%.1f,"
           "\"generator_cpu_ns\":%" PRIu64,
        fleet.count, o->fleet.cells, o->fleet.tls ? "true" : "false", wall_ns, cpu_ns,
        (double)cpu_ns / fleet.count, util_process_cpu_ns(getpid()));
    print_hist("upgrade_ns", &fleet.upgrade_ns);
    puts("}");
    fflush(stdout);
    if (o->hold)
        hold(&fleet);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        util_die_errno("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        util_die_errno("setrlimit");
}

int main(int argc, char **argv)
{
    struct options o = {
        .fleet = {.cells = 1, .clients = 1, .daemons = 1, .parallel = 64, .sources = 1},
        .traffic = {.direction = TRAFFIC_BOTH,
            .size = 512,
            .inflight = 16,
            .warmup_ns = 300000000,
            .window_ns = 1000000000},
        .deadline_s = 60};
    const char *mode = argc > 1 ? argv[1] : "";
    bool traffic = strcmp(mode, "traffic") == 0;
    if (!traffic && strcmp(mode, "connect") != 0) {
        fputs(usage, stderr);
        return 64;
    }
    parse(&o, argc - 1, argv + 1);
    signal(SIGPIPE, SIG_IGN);
    alarm(o.deadline_s); // whatever hangs, this process does not outlive its deadline
    raise_descriptor_limit();
    if (traffic)
        run_traffic(&o);
    else
        run_connect(&o);
    return 0;
}
