// SPDX-License-Identifier: Apache-2.0
// What is checked, and how: the canonical form that every spelling of a health check is brought
// into (spec section 1.4). All pointers belong to the registry the spec is part of.
#ifndef WEIR_HEALTH_CHECK_SPEC_H
#define WEIR_HEALTH_CHECK_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum check_type { CHECK_NONE, CHECK_HTTP, CHECK_TCP, CHECK_PROCESS, CHECK_EXEC };
#define CHECK_TYPE_COUNT 5

enum check_place { RUN_ON_MACHINE, RUN_ON_MONITOR };

struct status_range {
    unsigned from;
    unsigned to;
};

struct status_set {
    const struct status_range *ranges;
    size_t count;
};

struct check_spec {
    enum check_type type;
    enum check_place run_on;
    enum check_place localhost_means;
    bool enabled;
    uint64_t interval_ns;
    uint64_t timeout_ns;
    uint64_t retry_interval_ns; // 0: the interval
    uint64_t start_period_ns;
    uint64_t max_response_ns; // 0: no limit
    uint32_t failure_threshold;
    uint32_t success_threshold;

    const char *url;
    const char *method;
    const char *const *headers; // "name: value", ended by NULL; NULL: none
    const char *body;
    const char *ca_cert;
    const char *body_contains;
    const char *body_regex;
    struct status_set expected_status;
    bool follow_redirects;
    bool verify_tls;

    const char *host;
    uint16_t port;
    const char *send;
    const char *expect;

    const char *pid_file;
    const char *process_name;

    const char *const *command; // arguments, ended by NULL
    const char *user;
    const char *cwd;
    const char *const *env; // "NAME=value", ended by NULL; NULL: none
    uint32_t expected_exit;
};

// "none", "http", "tcp", "process", "exec".
const char *check_type_name(enum check_type type);
bool status_set_holds(const struct status_set *set, unsigned status);

#endif
