// SPDX-License-Identifier: Apache-2.0
// What is right and wrong with a profile, and with what answered.
#include <inttypes.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "auth/jws.h"
#include "base/time.h"
#include "cli/doctor/doctor.h"

#define EXPIRY_WARN_S (14 * 86400)
#define READ_PERMISSION "tunnels.resources.read-only"
#define CREATE_PERMISSION "tunnels.tunnels.create-delete"

// ---- Configuration, context, token, address

static bool holds(const json_t *list, const char *word)
{
    json_t *item;
    size_t index;
    json_array_foreach(list, index, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), word) == 0) {
            return true;
        }
    }
    return false;
}

// What the token says of itself; the engine alone knows whether it is true.
static void describe_token(struct doctor_report *report, const struct jws *jws, uint64_t wall_ms)
{
    const json_t *permissions = json_object_get(jws->claims, "permissions");
    const json_t *resources = json_object_get(jws->claims, "resources");
    struct slice subject = jws_claim_text(jws, "sub");
    char until[TIME_ISO_SIZE] = "never";
    int64_t expiry_s = 0;
    bool expires = jws_claim_time(jws, "exp", &expiry_s) && expiry_s > 0;
    if (expires) {
        time_to_iso((uint64_t)expiry_s * 1000, until);
    }
    doctor_add_detail(report, DOCTOR_TOKEN, "expiresAt", json_string(until));
    doctor_add_detail(report, DOCTOR_TOKEN, "subject", json_stringn(subject.at, subject.len));
    doctor_add_detail(report, DOCTOR_TOKEN, "permissions",
        permissions == NULL ? json_string("all") : json_deep_copy(permissions));
    doctor_add_detail(report, DOCTOR_TOKEN, "scopes",
        resources == NULL ? json_string("all") : json_deep_copy(resources));
    bool restricted = json_is_array(permissions);
    if (expires && (uint64_t)expiry_s < wall_ms / 1000 + 86400) {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_WARN,
            "it expires at %s, within a day: get a new one (weir token engine)", until);
    } else if (restricted && !holds(permissions, CREATE_PERMISSION)) {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_WARN,
            "it permits no tunnels: " CREATE_PERMISSION " is missing (weir token engine "
            "--permissions); expires: %s",
            until);
    } else if (restricted && !holds(permissions, READ_PERMISSION)) {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_WARN,
            "it permits no look at the engine: " READ_PERMISSION " is missing; expires: %s", until);
    } else {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_PASS, "from %s, expires: %s%s",
            report->profile->token_from, until, resources == NULL ? "" : ", for some tunnels only");
    }
}

static void judge_token(struct doctor_report *report, uint64_t wall_ms)
{
    const struct profile *profile = report->profile;
    struct jws jws = {0};
    if (profile->token == NULL) {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_FAIL,
            "there is none: set RSTREAM_AUTHENTICATION_TOKEN, or weir context update NAME "
            "--token-stdin");
    } else if (jws_parse(slice_str(profile->token), &jws) == WEIR_OK) {
        describe_token(report, &jws, wall_ms);
    } else {
        doctor_set(report, DOCTOR_TOKEN, DOCTOR_WARN,
            "from %s; it is no JWT, so nothing can be said about it here", profile->token_from);
    }
    jws_fini(&jws);
}

static void judge_engine_address(struct doctor_report *report)
{
    const struct profile *profile = report->profile;
    if (profile->engine == NULL) {
        doctor_set(report, DOCTOR_ENGINE_ADDRESS, DOCTOR_FAIL,
            "there is none: set --engine or RSTREAM_ENGINE, or weir context use NAME");
    } else {
        doctor_set(report, DOCTOR_ENGINE_ADDRESS, DOCTOR_PASS, "%s, port %u, from %s",
            profile->host, profile->port, profile->engine_from);
    }
}

void doctor_judge_profile(struct doctor_report *report, const char *problem, uint64_t wall_ms)
{
    const struct profile *profile = report->profile;
    static const enum doctor_check failing[] = {
        [PROFILE_STAGE_CONFIG] = DOCTOR_CONFIG,
        [PROFILE_STAGE_CONTEXT] = DOCTOR_CONTEXT,
        [PROFILE_STAGE_ENGINE] = DOCTOR_ENGINE_ADDRESS,
        [PROFILE_STAGE_TOKEN] = DOCTOR_TOKEN,
    };
    if (profile->stage < PROFILE_STAGE_MISSING) {
        doctor_set(report, failing[profile->stage], DOCTOR_FAIL, "%s",
            problem == NULL ? "not usable" : problem);
    }
    doctor_set(report, DOCTOR_CONTROL_PLANE_AUTH, DOCTOR_SKIP, "no hosted control plane is used");
    doctor_set(report, DOCTOR_PROJECT, DOCTOR_SKIP, "no hosted control plane is used");
    doctor_set(report, DOCTOR_QUIC_TRANSPORT, DOCTOR_SKIP, "weir goes over TLS only");
    if (profile->stage > PROFILE_STAGE_CONFIG) {
        doctor_set(report, DOCTOR_CONFIG, DOCTOR_PASS,
            profile->config_there ? "%s" : "%s is not there, and need not be",
            profile->config_path == NULL ? "the file" : profile->config_path);
    }
    if (profile->stage > PROFILE_STAGE_CONTEXT) {
        doctor_set(report, DOCTOR_CONTEXT, profile->context == NULL ? DOCTOR_SKIP : DOCTOR_PASS,
            "%s", profile->context == NULL ? "none is selected" : profile->context);
    }
    if (profile->stage > PROFILE_STAGE_ENGINE) {
        judge_engine_address(report);
    }
    if (profile->stage > PROFILE_STAGE_TOKEN) {
        judge_token(report, wall_ms);
    }
}

// ---- What answered

static void judge_dns(struct doctor_report *report, const struct probe_result *probe)
{
    char text[IP_TEXT_SIZE];
    json_t *list = json_array();
    const char *host = report->profile->host;
    if (probe->reached == PROBE_DNS) {
        doctor_set(report, DOCTOR_DNS, DOCTOR_FAIL,
            "%s: %s; it needs an A or AAAA record, and *.t.%s the same", host, probe->problem,
            host);
        json_decref(list);
        return;
    }
    for (size_t i = 0; i < probe->ip_count; i++) {
        ip_to_text(&probe->ips[i], text);
        json_array_append_new(list, json_string(text));
    }
    doctor_add_detail(report, DOCTOR_DNS, "addresses", list);
    ip_to_text(&probe->ips[0], text);
    doctor_set(report, DOCTOR_DNS, DOCTOR_PASS, "%s is %s%s", host, text,
        probe->ip_count > 1 ? " and others" : "");
}

static void explain_certificate(struct doctor_report *report, const struct probe_result *probe)
{
    const char *name = report->profile->server_name;
    char when[TIME_ISO_SIZE];
    time_to_iso(probe->not_after_s * 1000, when);
    switch (probe->verify) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL,
            "the certificate expired at %s: renew it at the engine, which loads it without a "
            "restart; or this machine's clock is wrong",
            when);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        time_to_iso(probe->not_before_s * 1000, when);
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL,
            "the certificate is valid from %s only: is this machine's clock right?", when);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL,
            "the certificate is for %s, not for %s: use one of these names, or say it with "
            "--engine-tls-server-name",
            probe->names[0] == '\0' ? "no name" : probe->names, name);
        break;
    case X509_V_OK:
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL, "%s: is it an engine, and the right port?",
            probe->problem);
        break;
    default:
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL,
            "the certificate is not trusted (%s): give its authority with --engine-tls-ca-file "
            "FILE, or for good with weir context update",
            X509_verify_cert_error_string(probe->verify));
        break;
    }
}

// Whether a list "a, b" has a name.
static bool is_named(const char *names, const char *name)
{
    struct slice rest = slice_str(names);
    struct slice word;
    while (slice_split(&rest, ',', &word)) {
        if (slice_eq_nocase(slice_trim(word), slice_str(name))) {
            return true;
        }
    }
    return false;
}

static void judge_good_tls(
    struct doctor_report *report, const struct probe_result *probe, uint64_t wall_ms)
{
    const char *name = report->profile->server_name;
    char wildcard[PROFILE_HOST_SIZE + 8];
    char when[TIME_ISO_SIZE];
    snprintf(wildcard, sizeof wildcard, "*.t.%s", name);
    time_to_iso(probe->not_after_s * 1000, when);
    if (probe->verify != X509_V_OK) {
        doctor_set(report, DOCTOR_TLS, DOCTOR_WARN,
            "%s, but whoever answers is trusted (%s): give the authority with "
            "--engine-tls-ca-file instead of --engine-tls-insecure-skip-verify",
            probe->tls_version, X509_verify_cert_error_string(probe->verify));
    } else if (probe->not_after_s < wall_ms / 1000 + EXPIRY_WARN_S) {
        doctor_set(report, DOCTOR_TLS, DOCTOR_WARN,
            "the certificate expires at %s: renew it at the engine", when);
    } else if (!is_named(probe->names, wildcard)) {
        doctor_set(report, DOCTOR_TLS, DOCTOR_WARN,
            "the certificate is for %s and not for %s: visitors of tunnels will be warned",
            probe->names, wildcard);
    } else {
        doctor_set(report, DOCTOR_TLS, DOCTOR_PASS, "%s, %s, certificate until %s, in %.0f ms",
            probe->tls_version, probe->alpn, when, (double)probe->tls_ns / (double)NS_PER_MS);
    }
}

static void judge_tls(
    struct doctor_report *report, const struct probe_result *probe, uint64_t wall_ms)
{
    char text[IP_TEXT_SIZE];
    if (probe->reached == PROBE_CONNECT) {
        ip_to_text(&probe->ip, text);
        doctor_set(report, DOCTOR_TLS, DOCTOR_FAIL,
            "%s port %u: %s; is the engine running, and does a firewall let TCP through?", text,
            report->profile->port, probe->problem);
        return;
    }
    if (probe->tls_version[0] != '\0') {
        doctor_add_detail(report, DOCTOR_TLS, "version", json_string(probe->tls_version));
        doctor_add_detail(report, DOCTOR_TLS, "alpn", json_string(probe->alpn));
        doctor_add_detail(report, DOCTOR_TLS, "names", json_string(probe->names));
        time_to_iso(probe->not_after_s * 1000, text);
        doctor_add_detail(report, DOCTOR_TLS, "notAfter", json_string(text));
    }
    if (probe->reached == PROBE_TLS) {
        explain_certificate(report, probe);
    } else {
        judge_good_tls(report, probe, wall_ms);
    }
}

static void judge_version(struct doctor_report *report, const struct probe_result *probe)
{
    bool same = strcmp(probe->server_version, WEIR_VERSION) == 0;
    doctor_add_detail(report, DOCTOR_VERSION, "engine", json_string(probe->server_version));
    if (strcmp(probe->server, "weir") != 0) {
        doctor_set(report, DOCTOR_VERSION, DOCTOR_PASS, "the engine is %s %s", probe->server,
            probe->server_version);
    } else if (same) {
        doctor_set(report, DOCTOR_VERSION, DOCTOR_PASS, "both are weir " WEIR_VERSION);
    } else {
        doctor_set(report, DOCTOR_VERSION, DOCTOR_WARN,
            "the engine is weir %s, this is " WEIR_VERSION ": update the older one",
            probe->server_version);
    }
}

void doctor_judge_probe(
    struct doctor_report *report, const struct probe_result *probe, uint64_t wall_ms)
{
    judge_dns(report, probe);
    if (probe->reached != PROBE_DNS) {
        judge_tls(report, probe, wall_ms);
    }
    if (probe->reached == PROBE_CHANNEL) {
        doctor_set(report, DOCTOR_TUNNEL_TRANSPORT, DOCTOR_FAIL,
            "%s; the engine's log tells why, weir token engine makes a token", probe->problem);
    } else if (probe->reached == PROBE_DONE && probe->server[0] != '\0') {
        doctor_set(report, DOCTOR_TUNNEL_TRANSPORT, DOCTOR_PASS,
            "a control channel opens in %.0f ms", (double)probe->channel_ns / (double)NS_PER_MS);
        judge_version(report, probe);
    }
}
