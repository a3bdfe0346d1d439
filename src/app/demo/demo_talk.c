// SPDX-License-Identifier: Apache-2.0
//   daemon:  dial ──► connected ──────────────► answers handshakes and lines
//              ▲                       │
//              └── 1 s ◄── lost ◄──────┘        the client follows: it is dialled when the daemon
//                                               is there, and begins anew when that comes again
//   client:  dial ──► connected ──► handshake ──► lines ──► no echo for 10 s: dial again
//
// Invariants
//
// 1. Of an end, at most one of dial, alive and the armed timer is there; while none ends, one is,
//    but for the client without a daemon.
// 2. While ending nothing is dialled, and the last end that goes calls ended, once.
#include "app/demo/demo_talk.h"

#include <stdio.h>

#include "base/time.h"
#include "obs/log.h"
#include "sys/clock.h"

#define FRAME_MAX 65536
#define QUEUE_MAX (1024 * 1024)
#define DIAL_NS (10 * NS_PER_S)
#define AGAIN_NS NS_PER_S
#define SILENCE_NS (10 * NS_PER_S)
#define ECHOES_DUE_MAX 16
#define PERIOD_S 60 // of the rate
#define SLOW_MS 900
#define FAST_MS 100
#define LINE_LEN_MAX 1400

static void dial(struct demo_end *end);

static struct demo_end *end_of(struct ws *ws)
{
    return container_of(ws, struct demo_end, ws);
}

// ---- The end

static bool has_gone(const struct demo_end *end)
{
    return !end->alive && end->dial == NULL;
}

static void settle(struct demo_talk *talk)
{
    if (talk->ending && has_gone(&talk->daemon) && has_gone(&talk->client) &&
        talk->options.ended != NULL) {
        void (*ended)(void *arg) = talk->options.ended;
        talk->options.ended = NULL;
        ended(talk->options.arg);
    }
}

static void let_go(struct demo_end *end, bool cut)
{
    timer_cancel(&end->again);
    if (end->dial != NULL) {
        ws_dial_give_up(end->dial); // failed follows
    }
    if (end->alive && cut) {
        ws_cut(&end->ws, &close_GOING_AWAY);
    } else if (end->alive) {
        ws_close(&end->ws, &close_DONE);
    }
}

// ---- Loss

static void tell_loss(struct demo_end *end, const char *reason)
{
    struct log_line line;
    if (end->talk->ending || end->told) {
        return;
    }
    end->told = true;
    log_begin(&line, LOG_DEMO_TROUBLE);
    log_text(&line, "peer", end->role);
    log_text(&line, "reason", reason);
    log_end(&line);
}

static void dial_again(struct demo_end *end)
{
    struct demo_talk *talk = end->talk;
    if (talk->ending) {
        settle(talk);
    } else if (end == &talk->daemon || talk->daemon.alive) {
        worker_arm_in(talk->options.worker, &end->again, AGAIN_NS);
    }
}

static void on_again(struct timer *timer)
{
    dial(container_of(timer, struct demo_end, again));
}

static void on_ended(struct ws *ws, const struct close_reason *reason)
{
    tell_loss(end_of(ws), reason->english);
}

static void on_gone(struct ws *ws)
{
    struct demo_end *end = end_of(ws);
    end->alive = false;
    end->session.session_id[0] = '\0';
    dial_again(end);
}

// ---- Frames

static void send_frame(struct demo_end *end, struct buf *frame)
{
    ws_send(&end->ws, WS_TEXT, buf_slice(frame));
}

static void begin_session(struct demo_end *client)
{
    struct demo_talk *talk = client->talk;
    struct buf frame = BUF_INIT(FRAME_MAX);
    client->session.session_id[0] = '\0';
    talk->echoes_due = 0;
    talk->echoed_ns = worker_now(talk->options.worker);
    if (demo_begin(&client->session, talk->daemon.session.static_pair.public_point, &frame)) {
        send_frame(client, &frame);
    }
    buf_reset(&frame);
}

static void daemon_message(struct demo_end *daemon, struct slice text)
{
    struct buf frame = BUF_INIT(FRAME_MAX);
    struct buf plain = BUF_INIT(FRAME_MAX);
    if (demo_answer_init(&daemon->session, text, &frame) ||
        (demo_open(&daemon->session, text, &plain) &&
            demo_seal(&daemon->session, buf_slice(&plain), &frame))) {
        send_frame(daemon, &frame);
    }
    buf_reset(&frame);
    buf_reset(&plain);
}

static void client_message(struct demo_end *client, struct slice text)
{
    struct demo_talk *talk = client->talk;
    struct buf plain = BUF_INIT(FRAME_MAX);
    if (demo_open(&client->session, text, &plain)) {
        talk->echoes++;
        talk->echoes_due -= talk->echoes_due > 0;
        talk->echoed_ns = worker_now(talk->options.worker);
        client->told = false;
    } else if (client->session.session_id[0] == '\0' && demo_finish(&client->session, text)) {
        talk->echoed_ns = worker_now(talk->options.worker);
    }
    buf_reset(&plain);
}

// What is none of ours is what the relay has to say about the other end.
static void on_message(struct ws *ws, struct ws_message *message)
{
    struct demo_end *end = end_of(ws);
    struct slice text = slice_of(message->bytes, message->len);
    if (end == &end->talk->daemon) {
        daemon_message(end, text);
    } else {
        client_message(end, text);
    }
}

static void on_drained(struct ws *ws)
{
    (void)ws;
}

static const struct ws_events ws_events = {on_message, on_drained, on_ended, on_gone};

// ---- Connecting

static void on_connected(void *arg)
{
    struct demo_end *end = arg;
    struct demo_talk *talk = end->talk;
    end->dial = NULL;
    end->alive = true;
    if (talk->ending) {
        let_go(end, false);
        return;
    }
    if (end == &talk->client) {
        begin_session(end);
        return;
    }
    end->told = false;
    if (talk->client.alive) {
        begin_session(&talk->client);
    } else if (talk->client.dial == NULL) {
        timer_cancel(&talk->client.again);
        dial(&talk->client);
    }
}

static void on_failed(void *arg, const char *reason, unsigned status)
{
    struct demo_end *end = arg;
    (void)status; // the reason names it
    end->dial = NULL;
    tell_loss(end, reason);
    dial_again(end);
}

// A token ends before the demo does, so that each attempt gets a new one.
static bool mint(struct demo_end *end)
{
    buf_clear(&end->token);
    struct relay_token_request request = {
        .role = slice_str(end->role),
        .workspace_id = SLICE(DEMO_TALK_WORKSPACE),
        .runtime_target_id = SLICE(DEMO_TALK_TARGET),
        .daemon_issue_generation = -1,
    };
    return platform_mint_relay_token(end->talk->options.platform, &request, &end->token) ==
               WEIR_OK &&
           buf_text(&end->token) != NULL;
}

static void dial(struct demo_end *end)
{
    static const struct ws_dial_events events = {on_connected, on_failed};
    struct demo_talk *talk = end->talk;
    if (mint(end)) {
        end->dial = ws_dial_start(talk->options.worker, &end->ws,
            &(struct ws_dial_options){
                .peer = "the relay",
                .host = "localhost",
                .port = talk->options.address.port,
                .target = end->target,
                .token = buf_text(&end->token),
                .tls = talk->tls,
                .verify_host = true,
                .address = talk->options.address,
                .timeout_ns = DIAL_NS,
                .policy = &talk->policy,
            },
            &events, end);
    }
    if (end->dial == NULL) {
        on_failed(end, "out of memory or descriptors", 0);
    }
}

// ---- Lines

// Slow, faster, slow again, within a minute.
static uint64_t beat_ns(const struct demo_talk *talk)
{
    uint64_t at_s = (worker_now(talk->options.worker) - talk->started_ns) / NS_PER_S % PERIOD_S;
    uint64_t half_s = PERIOD_S / 2;
    uint64_t from_turn_s = at_s < half_s ? half_s - at_s : at_s - half_s;
    return time_from_ms(FAST_MS + (SLOW_MS - FAST_MS) * from_turn_s / half_s);
}

static void send_line(struct demo_talk *talk)
{
    char text[LINE_LEN_MAX];
    struct buf frame = BUF_INIT(FRAME_MAX);
    size_t len = 64 + (size_t)(++talk->sent * 97 % (sizeof text - 64));
    int head = snprintf(text, sizeof text, "line %llu ", (unsigned long long)talk->sent);
    memset(text + head, '.', sizeof text - (size_t)head);
    if (demo_seal(&talk->client.session, slice_of(text, len), &frame)) {
        talk->echoes_due++;
        send_frame(&talk->client, &frame);
    }
    buf_reset(&frame);
}

static void on_beat(struct timer *timer)
{
    struct demo_talk *talk = container_of(timer, struct demo_talk, beat);
    struct demo_end *client = &talk->client;
    uint64_t now_ns = worker_now(talk->options.worker);
    if (client->alive && now_ns - talk->echoed_ns > SILENCE_NS) {
        tell_loss(client, "there was no echo for 10 s");
        ws_close(&client->ws, &close_DONE); // once: later calls do nothing
    } else if (client->alive && client->session.session_id[0] != '\0' &&
               talk->echoes_due < ECHOES_DUE_MAX) {
        send_line(talk);
    }
    worker_arm_in(talk->options.worker, timer, beat_ns(talk));
}

bool demo_talk_lives(const struct demo_talk *talk, char *text, size_t size)
{
    bool lives = talk->client.alive && talk->client.session.session_id[0] != '\0' &&
                 sys_now_ns() - talk->echoed_ns < SILENCE_NS;
    snprintf(text, size, "%s; echoes: %llu\n",
        lives ? "the session lives" : "there is no session that answers",
        (unsigned long long)talk->echoes);
    return lives;
}

// ---- Life

static void init_end(struct demo_end *end, struct demo_talk *talk, const char *role)
{
    end->talk = talk;
    end->role = role;
    buf_init(&end->token, 5000);
    timer_init(&end->again, on_again);
    snprintf(end->target, sizeof end->target,
        "/ws?role=%s&workspaceId=" DEMO_TALK_WORKSPACE "&runtimeTargetId=" DEMO_TALK_TARGET, role);
}

enum weir_result demo_talk_start(struct demo_talk *talk, const struct demo_talk_options *options)
{
    talk->options = *options;
    talk->policy = (struct ws_policy){.events = &ws_events,
        .message_max = FRAME_MAX,
        .queue_max = QUEUE_MAX,
        .queue_high = QUEUE_MAX / 2,
        .queue_low = QUEUE_MAX / 4,
        .message_timeout_ns = 60 * NS_PER_S,
        .client = true};
    init_end(&talk->daemon, talk, "workspace-daemon");
    init_end(&talk->client, talk, "client");
    timer_init(&talk->beat, on_beat);
    enum weir_result result = noise_keypair_generate(&talk->daemon.session.static_pair);
    if (result == WEIR_OK && options->ca_path != NULL) {
        talk->tls = tls_client_new(options->ca_path, true);
        result = talk->tls == NULL ? WEIR_CRYPTO : WEIR_OK;
    }
    if (result == WEIR_OK) {
        talk->started_ns = talk->echoed_ns = worker_now(options->worker);
        dial(&talk->daemon);
        worker_arm_in(options->worker, &talk->beat, beat_ns(talk));
    }
    return result;
}

void demo_talk_finish(struct demo_talk *talk)
{
    talk->ending = true;
    timer_cancel(&talk->beat);
    let_go(&talk->daemon, false);
    let_go(&talk->client, false);
    settle(talk);
}

void demo_talk_stop(struct demo_talk *talk)
{
    if (talk->options.worker == NULL) {
        return;
    }
    talk->ending = true;
    talk->options.ended = NULL;
    timer_cancel(&talk->beat);
    let_go(&talk->daemon, true);
    let_go(&talk->client, true);
}

void demo_talk_free(struct demo_talk *talk)
{
    SSL_CTX_free(talk->tls);
    talk->tls = NULL;
    buf_reset(&talk->daemon.token);
    buf_reset(&talk->client.token);
    demo_wipe(&talk->daemon.session);
    demo_wipe(&talk->client.session);
}
