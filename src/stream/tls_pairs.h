// SPDX-License-Identifier: Apache-2.0
// Further certificate pairs of a listener, chosen by the server name a client asks for. Names come
// from the certificates' subjectAltName; one that is written out goes before a wildcard (RFC 6125
// section 6.4.3: the whole first label), the pairs' order decides otherwise, and the listener's
// first pair is the first of them. Names that nobody has get the first pair.
#ifndef WEIR_STREAM_TLS_PAIRS_H
#define WEIR_STREAM_TLS_PAIRS_H

#include "base/map.h"
#include "base/slice.h"
#include "stream/tls_context.h"

struct tls_pair {
    struct tls_settings settings;
    SSL_CTX *current; // owned; NULL while the files are no pair and never were one
    uint64_t stamp;   // of the files current was made from, or that could not be used
};

struct tls_pairs {
    struct tls_server *server; // borrowed; the first pair
    struct tls_pair *items;    // owned
    size_t count;
    struct map names;       // owned; struct tls_name
    const SSL_CTX *indexed; // the first pair's context that names know; never followed
    bool stale;             // names are not what the certificates say
    uint64_t looked_ns;
};

// server and seed are borrowed, and outlive the pairs.
void tls_pairs_init(
    struct tls_pairs *pairs, struct tls_server *server, const struct siphash_key *seed);
void tls_pairs_fini(struct tls_pairs *pairs);

// Makes these count pairs the ones that are looked at: settings are copied, their paths borrowed.
// What was served with the same two paths is kept; the others are served from the next
// tls_pairs_refresh on, which looks at once. WEIR_MEMORY leaves everything as it was.
enum weir_result tls_pairs_set(
    struct tls_pairs *pairs, const struct tls_settings *settings, size_t count) WEIR_MUST_CHECK;

// What came of a pair whose files have changed: problem is NULL, or says in English why it cannot
// be used; then what it served before is kept, and it is not tried again until they change again.
typedef void tls_pairs_report_fn(void *arg, const struct tls_pair *pair, const char *problem);
// Before a handshake, after tls_server_refresh: looks at the files at most once a second, and loads
// what has changed, at most load_max of them. Calls report for each.
void tls_pairs_refresh(struct tls_pairs *pairs, uint64_t now_ns, size_t load_max,
    tls_pairs_report_fn *report, void *arg);

// The context for a server name as hostname_normalize leaves it; empty: none was asked for.
SSL_CTX *tls_pairs_choose(const struct tls_pairs *pairs, struct slice server_name);

#endif
