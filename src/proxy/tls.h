/*
 * TLS with rows of the configuration: certificates decoded and kept, the one shown for a name, and trust in certificate authorities. Start
 * at sb_tls_install(), which makes the listeners ask.
 *
 * Lifetimes. A decoded certificate belongs to the worker and is counted; OpenSSL takes references of its own to what it is given, so a
 * handshake needs none of ours once the callback has returned.
 */
#ifndef SB_PROXY_TLS_H
#define SB_PROXY_TLS_H

#include "proxy/proxy_int.h"

typedef struct sb_tls_pair {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* what follows the certificate in its text; NULL: nothing */
} sb_tls_pair_t;

/* A row of `certificates`: one pair, or one RSA and one ECDSA. Immutable. */
typedef struct sb_tls_cert {
    sb_node_t node; /* in the table of certificates, until its row changes */
    sb_aged_t aged;
    uint32_t refs;
    uint64_t version; /* of the row */
    size_t bytes;     /* what it counts for in the cache */
    unsigned n;
    sb_tls_pair_t pairs[2];
    char name[SB_UUID_TEXT + 24]; /* id and version: what connections that showed it are shared by */
} sb_tls_cert_t;

/* What a plugin chose for one exchange (kong.service.set_tls_*); before service and upstream entity. */
typedef struct sb_tls_choice {
    int verify, depth;  /* -1: not chosen */
    X509_STORE *store;  /* NULL: not chosen */
    sb_tls_pair_t pair; /* cert NULL: not chosen */
} sb_tls_choice_t;

/* ffi_tls.c. Before a handshake; false: OpenSSL refused. */
bool sb_tls_choice_apply(const sb_tls_choice_t *c, SSL *ssl);
void sb_tls_choice_clear(sb_tls_choice_t *c); /* NULL is fine */

/* ---- tls_cert.c ---- */

void sb_tls_pair_clear(sb_tls_pair_t *p);

/* By id, inside sb_model_begin/end; a reference for the caller. NULL: there is no such row, or it cannot be used (logged). */
sb_tls_cert_t *sb_tls_cert_get(const sb_uuid_t *id);
void sb_tls_cert_unref(sb_tls_cert_t *c);      /* NULL is fine */
void sb_tls_certs_forget(const sb_uuid_t *id); /* NULL: all */
/* Makes the connection show it instead of what it had. false: OpenSSL refused (logged, without the key). */
bool sb_tls_cert_use(const sb_tls_cert_t *c, SSL *ssl);

/* ---- tls_trust.c ---- */

/* The authorities of a list of ids, inside sb_model_begin/end; a reference for the caller. Ids that name no usable row
 * are left out (logged): trust gets less, never more. name: a hash of ids and versions, the same for the same trust. */
X509_STORE *sb_tls_trust_get(const json_t *ids, sb_uuid_t *name);
void sb_tls_trusts_forget(void); /* all */

/* ---- tls_ocsp.c ---- */

/* At the end of the configuration, for contexts of servers with ssl_stapling: answers for certificates of the store too. */
void sb_tls_ocsp_install(SSL_CTX *ctx);
/* A pair whose chain has its issuer and which names a responder gets its answer stapled. Does nothing when no server staples. */
void sb_tls_ocsp_attach(const sb_tls_pair_t *p);
void sb_tls_ocsp_done(void); /* at the worker's end */

/* ---- tls_serve.c ---- */

/* The certificate for the name that a client asks for (len 0: none): the SNI of that name, then "*.rest", "first.*", "*". Inside
 * sb_model_begin/end; a reference for the caller. NULL: none, show the listener's own. */
sb_tls_cert_t *sb_tls_cert_of_name(sb_str_t name);
/* The same for connections of a stream listener's context; no Lua handlers there. */
void sb_tls_serve_stream(SSL_CTX *ctx);
/* At the end of the configuration: the proxy's TLS listeners show certificates of the store from now on, and services can be verified.
 * NGX_ERROR: the file of authorities cannot be read (logged). */
ngx_int_t sb_tls_install(ngx_conf_t *cf, sb_conf_t *conf);

#endif
