// SPDX-License-Identifier: Apache-2.0
// libweir-agent: publishes services through a tunnel engine that speaks rstrm/1, and dials private
// ones. Plain C types and opaque ones; nothing else of weir is needed to use it.
//
//   struct weir_agent_loop *loop = weir_agent_loop_new();
//   struct weir_agent *agent = weir_agent_new(loop, &options, &events, arg, problem, sizeof
//   problem); weir_tunnel_open(agent, &tunnel_options, &tunnel_events, arg, problem, sizeof
//   problem); weir_agent_connect(agent); weir_agent_loop_run(loop); weir_agent_loop_free(loop);
//
// Threads. Everything of a loop happens on the thread that is in weir_agent_loop_run: all callbacks
// come on it, one after the other, and all functions but weir_agent_loop_stop and
// weir_agent_loop_post must be called on it (or before it runs, or after). A program that has other
// things to do gives the loop a thread of its own and posts to it. Any number of agents share a
// loop; loops share nothing.
//
// Callbacks may call any function of this header but weir_agent_loop_run and weir_agent_loop_free.
// None comes from inside a call of the program's. What a callback is given by pointer is valid
// during the call, unless it says otherwise.
//
// Structs of options begin with their size (sizeof), so that a program keeps working with a later
// library; all other members may be zero. They, and the texts in them, are copied.
//
// Texts for people are one line of English in UTF-8, without control characters, also where an
// engine has a say in them.
#ifndef WEIR_AGENT_H
#define WEIR_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_agent_loop;
struct weir_agent;
struct weir_tunnel;
struct weir_stream;

// "0.1.0"
const char *weir_agent_library_version(void);

// ---- What goes wrong

enum weir_agent_error {
    WEIR_AGENT_ERROR_NONE = 0,
    WEIR_AGENT_ERROR_OPTION,      // an option cannot be used
    WEIR_AGENT_ERROR_TOKEN,       // the token has expired, by our clock
    WEIR_AGENT_ERROR_RESOURCES,   // out of memory or descriptors
    WEIR_AGENT_ERROR_NAME,        // the engine's name is not known, or nobody could say
    WEIR_AGENT_ERROR_UNREACHABLE, // no connection to the engine
    WEIR_AGENT_ERROR_TLS,         // its certificate, or no TLS at all
    WEIR_AGENT_ERROR_TIMEOUT,     // the engine did not answer in time, or fell silent
    WEIR_AGENT_ERROR_PROTOCOL,    // the engine broke the protocol
    WEIR_AGENT_ERROR_CLOSED,      // the engine closed in order: it restarts, or does not want us
    WEIR_AGENT_ERROR_LOST,        // the connection broke
    WEIR_AGENT_ERROR_ENGINE,      // the engine refused: engine_code says why
    WEIR_AGENT_ERROR_LOCAL,       // the local service cannot be reached, or broke off
    WEIR_AGENT_ERROR_REFUSED,     // the program refused a stream
    WEIR_AGENT_ERROR_ENDED,       // we ended it, or what it belonged to
};

struct weir_agent_problem {
    enum weir_agent_error error;
    int engine_code; // of WEIR_AGENT_ERROR_ENGINE: 1000 unauthorized, 2000 invalid request, ...
    bool final;      // the same again will not help
    const char *text;
};

// ---- Loops

// NULL without memory or descriptors.
struct weir_agent_loop *weir_agent_loop_new(void);
// Runs callbacks until weir_agent_loop_stop; once for each loop. False when it could not begin.
// SIGPIPE is blocked for the thread meanwhile.
bool weir_agent_loop_run(struct weir_agent_loop *loop);
// Any thread, also in a signal handler: weir_agent_loop_run returns after its current turn. Nothing
// is closed in order: weir_agent_close does that.
void weir_agent_loop_stop(struct weir_agent_loop *loop);

typedef void weir_agent_call_fn(void *arg);
// Any thread: calls fn on the loop's thread, soon. Calls of one thread keep their order. False
// without memory. What was posted and not run when the loop is freed never runs.
bool weir_agent_loop_post(struct weir_agent_loop *loop, weir_agent_call_fn *fn, void *arg);
// Calls fn once, after so many milliseconds. False without memory.
bool weir_agent_loop_after(
    struct weir_agent_loop *loop, uint32_t delay_ms, weir_agent_call_fn *fn, void *arg);
// Calls fn on the loop's thread each time the process gets the signal, from now until the loop is
// freed. False when the signal cannot be caught, or without memory.
bool weir_agent_loop_catch(
    struct weir_agent_loop *loop, int signal_number, weir_agent_call_fn *fn, void *arg);

// Cuts everything that lives on the loop, without a word to the engine and without a callback but
// the last one of each object (CLOSED, closed), and frees it. NULL is fine.
void weir_agent_loop_free(struct weir_agent_loop *loop);

// ---- Agents

struct weir_agent_options {
    size_t size;
    const char *engine; // required: "host" or "host:port" (443); an IPv6 address in brackets
    const char *token;  // required: a JWT of the engine; never logged
    // TLS 1.3; the engine's certificate is verified.
    const char *ca_file;         // PEM; NULL: the system's store
    const char *server_name;     // asked for and verified instead of the engine's host
    bool insecure;               // verifies nothing: for trials on loopback
    bool no_reconnect;           // a channel that is lost, or cannot be had, is final
    uint32_t heartbeat_ms;       // between two heartbeats; 0: 5000
    uint32_t connect_timeout_ms; // TCP and TLS, and as much again for the engine's word; 0: 15000
    uint32_t retry_min_ms;       // bound of the first wait between attempts; 0: 500
    uint32_t retry_max_ms;       // bound of all; 0: 30000
    uint32_t dials_max;          // streams under way at once; 0: 128, at least 64
    // How the engine shows us to others; NULL: "weir", "library" and the library's version.
    const char *agent_name;
    const char *agent_channel;
    const char *agent_version;
    // Connections that are kept ready for the next stream, so that it does not wait for a
    // handshake: from a tunnel's opening, or the last stream, for a minute. 0: 2; negative: none; 8
    // at most.
    int32_t spare_connections;
    uint32_t retry_jitter; // percent of a wait that are random, downward; 0: 100
};

enum weir_agent_state {
    WEIR_AGENT_IDLE,       // not connected, and not trying
    WEIR_AGENT_CONNECTING, // the first time, or again
    WEIR_AGENT_ONLINE,     // the engine has accepted us
    WEIR_AGENT_WAITING,    // until the next attempt
    WEIR_AGENT_FAILED,     // a problem that is final; weir_agent_connect tries once more
    WEIR_AGENT_CLOSING,
    WEIR_AGENT_CLOSED, // the agent is no more: last callback
};

// What the engine says about itself; "" where it says nothing.
struct weir_agent_engine {
    const char *agent;
    const char *channel;
    const char *version;
    const char *plan;
    const char *provider;
    const char *region;
    const char *update;
    const char *client_id; // ours, on the engine
};

struct weir_agent_status {
    enum weir_agent_state state;
    const struct weir_agent_problem *problem; // why WAITING or FAILED; else NULL
    uint32_t retry_in_ms;                     // of WAITING
    uint32_t attempt;                         // attempts since the last time ONLINE
    const struct weir_agent_engine *engine;   // of ONLINE; else NULL
};

// Each may be NULL.
struct weir_agent_events {
    // Once for each change. After CLOSED the agent is freed.
    void (*state)(void *arg, struct weir_agent *agent, const struct weir_agent_status *status);
    // The engine has something to say.
    void (*message)(void *arg, struct weir_agent *agent, const char *text);
    // A heartbeat was acknowledged after so long.
    void (*latency)(void *arg, struct weir_agent *agent, uint32_t microseconds);
};

// Does nothing yet. loop NULL counts as no memory. NULL: problem (size bytes) says why in English.
struct weir_agent *weir_agent_new(struct weir_agent_loop *loop,
    const struct weir_agent_options *options, const struct weir_agent_events *events, void *arg,
    char *problem, size_t size);
// Opens the control channel and keeps it open: after a loss at once, then after ever longer waits,
// each of a random part of its bound (see retry_jitter). Not needed for dialing. Does nothing when
// it is at it.
void weir_agent_connect(struct weir_agent *agent);
// Something has changed outside, or the user is impatient: a wait for the next attempt ends, a
// channel that is open is asked for a sign of life. Changes of the machine's addresses and routes,
// and its waking up, do the same by themselves.
void weir_agent_nudge(struct weir_agent *agent);
// Closes in order: no new streams, the tunnels, then the channel, each for 5 s at the most. Streams
// may go on for drain_ms, and are cut then. CLOSED follows. A second call cuts it short: everything
// ends at once.
void weir_agent_close(struct weir_agent *agent, uint32_t drain_ms);

// ---- Tunnels

enum weir_tunnel_switch { WEIR_TUNNEL_UNSET = 0, WEIR_TUNNEL_NO, WEIR_TUNNEL_YES };

struct weir_tunnel_label {
    const char *key;
    const char *value;
};

// What is NULL, 0 or UNSET is not sent: the engine decides (docs/spec/engine.md section 5).
struct weir_tunnel_options {
    size_t size;
    // Where streams go: "host:port", "port" (of localhost), "unix:/path". NULL: to `accept`.
    const char *forward;
    bool no_retry; // whatever the engine refuses is final, also a name that somebody has

    const char *name;
    const char *type;     // "bytestream"
    const char *protocol; // "http", "tls", "tcp", ...
    enum weir_tunnel_switch publish;
    const char *hostname; // a label, or all of it; what the engine made up is asked for again
                          // after a reconnect
    uint32_t port;
    const struct weir_tunnel_label *labels;
    size_t label_count;
    const char *tls_mode; // "terminated", "passthrough"
    const char *const *tls_alpns;
    size_t tls_alpn_count;
    const char *tls_min_version; // "tls1.2", "tls1.3"
    const char *const *tls_ciphers;
    size_t tls_cipher_count;
    const char *http_version; // of the service: "http/1.1", "h2c"
    enum weir_tunnel_switch upstream_tls;
    enum weir_tunnel_switch http_use_tls; // its old name
    enum weir_tunnel_switch mtls_auth;
    const char *mtls_cacert_pem;
    enum weir_tunnel_switch token_auth;
    enum weir_tunnel_switch rstream_auth;
    enum weir_tunnel_switch challenge_mode;
    enum weir_tunnel_switch datagram_guaranteed_delivery;
    enum weir_tunnel_switch allow_cross_region_routing;
    const char *const *geoip;
    size_t geoip_count;
    const char *const *trusted_ips;
    size_t trusted_ip_count;
};

enum weir_tunnel_state {
    WEIR_TUNNEL_OPENING,
    WEIR_TUNNEL_ONLINE,
    WEIR_TUNNEL_OFFLINE, // with the channel; it comes back with it
    WEIR_TUNNEL_REFUSED, // asked for again after retry_in_ms; when the problem is final, never
    WEIR_TUNNEL_CLOSING, // no new streams; those that run may go on
    WEIR_TUNNEL_CLOSED,  // the tunnel and its streams are no more: last callback
};

// As the engine has it; "" where it says nothing.
struct weir_tunnel_info {
    const char *id;
    const char *name;
    const char *type;
    const char *protocol;
    const char *hostname;
    uint32_t port; // 0: not told
    bool publish;
    const char *tls_mode;
    const char *http_version;
    bool upstream_tls;
    const char
        *address;    // for people: "https://demo.t.edge.example.com", "rstrm://db (unpublished)"
    int64_t created; // seconds since 1970; 0: not told
};

struct weir_tunnel_status {
    enum weir_tunnel_state state;
    // Of REFUSED; of CLOSING and CLOSED when the engine closed it; of OFFLINE why the channel was
    // lost.
    const struct weir_agent_problem *problem;
    uint32_t retry_in_ms;                // of REFUSED; 0: never
    const struct weir_tunnel_info *info; // of ONLINE; else NULL
};

// A stream in events. The same pointer from the first event to the last one of a stream.
struct weir_stream_info {
    const char *id;        // the engine's
    const char *source_ip; // the visitor's; "" when the engine did not say
    uint64_t opened_ms;    // since 1970
    void *user;            // the program's; NULL at first
};

struct weir_stream_totals {
    uint64_t bytes_in;  // from the visitor to the service
    uint64_t bytes_out; // and back
    uint64_t duration_ms;
};

enum weir_stream_direction { WEIR_STREAM_IN, WEIR_STREAM_OUT };

// Each may be NULL; stream_* and tap are of tunnels with `forward`.
struct weir_tunnel_events {
    // Once for each change. After CLOSED the tunnel is freed.
    void (*state)(void *arg, struct weir_tunnel *tunnel, const struct weir_tunnel_status *status);
    // A visitor's stream, of a tunnel without `forward`: weir_stream_take or weir_stream_refuse
    // within the call; a stream that was not taken is refused.
    void (*accept)(void *arg, struct weir_tunnel *tunnel, struct weir_stream *stream,
        const struct weir_stream_info *info);
    // A stream reached the local service.
    void (*stream_opened)(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream);
    // A stream of which stream_opened was called is over; problem is NULL when both sides ended it.
    void (*stream_closed)(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
        const struct weir_stream_totals *totals, const struct weir_agent_problem *problem);
    // A visitor got no stream: the local service is down (LOCAL), the engine was not reached again,
    // or too much was under way. No other event of this stream comes.
    void (*stream_refused)(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
        const struct weir_agent_problem *problem);
    // Bytes of a forwarded stream as they pass; len 0: the end of that direction. With upstream TLS
    // or passthrough they are what the wire has. When NULL, streams pay nothing for it.
    void (*tap)(void *arg, struct weir_tunnel *tunnel, struct weir_stream_info *stream,
        enum weir_stream_direction direction, const void *bytes, size_t len);
};

// Opens the tunnel as soon as, and each time when, the agent is ONLINE. NULL: problem (size bytes)
// says which option cannot be used. Valid until CLOSED.
struct weir_tunnel *weir_tunnel_open(struct weir_agent *agent,
    const struct weir_tunnel_options *options, const struct weir_tunnel_events *events, void *arg,
    char *problem, size_t size);
// CLOSING: tells the engine and waits for its answer, 5 s at the most. CLOSED follows when the last
// stream has ended by itself. Another tunnel of the same name may be opened right behind this call.
// A second call ends its streams.
void weir_tunnel_close(struct weir_tunnel *tunnel);

struct weir_tunnel_counts {
    uint64_t streams_open;
    uint64_t streams; // since the tunnel was opened first, as the rest
    uint64_t refused;
    uint64_t bytes_in;
    uint64_t bytes_out;
};
void weir_tunnel_count(const struct weir_tunnel *tunnel, struct weir_tunnel_counts *ret_counts);

// ---- Streams that the program serves or dialed itself

struct weir_stream_events {
    // The stream stands: bytes may be read and written.
    void (*opened)(void *arg, struct weir_stream *stream);
    // There is something to read after a read that said AGAIN, or room after a write that did not
    // take everything. Also once when the stream has opened. May be NULL for one that is joined.
    void (*ready)(void *arg, struct weir_stream *stream);
    // The stream is over and freed: last callback. problem is NULL when both sides ended it, or the
    // program did.
    void (*closed)(void *arg, const struct weir_agent_problem *problem);
};

// Of an accepted stream. It opens when the engine was reached.
void weir_stream_take(
    struct weir_stream *stream, const struct weir_stream_events *events, void *arg);
// The visitor is told that there is no service (HTTP: 502). text goes to the engine. A stream that
// was taken is ended; once it has opened, the visitor sees a broken stream.
void weir_stream_refuse(struct weir_stream *stream, const char *text);

struct weir_stream_dial_options {
    size_t size;
    const char *target;  // required: a tunnel's name or id
    bool zero_rtt;       // do not wait for the engine's word; errors show as an end only
    uint32_t timeout_ms; // until it is open; 0: 10000
};
// Dials a tunnel of the agent's engine, also when the agent is not connected. NULL: problem (size
// bytes) says why.
struct weir_stream *weir_stream_dial(struct weir_agent *agent,
    const struct weir_stream_dial_options *options, const struct weir_stream_events *events,
    void *arg, char *problem, size_t size);

enum weir_stream_result {
    WEIR_STREAM_OK,
    WEIR_STREAM_AGAIN,  // nothing now: ready tells
    WEIR_STREAM_END,    // the other side has said all it had to say
    WEIR_STREAM_FAILED, // closed follows
};
// ret_len: set with OK only.
enum weir_stream_result weir_stream_read(
    struct weir_stream *stream, void *bytes, size_t size, size_t *ret_len);
// May take a part; AGAIN when it takes nothing.
enum weir_stream_result weir_stream_write(
    struct weir_stream *stream, const void *bytes, size_t len, size_t *ret_len);
// We have said all we had to say; reading goes on. When the other side ends too, the stream closes.
void weir_stream_finish(struct weir_stream *stream);
// Hands the stream to the library, together with a connected socket, which is taken over: what one
// says the other gets, until both have ended; closed tells. Nothing may have been read or written
// before; it need not be open yet.
void weir_stream_join(struct weir_stream *stream, int fd);
// Ends it at once; the other side sees a broken stream unless both directions had ended.
void weir_stream_close(struct weir_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
