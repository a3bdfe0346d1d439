// SPDX-License-Identifier: Apache-2.0
// OpenSSL brings the joint: a BIO whose bytes are another session's payload (BIO_f_ssl). It passes
// "try again" through as the outer session says it, and frees the outer session with itself, so
// that SSL_free of the inner one takes the whole stack down. The outer session's socket BIO hangs
// behind it in the chain, which is how SSL_get_fd of the inner one finds the descriptor.
//
// Invariants:
// 1. A record of the inner session fits into one of the outer: two small records for a big one
//    would cost a second encryption and a second system call.
// 2. Nobody is verified: the session protects the way from the agent to the service, whose
//    certificate is usually self-signed (spec section 6.5).
#include "stream/tls_stack.h"

#include <openssl/err.h>

#include "stream/tls_patience.h"

// 16,384 bytes of the outer record less header, tag, explicit nonce and content type of the inner.
#define INNER_FRAGMENT_MAX (16384 - 64)

SSL_CTX *tls_stack_context_new(OSSL_LIB_CTX *library)
{
    SSL_CTX *context = SSL_CTX_new_ex(library, NULL, TLS_client_method());
    if (context == NULL) {
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_read_ahead(context, 1);
    tls_patience_limit(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_send_fragment(context, INNER_FRAGMENT_MAX) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static bool prepare(SSL *inner, const char *name, struct slice alpn)
{
    SSL_set_connect_state(inner);
    return SSL_set_tlsext_host_name(inner, name) == 1 &&
           (alpn.len == 0 ||
               SSL_set_alpn_protos(inner, (const unsigned char *)alpn.at, (unsigned)alpn.len) == 0);
}

// The joint owns the outer session from the moment it is made.
static BIO *make_joint(SSL *outer)
{
    BIO *joint = BIO_new(BIO_f_ssl());
    if (joint != NULL) {
        BIO_set_ssl(joint, outer, BIO_CLOSE);
    }
    return joint;
}

enum weir_result tls_stack_push(
    struct stream_state *state, SSL_CTX *context, const char *name, struct slice alpn)
{
    weir_assert(state->ssl != NULL);
    SSL *inner = SSL_new(context);
    BIO *joint = inner != NULL && prepare(inner, name, alpn) ? make_joint(state->ssl) : NULL;
    if (joint == NULL) {
        ERR_clear_error();
        SSL_free(inner);
        return WEIR_MEMORY;
    }
    SSL_set_bio(inner, joint, joint);
    state->ssl = inner;
    return WEIR_OK;
}

struct slice tls_stack_alpn(const struct stream *stream)
{
    const unsigned char *chosen;
    unsigned len;
    SSL_get0_alpn_selected(stream->ssl, &chosen, &len);
    return len == 0 ? SLICE_EMPTY : slice_of((const char *)chosen, len);
}
