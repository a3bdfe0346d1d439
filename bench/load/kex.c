// SPDX-License-Identifier: Apache-2.0
#include "kex.h"

#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "util.h"

struct message {
    uint8_t text[FRAMES_KEX_MAX];
    size_t len;
};

struct kex {
    struct fleet *fleet;
    struct message *arriving; // one a connection
    unsigned done;
};

static void send_text(struct conn *c, const char *text, size_t len)
{
    uint8_t frame[FRAMES_KEX_MAX + WS_HEAD_MAX];
    size_t size = ws_frame_write(frame, WS_TEXT, text, len);
    if (conn_write(c, frame, size) != size)
        util_die("connection %u: no room for a key exchange", c->index);
}

static void take_message(struct kex *k, struct conn *c, const struct message *m)
{
    bool daemon = fleet_is_daemon(k->fleet, c);
    const char *want = daemon ? "\"relay_key_exchange_init\"" : "\"relay_key_exchange_response\"";
    if (memmem(m->text, m->len, want, strlen(want)) == NULL)
        util_die("connection %u: expected %s, got %.*s", c->index, want, (int)m->len,
            (const char *)m->text);
    if (!daemon) {
        k->done++;
        return;
    }
    char text[FRAMES_KEX_MAX];
    send_text(c, text, frames_kex_response(text, c->index / 2));
}

static void take_piece(struct kex *k, struct conn *c, const struct ws_piece *piece)
{
    fleet_check_mask(k->fleet, c);
    if (c->in.opcode >= WS_CLOSE) {
        conn_take_control(c, piece);
        return;
    }
    struct message *m = &k->arriving[c->index];
    if (m->len + piece->len > sizeof m->text)
        util_die("connection %u: a key exchange of more than %zu bytes", c->index, sizeof m->text);
    ws_unmask(&c->in, piece, m->text + m->len);
    m->len += piece->len;
    if (!piece->last)
        return;
    take_message(k, c, m);
    m->len = 0;
}

static void take_input(struct kex *k, struct conn *c)
{
    uint8_t buffer[4096];
    size_t got;
    do {
        got = conn_read(c, buffer, sizeof buffer);
        const uint8_t *data = buffer;
        size_t len = got;
        struct ws_piece piece;
        while (ws_read(&c->in, &data, &len, &piece))
            take_piece(k, c, &piece);
    } while (got == sizeof buffer);
    (void)conn_flush_pong(c); // what does not fit goes at the next event
}

void kex_run(struct fleet *f)
{
    struct kex k = {.fleet = f, .arriving = util_alloc(f->count, sizeof *k.arriving)};
    for (unsigned i = 1; i < f->count; i += 2) {
        char text[FRAMES_KEX_MAX];
        send_text(&f->conns[i], text, frames_kex_init(text, i / 2));
    }
    while (k.done < f->count / 2) {
        int ready = fleet_wait(f, -1);
        for (int i = 0; i < ready; i++)
            take_input(&k, f->events[i].data.ptr);
    }
    free(k.arriving);
}
