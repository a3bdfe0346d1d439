// SPDX-License-Identifier: Apache-2.0
// The files of weir init, one row each. Nothing is written before it is known that none of them is
// there; a failure half way takes back what was made.
#include <stdio.h>
#include <string.h>

#include "app/quote.h"
#include "app/up/init_plan.h"
#include "base/base64.h"
#include "engine/control/token.h"
#include "platform/certificate.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/file.h"

#define FILE_BYTES_MAX 65536
#define SECRET_BYTES 32
#define TOKEN_DAYS 365
#define DIRECTORY_MODE 0711
#define UNIT_MODE 0644

// ---- Addresses

static bool is_host(const struct conf_listen *listen, const char *host)
{
    return strcmp(listen->host, host) == 0;
}

bool init_listens_everywhere(const struct conf_listen *listen)
{
    return is_host(listen, "") || is_host(listen, "0.0.0.0") || is_host(listen, "::");
}

bool init_listens_on_loopback(const struct conf_listen *listen)
{
    struct ip ip;
    return is_host(listen, "localhost") ||
           (ip_parse(slice_str(listen->host), &ip) == WEIR_OK && ip_is_loopback(&ip));
}

bool init_wants_tokens(const struct init_plan *plan)
{
    return plan->answers.health && !init_listens_on_loopback(&plan->health);
}

// ---- weir.yml

static void put_path(
    struct buf *out, const char *key, const struct init_plan *plan, const char *name)
{
    char path[INIT_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", plan->dir, name);
    quote_yml_row(out, key, path);
}

static void put_address(struct buf *out, const char *key, const struct conf_listen *listen)
{
    bool v6 = strchr(listen->host, ':') != NULL;
    buf_printf(out, "%s'%s%s%s:%u'\n", key, v6 ? "[" : "", listen->host, v6 ? "]" : "",
        (unsigned)listen->port);
}

static void put_relay(const struct init_plan *plan, struct buf *out)
{
    const struct init_answers *answers = &plan->answers;
    buf_append_str(out, "\n# Who is admitted says the platform, which runs here as well.\n"
                        "platform:\n\nrelay:\n");
    quote_yml_row(out, "  listen_host: ", plan->relay.host[0] == '\0' ? "0.0.0.0" : plan->relay.host);
    buf_printf(out, "  listen_port: %u\n", (unsigned)plan->relay.port);
    quote_yml_row(out, "  tls_host: ", answers->host);
    quote_yml_row(out, "  tls_cert_path: ", answers->cert_file);
    quote_yml_row(out, "  tls_key_path: ", answers->key_file);
    buf_printf(
        out, "  public_ws_base_url: 'wss://%s:%u/ws'\n", answers->host, (unsigned)plan->relay.port);
}

static void put_engine(const struct init_plan *plan, struct buf *out)
{
    const struct init_answers *answers = &plan->answers;
    buf_append_str(out, "\nengine:\n  engine:\n");
    quote_yml_row(out, "    host: ", answers->host);
    buf_append_str(out, "  tls:\n    enabled: true\n");
    put_address(out, "    listen_addr: ", &plan->engine);
    buf_append_str(out, "  certs:\n    static:\n      enabled: true\n");
    quote_yml_row(out, "      cert_file: ", answers->cert_file);
    quote_yml_row(out, "      key_file: ", answers->key_file);
    buf_append_str(out, "  auth:\n    jwt:\n      enabled: true\n");
    quote_yml_row(out, "      token_jwt_secret: ", plan->jwt_secret);
    buf_printf(out,
        "  metrics:\n    prometheus:\n      enabled: true\n      listen_addr: '127.0.0.1:%u'\n",
        (unsigned)INIT_METRICS_PORT);
}

static void put_health(const struct init_plan *plan, struct buf *out)
{
    buf_append_str(out, "\nhealth:\n");
    if (plan->answers.registry[0] == '\0') {
        put_path(out, "  registry: ", plan, INIT_REGISTRY);
    } else {
        quote_yml_row(out, "  registry: ", plan->answers.registry);
    }
    put_address(out, "  listen: ", &plan->health);
    if (init_wants_tokens(plan)) {
        put_path(out, "  tokens: ", plan, INIT_TOKENS);
    }
}

static bool fill_weir_yml(const struct init_plan *plan, struct buf *out)
{
    buf_append_str(out, "# Made by weir init. All keys: weir config reference up, relay, engine.\n"
                        "# What is wrong with it: weir config check up -c weir.yml\n");
    quote_yml_row(out, "state_dir: ", plan->state);
    if (plan->answers.relay) {
        put_relay(plan, out);
    }
    if (plan->answers.engine) {
        put_engine(plan, out);
    }
    if (plan->answers.health) {
        put_health(plan, out);
    }
    return true;
}

// ---- The others

static void put_check(struct buf *out, const char *name, const struct conf_listen *listen)
{
    buf_printf(out, "  %s:\n    current_host: here\n    health_check:\n      type: tcp\n", name);
    quote_yml_row(out, "      host: ", init_listens_everywhere(listen) ? "127.0.0.1" : listen->host);
    buf_printf(out, "      port: %u\n", (unsigned)listen->port);
}

static bool fill_registry(const struct init_plan *plan, struct buf *out)
{
    buf_append_str(out, "# Services to check; how: weir config reference health.\n"
                        "hosts:\n  here:\n    ip: 127.0.0.1\n\nservices:\n"
                        "  this-machine:\n    current_host: here\n    health_check:\n"
                        "      type: exec\n      command: 'test -r /proc/uptime'\n");
    if (plan->answers.relay) {
        put_check(out, "relay", &plan->relay);
    }
    if (plan->answers.engine) {
        put_check(out, "engine", &plan->engine);
    }
    return true;
}

static bool make_secret(char secret[INIT_SECRET_SIZE])
{
    unsigned char bytes[SECRET_BYTES];
    if (sys_entropy(bytes, sizeof bytes) != WEIR_OK) {
        fputs("weir init: the system gives no random bytes\n", stderr);
        return false;
    }
    secret[base64url_encode(bytes, sizeof bytes, secret)] = '\0';
    return true;
}

static bool fill_agent_token(const struct init_plan *plan, struct buf *out)
{
    const struct token_request request = {
        .subject = SLICE("agent"), .ttl_s = UINT64_C(86400) * TOKEN_DAYS};
    if (token_mint(&request, slice_str(plan->jwt_secret), sys_wall_ms(), out) != WEIR_OK) {
        fputs("weir init: no token can be made\n", stderr);
        return false;
    }
    buf_append_str(out, "\n");
    return true;
}

static bool fill_health_tokens(const struct init_plan *plan, struct buf *out)
{
    char secret[INIT_SECRET_SIZE];
    (void)plan;
    if (!make_secret(secret)) {
        return false;
    }
    buf_printf(out,
        "# Who may use the monitor, a line each: TOKEN ROLE; viewer looks, operator acts.\n"
        "%s operator\n",
        secret);
    return true;
}

static bool fill_unit(const struct init_plan *plan, struct buf *out)
{
    init_unit_append(plan, out);
    return true;
}

// ---- Their table

static bool wants_certificate(const struct init_plan *plan)
{
    return plan->answers.host[0] != '\0' && plan->answers.self_signed;
}

static bool wants_registry(const struct init_plan *plan)
{
    return plan->answers.health && plan->answers.registry[0] == '\0';
}

static bool wants_agent_token(const struct init_plan *plan)
{
    return plan->answers.engine;
}

struct row {
    const char *name;
    bool (*wanted)(const struct init_plan *plan); // NULL: always
    bool (*fill)(
        const struct init_plan *plan, struct buf *out); // NULL: certificate_ensure makes it
    unsigned mode;                                      // of hand_over
};
static const struct row rows[] = {
    {"weir.crt", wants_certificate, NULL, 0},
    {"weir.key", wants_certificate, NULL, 0},
    {"weir.yml", NULL, fill_weir_yml, 0},
    {INIT_REGISTRY, wants_registry, fill_registry, 0},
    {"agent-token", wants_agent_token, fill_agent_token, 0},
    {INIT_TOKENS, init_wants_tokens, fill_health_tokens, 0},
    {"weir.service", NULL, fill_unit, UNIT_MODE},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static void path_of(const struct init_plan *plan, const struct row *row, char path[INIT_PATH_SIZE])
{
    snprintf(path, INIT_PATH_SIZE, "%s/%s", plan->dir, row->name);
}

static bool is_wanted(const struct init_plan *plan, const struct row *row)
{
    return row->wanted == NULL || row->wanted(plan);
}

static bool nothing_is_there(const struct init_plan *plan)
{
    bool nothing = true;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char path[INIT_PATH_SIZE];
        path_of(plan, &rows[i], path);
        if (is_wanted(plan, &rows[i]) && sys_file_exists(path)) {
            fprintf(stderr, "weir init: %s is there already; move it away, or name another --dir\n",
                path);
            nothing = false;
        }
    }
    return nothing;
}

// ---- Making them

static bool say_failed(const char *path, enum weir_result result)
{
    fprintf(stderr, "weir init: %s cannot be made: %s\n", path, weir_result_text(result));
    return false;
}

// What root makes for somebody else becomes theirs, except for what root will trust: the unit, and
// the directory it is in, which anybody may pass (mode 0: it becomes theirs).
static bool hand_over(const struct init_plan *plan, const char *path, unsigned mode)
{
    enum weir_result result = WEIR_OK;
    if (plan->gives) {
        result = mode != 0 ? sys_file_permit(path, mode)
                           : sys_file_give(path, plan->identity.uid, plan->identity.gid);
    }
    if (result != WEIR_OK) {
        fprintf(stderr, "weir init: %s cannot be handed over to %s: %s\n", path, plan->user,
            weir_result_text(result));
    }
    return result == WEIR_OK;
}

static bool make_directory(
    const struct init_plan *plan, const char *path, unsigned mode, bool *ret_made)
{
    *ret_made = !sys_file_exists(path);
    enum weir_result result = sys_dir_make(path);
    if (result != WEIR_OK) {
        *ret_made = false;
        return say_failed(path, result);
    }
    return !*ret_made || hand_over(plan, path, mode);
}

static bool make_directories(struct init_plan *plan)
{
    if (!make_directory(plan, plan->dir, DIRECTORY_MODE, &plan->dir_made) ||
        !make_directory(plan, plan->state, 0, &plan->state_made)) {
        return false;
    }
    if (!sys_user_gets_to(&plan->identity, plan->file)) {
        fprintf(stderr,
            "weir init: the user %s may not look into %s; name another --dir, /etc/weir for "
            "instance, or another --user\n",
            plan->user, plan->dir);
        return false;
    }
    return true;
}

static bool make_certificate(struct init_plan *plan)
{
    struct init_answers *answers = &plan->answers;
    struct certificate_paths paths;
    char alt_names[2 * INIT_TEXT_SIZE + 32];
    snprintf(alt_names, sizeof alt_names, "DNS:%s,DNS:*.t.%s", answers->host, answers->host);
    enum weir_result result = certificate_ensure(
        &(struct certificate_wish){
            .dir = plan->dir, .stem = "weir", .common_name = "weir", .alt_names = alt_names},
        &paths);
    if (result != WEIR_OK ||
        !slice_to_text(slice_str(paths.certificate), answers->cert_file, INIT_TEXT_SIZE) ||
        !slice_to_text(slice_str(paths.key), answers->key_file, INIT_TEXT_SIZE)) {
        fprintf(stderr, "weir init: no certificate can be made in %s: %s\n", plan->dir,
            weir_result_text(result));
        return false;
    }
    return true;
}

static bool make_file(const struct init_plan *plan, const struct row *row, const char *path)
{
    struct buf content = BUF_INIT(FILE_BYTES_MAX);
    bool good = row->fill == NULL || row->fill(plan, &content);
    if (good && row->fill != NULL) {
        enum weir_result result =
            content.failed ? WEIR_MEMORY : sys_file_create_private(path, buf_slice(&content));
        good = result == WEIR_OK || say_failed(path, result);
    }
    buf_reset(&content);
    return good;
}

static bool make_files(struct init_plan *plan)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char path[INIT_PATH_SIZE];
        path_of(plan, &rows[i], path);
        if (!is_wanted(plan, &rows[i])) {
            continue;
        }
        if (!make_file(plan, &rows[i], path)) {
            return false;
        }
        plan->made |= 1U << i;
        if (!hand_over(plan, path, rows[i].mode)) {
            return false;
        }
        printf("made %s\n", path);
    }
    return true;
}

bool init_files_write(struct init_plan *plan)
{
    if (!nothing_is_there(plan)) {
        return false;
    }
    bool good = make_directories(plan) && make_secret(plan->jwt_secret) &&
                (!wants_certificate(plan) || make_certificate(plan)) && make_files(plan);
    if (!good) {
        init_files_undo(plan);
    }
    return good;
}

void init_files_undo(const struct init_plan *plan)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char path[INIT_PATH_SIZE];
        path_of(plan, &rows[i], path);
        // The pair may be there without its mark: it is made before the others.
        if ((plan->made & 1U << i) != 0 || (rows[i].fill == NULL && wants_certificate(plan))) {
            sys_file_remove(path);
        }
    }
    if (plan->state_made) {
        sys_file_remove(plan->state); // as long as it is empty
    }
    if (plan->dir_made) {
        sys_file_remove(plan->dir);
    }
}
