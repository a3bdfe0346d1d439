// SPDX-License-Identifier: Apache-2.0
// The certificate of a relay on loopback that nobody gave one: self-signed ECDSA P-256.
#ifndef WEIR_PLATFORM_CERTIFICATE_H
#define WEIR_PLATFORM_CERTIFICATE_H

#include "base/result.h"

#define CERTIFICATE_VALID_DAYS 825
#define CERTIFICATE_RENEW_DAYS 7 // replaced when no more than this is left
#define CERTIFICATE_PATH_SIZE 4096

struct certificate_paths {
    char certificate[CERTIFICATE_PATH_SIZE]; // PEM, <state_dir>/localhost.crt
    char key[CERTIFICATE_PATH_SIZE];         // PEM (PKCS #8), <state_dir>/localhost.key, 0600
};

// Makes sure that state_dir holds a certificate for localhost, 127.0.0.1 and ::1 with its key, and
// says where. What is there is kept while it belongs together and holds for more than
// CERTIFICATE_RENEW_DAYS; otherwise both files are written anew. WEIR_TOO_LARGE: the path is too
// long; WEIR_CRYPTO, WEIR_MEMORY, or what sys/ said.
enum weir_result certificate_ensure(
    const char *state_dir, struct certificate_paths *ret_paths) WEIR_MUST_CHECK;

#endif
