/*
 * Which certificate a TLS listener of the proxy shows. OpenSSL asks in every full handshake, after the client's hello was read; what the
 * Admin API has confirmed by then is looked up in the read model, so a change needs no reload. Without a row for the name the
 * listener's own certificates (ssl_cert) stay. Start at choose().
 */
#include "proxy/tls.h"

#include <dlfcn.h>

/* Host names end at 253 bytes; TLS carries up to 255. */
#define NAME_MAX_LEN 255

/* What runs ssl_certificate_by_lua; its module is loaded only where Lua plugins are. */
static int (*lua_handler)(SSL *ssl, void *arg);
static int asked_index = -1; /* ex data of connections that Lua was asked about */

extern ngx_module_t ngx_http_grpc_module;

static sb_tls_cert_t *
find_sni(const char *name, size_t len)
{
    sb_tls_cert_t *c = NULL;
    sb_uuid_t id;
    sb_row_t row;
    const char *text;
    json_t *json;

    if (!sb_model_find(sb_worker.reader, sb_worker.snis, "name", NULL, (sb_str_t){name, len}, &row))
        return NULL;
    json = sb_json_parse(row.json.data, row.json.len, NULL);
    text = sb_json_foreign_id(json, "certificate");
    if (text != NULL && sb_uuid_parse(text, strlen(text), &id))
        c = sb_tls_cert_get(&id);
    json_decref(json);
    return c;
}

/* "*.rest", then "first.*" of a name with at least two labels. buf has room for two bytes more than the name. */
static sb_tls_cert_t *
find_wildcard(const char *name, size_t len, char *buf)
{
    const char *first = memchr(name, '.', len), *last = memrchr(name, '.', len);
    sb_tls_cert_t *c;

    if (first == NULL)
        return NULL;
    buf[0] = '*';
    memcpy(buf + 1, first, len - (size_t)(first - name));
    c = find_sni(buf, 1 + len - (size_t)(first - name));
    if (c != NULL)
        return c;
    len = (size_t)(last - name) + 1;
    memcpy(buf, name, len);
    buf[len] = '*';
    return find_sni(buf, len + 1);
}

sb_tls_cert_t *
sb_tls_cert_of_name(sb_str_t name)
{
    char lower[NAME_MAX_LEN], buf[NAME_MAX_LEN + 2];
    sb_tls_cert_t *c = NULL;

    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    if (name.len > 0 && name.len <= NAME_MAX_LEN) {
        ngx_strlow((u_char *)lower, (u_char *)name.data, name.len);
        c = find_sni(lower, name.len);
        if (c == NULL && memcmp(lower, name.data, name.len) != 0) /* names are stored as they were written */
            c = find_sni(name.data, name.len);
        if (c == NULL)
            c = find_wildcard(lower, name.len, buf);
    }
    return c != NULL ? c : find_sni("*", 1);
}

/* The store's certificate for the name, when there is one. false: it cannot be shown, and no other may be. */
static bool
show(SSL *ssl)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    sb_tls_cert_t *c;
    bool shown;

    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return true;
    c = sb_tls_cert_of_name((sb_str_t){name, name != NULL ? strlen(name) : 0});
    sb_model_end(sb_worker.reader);
    shown = c == NULL || sb_tls_cert_use(c, ssl);
    sb_tls_cert_unref(c);
    return shown;
}

/* SB_OK: there are some; SB_DECLINED: none; SB_ERROR: it cannot be told. */
static int
find_lua_handlers(void)
{
    sb_chain_t *chain;
    bool has;

    if (lua_handler == NULL || !sb_lua_hooks.in_use)
        return SB_DECLINED;
    chain = sb_chain_global();
    if (chain == NULL)
        return SB_ERROR;
    has = (chain->lua_phases & SB_PHASE_BIT(SB_PHASE_CERTIFICATE)) != 0;
    sb_chain_unref(chain);
    return has ? SB_OK : SB_DECLINED;
}

/*
 * OpenSSL's question: 1 goes on with what the connection has now, 0 ends the handshake. With handlers of global plugins Lua is asked
 * afterwards, so that they may show another certificate; when one of them waits (-1), OpenSSL asks again.
 */
static int
choose(SSL *ssl, void *arg)
{
    int rc;

    if (sb_worker.reader == NULL)
        return 1;
    if (SSL_get_ex_data(ssl, asked_index) != NULL)
        return lua_handler(ssl, NULL);
    sb_worker_catch_up();
    if (!show(ssl))
        return 0;
    rc = find_lua_handlers();
    if (rc != SB_OK)
        return rc == SB_DECLINED;
    return SSL_set_ex_data(ssl, asked_index, &asked_index) == 1 ? lua_handler(ssl, NULL) : 0;
}

static int
choose_for_stream(SSL *ssl, void *arg)
{
    if (sb_worker.reader == NULL)
        return 1;
    sb_worker_catch_up();
    return show(ssl);
}

void
sb_tls_serve_stream(SSL_CTX *ctx)
{
    SSL_CTX_set_cert_cb(ctx, choose_for_stream, NULL);
}

/* Nginx reads proxy_ssl_trusted_certificate and its twin of grpc only where verification is on; a service may want to be verified where it
 * is off. The callback that nginx installs with them goes on after an error, so that the last one would be logged in place of the cause. */
static ngx_int_t
trust(ngx_conf_t *cf, sb_conf_t *conf, const ngx_http_upstream_conf_t *u)
{
    if (u->ssl == NULL || u->ssl_verify == 1 || conf->trusted_file.len == 0)
        return NGX_OK;
    if (ngx_ssl_trusted_certificate(cf, u->ssl, &conf->trusted_file, conf->trusted_depth) != NGX_OK)
        return NGX_ERROR;
    SSL_CTX_set_verify(u->ssl->ctx, SSL_CTX_get_verify_mode(u->ssl->ctx), NULL);
    return NGX_OK;
}

/* Services have the proxy module's configuration of one location, wherever they are used; grpc has that of each (grpc.c). */
static ngx_int_t
trust_services(ngx_conf_t *cf, sb_conf_t *conf)
{
    ngx_int_t rc = trust(cf, conf, conf->proxy);

    for (size_t i = 0; i < 2 && rc == NGX_OK; i++)
        if (conf->location[i] != NULL)
            rc = trust(cf, conf, conf->location[i][ngx_http_grpc_module.ctx_index]);
    return rc;
}

ngx_int_t
sb_tls_install(ngx_conf_t *cf, sb_conf_t *conf)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_core_srv_conf_t **servers = cmcf->servers.elts;

    lua_handler = (int (*)(SSL *, void *))dlsym(RTLD_DEFAULT, "ngx_http_lua_ssl_cert_handler");
    if (asked_index < 0)
        asked_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    for (ngx_uint_t i = 0; i < cmcf->servers.nelts; i++) {
        const ngx_http_conf_ctx_t *ctx = servers[i]->ctx;
        const sb_loc_conf_t *own = ctx->loc_conf[ngx_http_silverback_module.ctx_index];
        const ngx_http_ssl_srv_conf_t *tls = ctx->srv_conf[ngx_http_ssl_module.ctx_index];
        if (own->proxy != 1 || tls->ssl.ctx == NULL)
            continue;
        SSL_CTX_set_cert_cb(tls->ssl.ctx, choose, NULL);
        if (tls->stapling == 1)
            sb_tls_ocsp_install(tls->ssl.ctx);
    }
    return trust_services(cf, conf);
}
