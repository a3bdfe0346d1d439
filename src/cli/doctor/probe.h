// SPDX-License-Identifier: Apache-2.0
// One look at an engine as an agent comes to it (spec engine, sections 3.1 and 4.5): name, address,
// TLS with ALPN rstrm/1, and a control channel that is closed at once. It goes on past a
// certificate that is not trusted, to tell what it says; a token is then not sent.
#ifndef WEIR_CLI_PROBE_H
#define WEIR_CLI_PROBE_H

#include "cli/context/profile.h"
#include "loop/worker.h"
#include "sys/resolve.h"

#define PROBE_TEXT_SIZE 512

enum probe_step { PROBE_DNS, PROBE_CONNECT, PROBE_TLS, PROBE_CHANNEL, PROBE_DONE };

struct probe_result {
    enum probe_step reached; // the step that failed, or PROBE_DONE
    char problem[PROBE_TEXT_SIZE];
    struct ip ips[SYS_RESOLVE_MAX];
    size_t ip_count;
    struct ip ip; // the one that answered
    // Of TLS; tls_version "" while there was none.
    char tls_version[16];
    char alpn[32];
    char names[PROBE_TEXT_SIZE]; // that the certificate is for
    long verify;                 // X509_V_OK, or why it is not trusted
    uint64_t not_before_s;       // seconds since 1970
    uint64_t not_after_s;
    uint64_t tls_ns; // from the first packet to the end of the handshake
    // Of the control channel; server "" while there was none.
    char server[64];
    char server_version[64];
    uint64_t channel_ns;
};

struct probe;
typedef void probe_fn(void *arg, const struct probe_result *result);

// with_channel: also open a control channel, with the profile's token. done is called once, not
// before the next turn. NULL: memory ran out, or the authorities cannot be read.
struct probe *probe_start(struct worker *worker, const struct profile *profile, bool with_channel,
    probe_fn *done, void *arg) WEIR_MUST_CHECK;
// No callback comes. NULL is fine; not to be used after the callback.
void probe_cancel(struct probe *probe);

#endif
