/*
 * Certificates of the store, decoded: a table by id, bounded with the worker's other caches (cache.h). An entry is right while its row
 * has the version that it was made from; events take it out, and a lookup compares, so that nobody is shown a certificate that was
 * replaced. Private keys never leave the structure but for OpenSSL. Start at sb_tls_cert_get().
 */
#include "proxy/tls.h"

#include "core/schema/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* What a decoded pair takes in OpenSSL's heap, about: it does not tell. */
#define PAIR_BYTES 16384

static sb_table_t certs;

void
sb_tls_pair_clear(sb_tls_pair_t *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    sk_X509_pop_free(p->chain, X509_free);
    *p = (sb_tls_pair_t){0};
}

void
sb_tls_cert_unref(sb_tls_cert_t *c)
{
    if (c == NULL || --c->refs != 0)
        return;
    for (unsigned i = 0; i < c->n; i++)
        sb_tls_pair_clear(&c->pairs[i]);
    sb_cache_bytes -= c->bytes;
    free(c);
}

static void
forget(sb_tls_cert_t *c)
{
    sb_table_remove(&certs, &c->node);
    sb_cache_remove(&c->aged);
    sb_tls_cert_unref(c);
}

static void
forget_node(sb_node_t *node, void *arg)
{
    forget((sb_tls_cert_t *)node);
}

static void
forget_aged(sb_aged_t *a)
{
    forget(ngx_queue_data(a, sb_tls_cert_t, aged));
}

void
sb_tls_certs_forget(const sb_uuid_t *id)
{
    sb_node_t *node = id != NULL ? sb_table_find(&certs, id) : NULL;

    if (id == NULL)
        sb_table_each(&certs, forget_node, NULL);
    else if (node != NULL)
        forget_node(node, NULL);
}

/* ---- decoding ---- */

/* What follows the first certificate of a PEM text; NULL when nothing does. */
static STACK_OF(X509) * read_chain(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    STACK_OF(X509) *chain = NULL;
    X509 *first = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL, *x;

    while (first != NULL && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (chain == NULL)
            chain = sk_X509_new_null();
        if (chain == NULL || sk_X509_push(chain, x) == 0) {
            X509_free(x);
            break;
        }
    }
    X509_free(first);
    BIO_free(bio);
    ERR_clear_error(); /* the end of the text is an error there */
    return chain;
}

/* One pair of the row, if it is there; false: it is, and cannot be used. */
static bool
read_pair(sb_tls_cert_t *c, const json_t *row, const char *cert_name, const char *key_name)
{
    const char *cert = sb_json_string(row, cert_name), *key = sb_json_string(row, key_name);
    sb_tls_pair_t p = {0};

    if (cert == NULL || key == NULL)
        return true;
    p.cert = sb_pem_certificate(cert, strlen(cert));
    p.key = sb_pem_private_key(key, strlen(key));
    ERR_clear_error();
    if (p.cert == NULL || p.key == NULL) {
        sb_tls_pair_clear(&p);
        return false;
    }
    p.chain = read_chain(cert);
    sb_tls_ocsp_attach(&p);
    c->pairs[c->n++] = p;
    c->bytes += PAIR_BYTES + 2 * strlen(cert);
    return true;
}

static sb_tls_cert_t *
decode(const sb_row_t *row)
{
    json_t *json = sb_json_parse(row->json.data, row->json.len, NULL);
    sb_tls_cert_t *c = sb_calloc(sizeof(*c));
    char text[SB_UUID_TEXT + 1];
    bool whole = json != NULL && read_pair(c, json, "cert", "key") && read_pair(c, json, "cert_alt", "key_alt");

    json_decref(json);
    c->refs = 1;
    c->bytes += sizeof(*c);
    sb_cache_bytes += c->bytes;
    c->node.id = row->id;
    c->version = row->version;
    sb_uuid_format(&row->id, text);
    snprintf(c->name, sizeof(c->name), "%s:%llu", text, (unsigned long long)row->version);
    if (whole && c->n != 0)
        return c;
    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "certificate %s cannot be used: its text is no PEM", text);
    sb_tls_cert_unref(c);
    return NULL;
}

sb_tls_cert_t *
sb_tls_cert_get(const sb_uuid_t *id)
{
    sb_tls_cert_t *c = (sb_tls_cert_t *)sb_table_find(&certs, id);
    sb_row_t row;

    if (!sb_model_get(sb_worker.reader, sb_worker.certificates, id, &row))
        return NULL;
    if (c != NULL && c->version != row.version) {
        forget(c);
        c = NULL;
    }
    if (c == NULL) {
        if ((c = decode(&row)) == NULL)
            return NULL;
        sb_table_add(&certs, &c->node);
        sb_cache_add(&c->aged, forget_aged);
    }
    c->refs++;
    c->aged.used = true;
    return c;
}

bool
sb_tls_cert_use(const sb_tls_cert_t *c, SSL *ssl)
{
    /* Else a client that prefers the other kind of key would get a pair that the connection had before. */
    SSL_certs_clear(ssl);
    for (unsigned i = 0; i < c->n; i++) {
        const sb_tls_pair_t *p = &c->pairs[i];
        if (SSL_use_cert_and_key(ssl, p->cert, p->key, p->chain, 1) == 1)
            continue;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "certificate %s cannot be used: %s", c->name,
                      ERR_reason_error_string(ERR_peek_last_error()));
        ERR_clear_error();
        return false;
    }
    return true;
}
