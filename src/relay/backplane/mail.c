// SPDX-License-Identifier: Apache-2.0
// A part is a worker's share of what was pulled: it travels to its worker and back as a job, so one
// worker at a time has it.
//
// Invariants
//   1. While `away` is not 0 only the workers touch their parts, and the puller adds nothing.
//   2. A part that came back is empty.
#include "base/mem.h"
#include "relay/backplane/core.h"
#include "relay/relay.h"

#define PART_BYTES_MAX (256u * 1024 * 1024) // far more than a pull may bring

struct item {
    uint32_t len;
    uint16_t route;
};

struct part {
    struct job job;
    struct bus_mail *mail;
    bool announce;
    struct buf items; // struct item, text; and so on
};

struct bus_mail {
    struct worker *puller; // borrowed; where parts come back to
    bus_mail_fn *done;     // NULL: nobody waits any more
    void *arg;
    unsigned away;
    unsigned count;
    bool announce; // with the next mail
    struct part parts[];
};

struct bus_mail *bus_mail_new(unsigned workers)
{
    struct bus_mail *mail = mem_zalloc(sizeof *mail + workers * sizeof mail->parts[0]);
    if (mail == NULL) {
        return NULL;
    }
    mail->count = workers;
    for (unsigned i = 0; i < workers; i++) {
        mail->parts[i].mail = mail;
        buf_init(&mail->parts[i].items, PART_BYTES_MAX);
    }
    return mail;
}

void bus_mail_free(struct bus_mail *mail)
{
    for (unsigned i = 0; mail != NULL && i < mail->count; i++) {
        buf_reset(&mail->parts[i].items);
    }
    mem_free(mail);
}

static bool append(struct bus_mail *mail, unsigned place, struct slice text, uint16_t route)
{
    struct item item = {(uint32_t)text.len, route};
    struct buf *items = &mail->parts[place].items;
    char *at = buf_reserve(items, sizeof item + text.len);
    if (at == NULL) {
        return false;
    }
    memcpy(at, &item, sizeof item);
    memcpy(at + sizeof item, text.at, text.len);
    buf_commit(items, sizeof item + text.len);
    return true;
}

bool bus_mail_add(struct bus_mail *mail, struct shard *shard, struct slice text,
    const struct bus_envelope *envelope, uint16_t route)
{
    weir_assert(mail->away == 0);
    if (envelope->workspace.len == 0) {
        backplane_reject(shard, METRIC_BUS_FRAMES_REJECTED, "malformed");
        return true;
    }
    if (!append(mail, relay_place(shard->relay, envelope->workspace), text, route)) {
        metrics_bus_failure(shard->worker->metrics, BUS_CALL_PULL, BUS_END_NO_MEMORY);
        return false;
    }
    return true;
}

static void come_back(struct worker *worker, struct job *job)
{
    struct bus_mail *mail = container_of(job, struct part, job)->mail;
    (void)worker;
    if (--mail->away == 0 && mail->done != NULL) {
        mail->done(mail->arg);
    }
}

static void handle(struct worker *worker, struct job *job)
{
    struct part *part = container_of(job, struct part, job);
    struct shard *shard = shard_of(worker);
    struct slice rest = buf_slice(&part->items);
    while (rest.len > 0 && shard != NULL && shard->backplane != NULL) {
        struct item item;
        memcpy(&item, rest.at, sizeof item);
        rest = slice_skip(rest, sizeof item);
        backplane_receive(shard, slice_of(rest.at, item.len), item.route);
        rest = slice_skip(rest, item.len);
    }
    if (part->announce && shard != NULL && shard->backplane != NULL) {
        presence_announce_again(shard->backplane);
    }
    buf_reset(&part->items);
    worker_post(part->mail->puller, &part->job, come_back);
}

void bus_mail_send(struct bus_mail *mail, struct shard *shard, bus_mail_fn *done, void *arg)
{
    struct crew *crew = shard->relay->crew;
    mail->puller = shard->worker;
    mail->done = done;
    mail->arg = arg;
    mail->away = mail->count; // all of them, so that done never comes from in here
    for (unsigned i = 0; i < mail->count; i++) {
        mail->parts[i].announce = mail->announce;
        worker_post(&crew->workers[i], &mail->parts[i].job, handle);
    }
    mail->announce = false;
}

void bus_mail_announce(struct bus_mail *mail)
{
    mail->announce = true;
}

void bus_mail_forget(struct bus_mail *mail)
{
    mail->done = NULL;
}
