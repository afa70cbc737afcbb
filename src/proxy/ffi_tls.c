/*
 * The FFI's TLS half: what a plugin chooses for the exchange with the service (kong.service.set_tls_*), what it asks of a client in a
 * handshake (kong.client.tls), and the walk of the certificate phase. Objects come from Lua as OpenSSL's own; a reference of each is kept
 * with the request. Start at sb_tls_choice_apply().
 */
#include "proxy/ffi_int.h"
#include "proxy/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* ---- towards the service ---- */

static sb_tls_choice_t *
choice_of(void *r)
{
    sb_ctx_t *ctx = sb_ctx(r);

    if (ctx->tls == NULL) {
        ctx->tls = ngx_pcalloc(ctx->r->pool, sizeof(*ctx->tls));
        if (ctx->tls != NULL)
            *ctx->tls = (sb_tls_choice_t){.verify = -1, .depth = -1};
    }
    return ctx->tls;
}

int
sb_ffi_upstream_tls_verify(void *r, int on)
{
    sb_tls_choice_t *c = choice_of(r);

    if (c == NULL)
        return SB_FFI_E_INVALID;
    c->verify = on != 0;
    return SB_FFI_OK;
}

int
sb_ffi_upstream_tls_depth(void *r, int depth)
{
    sb_tls_choice_t *c = choice_of(r);

    if (c == NULL || depth < 0)
        return SB_FFI_E_INVALID;
    c->depth = depth;
    return SB_FFI_OK;
}

int
sb_ffi_upstream_tls_store(void *r, void *store)
{
    sb_tls_choice_t *c = choice_of(r);

    if (c == NULL || store == NULL || X509_STORE_up_ref(store) != 1)
        return SB_FFI_E_INVALID;
    X509_STORE_free(c->store);
    c->store = store;
    return SB_FFI_OK;
}

int
sb_ffi_upstream_tls_pair(void *r, void *certs, void *key)
{
    STACK_OF(X509) *chain = certs != NULL ? X509_chain_up_ref(certs) : NULL;
    X509 *cert = chain != NULL ? sk_X509_shift(chain) : NULL;
    sb_tls_choice_t *c = choice_of(r);

    if (c == NULL || cert == NULL || key == NULL || X509_check_private_key(cert, key) != 1) {
        X509_free(cert);
        sk_X509_pop_free(chain, X509_free);
        ERR_clear_error();
        return SB_FFI_E_INVALID;
    }
    sb_tls_pair_clear(&c->pair);
    EVP_PKEY_up_ref(key);
    c->pair = (sb_tls_pair_t){cert, key, chain};
    return SB_FFI_OK;
}

bool
sb_tls_choice_apply(const sb_tls_choice_t *c, SSL *ssl)
{
    const sb_tls_pair_t *p = &c->pair;

    if (c->store != NULL && SSL_set1_verify_cert_store(ssl, c->store) != 1)
        return false;
    if (c->depth >= 0)
        SSL_set_verify_depth(ssl, c->depth);
    if (p->cert == NULL)
        return true;
    SSL_certs_clear(ssl);
    return SSL_use_cert_and_key(ssl, p->cert, p->key, p->chain, 1) == 1;
}

void
sb_tls_choice_clear(sb_tls_choice_t *c)
{
    if (c == NULL)
        return;
    X509_STORE_free(c->store);
    sb_tls_pair_clear(&c->pair);
}

/* ---- what the client showed ---- */

static SSL *
client_ssl(void *r)
{
    const ngx_connection_t *c = ((ngx_http_request_t *)r)->connection;

    return c->ssl != NULL ? c->ssl->connection : NULL;
}

int
sb_ffi_client_chain(void *r, sb_ffi_str *out)
{
    SSL *ssl = client_ssl(r);
    X509 *leaf = ssl != NULL ? SSL_get1_peer_certificate(ssl) : NULL;
    STACK_OF(X509) *chain = leaf != NULL ? SSL_get_peer_cert_chain(ssl) : NULL; /* without the leaf, at a server */
    BIO *bio = leaf != NULL ? BIO_new(BIO_s_mem()) : NULL;
    char *data;
    long len;

    out->data = NULL;
    out->len = 0;
    if (bio != NULL && PEM_write_bio_X509(bio, leaf) == 1) {
        for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++)
            PEM_write_bio_X509(bio, sk_X509_value(chain, i));
        len = BIO_get_mem_data(bio, &data);
        out->data = sb_strdup_len(data, (size_t)len);
        out->len = (size_t)len;
    }
    BIO_free(bio);
    X509_free(leaf);
    return out->data != NULL;
}

void
sb_ffi_client_verify(void *r, const char *text, size_t len)
{
    sb_lua_request_t *lua = sb_lua_request(sb_ctx(r));

    if (lua != NULL)
        lua->client_verify = sb_request_copy(r, text, len);
}

/* ---- in the handshake ---- */

int
sb_ffi_enter_certificate(void *r)
{
    sb_ctx_t *ctx = sb_ctx_make(r);

    if (ctx == NULL || (ctx->lua_phases & SB_PHASE_BIT(SB_PHASE_CERTIFICATE)) == 0)
        return 0;
    sb_chain_begin(ctx, SB_PHASE_CERTIFICATE);
    return 1;
}

/* Whether the certificate is any good is for the plugin to say: it sees the chain in the access phase. */
static int
take_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

int
sb_ffi_client_request_certificate(void *r, void *authorities)
{
    SSL *ssl = client_ssl(r);
    STACK_OF(X509) *certs = authorities;
    STACK_OF(X509_NAME) *names = NULL;

    if (ssl == NULL)
        return SB_FFI_E_INVALID;
    for (int i = 0; certs != NULL && i < sk_X509_num(certs); i++) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(sk_X509_value(certs, i)));
        if (names == NULL)
            names = sk_X509_NAME_new_null();
        if (names == NULL || name == NULL || sk_X509_NAME_push(names, name) == 0)
            X509_NAME_free(name);
    }
    if (names != NULL)
        SSL_set_client_CA_list(ssl, names); /* takes it */
    SSL_set_verify(ssl, SSL_VERIFY_PEER, take_any);
    return SB_FFI_OK;
}

/* A session that nobody can resume: no ticket, and for the session cache one that ended long ago. */
int
sb_ffi_client_disable_session_reuse(void *r)
{
    SSL *ssl = client_ssl(r);
    SSL_SESSION *session = ssl != NULL ? SSL_get_session(ssl) : NULL;

    if (ssl == NULL || SSL_set_num_tickets(ssl, 0) != 1)
        return SB_FFI_E_INVALID;
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    if (session != NULL)
        SSL_SESSION_set_time(session, 1);
    return SB_FFI_OK;
}
