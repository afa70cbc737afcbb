/*
 * TLS towards a service as its own row wants it: which authorities to trust, how deep, and the certificate to show. Read once when the
 * row is decoded (events about certificates make services stale), laid over each new connection before its handshake. What a service
 * leaves open is the location's (proxy_ssl_*, which the settings fill).
 */
#include "proxy/proxy_int.h"

#include "core/schema/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* The row that a foreign key names, decoded; NULL: it is not there. */
static json_t *
find_row(const sb_entity_t *entity, const char *id, uint64_t *version)
{
    sb_uuid_t uuid;
    sb_row_t row;

    if (entity == NULL || id == NULL || !sb_uuid_parse(id, strlen(id), &uuid) || !sb_model_get(sb_worker.reader, entity, &uuid, &row))
        return NULL;
    *version = row.version;
    return sb_json_parse(row.json.data, row.json.len, NULL);
}

static void
add_ca(X509_STORE *store, const char *id, sb_buf_t *key)
{
    uint64_t version = 0;
    json_t *json = find_row(sb_worker.ca_certificates, id, &version);
    const char *pem = sb_json_string(json, "cert");
    X509 *x = pem != NULL ? sb_pem_certificate(pem, strlen(pem)) : NULL;

    if (x != NULL && X509_STORE_add_cert(store, x) == 1)
        sb_buf_addf(key, "|%s:%llu", id, (unsigned long long)version);
    X509_free(x);
    json_decref(json);
}

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

static void
read_client_certificate(sb_service_t *s, const json_t *row, sb_buf_t *key)
{
    const char *id = sb_json_foreign_id(row, "client_certificate"), *cert, *private_key;
    uint64_t version = 0;
    json_t *json = find_row(sb_worker.certificates, id, &version);
    sb_service_tls_t *own = &s->tls_own;

    cert = sb_json_string(json, "cert");
    private_key = sb_json_string(json, "key");
    if (cert != NULL && private_key != NULL) {
        own->cert = sb_pem_certificate(cert, strlen(cert));
        own->key = sb_pem_private_key(private_key, strlen(private_key));
        own->chain = read_chain(cert);
        sb_buf_addf(key, "c%s:%llu", id, (unsigned long long)version);
    }
    if (id != NULL && (own->cert == NULL || own->key == NULL))
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "client certificate %s of a service cannot be used", id);
    json_decref(json);
}

void
sb_service_tls_read(sb_service_t *s, const json_t *row)
{
    json_t *verify = sb_json_get(row, "tls_verify"), *cas = sb_json_get(row, "ca_certificates"), *ca;
    sb_service_tls_t *own = &s->tls_own;
    sb_buf_t key = {0};
    size_t i;

    own->verify_depth = (int)sb_json_int(row, "tls_verify_depth", -1);
    if (verify != NULL) {
        s->conf->ssl_verify = json_is_true(verify);
        sb_buf_addf(&key, "v%d", (int)s->conf->ssl_verify);
    }
    if (own->verify_depth >= 0)
        sb_buf_addf(&key, "d%d", own->verify_depth);
    if (json_array_size(cas) != 0) {
        own->trust = X509_STORE_new();
        json_array_foreach(cas, i, ca) if (own->trust != NULL && json_is_string(ca)) add_ca(own->trust, json_string_value(ca), &key);
    }
    read_client_certificate(s, row, &key);
    own->pool_key = sb_pool_str(s->pool, key.data != NULL ? key.data : "", key.len);
    /* The session callbacks are where a connection's own settings are applied, so they must be called. */
    s->conf->ssl_session_reuse = 1;
    s->conf->ssl_server_name = 1;
    sb_buf_free(&key);
}

bool
sb_service_tls_apply(const sb_service_t *s, SSL *ssl)
{
    const sb_service_tls_t *own = &s->tls_own;

    if (own->trust != NULL && SSL_set1_verify_cert_store(ssl, own->trust) != 1)
        return false;
    if (own->verify_depth >= 0)
        SSL_set_verify_depth(ssl, own->verify_depth);
    if (own->cert == NULL || own->key == NULL)
        return true;
    return SSL_use_certificate(ssl, own->cert) == 1 && SSL_use_PrivateKey(ssl, own->key) == 1 && SSL_set1_chain(ssl, own->chain) == 1;
}

void
sb_service_tls_clear(sb_service_tls_t *own)
{
    X509_STORE_free(own->trust);
    X509_free(own->cert);
    EVP_PKEY_free(own->key);
    sk_X509_pop_free(own->chain, X509_free);
    *own = (sb_service_tls_t){.verify_depth = -1};
}
