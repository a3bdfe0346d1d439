// SPDX-License-Identifier: Apache-2.0
// A part is a worker's share of what was pulled: it travels to its worker and back as a job, so one
// worker at a time has it.
//
// Invariants
//   1. While `away` is not 0 only the workers touch their parts, and the puller adds nothing.
//   2. A part that came back is empty.
#include "relay/backplane/backplane.h"

#include "base/mem.h"
#include "obs/log.h"
#include "relay/cell.h"
#include "relay/relay.h"

#define PART_BYTES_MAX (256u * 1024 * 1024) // far more than a pull may bring

struct item {
    uint32_t len;
    uint16_t route;
};

struct part {
    struct job job;
    struct bus_mail *mail;
    struct buf items; // struct item, text; and so on
};

struct bus_mail {
    struct worker *puller; // borrowed; where parts come back to
    bus_mail_fn *done;     // NULL: nobody waits any more
    void *arg;
    unsigned away;
    unsigned count;
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

static void reject(struct shard *shard, const char *reason)
{
    struct log_line line;
    metrics_count(shard->worker->metrics, METRIC_BUS_FRAMES_REJECTED);
    log_begin(&line, LOG_BUS_FRAME_REJECTED);
    log_text(&line, "reason", reason);
    log_end(&line);
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

bool bus_mail_add(struct bus_mail *mail, struct shard *shard, struct slice text, uint16_t route,
    uint64_t since, uint64_t *newest)
{
    char scratch[6 * CELL_ID_LEN_MAX];
    uint64_t id;
    struct slice workspace = bus_message_peek(text, scratch, sizeof scratch, &id);
    weir_assert(mail->away == 0);
    if (newest != NULL && id > *newest) {
        *newest = id;
    }
    if (workspace.len == 0) {
        reject(shard, "malformed");
    } else if (newest != NULL && id > 0 && id <= since) {
        reject(shard, "repeated_id");
    } else if (!append(mail, relay_place(shard->relay, workspace), text, route)) {
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
        worker_post(&crew->workers[i], &mail->parts[i].job, handle);
    }
}

void bus_mail_forget(struct bus_mail *mail)
{
    mail->done = NULL;
}
