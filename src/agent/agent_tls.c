// SPDX-License-Identifier: Apache-2.0
// A session that a connection uses is a copy of its own: OpenSSL spoils the session of one that
// ends without close_notify, and with it what all others would resume.
#include "agent/agent_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/ip.h"
#include "base/mem.h"
#include "proto/rstrm.h"
#include "stream/tls_context.h"

struct trust {
    struct list node;
    SSL_CTX *context; // owned
    char *ca_file;    // owned; NULL: the system's
    bool insecure;
};

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct agent_tls *tls = SSL_get_app_data(ssl);
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy != NULL) {
        SSL_SESSION_free(tls->session);
        tls->session = copy;
    }
    return 0; // the connection keeps its own
}

static SSL_CTX *new_context(const char *ca_file, bool insecure)
{
    static const unsigned char alpn[] = "\x07" RSTRM_ALPN;
    SSL_CTX *context = tls_client_new(ca_file, !insecure);
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1) != 0) {
        SSL_CTX_free(context);
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    return context;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static enum weir_result find_trust(
    struct list *trusts, const char *ca_file, bool insecure, struct trust **ret_trust)
{
    list_for_each (node, trusts) {
        struct trust *trust = container_of(node, struct trust, node);
        if (trust->insecure == insecure && is_same(trust->ca_file, ca_file)) {
            *ret_trust = trust;
            return WEIR_OK;
        }
    }
    struct trust *trust = mem_zalloc(sizeof *trust);
    char *copy = ca_file == NULL ? NULL : mem_copy(ca_file, strlen(ca_file));
    SSL_CTX *context =
        trust == NULL || (ca_file != NULL && copy == NULL) ? NULL : new_context(ca_file, insecure);
    if (context == NULL) {
        bool memory = trust == NULL || (ca_file != NULL && copy == NULL);
        mem_free(copy);
        mem_free(trust);
        return memory ? WEIR_MEMORY : WEIR_CRYPTO;
    }
    *trust = (struct trust){.context = context, .ca_file = copy, .insecure = insecure};
    list_push_back(trusts, &trust->node);
    *ret_trust = trust;
    return WEIR_OK;
}

enum weir_result agent_tls_init(struct agent_tls *tls, struct list *trusts, const char *ca_file,
    bool insecure, const char *name)
{
    struct trust *trust;
    enum weir_result result = find_trust(trusts, insecure ? NULL : ca_file, insecure, &trust);
    if (result != WEIR_OK) {
        return result;
    }
    if (SSL_CTX_up_ref(trust->context) != 1) {
        return WEIR_CRYPTO;
    }
    tls->context = trust->context;
    tls->name = name;
    tls->verify = !insecure;
    return WEIR_OK;
}

void agent_tls_fini(struct agent_tls *tls)
{
    SSL_SESSION_free(tls->session);
    SSL_CTX_free(tls->context);
    *tls = (struct agent_tls){0};
}

void agent_tls_free_trusts(struct list *trusts)
{
    for (struct list *node = list_pop_front(trusts); node != NULL; node = list_pop_front(trusts)) {
        struct trust *trust = container_of(node, struct trust, node);
        SSL_CTX_free(trust->context);
        mem_free(trust->ca_file);
        mem_free(trust);
    }
}

static bool set_name(SSL *ssl, const struct agent_tls *tls)
{
    struct ip literal;
    bool is_name = ip_parse(slice_str(tls->name), &literal) != WEIR_OK;
    if (is_name && SSL_set_tlsext_host_name(ssl, tls->name) != 1) {
        return false;
    }
    if (!tls->verify) {
        return true;
    }
    return is_name ? SSL_set1_host(ssl, tls->name) == 1
                   : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), tls->name) == 1;
}

static void resume(SSL *ssl, const struct agent_tls *tls)
{
    SSL_SESSION *copy = tls->session == NULL ? NULL : SSL_SESSION_dup(tls->session);
    if (copy != NULL) {
        (void)SSL_set_session(ssl, copy); // else the handshake is a full one
        SSL_SESSION_free(copy);
    }
}

SSL *agent_tls_new(struct agent_tls *tls)
{
    SSL *ssl = SSL_new(tls->context);
    if (ssl == NULL || SSL_set_app_data(ssl, tls) != 1 || !set_name(ssl, tls)) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_connect_state(ssl);
    resume(ssl, tls);
    return ssl;
}

bool agent_tls_is_engine(const SSL *ssl)
{
    const unsigned char *protocol = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &len);
    return slice_eq(slice_of((const char *)protocol, len), SLICE(RSTRM_ALPN));
}

const char *agent_tls_verdict(const SSL *ssl)
{
    long verdict = SSL_get_verify_result(ssl);
    return verdict == X509_V_OK ? NULL : X509_verify_cert_error_string(verdict);
}
