// SPDX-License-Identifier: Apache-2.0
// Certificates for those whom nobody gave one: self-signed ECDSA P-256.
#ifndef WEIR_PLATFORM_CERTIFICATE_H
#define WEIR_PLATFORM_CERTIFICATE_H

#include "base/result.h"

#define CERTIFICATE_VALID_DAYS 825
#define CERTIFICATE_RENEW_DAYS 7 // replaced when no more than this is left
#define CERTIFICATE_PATH_SIZE 4096

struct certificate_paths {
    char certificate[CERTIFICATE_PATH_SIZE]; // PEM
    char key[CERTIFICATE_PATH_SIZE];         // PEM (PKCS #8), 0600
};

struct certificate_wish {
    const char *dir;         // that is there
    const char *stem;        // of the files: "localhost" for localhost.crt and localhost.key
    const char *common_name; // "localhost"
    const char *alt_names;   // as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1"
};
// Makes sure that the pair is there and says where. What is there is kept while it belongs together
// and holds for more than CERTIFICATE_RENEW_DAYS; otherwise both files are written anew.
// WEIR_TOO_LARGE: the path is too long; WEIR_CRYPTO, WEIR_MEMORY, or what sys/ said.
enum weir_result certificate_ensure(
    const struct certificate_wish *wish, struct certificate_paths *ret_paths) WEIR_MUST_CHECK;

// For localhost, 127.0.0.1 and ::1: <state_dir>/localhost.crt and .key.
enum weir_result certificate_ensure_localhost(
    const char *state_dir, struct certificate_paths *ret_paths) WEIR_MUST_CHECK;

// A pair that somebody brought.
struct certificate_look {
    bool belongs;   // both are PEM, and belong together; otherwise the rest says nothing
    bool names;     // the certificate is for every name that was asked for
    long days_left; // below 0: it has ended
};
// names ends with NULL.
void certificate_look_at(const struct certificate_paths *paths, const char *const *names,
    struct certificate_look *ret_look);

#endif
