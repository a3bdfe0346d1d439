// SPDX-License-Identifier: Apache-2.0
#include "app/demo/demo_visits.h"

#include <stdio.h>

#include "base/time.h"
#include "obs/log.h"

#define TIMEOUT_NS (10 * NS_PER_S)
#define ANSWER_MAX (256 * 1024)
#define PERIOD 64 // requests from slow to fast and back
#define SLOW_MS 1000
#define FAST_MS 150
#define ONE_OF 8 // has a connection of its own

static void tell(struct demo_visits *visits, const struct http_call_result *result)
{
    bool failed = result->outcome != HTTP_CALL_ANSWERED || result->status != 200;
    if (failed && !visits->failing) {
        struct log_line line;
        log_begin(&line, LOG_DEMO_TROUBLE);
        log_text(&line, "peer", "visitor");
        if (result->outcome == HTTP_CALL_ANSWERED) {
            log_u64(&line, "status", result->status);
        } else {
            log_text(&line, "reason",
                result->outcome == HTTP_CALL_TIMEOUT ? "no answer within 10 s" : result->error);
        }
        log_end(&line);
    }
    visits->failing = failed;
}

static uint64_t beat_ns(const struct demo_visits *visits)
{
    uint64_t at = visits->asked % PERIOD;
    uint64_t from_turn = at < PERIOD / 2 ? PERIOD / 2 - at : at - PERIOD / 2;
    return time_from_ms(FAST_MS + (SLOW_MS - FAST_MS) * from_turn / (PERIOD / 2));
}

static void on_answer(void *arg, const struct http_call_result *result)
{
    struct demo_visits *visits = arg;
    visits->call = NULL;
    tell(visits, result);
    worker_arm_in(visits->worker, &visits->beat, beat_ns(visits));
}

static void on_beat(struct timer *timer)
{
    struct demo_visits *visits = container_of(timer, struct demo_visits, beat);
    char url[400];
    uint64_t number = visits->asked++;
    snprintf(url, sizeof url, "%s%s", visits->base, number % 2 == 0 ? "/" : "/data");
    visits->call = http_call_start(visits->worker,
        &(struct http_call_options){
            .method = "GET",
            .url = url,
            .tls = &visits->tls,
            .connect_to = visits->connect_to,
            .timeout_ns = TIMEOUT_NS,
            .response_max = ANSWER_MAX,
            .once = number % ONE_OF == 0,
        },
        on_answer, visits);
    if (visits->call == NULL) {
        on_answer(visits,
            &(struct http_call_result){.outcome = HTTP_CALL_FAILED, .error = "out of memory"});
    }
}

void demo_visits_start(struct demo_visits *visits, const struct demo_visits_options *options)
{
    visits->worker = options->worker;
    visits->tls = (struct http_tls_profile){.verify = true, .ca_path = options->ca_path};
    snprintf(visits->base, sizeof visits->base, "https://%s:%u", options->host, options->port);
    snprintf(visits->connect_to, sizeof visits->connect_to, "%s", options->connect_to);
    timer_init(&visits->beat, on_beat);
    worker_arm_in(visits->worker, &visits->beat, 0);
}

void demo_visits_stop(struct demo_visits *visits)
{
    if (visits->worker != NULL) {
        timer_cancel(&visits->beat);
        http_call_cancel(visits->call);
        visits->call = NULL;
    }
}
