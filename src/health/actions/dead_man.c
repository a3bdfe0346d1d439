// SPDX-License-Identifier: Apache-2.0
#include "health/actions/dead_man.h"

#include "base/time.h"
#include "obs/log.h"

#define BEAT_NS (60 * NS_PER_S)
#define TIMEOUT_NS (10 * NS_PER_S)
#define ANSWER_MAX 65536

// Once for each change, so that a receiver that is away for a day fills no log.
static void tell(struct dead_man *dead_man, bool heard, unsigned status, const char *problem)
{
    struct log_line line;
    bool news = !dead_man->told || dead_man->heard != heard;
    dead_man->heard = heard;
    dead_man->told = true;
    if (!news) {
        return;
    }
    log_begin(&line, heard ? LOG_HEALTH_HEARTBEAT : LOG_HEALTH_HEARTBEAT_FAILED);
    if (status != 0) {
        log_u64(&line, "status", status);
    }
    if (problem != NULL) {
        log_text(&line, "problem", problem);
    }
    log_end(&line);
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct dead_man *dead_man = arg;
    bool answered = result->outcome == HTTP_CALL_ANSWERED;
    dead_man->call = NULL;
    tell(dead_man, answered && result->status / 100 == 2, answered ? result->status : 0,
        answered                               ? NULL
        : result->outcome == HTTP_CALL_TIMEOUT ? "no answer in time"
                                               : result->error);
}

static void on_beat(struct timer *timer)
{
    static const struct http_tls_profile trusting_the_system = {.verify = true};
    struct dead_man *dead_man = container_of(timer, struct dead_man, beat);
    worker_arm_in(dead_man->worker, timer, BEAT_NS);
    if (dead_man->call != NULL) {
        return;
    }
    dead_man->sent++;
    dead_man->call = http_call_start(dead_man->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = dead_man->url,
            .headers = (const char *const[]){"User-Agent: portoser-health/" WEIR_VERSION, NULL},
            .tls = &trusting_the_system,
            .timeout_ns = TIMEOUT_NS,
            .response_max = ANSWER_MAX,
            .cut_body = true,
        },
        on_answer, dead_man);
    if (dead_man->call == NULL) {
        tell(dead_man, false, 0, "the address cannot be used, or memory ran out");
    }
}

void dead_man_start(struct dead_man *dead_man, struct worker *worker, const char *url)
{
    *dead_man = (struct dead_man){.worker = worker, .url = url};
    timer_init(&dead_man->beat, on_beat);
    worker_arm_in(worker, &dead_man->beat, 0);
}

void dead_man_stop(struct dead_man *dead_man)
{
    if (dead_man->worker == NULL) {
        return;
    }
    timer_cancel(&dead_man->beat);
    http_call_cancel(dead_man->call);
    *dead_man = (struct dead_man){0};
}
