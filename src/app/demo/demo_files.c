// SPDX-License-Identifier: Apache-2.0
#include "app/demo/demo_files.h"

#include <stdio.h>

#include "app/command.h"
#include "app/quote.h"
#include "app/sandbox.h"
#include "app/state_dir.h"
#include "base/base64.h"
#include "base/time.h"
#include "engine/control/token.h"
#include "sys/clock.h"
#include "sys/entropy.h"
#include "sys/file.h"

#define FILE_BYTES_MAX 65536
#define SECRET_BYTES 32
#define SECRET_LEN_MAX 256 // of one that somebody wrote there
#define TOKEN_LEN_MAX 2048
#define SERVICE_INDENT "    current_host: demo\n"
#define CHECK_INDENT "    health_check:\n"
#define HTTP_CHECK CHECK_INDENT "      type: http\n"

static int fail(const char *path, enum weir_result result)
{
    fprintf(stderr, "weir up: %s cannot be used: %s\n", path, weir_result_text(result));
    return EXIT_FAILED;
}

// ---- What is made once

static enum weir_result read_secret(const char *path, struct buf *secret)
{
    unsigned char bytes[SECRET_BYTES];
    char text[BASE64_SIZE(SECRET_BYTES)];
    enum weir_result result = sys_file_read_plain(path, SECRET_LEN_MAX, secret);
    if (result == WEIR_OK && secret->len > 0) {
        return WEIR_OK;
    }
    if (result != WEIR_OK && result != WEIR_NOT_FOUND) {
        return result;
    }
    result = sys_entropy(bytes, sizeof bytes);
    if (result == WEIR_OK) {
        result = buf_append(secret, text, base64url_encode(bytes, sizeof bytes, text));
    }
    return result == WEIR_OK ? sys_file_write_private(path, buf_slice(secret)) : result;
}

static enum weir_result make_token(struct demo_files *files, struct slice secret)
{
    const struct token_request request = {.subject = SLICE("demo")};
    struct buf text = BUF_INIT(TOKEN_LEN_MAX);
    enum weir_result result = token_mint(&request, secret, sys_wall_ms(), &text);
    if (result == WEIR_OK &&
        !slice_to_text(buf_slice(&text), files->agent_token, sizeof files->agent_token)) {
        result = WEIR_TOO_LARGE;
    }
    buf_reset(&text);
    return result;
}

// What was put into out goes to the file.
static enum weir_result write_file(const char *path, struct buf *out)
{
    enum weir_result result =
        out->failed ? WEIR_MEMORY : sys_file_write_private(path, buf_slice(out));
    buf_reset(out);
    return result;
}

// ---- weir.yml

static enum weir_result write_weir_yml(const struct demo_files *files, const char *secret)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    buf_append_str(&out,
        "# Made by weir up --demo, at every start: what it runs, but for options, variables and "
        "the\n"
        "# demo's own peers. A copy elsewhere is a beginning: weir config reference up.\n");
    quote_yml_row(&out, "state_dir: ", files->state_dir);
    buf_append_str(&out, "\nplatform:\n\nrelay:\n  listen_host: 127.0.0.1\n  listen_port: 7781\n"
                         "\nengine:\n  engine:\n    host: " DEMO_HOST "\n"
                         "  tls:\n    enabled: true\n    listen_addr: '127.0.0.1:8443'\n"
                         "  certs:\n    static:\n      enabled: true\n");
    quote_yml_row(&out, "      cert_file: ", files->certificate.certificate);
    quote_yml_row(&out, "      key_file: ", files->certificate.key);
    buf_append_str(&out, "  auth:\n    jwt:\n      enabled: true\n");
    quote_yml_row(&out, "      token_jwt_secret: ", secret);
    buf_append_str(&out, "  limits:\n    connections: 1000\n"
                         "  metrics:\n    tunnel_labels: 10\n    prometheus:\n      enabled: true\n"
                         "      listen_addr: '127.0.0.1:9464'\n"
                         "\nhealth:\n  listen: '127.0.0.1:8988'\n  socket: none\n");
    quote_yml_row(&out, "  registry: ", files->registry);
    quote_yml_row(&out, "  state_dir: ", files->dir);
    return write_file(files->weir_yml, &out);
}

// ---- registry.yml

uint64_t demo_files_fail_s(uint64_t period_s)
{
    return period_s / 6;
}

static void begin_check(struct buf *out, const char *name, const char *description)
{
    buf_printf(out, "\n  %s:\n" SERVICE_INDENT, name);
    quote_yml_row(out, "    description: ", description);
}

static void write_relay_checks(const struct demo_places *places, struct buf *out)
{
    begin_check(out, "relay", "The relay of the demo, as anybody may ask it");
    buf_printf(out, HTTP_CHECK "      url: '%s://localhost:%u/health'\n",
        places->relay_tls ? "https" : "http", places->relay_port);
    if (places->relay_tls) {
        quote_yml_row(out, "      ca_cert: ", places->relay_certificate);
    }
    buf_append_str(out, "      body_contains: '\"ok\":true'\n");
    begin_check(out, "relay-session",
        "A daemon and a client of the demo: well while the daemon's echoes come back through the "
        "relay");
    buf_printf(out,
        "    depends_on: [relay]\n" HTTP_CHECK "      url: 'http://127.0.0.1:%u/session'\n",
        places->service_port);
    begin_check(out, "platform", "Who admits the relay's peers: the public keys of its tokens");
    buf_printf(out,
        HTTP_CHECK "      url: 'http://127.0.0.1:%u/jwks.json'\n"
                   "      body_contains: '\"keys\"'\n",
        places->platform_port);
}

static void write_engine_checks(
    const struct demo_files *files, const struct demo_places *places, struct buf *out)
{
    begin_check(out, "engine", "The tunnel engine of the demo takes connections");
    buf_printf(out, CHECK_INDENT "      type: tcp\n      host: 127.0.0.1\n      port: %u\n",
        places->engine_port);
    begin_check(out, "hello-service", "The small service of the demo, without a tunnel");
    buf_printf(out, HTTP_CHECK "      url: 'http://127.0.0.1:%u/'\n", places->service_port);
    begin_check(
        out, DEMO_LABEL, "The same service, published by an agent: through the engine's tunnel");
    buf_printf(out,
        "    depends_on: [engine, hello-service]\n" HTTP_CHECK "      url: 'https://" DEMO_LABEL
        ".t." DEMO_HOST ":%u/'\n"
        "      body_contains: 'hello from behind a tunnel'\n",
        places->engine_port);
    quote_yml_row(out, "      ca_cert: ", files->certificate.certificate);
}

// A third of the period is fine before the first failure, for somebody who has just begun to look.
static void write_moody(const struct demo_places *places, struct buf *out)
{
    uint64_t period_s = places->moody_period_s;
    uint64_t fail_s = demo_files_fail_s(period_s);
    uint64_t interval_ms = fail_s * 1000 / 6;
    begin_check(out, "moody", "Fails on purpose now and then, so that there is something to see");
    buf_printf(out,
        CHECK_INDENT
        "      type: exec\n      interval: %llums\n      timeout: %llums\n"
        "      command: >-\n"
        "        at=$(( ($(date +%%s) - %llu) %% %llu ));\n"
        "        test $at -lt %llu || test $at -ge %llu ||\n"
        "        { echo 'fails on purpose: %llu s of every %llu s, for the demo'; exit 1; }\n",
        (unsigned long long)interval_ms, (unsigned long long)interval_ms,
        (unsigned long long)places->started_s, (unsigned long long)period_s,
        (unsigned long long)(period_s / 3), (unsigned long long)(period_s / 3 + fail_s),
        (unsigned long long)fail_s, (unsigned long long)period_s);
}

static enum weir_result write_registry(
    const struct demo_files *files, const struct demo_places *places)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    buf_append_str(&out,
        "# Made by weir up --demo, at every start. Keys of a check: weir config reference health.\n"
        "notice: >-\n"
        "  This is a demo, made by weir up --demo: agent and visitors, daemon and client are the\n"
        "  program itself, and the check moody fails on purpose.\n"
        "defaults:\n  interval: 5\n  timeout: 3\n"
        "\nhosts:\n  demo:\n    ip: 127.0.0.1\n"
        "\nservices:");
    write_relay_checks(places, &out);
    write_engine_checks(files, places, &out);
    begin_check(&out, "state-directory", "Where the demo keeps its files can be written to");
    buf_append_str(
        &out, CHECK_INDENT "      type: exec\n      interval: 30\n      command: [test, -w, ");
    quote_yml(&out, files->dir);
    buf_append_str(&out, "]\n");
    write_moody(places, &out);
    return write_file(files->registry, &out);
}

// ---- agent.yml

static enum weir_result write_agent_yml(
    const struct demo_files *files, const struct demo_places *places)
{
    struct buf out = BUF_INIT(FILE_BYTES_MAX);
    buf_printf(&out,
        "# Made by weir up --demo, at every start.\n"
        "version: 1\ncontexts:\n  - name: demo\n    engine: " DEMO_HOST ":%u\n"
        "    auth:\n      token:\n        storage:\n          kind: inline\n",
        places->engine_port);
    quote_yml_row(&out, "          value: ", files->agent_token);
    buf_append_str(&out, "    transport:\n      tls:\n");
    quote_yml_row(&out, "        caFile: ", files->certificate.certificate);
    buf_append_str(&out, "defaults:\n  context:\n    name: demo\n");
    return write_file(files->agent_yml, &out);
}

enum weir_result demo_files_write_places(
    const struct demo_files *files, const struct demo_places *places)
{
    enum weir_result result = write_registry(files, places);
    return result == WEIR_OK ? write_agent_yml(files, places) : result;
}

// ---- All of it

static enum weir_result find_paths(struct demo_files *files, const char *state_dir)
{
    enum weir_result result = sys_dir_make(state_dir);
    if (result == WEIR_OK) {
        result = sys_absolute_path(state_dir, files->state_dir, 4096);
    }
    snprintf(files->dir, sizeof files->dir, "%s/demo", files->state_dir);
    snprintf(files->weir_yml, sizeof files->weir_yml, "%s/weir.yml", files->dir);
    snprintf(files->registry, sizeof files->registry, "%s/registry.yml", files->dir);
    snprintf(files->agent_yml, sizeof files->agent_yml, "%s/agent.yml", files->dir);
    return result == WEIR_OK ? sys_dir_make(files->dir) : result;
}

static int make_engine_files(struct demo_files *files)
{
    char path[DEMO_PATH_SIZE + 32];
    struct buf secret = BUF_INIT(SECRET_LEN_MAX);
    snprintf(path, sizeof path, "%s/engine-secret", files->dir);
    enum weir_result result = read_secret(path, &secret);
    if (result == WEIR_OK) {
        result = make_token(files, buf_slice(&secret));
    }
    if (result == WEIR_OK) {
        const char *text = buf_text(&secret);
        result = text == NULL ? WEIR_MEMORY : write_weir_yml(files, text);
    }
    buf_reset(&secret);
    return result == WEIR_OK ? EXIT_FINE : fail(path, result);
}

int demo_files_make(struct demo_files *files, const char *state_dir)
{
    char chosen[4096];
    if (!state_dir_find(state_dir, chosen, sizeof chosen) || !sandbox_own_directory(chosen)) {
        return EXIT_USAGE;
    }
    enum weir_result result = find_paths(files, chosen);
    if (result == WEIR_OK) {
        result = certificate_ensure(
            &(struct certificate_wish){
                .dir = files->dir,
                .stem = "edge",
                .common_name = "weir demo",
                .alt_names = "DNS:" DEMO_HOST ",DNS:*.t." DEMO_HOST ",IP:127.0.0.1",
            },
            &files->certificate);
    }
    // It is there before anybody looks for it; the one with ports follows when they are known.
    if (result == WEIR_OK) {
        result = sys_file_write_private(files->registry, SLICE("services: {}\n"));
    }
    return result == WEIR_OK ? make_engine_files(files) : fail(chosen, result);
}
