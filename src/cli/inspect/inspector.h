// SPDX-License-Identifier: Apache-2.0
// The inspector: a page on loopback that shows what passes through tunnels, and the API behind it.
//
//   GET  /  /inspect.js  /inspect.css      the page; nothing of it comes from elsewhere
//   GET  /api/exchanges?after=R&wait=S     what changed since revision R, S seconds at most later
//   GET  /api/exchange?id=N                one exchange with fields and bodies
//   GET  /api/har[?id=N]                   an HTTP archive
//   POST /api/replay?id=N                  sends a request to the local service once more
//   POST /api/clear
//
// Who may ask: whoever reaches the address, which is a loopback one unless somebody insists, and
// says its name in Host (DNS rebinding); a POST also needs the field X-Weir-Inspect, which no other
// site's page can send.
#ifndef WEIR_CLI_INSPECTOR_H
#define WEIR_CLI_INSPECTOR_H

#include "cli/inspect/tap.h"
#include "http/server.h"

#define INSPECTOR_PORT 4040
#define INSPECTOR_URL_SIZE 80

// The options of a command that has an inspector; the arguments are indexes of its table.
#define INSPECT_OPTION_ROWS(inspect, secrets, anywhere)                                            \
    [inspect] = {"--inspect", "[=[ADDR:]PORT]", "show live requests on a page; 127.0.0.1:4040",    \
        .group = "inspector"},                                                                     \
    [secrets] = {"--inspect-secrets", NULL, "and in it tokens and cookies as they are",            \
        .group = "inspector"},                                                                     \
    [anywhere] = {"--inspect-anywhere", NULL,                                                      \
        "allow addresses that other machines reach: they see everything", .group = "inspector"}

struct inspector_options {
    const char
        *address;  // "", "PORT", "ADDR:PORT"; port 0: any; without one the first free from 4040
    bool secrets;  // show tokens and cookies
    bool anywhere; // addresses that are not loopback are fine
};

struct inspector {
    struct capture capture;
    struct http_server server;
    struct http_options http;
    struct worker *worker;
    struct list waiters;
    size_t waiter_count;
    struct timer batch; // changes are told together
    struct list taps;
    struct list replays;
    size_t replay_count;
    struct sys_address address;
    bool secrets;
    bool open;
    char url[INSPECTOR_URL_SIZE];
};

// False: problem (size bytes) says why, in English.
bool inspector_open(struct inspector *inspector, struct worker *worker,
    const struct inspector_options *options, char *problem, size_t size);
// Ends taps and replays, too. Fine for a zeroed one, and twice.
void inspector_close(struct inspector *inspector);

// "ADDR:PORT" and its shorter forms; *ret_chosen: a port was named. False: problem says why.
bool inspector_parse_address(const char *text, bool anywhere, struct sys_address *ret_address,
    bool *ret_chosen, const char **ret_problem);
// Host is a name of this server: an address it listens on, or localhost; with its port.
bool inspector_knows_host(const struct sys_address *address, struct slice host);

// ---- Streams. The handle may be NULL, without memory: then nothing is recorded.

struct inspector_tap;
struct inspector_tap *inspector_tap_open(struct inspector *inspector, const char *tunnel,
    const char *target, const char *stream_id, const char *source_ip);
// No bytes: that direction has ended.
void inspector_tap_feed(struct inspector *inspector, struct inspector_tap *tap,
    enum capture_side side, struct slice bytes);
void inspector_tap_close(struct inspector *inspector, struct inspector_tap *tap);

#endif
