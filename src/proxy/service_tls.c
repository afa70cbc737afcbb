/*
 * TLS towards a service as its own row wants it: which authorities to trust, how deep, and the certificate to show. Read once when the
 * row is decoded (events about certificates make services stale), laid over each new connection before its handshake. What a service
 * leaves open is the location's (proxy_ssl_*, which the settings fill).
 */
#include "proxy/tls.h"

static void
read_trust(sb_service_t *s, const json_t *row, sb_buf_t *key)
{
    const json_t *ids = sb_json_get(row, "ca_certificates");
    char text[SB_UUID_TEXT + 1];
    sb_uuid_t name;

    if (json_array_size(ids) == 0)
        return;
    s->tls_own.trust = sb_tls_trust_get(ids, &name);
    sb_uuid_format(&name, text);
    sb_buf_addf(key, "t%s", text);
}

static void
read_certificate(sb_service_t *s, const json_t *row, sb_buf_t *key)
{
    const char *text = sb_json_foreign_id(row, "client_certificate");
    sb_uuid_t id;

    if (text == NULL || !sb_uuid_parse(text, strlen(text), &id))
        return;
    s->tls_own.cert = sb_tls_cert_get(&id);
    if (s->tls_own.cert != NULL)
        sb_buf_addf(key, "c%s", s->tls_own.cert->name);
}

void
sb_service_tls_read(sb_service_t *s, const json_t *row)
{
    const json_t *verify = sb_json_get(row, "tls_verify");
    sb_service_tls_t *own = &s->tls_own;
    sb_buf_t key = {0};

    own->verify_depth = (int)sb_json_int(row, "tls_verify_depth", -1);
    if (verify != NULL) {
        s->conf->ssl_verify = json_is_true(verify);
        sb_buf_addf(&key, "v%d", (int)s->conf->ssl_verify);
    }
    if (own->verify_depth >= 0)
        sb_buf_addf(&key, "d%d", own->verify_depth);
    read_trust(s, row, &key);
    read_certificate(s, row, &key);
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
    return own->cert == NULL || sb_tls_cert_use(own->cert, ssl);
}

void
sb_service_tls_clear(sb_service_tls_t *own)
{
    X509_STORE_free(own->trust);
    sb_tls_cert_unref(own->cert);
    *own = (sb_service_tls_t){.verify_depth = -1};
}
